#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Layers, licence lines, no traces of a machine: checked over every file that git would commit.

The rules prove first that they can fail: each of them must refuse a sample that breaks it and accept one that does not.
"""
import os
import pathlib
import re
import subprocess
import unittest

import layers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CPP = (".cpp", ".hpp", ".c", ".h")
SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
BPF_SPDX = "/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */\n"


def committed_files():
    listing = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                             capture_output=True, check=True).stdout.decode()
    return sorted({name for name in listing.split("\0") if name and (ROOT / name).is_file()})


def package_hosts():
    """Hosts that this machine fetches packages from: none of them may be written into the tree."""
    text = " ".join(os.environ.get(name, "") for name in ("GOPROXY", "PIP_INDEX_URL", "http_proxy", "https_proxy"))
    places = [*pathlib.Path("/etc/apt").rglob("*.list"), *pathlib.Path("/etc/apt").rglob("*.sources"),
              pathlib.Path("/etc/pip.conf"), pathlib.Path.home() / ".config/pip/pip.conf",
              pathlib.Path.home() / ".pip/pip.conf", pathlib.Path.home() / ".cargo/config.toml"]
    for place in places:
        if place.is_file():
            text += place.read_text(errors="replace")
    hosts = set(re.findall(r"https?://(?:[^/@\s]*@)?([\w.-]+)", text)) | {"deb.debian.org", "pypi.org"}
    return {host for host in hosts if "." in host and not host.startswith(("127.", "localhost"))}


def includes(header):
    return SPDX + f"#include {header}\n"


class RulesCanFail(unittest.TestCase):
    def faults(self, path, text):
        return layers.include_faults(path, text)

    def test_include_rules(self):
        for path, header, good in [
            ("config/base/net.cpp", '"config/base/net.hpp"', True),
            ("config/base/net.cpp", '"config/model/snapshot.hpp"', False),
            ("config/model/x.hpp", '"config/base/net.hpp"', True),
            ("config/model/x.hpp", '"config/wire/channel.hpp"', False),
            ("l7engine/http/h1_codec.cpp", "<llhttp.h>", True),
            ("l7engine/proxy/serve.cpp", "<llhttp.h>", False),
            ("l7engine/http/x.hpp", '"config/model/policy.hpp"', False),
            ("l7engine/policy/authz.cpp", '"l7engine/io/ring.hpp"', False),
            ("l7engine/filter/authz.hpp", '"l7engine/io/task.hpp"', True),
            ("l7engine/filter/authz.hpp", '"l7engine/io/worker.hpp"', False),
            ("l7engine/server/main.cpp", '"agent/engine/link.hpp"', False),
            ("l7engine/main.cpp", '"l7engine/server/control.hpp"', True),
            ("agent/main.cpp", '"l7engine/http/head.hpp"', False),
            ("agent/reconcile/compile.cpp", '"agent/bpf/datapath.hpp"', False),
            ("agent/bpf/datapath.cpp", "<bpf/libbpf.h>", True),
            ("agent/pods/netns.cpp", "<bpf/libbpf.h>", False),
            ("agent/engine/link.cpp", '"config/proto/control.pb.h"', True),
            ("agent/reconcile/x.cpp", '"config/proto/control.pb.h"', False),
            ("config/base/json.hpp", "<nlohmann/json.hpp>", True),
            ("config/base/log.cpp", "<nlohmann/json.hpp>", False),
            ("config/base/log.cpp", "<boost/asio.hpp>", False),
            ("config/base/log.cpp", "<sys/socket.h>", True),
            ("config/base/log.cpp", "<expected>", True),
            ("config/base/log.cpp", '"log.hpp"', False),
            ("bpf/abi.h", "<linux/types.h>", True),
            ("bpf/abi.h", '"bpf/maps.h"', False),
            ("agent/newfolder/x.cpp", "<string>", False),
        ]:
            with self.subTest(path=path, header=header):
                self.assertEqual(self.faults(path, includes(header)) == [], good)

    def test_licence_rules(self):
        for path, text, good in [
            ("config/a.hpp", SPDX, True),
            ("config/a.hpp", "#pragma once\n", False),
            ("config/a.hpp", "// hello\n" + SPDX, False),
            ("tests/a.py", "#!/usr/bin/env python3\n# SPDX-License-Identifier: Apache-2.0\n", True),
            ("bpf/a.h", SPDX, False),
            ("bpf/a.h", BPF_SPDX, True),
            ("bpf/a.bpf.c", BPF_SPDX, False),
            ("bpf/a.bpf.c", BPF_SPDX + 'char license[] SEC("license") = "Dual BSD/GPL";\n', True),
            ("bpf/a.bpf.c", BPF_SPDX + 'char license[] SEC("license") = "MIT";\n', False),
        ]:
            with self.subTest(path=path, text=text):
                self.assertEqual(layers.licence_faults(path, text) == [], good)

    def test_machine_rules(self):
        bad_path = "/".join(["", "home", "somebody", "x"])
        for text, good in [("build/x /run/weft", True), (f'"{bad_path}"', False), ("host.example.net", False)]:
            with self.subTest(text=text):
                self.assertEqual(layers.machine_faults("x", text, {"host.example.net"}) == [], good)


class Tree(unittest.TestCase):
    def check(self, faults):
        self.assertEqual(faults, [], "\n" + "\n".join(faults))

    def test_there_is_something_to_check(self):
        self.assertGreater(len([name for name in committed_files() if name.startswith(layers.CODE)]), 50)

    def test_layers(self):
        self.check([fault for name in committed_files() if name.startswith(layers.CODE) and name.endswith(CPP)
                    for fault in layers.include_faults(name, (ROOT / name).read_text())])

    def test_licences(self):
        self.check([fault for name in committed_files()
                    for fault in layers.licence_faults(name, (ROOT / name).read_text(errors="replace"))])

    def test_no_trace_of_a_machine(self):
        hosts = package_hosts()
        own = {"tests/tidy/test_tree.py", "tests/tidy/layers.py"}
        self.check([fault for name in committed_files() if name not in own
                    for fault in layers.machine_faults(name, (ROOT / name).read_text(errors="replace"), hosts)])

    def test_pragma_once(self):
        self.check([f"{name}: no #pragma once" for name in committed_files()
                    if name.endswith(".hpp") and "#pragma once" not in (ROOT / name).read_text()])


if __name__ == "__main__":
    unittest.main()
