# SPDX-License-Identifier: Apache-2.0
"""The cluster itself: what the other tests of this folder stand on."""
import subprocess
import sys
import time

import processes
import pytest
import settings
from kubectl import objects
from pods import Client, apply, echo_pod, service, wait_for

CRDS = {
    "gateway.networking.k8s.io": ["gatewayclasses", "gateways", "httproutes", "grpcroutes", "tcproutes", "tlsroutes",
                                  "referencegrants", "backendtlspolicies"],
    "security.istio.io": ["authorizationpolicies", "requestauthentications", "peerauthentications"],
    "networking.istio.io": ["serviceentries", "workloadentries", "destinationrules"],
}


@pytest.fixture(scope="module")
def web(namespace, clients):
    """A service whose only pod is on the second node."""
    apply(echo_pod("web", namespace, "node2"), service("web", namespace))
    wait_for("condition=Ready", "pod/web", namespace=namespace)
    address = objects("service", "web", "--namespace", namespace)["spec"]["clusterIP"]
    for client in clients.values():  # kube-proxy of each node takes its time
        client.curls(f"http://{address}/", 1, "--retry", "20", "--retry-connrefused", "--retry-delay", "1")
    return address


def test_two_nodes_are_ready_and_run_the_version_that_was_built(nodes):
    ready = {node["metadata"]["name"]: (node["status"]["nodeInfo"]["kubeletVersion"],
                                        [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"])
             for node in objects("nodes")}
    version = settings.module_version("kube", "k8s.io/kubernetes")
    assert ready == {name: (version, ["True"]) for name in ("node1", "node2")}


@pytest.mark.parametrize("node", settings.NODES)
@pytest.mark.parametrize("by", ["address", "name", "full name"])
def test_a_service_is_reached_from_a_pod_of_each_node(clients, web, namespace, node, by):
    host = {"address": web, "name": "web", "full name": f"web.{namespace}.svc.cluster.local"}[by]
    answer = clients[node].curl(f"http://{host}/hello")
    assert answer.status == 200, answer
    assert answer.json()["pod"] == "web"


@pytest.mark.parametrize("node", settings.NODES)
def test_many_requests_are_one_call(clients, web, node):
    answers = clients[node].curls("http://web/", 200)
    assert [(answer.status, answer.json()["pod"]) for answer in answers] == [(200, "web")] * 200


def test_a_refused_connection_is_told(clients, web):
    answer = clients["node1"].curl(f"http://{clients['node2'].address()}:1/")
    assert answer.status == 0
    assert "onnect" in answer.error


def test_a_script_runs_in_a_pod(clients):
    assert clients["node2"].python("import http1, sys; print(sys.argv[1])", "said") == "said\n"


def test_crds_are_established(nodes):
    established = {crd["metadata"]["name"] for crd in objects("customresourcedefinitions")
                   for condition in crd["status"]["conditions"]
                   if (condition["type"], condition["status"]) == ("Established", "True")}
    assert {f"{kind}.{group}" for group, kinds in CRDS.items() for kind in kinds} - established == set()


def test_a_node_has_cgroups_and_a_bpffs_and_a_run_folder_of_its_own(nodes, namespace, clients):
    """What is attached to the root of a node's cgroup2 must reach neither the other node nor the machine."""
    volumes = {"cgroup": "/sys/fs/cgroup", "bpf": "/sys/fs/bpf", "run": "/run"}
    seen = {}
    for node in clients:
        client = Client(f"agent-{node}", namespace, node, hostNetwork=True, hostPID=True)
        client.manifest["spec"]["volumes"] += [{"name": name, "hostPath": {"path": path}}
                                               for name, path in volumes.items()]
        container = client.manifest["spec"]["containers"][0]
        container["volumeMounts"] += [{"name": name, "mountPath": f"/host/{name}",
                                       "mountPropagation": "HostToContainer"} for name in volumes]
        container["securityContext"] = {"privileged": True}
        apply(client.manifest)
        wait_for("condition=Ready", f"pod/{client.name}", namespace=namespace)
        mounts = [line.split() for line in client.run("cat", "/proc/mounts").stdout.splitlines()]
        root, = [point for _, point, kind, *_ in mounts if kind == "cgroup2" and point.startswith("/host/cgroup")]
        seen[node] = client.run("stat", "-c", "%d:%i", root, "/host/bpf", "/host/run").stdout.split()
        assert "kubepods" in client.run("ls", root).stdout.split()
        assert client.run("ls", "/host/run/netns").stdout.count("cni-") >= 1
    machine = subprocess.run(["stat", "-c", "%d:%i", nodes["node1"].cgroups[-1].parent, "/sys/fs/bpf", "/run"],
                             capture_output=True, text=True, check=True).stdout.split()
    for one, two, three in zip(seen["node1"], seen["node2"], machine, strict=True):
        assert len({one, two, three}) == 3


def test_bringing_up_what_is_up_changes_nothing(nodes):
    before = {name: processes.pid_of(name) for name in processes.recorded()}
    began = time.monotonic()
    subprocess.run([sys.executable, settings.FOLDER / "cluster.py", "up"], check=True, timeout=60)
    assert time.monotonic() - began < 20
    assert {name: processes.pid_of(name) for name in processes.recorded()} == before
