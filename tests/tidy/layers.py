# SPDX-License-Identifier: Apache-2.0
"""The rules of docs/architecture.md "Layers", as data, and the function that applies them to one file."""
import re

# Folder -> what its files may include of ours: folders (trailing slash) or single files. Its own folder always.
# The longest matching folder counts. A folder that is not listed is a fault: a new one needs its place decided.
OURS = {
    "bpf/": [],
    "config/base/": [],
    "config/cni/": ["config/base/json.hpp"],
    "config/model/": ["config/base/"],
    "config/settings/": ["config/base/"],
    "config/wire/": ["config/base/", "config/model/", "config/proto/"],
    "l7engine/io/": ["config/base/"],
    "l7engine/tls/": ["config/base/"],
    "l7engine/http/": ["config/base/"],
    "l7engine/policy/": ["config/base/", "config/model/", "l7engine/http/"],
    "l7engine/filter/": ["config/base/", "config/model/", "l7engine/http/", "l7engine/policy/", "l7engine/io/task.hpp"],
    "l7engine/proxy/": ["config/base/", "config/model/", "l7engine/http/", "l7engine/policy/", "l7engine/filter/",
                        "l7engine/tls/", "l7engine/io/", "bpf/abi.h"],
    "l7engine/server/": ["config/", "bpf/abi.h", "l7engine/"],
    "l7engine/": ["config/", "bpf/abi.h", "l7engine/"],
    "agent/cni/plugin/": ["config/base/json.hpp", "config/base/clock.hpp", "config/base/unique_fd.hpp", "config/cni/"],
    "agent/cni/": ["config/base/", "config/cni/", "agent/metrics/", "agent/pods/netns.hpp", "agent/reconcile/", "agent/source/"],
    "agent/source/": ["config/base/", "config/model/"],
    "agent/kube/": ["config/base/", "agent/source/"],
    "agent/reconcile/": ["config/base/", "config/model/", "agent/source/", "bpf/abi.h"],
    "agent/bpf/": ["config/base/", "config/model/", "agent/reconcile/state.hpp", "bpf/"],
    "agent/pods/": ["config/base/", "config/model/", "agent/reconcile/state.hpp", "bpf/abi.h"],
    "agent/engine/": ["config/", "bpf/abi.h", "agent/metrics/", "agent/pods/"],
    "agent/metrics/": ["config/base/", "bpf/abi.h"],
    "agent/check/": ["config/base/", "agent/source/", "agent/kube/", "agent/bpf/", "agent/pods/"],
    "agent/status/": ["config/base/", "agent/source/", "agent/reconcile/state.hpp", "agent/kube/", "agent/metrics/"],
    "agent/ctl/": ["config/", "agent/check/", "agent/kube/"],
    "agent/": ["config/", "bpf/abi.h", "agent/"],
}

# Third-party headers -> the folders (or files) that own them. Nobody else includes them.
THIRD_PARTY = {
    r"liburing(/.*)?\.h|liburing/.*": ["l7engine/io/"],
    r"llhttp\.h": ["l7engine/http/"],
    r"nghttp2/.*\.h": ["l7engine/http/"],
    r"openssl/.*\.h": ["l7engine/tls/"],
    r"bpf/(libbpf|bpf|btf)\.h|bpf/.*\.skel\.h": ["agent/bpf/"],
    r"bpf/bpf_(helpers|endian|core_read|tracing)\.h|vmlinux\.h": ["bpf/"],
    r"yaml-cpp/.*": ["agent/source/"],
    r"google/protobuf/.*|config/proto/.*\.pb\.h": ["config/wire/", "agent/engine/", "l7engine/server/", "agent/ctl/"],
    r"prometheus/.*|civetweb\.h": ["agent/metrics/"],
    r"CLI/.*|CLI11.*": ["config/settings/"],
    r"(spdlog|fmt)/.*": ["config/base/"],
    r"nlohmann/.*": ["config/base/json.hpp"],
    r"curl/curl\.h": ["agent/kube/"],
    r"zlib\.h": ["agent/source/"],
    r"simdjson\.h": ["agent/source/json.cpp"],
    r"seccomp\.h|sys/capability\.h": ["l7engine/server/"],
}

# Headers of libc and of the kernel's user interface, which anybody may include; C++'s own have neither dot nor slash.
SYSTEM = re.compile(
    r"^[a-z0-9_]+$|^(sys|net|netinet|arpa|linux|asm|sanitizer)/[a-z0-9_/]+\.h$|"
    r"^(dirent|dlfcn|errno|fcntl|fnmatch|grp|ifaddrs|inttypes|limits|malloc|math|netdb|poll|pthread|pwd|sched|signal|spawn|stdarg|"
    r"stddef|stdint|stdio|stdlib|string|strings|syscall|time|unistd)\.h$")

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
CODE = ("bpf/", "config/", "l7engine/", "agent/")
COPYRIGHT = {"bpf/": "GPL-2.0-only OR BSD-2-Clause"}
NO_SPDX = re.compile(r"^LICENSE$|\.(sum|json|md|golden|txt|crt|pem|key)$|^\.gitignore$|^tests/fuzz/(corpus|regressions)/")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:work|home|root)/[\w.-]+")


def _within(path, places):
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


def _folder_of(path):
    owners = [folder for folder in OURS if path.startswith(folder)]
    return max(owners, key=len, default=None)


def include_faults(path, text):
    folder = _folder_of(path)
    if folder is None or (folder in ("l7engine/", "agent/") and "/" in path[len(folder):]):
        return [f"{path}: this folder has no place in the layers: give it one in tests/tidy/layers.py"]
    faults = []
    for quote, header in INCLUDE.findall(text):
        owners = next((places for pattern, places in THIRD_PARTY.items() if re.fullmatch(pattern, header)), None)
        if owners is not None:
            if not _within(path, owners):
                faults.append(f"{path}: <{header}> belongs to {' and '.join(owners)} alone")
        elif header.startswith(CODE):
            if not _within(header, [folder, *OURS[folder]]) or (path == "bpf/abi.h"):
                faults.append(f"{path}: {folder} must not include {header}")
        elif quote == '"':
            faults.append(f'{path}: "{header}" is not written from the root of the repository')
        elif not SYSTEM.match(header):
            faults.append(f"{path}: nobody owns <{header}>: name its folder in tests/tidy/layers.py")
    return faults


def licence_faults(path, text):
    if NO_SPDX.search(path):
        return []
    wanted = next((name for folder, name in COPYRIGHT.items()
                   if path.startswith(folder) and path.endswith((".c", ".h"))), "Apache-2.0")
    first = text.splitlines()[:2]
    line = next((l for l in first if "SPDX-License-Identifier:" in l), "")
    faults = []
    if not re.search(rf"SPDX-License-Identifier: {re.escape(wanted)}( \*/| -->)?$", line):
        faults.append(f"{path}: the first line is not `SPDX-License-Identifier: {wanted}`")
    elif line == first[-1] and len(first) == 2 and not first[0].startswith("#!"):
        faults.append(f"{path}: the licence line is not the first")
    if path.endswith(".bpf.c") and not re.search(r'SEC\("license"\)\s*=\s*"Dual BSD/GPL"', text):
        faults.append(f"{path}: no licence line for the kernel")
    return faults


def machine_faults(path, text, hosts):
    faults = [f"{path}: a path of one machine: {match}" for match in MACHINE_PATH.findall(text)]
    faults += [f"{path}: the name of a package host: {host}" for host in hosts if host in text]
    return faults
