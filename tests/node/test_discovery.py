# SPDX-License-Identifier: Apache-2.0
"""Pods without an annotation: their network namespaces are found by the cgroups that a kubelet would have made."""
import hashlib
import uuid

import pytest
from http1 import request
from manifests import namespace, policy, service, waypoint_gateway
from waiting import wait_until
from world import PORT

NODE = "node-a"
IP = "10.96.0.1"


def container(name):
    return hashlib.sha256(name.encode()).hexdigest()


def kubelet_pod(lab, name, node=NODE, **options):
    """A pod with a sandbox process, in cgroups as the kubelet (cgroupfs, burstable) and containerd lay them out."""
    pod = lab.pod(name, **options)
    pod.uid, pod.node = str(uuid.uuid4()), node
    pod.folder = lab.cgroup / "kubepods" / "burstable" / f"pod{pod.uid}"
    enter_container(pod, "sandbox")
    pod.sandbox = pod.start("sleep", "1000")
    enter_container(pod, "app")
    return pod


def enter_container(pod, name):
    """What the pod starts from here on is in that container."""
    pod.cgroup = pod.folder / container(name)
    pod.cgroup.mkdir(parents=True, exist_ok=True)


def manifest(pod, **changes):
    made = pod.manifest(**changes)
    del made["metadata"]["annotations"]
    made["metadata"]["uid"] = pod.uid
    made["spec"]["nodeName"] = pod.node
    return made


def state(agent, pod):
    for entry in agent.status()["pods"]:
        if entry["uid"] == f"{pod.namespace}/{pod.name}":
            return entry
    return None


@pytest.fixture
def node(own_lab):
    """client and server on this node, far on another; every request through the waypoint is denied."""
    lab = own_lab
    lab.client = kubelet_pod(lab, "client")
    lab.server = kubelet_pod(lab, "server", labels={"app": "web"})
    lab.server.serve(PORT)
    lab.far = kubelet_pod(lab, "far", node="node-b")
    lab.apply("base.yaml", namespace("default"), waypoint_gateway(), service("web", [IP], PORT, {"app": "web"}, "waypoint"),
              *[manifest(pod) for pod in (lab.client, lab.server, lab.far)])
    lab.node_agent = lab.agent(arguments=("--node-name", NODE, "--kubepods-root", lab.cgroup))
    lab.node_agent.sync()
    return lab


@pytest.mark.smoke
def test_pods_of_this_node_are_found_by_their_cgroups_and_governed(node):
    agent = node.node_agent
    for pod in (node.client, node.server):
        entry = state(agent, pod)
        assert entry["state"] == "captured"
        assert entry["netns"] == f"/proc/{pod.sandbox.pid}/ns/net"
    assert state(agent, node.far) is None
    assert request(node.client, IP, PORT).status == 200
    agent.apply("policy.yaml", policy("none", "DENY", [{}]))
    assert request(node.client, IP, PORT).status == 403
    assert request(node.far, node.server.ip4, PORT).status == 403


def test_pod_without_its_sandbox_process_stays_captured_until_its_last_process_ends(node):
    agent, server = node.node_agent, node.server
    agent.apply("policy.yaml", policy("none", "DENY", [{}]))
    before = state(agent, server)
    server.sandbox.kill()
    server.sandbox.wait()
    wait_until(lambda: state(agent, server)["netns"] != before["netns"], "it is named by another process")
    after = state(agent, server)
    assert (after["state"], after["id"]) == ("captured", before["id"])
    assert request(node.client, IP, PORT).status == 403
    server.delete()
    wait_until(lambda: state(agent, server)["state"] == "waiting", "the pod is gone")
    wait_until(server.link_gone, "nothing of ours keeps its namespace")


def test_pod_that_starts_later_and_a_process_in_another_namespace(node):
    agent = node.node_agent
    late = kubelet_pod(node, "late")
    stray = late.start("unshare", "-n", "sleep", "1000")
    late.start("nsenter", "--net=/proc/1/ns/net", "sleep", "1000")
    agent.apply("late.yaml", manifest(late))
    entry = state(agent, late)
    assert (entry["state"], entry["netns"]) == ("captured", f"/proc/{late.sandbox.pid}/ns/net")
    late.sandbox.kill()  # nobody is left in the pod's namespace, which lives: neither of these two is taken for it
    late.sandbox.wait()
    wait_until(lambda: "its processes are in others" in state(agent, late)["reason"], "the pod's namespace is missed")
    assert (stray.poll(), state(agent, late)["state"]) == (None, "waiting")
