# SPDX-License-Identifier: Apache-2.0
"""A lab: pods as network namespaces on one bridge, a cgroup2 folder of its own, a bpffs of its own, a manifest folder.

    with Lab() as lab:
        client = lab.pod("client")
        reviews = lab.pod("reviews-v1", labels={"app": "reviews"})
        reviews.serve(9080)
        agent = lab.agent()

Whatever happens (exception, signal, exit), close() ends every process, namespace, mount and folder of the lab; nothing
is ever attached to the root of cgroup2. leftovers() tells what survived.
"""
import atexit
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import netns
from application import Application
from manifests import dump, pod_manifest
from netns import LabError
from waiting import Late, read_line, wait_until

SUPPORT = pathlib.Path(__file__).resolve().parent
REPOSITORY = SUPPORT.parent.parent
PREFIX = "weft-"  # of every namespace and cgroup folder: the sweep finds those of dead labs by it
PODS_MAX = 200

_open_labs = []


def binary(name):
    """A program of the build under test: WEFT_BIN, else the release build."""
    folder = pathlib.Path(os.environ.get("WEFT_BIN") or REPOSITORY / "build" / "release" / "bin")
    path = folder / name
    if not path.exists():
        raise LabError(f"{path} does not exist: run make build, or set WEFT_BIN")
    return path


class Pod:
    """One network namespace with its addresses, its cgroup folder and its processes. Owned by its Lab."""

    def __init__(self, lab, name, index, namespace, labels, service_account):
        self.lab, self.name, self.namespace = lab, name, namespace
        self.labels, self.service_account = labels or {}, service_account
        self.netns = f"{lab.run_id}-{name}"
        self.link = f"p{index}"
        self.ip4, self.ip6 = f"10.77.0.{index}", f"fd77::{index:x}"
        self.cgroup = lab.cgroup / "pods" / name
        self.processes = []
        self.alive = False

    def create(self):
        netns.run("ip", "netns", "add", self.netns)
        self.alive = True
        netns.ip_batch([f"link add {self.link} type veth peer name eth0 netns {self.netns}",
                        f"link set {self.link} master br0 up"], self.lab.switch)
        netns.ip_batch([f"addr add {self.ip4}/16 dev eth0", f"addr add {self.ip6}/64 dev eth0 nodad",
                        "link set lo up", "link set eth0 up"], self.netns)
        self.cgroup.mkdir(parents=True)

    def manifest(self, **changes):
        return pod_manifest(self, **changes)

    def start(self, *command, **options):
        """A process inside the pod's namespace and cgroup."""
        def enter():
            netns.join_cgroup(self.cgroup)
            netns.enter(self.netns)
        # A session of its own: an interrupt from the keyboard ends the runner, which then ends the processes in order.
        process = subprocess.Popen([str(c) for c in command], preexec_fn=enter, start_new_session=True, **options)
        self.processes.append(process)
        return process

    def launch(self, *command, seconds=20.0, **options):
        """Starts a server, or a client that goes on; returns its process when it has printed `ready`."""
        self.lab.launched += 1
        errors = self.lab.folder / f"{self.name}-{pathlib.Path(command[0]).name}-{self.lab.launched}.stderr"
        with open(errors, "wb") as file:
            process = self.start(*command, **{"stdin": subprocess.DEVNULL, **options}, stdout=subprocess.PIPE,
                                 stderr=file, text=True)
        line = read_line(process.stdout, seconds)
        if line != "ready\n":
            raise LabError(f"{command[0]} is not ready after {seconds:g} s, it said {line!r}, {errors.read_text()!r}")
        return process

    def run(self, *command, timeout=60):
        process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
            self.processes.remove(process)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def serve(self, *http_ports, tcp=(), name=None):
        """Starts an application that echoes what it saw; returns when it listens."""
        return Application(self, name or self.name, http_ports, tcp)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        """A socket of this process that lives in the pod: the hooks see it as the pod's own."""
        self.lab.join()
        with netns.inside(self.netns):
            return socket.socket(family, kind, protocol)

    def connect(self, address, port, timeout=10.0):
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.settimeout(timeout)
        try:
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        return sock

    def end_processes(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        for process in self.processes:
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
        self.processes.clear()
        for pid in netns.cgroup_processes(self.cgroup):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def delete(self):
        """As the container runtime does it: processes first, then the namespace."""
        if not self.alive:
            return
        self.end_processes()
        netns.delete_namespace(self.netns)
        self.alive = False

    def link_gone(self):
        """True once the kernel has freed the namespace: its end of the cable takes ours along."""
        return self.link not in self.lab.links()


class Lab:
    """Everything that a test shares with nobody else. Used by one thread at a time, except for Pod.connect()."""

    _count = 0

    def __init__(self, run_id=None):
        Lab._count += 1
        self.run_id = run_id or f"{PREFIX}{os.getpid()}x{Lab._count}"
        self.switch = f"{self.run_id}-switch"
        self.pods = {}
        self.agents = []
        self._index = 9
        self.launched = 0  # programs, whose *.stderr are in the folder
        self._home_cgroup = netns.own_cgroup()
        self.cgroup = netns.cgroup2_root() / self.run_id
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=self.run_id + "-"))
        self.bpffs = self.folder / "bpf"
        self.source = self.folder / "manifests"
        self.closed = False
        programs, maps = netns.names_in_sources(REPOSITORY / "bpf")
        self._names = {"prog": programs, "map": maps}
        self._before = self._bpf_objects()
        _open_labs.append(self)
        try:
            self._create()
        except BaseException:
            self.close()
            raise

    def _create(self):
        self.folder.chmod(0o755)  # the engine's user passes through
        self.source.mkdir()
        self.bpffs.mkdir()
        netns.run("mount", "-t", "bpf", "bpf", self.bpffs)
        for folder in ("pods", "node", "tests"):
            (self.cgroup / folder).mkdir(parents=True)
        self.join()
        netns.run("ip", "netns", "add", self.switch)
        netns.ip_batch(["link add br0 type bridge", "link set br0 type bridge mcast_snooping 0", "link set br0 up"],
                       self.switch)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def join(self):
        """This process into the lab's cgroup, so that the hooks see the sockets it makes in pods."""
        folder = self.cgroup / "tests"
        if netns.own_cgroup() != folder:
            netns.join_cgroup(folder)

    def pod(self, name, namespace="default", labels=None, service_account="default"):
        """Makes the namespace. Names are unique in a lab. The manifest is the caller's to apply."""
        self._index += 1
        if self._index > PODS_MAX:
            raise LabError(f"more than {PODS_MAX} pods")
        pod = Pod(self, name, self._index, namespace, labels, service_account)
        self.pods[pod.netns] = pod
        pod.create()
        return pod

    def links(self):
        text = netns.run("ip", "-n", self.switch, "-o", "link").stdout
        return {line.split(": ")[1].split("@")[0] for line in text.splitlines()}

    # ---- manifests: each write is an atomic rename, as a careful user does it
    def apply(self, file_name, *objects):
        """Objects (dicts) or one text."""
        text = objects[0] if len(objects) == 1 and isinstance(objects[0], str) else dump(*objects)
        temporary = self.source / f".{file_name}.new"
        temporary.write_text(text)
        temporary.rename(self.source / file_name)

    def remove(self, file_name):
        (self.source / file_name).unlink()

    # ---- Weft
    def agent(self, **options):
        """Starts an agent (and by it an engine) on this lab's folders; returns when it is ready. See weft.Agent."""
        from weft import Agent
        agent = Agent(self, **options)
        self.agents.append(agent)
        agent.start()
        return agent

    def said(self):
        """[(file name, text)] of what launched programs wrote to stderr."""
        files = sorted(self.folder.glob("*.stderr"))
        return [(path.name, path.read_text(errors="replace")) for path in files if path.stat().st_size]

    # ---- the end
    def keep(self):
        """Leaves everything running when this process ends; remove_lab(run_id) takes it away."""
        netns.join_cgroup(self._home_cgroup)
        self.closed = True
        _open_labs.remove(self)

    def close(self):
        if self.closed:
            return
        self.closed = True
        steps = [agent.kill for agent in self.agents] + [self._end_processes]
        steps += [pod.delete for pod in self.pods.values()]
        steps += [self._delete_namespaces, self._leave_cgroup, self._unmount, self._delete_folder]
        for step in steps:
            try:
                step()
            except Exception as error:  # one failed step must not keep the next from cleaning
                print(f"lab: {step.__qualname__}: {error}", file=sys.stderr)
        _open_labs.remove(self)

    def _end_processes(self):
        own = os.getpid()
        for pid in netns.cgroup_processes(self.cgroup):
            if pid != own:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _delete_namespaces(self):
        for name in netns.namespaces(self.run_id + "-"):
            netns.delete_namespace(name)

    def _leave_cgroup(self):
        netns.join_cgroup(self._home_cgroup)
        if not self.cgroup.exists():
            return
        wait_until(lambda: not netns.cgroup_processes(self.cgroup), "the lab's processes end", seconds=10)
        netns.remove_cgroup(self.cgroup)

    def _unmount(self):
        if self.bpffs in netns.mounts("bpf"):
            netns.run("umount", self.bpffs)

    def _delete_folder(self):
        if os.environ.get("WEFT_KEEP_LOGS") != "1":
            shutil.rmtree(self.folder, ignore_errors=True)

    def _bpf_objects(self):
        return {kind: netns.bpf_objects(kind, names) for kind, names in self._names.items()}

    def pins(self):
        """What is pinned; folders may go while it is looked at. The kernel itself puts two iterators into the root of every
        bpffs."""
        return sorted(os.path.relpath(os.path.join(folder, name), self.bpffs) for folder, _, names in os.walk(self.bpffs)
                      for name in names if name not in ("maps.debug", "progs.debug"))

    def weft_objects(self):
        """Programs and maps with our names that were not there when the lab began."""
        return [f"{kind} {number} {name}" for kind, found in self._bpf_objects().items()
                for number, name in found.items() if number not in self._before[kind]]

    def leftovers(self, seconds=5.0):
        """What is left of the lab, its agent and its engine, in words; empty is what everybody wants."""
        def found():
            left = [f"namespace {name}" for name in netns.namespaces(self.run_id + "-")]
            if self.cgroup.exists():
                left += [f"cgroup {self.cgroup}"]
                left += [f"process {pid}" for pid in netns.cgroup_processes(self.cgroup) if pid != os.getpid()]
            if self.bpffs in netns.mounts("bpf"):
                left += [f"pin {pin}" for pin in self.pins()]
            left += self.weft_objects()
            return left
        with contextlib.suppress(Late):
            wait_until(lambda: not found(), "nothing is left", seconds)
        return found()


def remove_lab(run_id):
    """Removes a lab that no process owns any more. Returns what it removed."""
    removed = []
    folder = netns.cgroup2_root() / run_id
    if folder.exists():
        for pid in netns.cgroup_processes(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            removed.append(f"process {pid}")
        wait_until(lambda: not netns.cgroup_processes(folder), "the lab's processes end")
        netns.remove_cgroup(folder)
        removed.append(str(folder))
    for name in netns.namespaces(run_id + "-"):
        netns.delete_namespace(name)
        removed.append(f"namespace {name}")
    for mount in netns.mounts("bpf"):
        if mount.parent.name.startswith(run_id + "-"):
            netns.run("umount", mount)
            shutil.rmtree(mount.parent, ignore_errors=True)
            removed.append(f"mount {mount}")
    return removed


def sweep():
    """Removes the labs of dead processes (a test runner that was killed)."""
    found = netns.namespaces(PREFIX) + [entry.name for entry in netns.cgroup2_root().glob(PREFIX + "*")]
    runs = {match[0]: match[1] for match in (re.match(PREFIX + r"(\d+)x\d+", name) for name in found) if match}
    return [line for run_id, pid in runs.items() if not pathlib.Path(f"/proc/{pid}").exists()
            for line in remove_lab(run_id)]


def _close_all():
    for lab in list(_open_labs):
        lab.close()


def _on_signal(number, _frame):
    sys.exit(128 + number)  # atexit does the rest


atexit.register(_close_all)
for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, _on_signal)

if __name__ == "__main__":
    for _line in sweep():
        print(f"removed {_line}")
