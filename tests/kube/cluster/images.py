# SPDX-License-Identifier: Apache-2.0
"""Container images of one layer, written without a registry or a builder, from programs of this machine:

  pause    the sandbox of each pod
  coredns  the cluster's DNS, as built
  tools    what tests run in pods: a shell, curl, wrk, h2load, Python with h2. Scripts come by hostPath, see pods.py
"""
import pathlib
import sys

from settings import CACHE, IMAGE_PREFIX, PROGRAMS, REPOSITORY, Failed, say

sys.path.insert(0, str(REPOSITORY / "cmake"))
import oci  # noqa: E402

IMAGES = CACHE / "images"
BUSYBOX = pathlib.Path("/bin/busybox")
TOOLS = [pathlib.Path("/usr/bin", name) for name in ("curl", "wrk", "h2load")]
PYTHON = pathlib.Path("/usr/bin/python3").resolve()
PYTHON_LIBRARY = pathlib.Path("/usr/lib") / PYTHON.name
PYTHON_PACKAGES = pathlib.Path("/usr/lib/python3/dist-packages")
# Parts of Python's library that no test in a pod needs.
PYTHON_WITHOUT = ("test", "idlelib", "tkinter", "lib2to3", "ensurepip", "pydoc_data", "turtledemo", "venv")


class Image(oci.Image):
    """One of the cluster's own, in its cache."""

    def __init__(self, name, *entrypoint):
        super().__init__(f"{IMAGE_PREFIX}{name}:latest", entrypoint)
        self.name = name
        self.path = IMAGES / f"{name}.tar"

    def add_busybox(self):
        self.add("/bin/busybox", BUSYBOX)
        for applet in oci.said(BUSYBOX, "--list").split():
            if applet != "busybox":
                self.entries.setdefault(f"bin/{applet}", "link:/bin/busybox")


def ensure():
    """Writes the images that are missing or made from other files; returns {name: stamp}."""
    try:
        return _ensure()
    except oci.Missing as error:
        raise Failed(f"{error}: run ./setup.sh --kube") from None


def _ensure():
    IMAGES.mkdir(parents=True, exist_ok=True)
    stamps = {}
    for image in (_pause(), _coredns(), _tools()):
        stamp_file = image.path.with_suffix(".stamp")
        stamps[f"image {image.name}"] = stamp = image.stamp()
        if not image.path.exists() or not stamp_file.exists() or stamp_file.read_text() != stamp:
            image.write(image.path)
            stamp_file.write_text(stamp)
            say(f"image {image.name}: {image.path.stat().st_size >> 20} MiB")
    return stamps


def _pause():
    # Containers of a pod share no process namespace unless they ask for it: there is nothing to reap.
    image = Image("pause", "/bin/busybox", "sleep", "2147483647")
    image.add("/bin/busybox", BUSYBOX)
    return image


def _coredns():
    image = Image("coredns", "/coredns")
    image.add("/coredns", PROGRAMS / "coredns")
    return image


def _tools():
    image = Image("tools")
    for program in [*TOOLS, PYTHON]:
        image.add_program(program)
    image.add("/usr/bin/python3", f"link:{PYTHON}")
    image.add_folder(PYTHON_LIBRARY, PYTHON_WITHOUT)
    for extension in PYTHON_LIBRARY.glob("lib-dynload/*.so"):
        for library in oci.libraries(extension):
            image.add(library, library)
    for package in ("h2", "hpack", "hyperframe"):
        image.add_folder(PYTHON_PACKAGES / package)
    image.add("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
    image.add("/etc/nsswitch.conf", b"hosts: files dns\n")
    image.add_busybox()  # last: it fills in what the others have not
    return image
