#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The test cluster of this machine.

  cluster.py build   builds what is missing
  cluster.py up      builds what is missing, then brings it up, unless it is up already
  cluster.py down    ends it and tells what is left of it (nothing)
  cluster.py clean   down, then without the cache of built programs
"""
import contextlib
import fcntl
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import builds
import control_plane
import images
import node
import pki
import processes
import settings
from kubectl import kubectl
from node import Node
from settings import FOLDER, KUBECONFIG, LOGS, NODES, PROGRAMS, STATE, Failed, say

LOCK_SECONDS = 3600  # another run may be building
SYSCTLS_FILE = STATE / "sysctls.json"
STAMPS_FILE = STATE / "stamps.json"  # written last: its cluster has come up whole
# The kubelet sets these for the whole machine, they are in no namespace, and leaves them: panic_on_oops among them.
SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
           "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")


def build():
    """Returns {name: stamp} of programs, images and CRDs."""
    return builds.ensure() | images.ensure()


def up():
    stamps = build()
    if _is_up(stamps):
        say("already up")
        return
    for line in down():
        raise Failed(f"a former cluster cannot be ended: {line}")
    shutil.rmtree(LOGS, ignore_errors=True)
    try:
        _bring_up()
    except BaseException:
        with contextlib.suppress(Failed):
            down()  # the logs stay
        raise
    STAMPS_FILE.write_text(json.dumps(stamps))


def down():
    """Ends what is recorded, whole or not. Returns what is left."""
    if not STATE.exists():
        return []
    nodes = [Node(name) for name in NODES]
    if processes.of_this_boot():
        for each in nodes:
            each.kill()
        processes.end(processes.recorded())
        for each in nodes:
            each.remove()
        control_plane.ip("link", "del", settings.BRIDGE, check=False)
        _restore_sysctls()
    node.remove_mount_points()
    left = _leftovers(nodes)
    if not left:
        shutil.rmtree(STATE)
    return left


def clean():
    shutil.rmtree(settings.CACHE, ignore_errors=True)


def _bring_up():
    processes.RECORDS.mkdir(parents=True)
    STATE.chmod(0o755)
    _save_sysctls()
    node.create_mount_points()
    control_plane.create_bridge()
    pki.create()
    control_plane.start_etcd()
    nodes = [Node(name) for name in NODES]
    for each in nodes:
        each.create()
        each.start_containerd()
    imports = [each.begin_imports() for each in nodes]
    control_plane.start_api_server()
    control_plane.start_controllers()
    for each, importing in zip(nodes, imports):
        each.finish_imports(importing)
    say("images are imported")
    kubectl("create", "clusterrolebinding", "weft-kube-proxy", "--clusterrole=system:node-proxier",
            "--user=system:kube-proxy")
    for each in nodes:
        each.start_kubelet()
    _apply_crds()
    for each in nodes:
        each.wait_until_registered()
    for each in nodes:
        each.connect([other for other in nodes if other is not each])
    for each in nodes:
        each.wait_until_ready()
    kubectl("apply", "-f", FOLDER / "objects" / "coredns.yaml")
    _wait_for_dns()


def _apply_crds():
    # Server-side: the schema of HTTPRoute is larger than the annotation of a client-side apply may be.
    files = [part for path in builds.crd_files() for part in ("-f", path)]
    kubectl("apply", "--server-side", *files, seconds=120)
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s", seconds=70)
    say("CRDs are established")


def _wait_for_dns():
    wait = ("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=90s")
    if kubectl(*wait, check=False, seconds=100).returncode != 0:
        events = kubectl("-n", "kube-system", "events", check=False).stdout
        raise Failed(f"CoreDNS does not become ready:\n{events[-2000:]}")
    say("CoreDNS is ready")


def _is_up(stamps):
    """Everything recorded lives, the API answers, and the programs are those that were started."""
    names = [*control_plane.NAMES, *(f"{name}-{part}" for name in NODES for part in ("holder", *node.DAEMONS))]
    return (STAMPS_FILE.exists() and json.loads(STAMPS_FILE.read_text()) == stamps and
            all(processes.alive(name) for name in names) and control_plane.api_is_ready() and
            kubectl("wait", "--for=condition=Ready", "node", *NODES, "--timeout=10s", check=False).returncode == 0)


def _save_sysctls():
    values = {name: _sysctl(name).read_text().strip() for name in SYSCTLS if _sysctl(name).exists()}
    SYSCTLS_FILE.write_text(json.dumps(values))


def _restore_sysctls():
    for name, value in _saved_sysctls().items():
        if _sysctl(name).read_text().strip() != value:
            _sysctl(name).write_text(value)


def _saved_sysctls():
    return json.loads(SYSCTLS_FILE.read_text()) if SYSCTLS_FILE.exists() else {}


def _sysctl(name):
    return pathlib.Path("/proc/sys", name)


def _leftovers(nodes):
    if not processes.of_this_boot():
        return []
    mounts = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    return [f"process {processes.pid_of(name)} ({name})" for name in processes.recorded() if processes.alive(name)] + \
        [line for each in nodes for line in each.leftovers()] + \
        [f"link {settings.BRIDGE}"] * (f" {settings.BRIDGE}:" in control_plane.ip("-o", "link")) + \
        [f"mount {point}" for point in mounts if point.startswith(f"{STATE}/")] + \
        [f"sysctl {name} = {_sysctl(name).read_text().strip()}, was {value}"
         for name, value in _saved_sysctls().items() if _sysctl(name).read_text().strip() != value]


@contextlib.contextmanager
def _alone():
    """One command at a time on this machine."""
    settings.LOCK.parent.mkdir(parents=True, exist_ok=True)
    with open(settings.LOCK, "w") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Failed(f"another run holds {settings.LOCK} for {LOCK_SECONDS} s") from None
                time.sleep(0.2)
        yield


def main(verb):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("kube: terminated"))
    with _alone():
        if verb == "build":
            build()
            return
        if verb == "is-up":
            sys.exit(0 if STAMPS_FILE.exists() else 1)
        if verb == "up":
            up()
            say(f"export KUBECONFIG={KUBECONFIG} PATH={PROGRAMS}:$PATH")
            return
        for line in (left := down()):
            print(f"kube: left: {line}", file=sys.stderr)
        if left:
            raise Failed("not everything could be ended")
        if verb == "clean":
            clean()
        say("down")


if __name__ == "__main__":
    if sys.argv[1:] not in (["build"], ["up"], ["is-up"], ["down"], ["clean"]):
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except (Failed, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"kube: {error}\nkube: all logs: {LOGS}")
