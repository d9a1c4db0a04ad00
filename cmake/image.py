#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Weft's image from the built programs: `make image`, or what the Dockerfile's last stage copies.

  image.py --archive build/image/weft.tar [--reference NAME:TAG]   an OCI archive
  image.py --folder DIR                                            its files
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import oci

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = ROOT / "build/release/bin"
PROGRAMS = ("weft-agent", "weft-l7engine", "weftctl", "weft-cni")
MIB_MAX = 60
ENGINE_USER = 65532
DOCUMENTS = pathlib.Path("/usr/share/doc")
LINKED_STATICALLY = ["liburing-dev", "libllhttp-dev", "libnghttp2-dev", "nlohmann-json3-dev", "libcli11-dev"]


def version():
    return re.search(r"project\(\s*weft\s+VERSION\s+([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)


def image(reference, work):
    made = oci.Image(reference, labels={"org.opencontainers.image.title": "weft",
                                        "org.opencontainers.image.version": version(),
                                        "org.opencontainers.image.licenses": "Apache-2.0"})
    linked = set()
    for name in PROGRAMS:
        stripped = pathlib.Path(work, name)
        subprocess.run(["llvm-strip-19", "--strip-all", "-o", stripped, BUILT / name], check=True)
        os.utime(stripped, (0, 0))  # the same programs, the same image
        linked.update(made.add_program(stripped, f"/usr/bin/{name}"))
    for package in packages(linked) + LINKED_STATICALLY:
        terms = next((folder / package / "copyright" for folder in (DOCUMENTS, ROOT / "build/deps/usr/share/doc")
                      if (folder / package / "copyright").exists()), None)
        if terms is None:
            raise oci.Missing(f"{package}: no copyright file")
        made.add(DOCUMENTS / package / "copyright", terms)
    made.add("/usr/share/doc/weft/copyright", ROOT / "LICENSE")
    made.add("/etc/passwd", f"root:x:0:0:root:/:/\nweft:x:{ENGINE_USER}:{ENGINE_USER}:weft:/:/\n".encode())
    made.add("/etc/group", f"root:x:0:\nweft:x:{ENGINE_USER}:\n".encode())
    made.add("/etc/nsswitch.conf", b"hosts: files dns\n")
    return made


def packages(libraries):
    """The distribution's packages that the libraries are from."""
    lines = oci.said("dpkg-query", "--search", *(f"*/{library.name}" for library in libraries)).splitlines()
    wanted = {_in_one_folder(library) for library in libraries}
    return sorted({line.split(":")[0] for line in lines
                   if _in_one_folder(pathlib.Path(line.rpartition(": ")[2])) in wanted})


def _in_one_folder(path):
    """/lib is a link to /usr/lib; the packages' lists have both."""
    return path.parent.resolve() / path.name


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = options.add_mutually_exclusive_group(required=True)
    kind.add_argument("--archive", type=pathlib.Path)
    kind.add_argument("--folder", type=pathlib.Path)
    options.add_argument("--reference", default=f"localhost/weft:{version()}")
    chosen = options.parse_args()
    if not re.fullmatch(r"[a-z0-9][a-z0-9./_:-]*:[\w][\w.-]*", chosen.reference):
        sys.exit(f"image: --reference: not NAME:TAG: {chosen.reference}")
    with tempfile.TemporaryDirectory() as work:
        made = image(chosen.reference, work)
        if chosen.folder:
            made.unpack(chosen.folder)
            return
        chosen.archive.parent.mkdir(parents=True, exist_ok=True)
        made.write(chosen.archive)
    mib = chosen.archive.stat().st_size / 2**20
    if mib > MIB_MAX:
        chosen.archive.unlink()
        sys.exit(f"image: {mib:.1f} MiB: more than {MIB_MAX}")
    print(f"image: {chosen.archive.relative_to(ROOT) if chosen.archive.is_relative_to(ROOT) else chosen.archive}, "
          f"{chosen.reference}, {mib:.1f} MiB")


if __name__ == "__main__":
    try:
        main()
    except oci.Missing as error:
        sys.exit(f"image: {error}")
