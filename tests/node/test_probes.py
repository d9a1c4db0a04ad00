# SPDX-License-Identifier: Apache-2.0
"""Probes of the kubelet pass whatever the policies say; nobody else on the node does.

The node is a network namespace with the agent, a process that listens and dials as a kubelet does, and others.
"""
import pathlib
import subprocess
import sys
import uuid

import pytest
from http1 import request
from manifests import policy
from waiting import read_line, wait_until
from world import PORT, TCP_PORT, World

KUBELET_PORT = 10250
SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "support" / "kubelet.py"
FAMILIES = pytest.mark.parametrize("family", [4, 6])


class Kubelet:
    def __init__(self, node, *arguments, prefix=()):
        self.process = node.launch(*prefix, sys.executable, SCRIPT, *arguments, KUBELET_PORT, stdin=subprocess.PIPE)
        self.pid = self.process.pid

    def probe(self, kind, address, port):
        self.process.stdin.write(f"{kind} {address} {port}\n")
        self.process.stdin.flush()
        return read_line(self.process.stdout, 20).strip()

    def end(self):
        self.process.kill()
        self.process.wait()


def address(pod, family):
    return pod.ip4 if family == 4 else pod.ip6


def kubelet_of(world):
    return world.agent.status()["kubelet"]


def known(world, kubelet):
    return kubelet_of(world) == {"port": KUBELET_PORT, "pid": kubelet.pid, "name": "python3", "fault": ""}


@pytest.fixture
def world(own_lab):
    """Two servers under a policy that denies everything; `world.node` is the host."""
    node = own_lab.pod("node", namespace="plain")
    made_kubelet = Kubelet(node)
    made = World(own_lab, host=node, arguments=("--kubelet-port", KUBELET_PORT))
    made.node, made.kubelet = node, made_kubelet
    made.policy("DENY", [{}])
    return made


@FAMILIES
@pytest.mark.smoke
def test_probes_pass_where_everybody_else_is_denied(world, family):
    assert known(world, world.kubelet), kubelet_of(world)
    server = address(world.a, family)
    with world.agent.rises("weft_datapath_inbound_passed_probe_total", by=3):
        assert world.kubelet.probe("http", server, PORT) == "200"
        assert world.kubelet.probe("tcp", server, PORT) == "connected"
        assert world.kubelet.probe("tcp", server, TCP_PORT) == "connected"
    for other in (world.node, world.client, world.stranger):
        assert request(other, server, PORT).status == 403
    peers = [peer for peer, _ in world.apps["a"].take()]
    assert len(peers) == 2 and all(address(world.node, family) in str(peer) for peer in peers), peers


@FAMILIES
def test_probe_is_a_connection_not_an_address(world, family):
    """The same process of the host, after the kubelet has ended, from the same address."""
    assert world.kubelet.probe("http", address(world.a, family), PORT) == "200"
    world.kubelet.end()
    assert request(world.node, address(world.a, family), PORT).status == 403


def test_kubelet_that_restarts_is_found_again_at_once(world):
    world.kubelet.end()
    wait_until(lambda: "nobody listens at TCP port 10250" in kubelet_of(world)["fault"], "its end is noticed")
    assert world.agent.metrics().total("weft_agent_kubelet_found") == 0
    assert "its probes are judged like any connection: nobody listens" in world.agent.ctl("status").stdout
    again = Kubelet(world.node)
    wait_until(lambda: known(world, again), lambda: f"the new one is found: {kubelet_of(world)}", 3)
    assert world.agent.metrics().total("weft_agent_kubelet_found") == 1
    assert again.probe("http", world.a.ip4, PORT) == "200"


def test_listener_that_is_not_root_or_in_a_pod_is_no_kubelet(world):
    world.kubelet.end()
    anybody = Kubelet(world.node, "--user", "65534")
    wait_until(lambda: f"process {anybody.pid} (python3) runs as user 65534, not as root" in kubelet_of(world)["fault"],
               lambda: f"it is not taken for one: {kubelet_of(world)}")
    assert anybody.probe("http", world.a.ip4, PORT) == "403"
    anybody.end()
    uid = str(uuid.uuid4())
    world.node.cgroup = world.lab.cgroup / "kubepods" / "burstable" / f"pod{uid}" / ("0" * 64)
    world.node.cgroup.mkdir(parents=True)
    pod = Kubelet(world.node)  # of a pod with hostNetwork
    wait_until(lambda: f"process {pod.pid} (python3) is in pod {uid}" in kubelet_of(world)["fault"],
               lambda: f"nor is this one: {kubelet_of(world)}")
    assert pod.probe("http", world.a.ip4, PORT) == "403"
    assert kubelet_of(world)["pid"] == 0


def test_probes_pass_while_no_agent_runs_and_a_new_kubelet_waits_for_one(world):
    world.agent.kill_agent()
    assert world.kubelet.probe("http", world.a.ip4, PORT) == "200"
    world.kubelet.end()
    again = Kubelet(world.node)
    assert again.probe("http", world.a.ip4, PORT) == "403"
    world.agent.start()
    wait_until(lambda: known(world, again), lambda: f"it is found: {kubelet_of(world)}")
    assert again.probe("http", world.a.ip4, PORT) == "200"


def test_probes_pass_while_no_engine_lives(world):
    agent = world.agent
    agent.kill()  # the engine too; the hooks stay
    assert world.kubelet.probe("tcp", world.a.ip6, PORT) == "connected"
    assert world.kubelet.probe("http", world.a.ip4, PORT) == "200"
    with pytest.raises(OSError):
        request(world.node, world.a.ip4, PORT, timeout=1)
    assert agent.cleanup().returncode == 0


# ---- a node that is a container: its process ids are not those that BPF sees first

@pytest.fixture
def contained(own_lab):
    """As `world`; kubelet and agent are in a pid namespace and see only that in /proc."""
    node = own_lab.pod("node", namespace="plain")
    holder = node.start("unshare", "--pid", "--fork", "--kill-child", "--propagation", "slave", "--mount-proc",
                        "sleep", "1000")
    first = wait_until(lambda: children(holder.pid), "the namespace's first process")[0]
    wait_until(lambda: pathlib.Path(f"/proc/{first}/comm").read_text() == "sleep\n", "its /proc is mounted")
    enter = ("nsenter", "--target", first, "--pid", "--mount", "--wd")
    kubelet = Kubelet(node, prefix=enter)
    made = World(own_lab, host=node, prefix=enter, arguments=("--kubelet-port", KUBELET_PORT))
    made.node, made.kubelet = node, kubelet
    made.policy("DENY", [{}])
    return made


def children(pid):
    return [int(each) for each in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_kubelet_of_a_node_in_a_pid_namespace_is_recognised(contained):
    inside = children(contained.kubelet.pid)[0]  # nsenter forks
    *_, own = pathlib.Path(f"/proc/{inside}/status").read_text().split("NSpid:")[1].splitlines()[0].split()
    assert int(own) != inside
    assert kubelet_of(contained) == {"port": KUBELET_PORT, "pid": int(own), "name": "python3", "fault": ""}
    assert contained.kubelet.probe("http", contained.a.ip4, PORT) == "200"
    assert contained.kubelet.probe("http", contained.a.ip6, PORT) == "200"
    assert request(contained.node, contained.a.ip4, PORT).status == 403
