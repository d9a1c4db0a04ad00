# SPDX-License-Identifier: Apache-2.0
"""The kubelet's probes of a pod to which a policy lets nobody: HTTP, TCP, gRPC and exec, and what is no probe."""
import time

import pytest
import settings
import weft
from kubectl import kubectl, objects
from node import Node
from pods import IN_POD, SUPPORT, TOOLS, apply, wait_for
from waypoint import gateway, policy

HTTP, GRPC = 8080, 8081
WATCHED_SECONDS = 20


def container(name, command, port, **probes):
    each = {"periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 2}
    return {"name": name, "image": TOOLS, "imagePullPolicy": "Never", "command": command,
            "ports": [{"containerPort": port}],
            "volumeMounts": [{"name": "support", "mountPath": IN_POD, "readOnly": True}],
            **{f"{kind}Probe": {**probe, **each} for kind, probe in probes.items()}}


def probed_pod(name, namespace, node):
    http = container("http", ["python3", "-B", f"{IN_POD}/echo_server.py", "--name", name, "--http", str(HTTP)], HTTP,
                     startup={"exec": {"command": ["true"]}}, readiness={"httpGet": {"path": "/", "port": HTTP}},
                     liveness={"tcpSocket": {"port": HTTP}})
    grpc = container("grpc", ["python3", "-B", f"{IN_POD}/grpc_health.py", str(GRPC)], GRPC,
                     startup={"grpc": {"port": GRPC}}, readiness={"grpc": {"port": GRPC}},
                     liveness={"tcpSocket": {"port": GRPC}})
    for each in (http, grpc):
        each["startupProbe"]["failureThreshold"] = 30
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"istio.io/use-waypoint": "waypoint"}},
            "spec": {"containers": [http, grpc], "nodeName": node, "terminationGracePeriodSeconds": 1,
                     "volumes": [{"name": "support", "hostPath": {"path": str(SUPPORT)}}]}}


@pytest.fixture(scope="module")
def closed(installed, namespace, clients):
    """A pod on each node, to which nobody may speak: {node: its address}."""
    kubectl("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    apply(gateway(namespace, **{"istio.io/waypoint-for": "all"}), policy(namespace, "nobody", [{}], action="DENY"))
    apply(*(probed_pod(f"closed-{node}", namespace, node) for node in settings.NODES))
    wait_for("condition=Ready", *(f"pod/closed-{node}" for node in settings.NODES), namespace=namespace, seconds=60)
    addresses = {node: objects("pod", f"closed-{node}", "-n", namespace)["status"]["podIP"] for node in settings.NODES}
    for node, client in clients.items():
        weft.wait_until(lambda client=client, node=node: client.curl(f"http://{addresses[node]}:{HTTP}/").status == 403,
                        30, f"the policy does not hold on {node}")
    return addresses


def test_the_pods_stay_ready_and_are_never_restarted(closed, namespace):
    deadline = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < deadline:
        for node in closed:
            pod = objects("pod", f"closed-{node}", "-n", namespace)
            ready = [each["status"] for each in pod["status"]["conditions"] if each["type"] == "Ready"]
            assert ready == ["True"]
            assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0, 0]
        time.sleep(1)
    for node in closed:
        assert weft.metrics(node).total("weft_datapath_inbound_passed_probe_total") > WATCHED_SECONDS
        assert weft.metrics(node).total("weft_datapath_probe_record_failed_total") == 0


@pytest.mark.parametrize("node", settings.NODES)
def test_another_process_of_the_host_is_judged(closed, node):
    url = f"http://{closed[node]}:{HTTP}/"
    done = Node(node).run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", url)
    assert done.stdout == "403"


@pytest.mark.parametrize("node", settings.NODES)
def test_a_pod_of_each_node_is_refused(closed, clients, node):
    assert {other: clients[node].curl(f"http://{address}:{HTTP}/").status for other, address in closed.items()} == \
        dict.fromkeys(closed, 403)
