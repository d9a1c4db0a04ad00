# SPDX-License-Identifier: Apache-2.0
"""weft-cni: a starting pod is held until its policies hold, and let go of when the container runtime says so."""
import json
import time
import uuid

import pytest
from cni import Runtime, end
from http1 import request
from manifests import namespace, policy, service, waypoint_gateway
from waiting import wait_until
from world import PORT

NODE = "node-a"
IP = "10.96.0.1"
DENIED = policy("none", "DENY", [{}])


def manifest(pod, addresses=(), **changes):
    """The Pod object as the API has it: without an annotation, and at first without addresses."""
    made = pod.manifest(**changes)
    del made["metadata"]["annotations"]
    made["metadata"]["uid"] = pod.uid
    made["spec"]["nodeName"] = NODE
    made["status"] = {"phase": "Running" if addresses else "Pending",
                      "conditions": [{"type": "Ready", "status": "True" if addresses else "False"}]}
    if addresses:
        made["status"]["podIPs"] = [{"ip": address} for address in addresses]
    return made


def new_pod(lab, name, **options):
    """A namespace with addresses, and no process of the pod yet: what a runtime has when it calls the plugins."""
    pod = lab.pod(name, **options)
    pod.uid = str(uuid.uuid4())
    return pod


def state(agent, pod):
    return next((entry for entry in agent.status()["pods"] if entry["uid"] == f"{pod.namespace}/{pod.name}"), None)


def left_of(lab, agent, pod):
    """What the agent still has of a pod, in words."""
    left = [] if state(agent, pod) is None or state(agent, pod)["state"] in ("waiting",) else ["the registry's entry"]
    left += [name for name in lab.pins() if name.startswith("weft/link_pod_")]
    return left


@pytest.fixture
def node(own_lab):
    """A service web in front of pods with the label app: web. Nobody may ask it; the pods come later."""
    lab = own_lab
    lab.outsider = lab.pod("outsider", namespace="plain")
    lab.apply("base.yaml", namespace("default"), namespace("plain", ambient=False), waypoint_gateway(),
              service("web", [IP], PORT, {"app": "web"}, "waypoint"), DENIED)
    lab.runtime = Runtime(lab)
    lab.node_agent = lab.agent(arguments=("--node-name", NODE, "--kubepods-root", lab.cgroup,
                                          "--cni-socket", lab.folder / "cni.sock"))
    lab.node_agent.sync()
    return lab


@pytest.mark.smoke
@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_pod_is_held_until_it_is_captured_and_its_first_packet_is_governed(node, version):
    agent, runtime = node.node_agent, node.runtime
    runtime.version = version
    server = new_pod(node, "server", labels={"app": "web"})
    adding = runtime.begin("ADD", server)
    wait_until(lambda: agent.status()["cni"]["starting"], "the agent is asked")
    assert "not seen this Pod" in agent.status()["cni"]["starting"][0]["reason"]
    node.apply("server.yaml", manifest(server))
    assert end(adding) == (0, runtime.result(server), "")
    assert state(agent, server)["state"] == "captured"
    assert set(state(agent, server)["addresses"]) == {server.ip4, server.ip6}
    server.serve(PORT)
    assert request(node.outsider, server.ip4, PORT).status == 403
    assert request(node.outsider, server.ip6, PORT).status == 403
    assert runtime.call("CHECK", server)[0] == 0
    assert agent.metrics().total("weft_agent_cni_answers_total", reason="captured") == 2
