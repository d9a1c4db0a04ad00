# SPDX-License-Identifier: Apache-2.0
"""Places, addresses and versions of the test cluster, and how it says that something went wrong."""
import os
import pathlib
import re
import time

FOLDER = pathlib.Path(__file__).resolve().parent
REPOSITORY = FOLDER.parent.parent.parent
MODULES = FOLDER / "gomods"

# Built programs, images, CRDs and what Go needs to build them: outlives `make clean`, ended by `make kube-clean`.
CACHE = pathlib.Path(os.environ.get("WEFT_KUBE_CACHE") or
                     pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "weft-kube")
PROGRAMS = CACHE / "bin"
# Of the one cluster that a machine can have, whichever worktree started it. Gone after `make kube-down`.
STATE = pathlib.Path("/var/lib/weft-kube")
CERTIFICATES = STATE / "pki"
KUBECONFIG = CERTIFICATES / "admin.kubeconfig"
LOCK = pathlib.Path("/run/lock/weft-kube.lock")
# They stay after the cluster has ended: the next one overwrites them.
LOGS = REPOSITORY / "build" / "kube" / "log"

BRIDGE = "weft-kube0"
NODES = ("node1", "node2")
CONTROL_PLANE = "172.30.0.1"
ETCD_CLIENT, ETCD_PEER = 12379, 12380  # not etcd's own: the distribution's package may have started one
API_PORT = 6443
POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE, DNS_SERVICE = "10.96.0.1", "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"

# Images have names of no registry: the kubelet never pulls.
IMAGE_PREFIX = "localhost/weft-kube/"


class Failed(Exception):
    """The cluster could not do what was asked. Its text names the log that says why."""


def node_address(name):
    return f"172.30.0.{10 + NODES.index(name) + 1}"


def module_version(module, dependency):
    """The version of a dependency in gomods/<module>/go.mod: the one place where it is written."""
    text = (MODULES / module / "go.mod").read_text()
    match = re.search(rf"^(?:require)?\s*{re.escape(dependency)} (v\S+)", text, re.MULTILINE)
    if not match:
        raise Failed(f"gomods/{module}/go.mod does not require {dependency}")
    return match[1]


_began = time.monotonic()


def say(text):
    print(f"kube: {time.monotonic() - _began:6.1f} s  {text}", flush=True)


def log_of(name):
    LOGS.mkdir(parents=True, exist_ok=True)
    return LOGS / f"{name}.log"


def why(name, lines=12):
    """The end of a program's log, and where the rest is."""
    path = log_of(name)
    text = path.read_text(errors="replace") if path.exists() else ""
    tail = "\n".join("    " + line[:300] for line in text.splitlines()[-lines:])
    return f"see {path}, which ends with\n{tail}" if tail else f"its log {path} is empty"


def wait_for(condition, seconds, what, log, alive=lambda: True):
    """Returns the first truthy value of condition(); gives up when the time is over or alive() is False."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if not alive():
            raise Failed(f"{what}: its process has ended; {why(log)}")
        if time.monotonic() >= deadline:
            raise Failed(f"{what}: not within {seconds:g} s; {why(log)}")
        time.sleep(0.05)
