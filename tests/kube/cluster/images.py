# SPDX-License-Identifier: Apache-2.0
"""Container images of one layer, written without a registry or a builder, from programs of this machine:

  pause    the sandbox of each pod
  coredns  the cluster's DNS, as built
  tools    what tests run in pods: a shell, curl, wrk, h2load, Python with h2. Scripts come by hostPath, see pods.py
"""
import hashlib
import io
import json
import os
import pathlib
import platform
import subprocess
import tarfile

from settings import CACHE, IMAGE_PREFIX, PROGRAMS, Failed, say

IMAGES = CACHE / "images"
BUSYBOX = pathlib.Path("/bin/busybox")
TOOLS = [pathlib.Path("/usr/bin", name) for name in ("curl", "wrk", "h2load")]
PYTHON = pathlib.Path("/usr/bin/python3").resolve()
PYTHON_LIBRARY = pathlib.Path("/usr/lib") / PYTHON.name
PYTHON_PACKAGES = pathlib.Path("/usr/lib/python3/dist-packages")
# Parts of Python's library that no test in a pod needs.
PYTHON_WITHOUT = ("test", "idlelib", "tkinter", "lib2to3", "ensurepip", "pydoc_data", "turtledemo", "venv")


class Image:
    """What an image consists of: path in the image -> a file, a link's target, bytes, or None for a folder."""

    def __init__(self, name, *entrypoint):
        self.name, self.entrypoint = name, list(entrypoint)
        self.reference = f"{IMAGE_PREFIX}{name}:latest"
        self.path = IMAGES / f"{name}.tar"
        self.entries = {"tmp": None}

    def add(self, path, source):
        parts = str(path).strip("/").split("/")
        for depth in range(1, len(parts)):
            self.entries.setdefault("/".join(parts[:depth]), None)
        self.entries["/".join(parts)] = source

    def add_program(self, program):
        """With the libraries that it is linked to, at their own places."""
        self.add(program, program)
        for library in _libraries(program):
            self.add(library, library)

    def add_busybox(self):
        self.add("/bin/busybox", BUSYBOX)
        for applet in _said(BUSYBOX, "--list").split():
            if applet != "busybox":
                self.entries.setdefault(f"bin/{applet}", "link:/bin/busybox")

    def add_folder(self, folder, without=()):
        for base, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if name not in without]
            for name in files:
                path = pathlib.Path(base, name)
                if path.is_file():
                    self.add(path, path)

    def stamp(self):
        parts = [f"{path} {_identity(source)}" for path, source in sorted(self.entries.items())]
        return hashlib.sha256("\n".join([self.reference, *self.entrypoint, *parts]).encode()).hexdigest()[:16]

    def write(self):
        """In the layout of `docker save`, which `ctr images import` takes."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path, source in sorted(self.entries.items()):
                _add_entry(archive, path, source)
        data = layer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        config = json.dumps({
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()], "os": "linux",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"], "Entrypoint": self.entrypoint},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}, sort_keys=True).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        manifest = json.dumps([{"Config": config_name, "RepoTags": [self.reference], "Layers": [f"{digest}.tar"]}])
        fresh = self.path.with_suffix(".new")
        with tarfile.open(fresh, "w") as archive:
            for name, text in ((config_name, config), (f"{digest}.tar", data), ("manifest.json", manifest.encode())):
                _add_bytes(archive, name, text)
        fresh.rename(self.path)


def ensure():
    """Writes the images that are missing or made from other files; returns {name: stamp}."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    stamps = {}
    for image in (_pause(), _coredns(), _tools()):
        stamp_file = image.path.with_suffix(".stamp")
        stamps[f"image {image.name}"] = stamp = image.stamp()
        if not image.path.exists() or not stamp_file.exists() or stamp_file.read_text() != stamp:
            image.write()
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
        for library in _libraries(extension):
            image.add(library, library)
    for package in ("h2", "hpack", "hyperframe"):
        image.add_folder(PYTHON_PACKAGES / package)
    image.add("/etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
    image.add("/etc/nsswitch.conf", b"hosts: files dns\n")
    image.add_busybox()  # last: it fills in what the others have not
    return image


def _said(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _libraries(program):
    return [pathlib.Path(word) for line in _said("ldd", program).splitlines() for word in line.split()
            if word.startswith("/")]


def _identity(source):
    if isinstance(source, pathlib.Path):
        if not source.exists():
            raise Failed(f"{source} does not exist: run ./setup.sh --kube")
        about = source.stat()
        return f"{source} {about.st_size} {about.st_mtime_ns}"
    return repr(source)


def _add_entry(archive, path, source):
    if source is None:
        archive.addfile(_entry(path, tarfile.DIRTYPE, mode=0o1777 if path == "tmp" else 0o755))
    elif isinstance(source, str):
        archive.addfile(_entry(path, tarfile.SYMTYPE, link=source.removeprefix("link:")))
    elif isinstance(source, bytes):
        _add_bytes(archive, path, source)
    else:
        about = source.stat()  # its time too: Python's compiled files name that of their source
        with open(source, "rb") as file:
            archive.addfile(_entry(path, tarfile.REGTYPE, about.st_size, about.st_mode & 0o777,
                                   time=int(about.st_mtime)), file)


def _add_bytes(archive, path, data):
    archive.addfile(_entry(path, tarfile.REGTYPE, len(data), 0o644), io.BytesIO(data))


def _entry(path, kind, size=0, mode=0o755, link="", time=0):
    entry = tarfile.TarInfo(path)
    entry.type, entry.size, entry.mode, entry.linkname, entry.mtime = kind, size, mode, link, time
    return entry
