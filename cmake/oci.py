# SPDX-License-Identifier: Apache-2.0
"""A container image of one layer, from files of this machine, without a registry or an engine that builds images: an OCI
archive, which podman, skopeo, `ctr images import` and `docker load` (25 and newer) take."""
import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import shutil
import struct
import subprocess
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
OCI = "application/vnd.oci.image"
SEARCH_PATH = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


class Missing(Exception):
    """A file that the image shall hold."""


class Image:
    """What an image consists of: path in the image -> a file, a link's target, bytes, or None for a folder."""

    def __init__(self, reference, entrypoint=(), labels=None):
        self.reference, self.entrypoint, self.labels = reference, list(entrypoint), dict(labels or {})
        self.entries = {"tmp": None}

    def add(self, path, source):
        parts = str(path).strip("/").split("/")
        for depth in range(1, len(parts)):
            self.entries.setdefault("/".join(parts[:depth]), None)
        self.entries["/".join(parts)] = source

    def add_program(self, program, path=None):
        """With the libraries that it is linked to, at their own places, which are returned."""
        self.add(path or program, program)
        found = libraries(program)
        for library in found:
            self.add(library, library)
        return found

    def add_folder(self, folder, without=()):
        for base, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if name not in without]
            for name in files:
                path = pathlib.Path(base, name)
                if path.is_file():
                    self.add(path, path)

    def stamp(self):
        """Changes when the image would."""
        parts = [f"{path} {_identity(source)}" for path, source in sorted(self.entries.items())]
        return hashlib.sha256("\n".join([self.reference, *self.entrypoint, *parts]).encode()).hexdigest()[:16]

    def write(self, path):
        """The archive, in one step: whoever reads it has the old one or the new one. The same files give the same bytes."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for name, source in sorted(self.entries.items()):
                _add_entry(archive, name, source)
        unpacked = layer.getvalue()
        blobs = [gzip.compress(unpacked, compresslevel=6, mtime=0)]
        blobs.append(_json({
            "architecture": ARCHITECTURES[platform.machine()], "os": "linux",
            "config": {"Env": [SEARCH_PATH], "Entrypoint": self.entrypoint, "Labels": self.labels},
            "rootfs": {"type": "layers", "diff_ids": [_digest(unpacked)]}}))
        blobs.append(_json({
            "schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
            "config": _descriptor(f"{OCI}.config.v1+json", blobs[1]),
            "layers": [_descriptor(f"{OCI}.layer.v1.tar+gzip", blobs[0])]}))
        names = {"io.containerd.image.name": self.reference,
                 "org.opencontainers.image.ref.name": self.reference.rpartition(":")[2]}
        index = _json({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json",
                       "manifests": [_descriptor(f"{OCI}.manifest.v1+json", blobs[2], annotations=names)]})
        fresh = path.with_suffix(".new")
        with tarfile.open(fresh, "w", format=tarfile.GNU_FORMAT) as archive:
            for name in ("blobs", "blobs/sha256"):
                archive.addfile(_entry(name, tarfile.DIRTYPE))
            for blob in blobs:
                _add_bytes(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
            _add_bytes(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            _add_bytes(archive, "index.json", index)
        fresh.rename(path)

    def unpack(self, folder):
        """The image's files below a folder, for a builder that copies them."""
        for name, source in sorted(self.entries.items()):
            target = pathlib.Path(folder, name)
            if source is None:
                target.mkdir(parents=True, exist_ok=True)
                target.chmod(_folder_mode(name))
            elif isinstance(source, str):
                target.symlink_to(source.removeprefix("link:"))
            elif isinstance(source, bytes):
                target.write_bytes(source)
            else:
                shutil.copy2(source, target)


def said(*command):
    """What a program prints. Missing: it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Missing(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def libraries(program):
    """The shared libraries of a program and its loader, by path; none if it needs none."""
    with open(program, "rb") as file:
        if not _is_dynamic(file.read()):
            return []
    lines = said("ldd", program).splitlines()
    if lost := [line.split()[0] for line in lines if "not found" in line]:
        raise Missing(f"{program}: {', '.join(lost)} not found")
    return [pathlib.Path(word) for line in lines for word in line.split() if word.startswith("/")]


def _is_dynamic(elf):
    """It has a program header PT_INTERP (3): of ELF's 64-bit form."""
    offset, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    return any(struct.unpack_from("<I", elf, offset + number * size)[0] == 3 for number in range(count))


def _identity(source):
    if isinstance(source, pathlib.Path):
        if not source.exists():
            raise Missing(f"{source} does not exist")
        about = source.stat()
        return f"{source} {about.st_size} {about.st_mtime_ns}"
    return repr(source)


def _json(value):
    return json.dumps(value, sort_keys=True).encode()


def _digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data), **more}


def _folder_mode(name):
    return 0o1777 if name == "tmp" else 0o755


def _add_entry(archive, path, source):
    if source is None:
        archive.addfile(_entry(path, tarfile.DIRTYPE, mode=_folder_mode(path)))
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
