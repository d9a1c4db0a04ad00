# SPDX-License-Identifier: Apache-2.0
"""What a lab needs of the kernel: network namespaces, a cgroup2 folder, a bpffs, and a look at BPF objects.

Nothing here knows Weft. Every function says what failed with the command's own words.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import re
import subprocess

NETNS_FOLDER = pathlib.Path("/run/netns")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab could not do what was asked: a fault of the machine or of the test, never of Weft."""


def run(*command, check=True, stdin=None, timeout=60):
    done = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def ip_batch(lines, namespace=None):
    scope = ["-n", namespace] if namespace else []
    run("ip", *scope, "-batch", "-", stdin="\n".join(lines) + "\n")


def namespaces(prefix):
    if not NETNS_FOLDER.is_dir():
        return []
    return sorted(entry.name for entry in NETNS_FOLDER.iterdir() if entry.name.startswith(prefix))


def delete_namespace(name):
    run("ip", "netns", "del", name, check=False)


@contextlib.contextmanager
def inside(name):
    """The calling thread in the namespace for the time of the block. A socket made inside stays there for life."""
    with open("/proc/thread-self/ns/net", "rb") as home, open(NETNS_FOLDER / name, "rb") as target:
        _set_namespace(target.fileno())
        try:
            yield
        finally:
            _set_namespace(home.fileno())


def enter(name):
    """For the time between fork and exec: no way back."""
    with open(NETNS_FOLDER / name, "rb") as target:
        _set_namespace(target.fileno())


def _set_namespace(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def mounts(kind):
    """Mount points of one file system type."""
    found = []
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, point, filesystem, *_ = line.split()
        if filesystem == kind:
            found.append(pathlib.Path(point.replace("\\040", " ")))
    return found


def cgroup2_root():
    found = mounts("cgroup2")
    if not found:
        raise LabError("no cgroup2 file system is mounted")
    return found[0]


def own_cgroup():
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return cgroup2_root() / line[3:].lstrip("/")
    raise LabError("this process is in no cgroup2 group")


def join_cgroup(folder, pid=None):
    (folder / "cgroup.procs").write_text(str(pid if pid is not None else os.getpid()))


def cgroup_processes(folder):
    """Ids of the processes in the folder and below."""
    pids = []
    for base, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            pids += [int(line) for line in (pathlib.Path(base) / "cgroup.procs").read_text().split()]
    return pids


def remove_cgroup(folder):
    for base, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(base)


def bpf_objects(kind, names):
    """{id: name} of the kernel's programs or maps that bear one of our names (the kernel keeps 15 characters)."""
    short = {name[:15] for name in names}
    listing = json.loads(run("bpftool", "-j", kind, "show").stdout or "[]")
    return {entry["id"]: entry.get("name", "") for entry in listing if entry.get("name", "") in short}


def bpf_links():
    """{id: text} of the links of cgroup hooks and of socket lookups, whoever made them."""
    listing = json.loads(run("bpftool", "-j", "link", "show").stdout or "[]")
    return {entry["id"]: f"{entry.get('type')} of program {entry.get('prog_id')}" for entry in listing
            if entry.get("type") in ("cgroup", "netns")}


def names_in_sources(folder):
    """Names of the programs and maps that the BPF sources define."""
    programs, maps = set(), set()
    for source in sorted(pathlib.Path(folder).glob("*.[ch]")):
        text = source.read_text()
        programs |= set(re.findall(r'^SEC\("[^"]+"\)\s*\n?\s*int\s+(\w+)\s*\(', text, re.MULTILINE))
        maps |= set(re.findall(r'}\s*(\w+)\s+SEC\("\.maps"\)', text))
    return programs, maps
