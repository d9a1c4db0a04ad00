# SPDX-License-Identifier: Apache-2.0
"""Pods come and go, fifty at a time: nothing of them stays on the node."""
import contextlib
import glob
import os

import processes
import pytest
import settings
import weft
from kubectl import kubectl, objects
from node import Node
from pods import apply, delete, tools_pod, wait_for
from waypoint import gateway, methods, policy

PODS, ROUNDS = 50, 5
MAPS = ("pods", "pod_addresses", "inbound_ports", "listeners", "services")


@pytest.fixture(scope="module")
def governed(installed, namespace):
    """A namespace whose pods all have a policy: listeners, links and entries for each."""
    kubectl("label", "namespace", namespace, "istio.io/dataplane-mode=ambient", "istio.io/use-waypoint=waypoint")
    apply(gateway(namespace, **{"istio.io/waypoint-for": "all"}), policy(namespace, "only", methods("GET")))
    return namespace


def descriptors(node):
    """How many files agent and engine of a node have open, pods' sockets and namespaces among them."""
    counts = {}
    own = os.stat(f"/proc/{processes.pid_of(f'{node}-holder')}/ns/net").st_ino
    for exe in glob.glob("/proc/[0-9]*/exe"):
        with contextlib.suppress(OSError):
            program = os.path.basename(os.readlink(exe))
            folder = os.path.dirname(exe)
            if program.startswith("weft-") and os.stat(f"{folder}/ns/net").st_ino == own:
                counts[program] = len(os.listdir(f"{folder}/fd"))
    return counts


def state(node):
    """What of pods a node has: links, entries, namespaces of the network."""
    said = weft.status(node)
    pins = Node(node).run("ls", "/sys/fs/bpf/weft").stdout.split()
    return {"links": sum(pin.startswith("link_pod_") for pin in pins),
            "netns": len(Node(node).run("ls", "/run/netns", check=False).stdout.split()),
            "pods": len(said["pods"]),
            "maps": {entry["name"]: entry["entries"] for entry in said["datapath"]["maps"] if entry["name"] in MAPS}}


def test_two_hundred_and_fifty_pods_leave_nothing(governed):
    before = {node: state(node) for node in settings.NODES}
    files = {node: descriptors(node) for node in settings.NODES}
    for number in range(ROUNDS):
        pods = [tools_pod(f"pod-{number}-{index}", governed, settings.NODES[index % 2]) for index in range(PODS)]
        apply(*pods, seconds=60)
        wait_for("condition=Ready", "pod", "--all", namespace=governed, seconds=120)
        weft.wait_until(lambda: sum(state(node)["pods"] for node in settings.NODES)
                        >= PODS + sum(each["pods"] for each in before.values()), 60, "not every pod is captured")
        during = {node: state(node) for node in settings.NODES}
        assert all(during[node]["links"] > before[node]["links"] for node in settings.NODES)
        delete(*pods, seconds=120)
    assert objects("pods", "--namespace", governed) == []
    weft.wait_until(lambda: {node: state(node) for node in settings.NODES} == before, 20,
                    lambda: f"left: {[state(node) for node in settings.NODES]}, before: {before}")
    # Connections to the API server come and go by themselves; of a pod at least four files would stay.
    for node, counts in files.items():
        now = descriptors(node)
        assert all(now[program] < counts[program] + PODS / 2 for program in counts), (counts, now)
