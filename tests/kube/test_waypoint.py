# SPDX-License-Identifier: Apache-2.0
"""The two manifests of the demo, applied with kubectl unchanged, and their effect from pods of both nodes."""
import collections

import pytest
import settings
import weft
from kubectl import kubectl, objects
from pods import Client, apply, delete, echo_pod, wait_for

DEMO = settings.REPOSITORY / "config" / "examples" / "demo"
POLICY, ROUTE = DEMO / "3-policy.yaml", DEMO / "4-route.yaml"
PORT = 9080
REQUESTS = 1000
DENIED = "RBAC: access denied"
GATEWAY = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
           "metadata": {"name": "waypoint", "namespace": "default"},
           "spec": {"gatewayClassName": "weft-waypoint",
                    "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}


def reviews(name, selector, labels=None):
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
            "spec": {"selector": selector, "ports": [{"name": "http", "port": PORT}]}}


@pytest.fixture(scope="module")
def bookinfo(installed):
    """Clients on both nodes, reviews in two versions, one on each, ratings; the policy and the route are in force."""
    clients = {node: Client(f"client-{node}", "default", node) for node in settings.NODES}
    clients["outsider"] = Client("outsider", "elsewhere", "node1")
    clients["stranger"] = Client("stranger", "not-enrolled", "node2")
    pods = [echo_pod(f"reviews-{version}", "default", node, {"app": "reviews", "version": version}, PORT)
            for version, node in (("v1", "node1"), ("v2", "node2"))]
    pods.append(echo_pod("ratings", "default", "node2", port=PORT))
    services = [reviews("reviews", {"app": "reviews"}, {"istio.io/use-waypoint": "waypoint"}),
                reviews("reviews-v1", {"app": "reviews", "version": "v1"}),
                reviews("reviews-v2", {"app": "reviews", "version": "v2"}), reviews("ratings", {"app": "ratings"})]
    for name in ("elsewhere", "not-enrolled"):
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for name in ("default", "elsewhere"):
        kubectl("label", "namespace", name, "istio.io/dataplane-mode=ambient", "--overwrite")
    manifests = [*services, *pods, *(client.manifest for client in clients.values()), GATEWAY]
    try:
        apply(*manifests)
        for namespace in ("default", "elsewhere", "not-enrolled"):
            wait_for("condition=Ready", "pod", "--all", namespace=namespace)
        for manifest in (POLICY, ROUTE):
            kubectl("apply", "-f", manifest)
        for node in settings.NODES:  # each node has its own time to learn of them
            weft.wait_until(lambda node=node: clients[node].curl(f"http://reviews:{PORT}/", "-X", "POST").status == 403,
                            30, f"the policy is not in force for clients of {node}")
            weft.wait_until(lambda node=node: any("HTTPRoute" == each["kind"] and each["name"] == "reviews"
                                                  for each in weft.status(node)["objects"]), 30, "the route is unknown")
        weft.sync()
        yield clients
    finally:
        for manifest in (ROUTE, POLICY):
            kubectl("delete", "--ignore-not-found", "-f", manifest)
        delete(*manifests)
        kubectl("label", "namespace", "default", "istio.io/dataplane-mode-", check=False)
        kubectl("delete", "namespace", "elsewhere", "not-enrolled", "--ignore-not-found", seconds=70)


def pod_address(name):
    return objects("pod", name, "--namespace", "default")["status"]["podIP"]


@pytest.mark.parametrize("node", settings.NODES)
def test_the_route_splits_nine_to_one_for_clients_of_each_node(bookinfo, node):
    answers = bookinfo[node].curls(f"http://reviews:{PORT}/", REQUESTS)
    assert {answer.status for answer in answers} == {200}
    shares = collections.Counter(answer.json()["pod"] for answer in answers)
    assert abs(shares["reviews-v1"] / REQUESTS - 0.9) <= 0.03, shares
    assert shares["reviews-v1"] + shares["reviews-v2"] == REQUESTS, shares


@pytest.mark.parametrize("node", settings.NODES)
@pytest.mark.parametrize("method, status", [("GET", 200), ("POST", 403), ("DELETE", 403)])
def test_the_policy_lets_only_get_through_for_clients_of_each_node(bookinfo, node, method, status):
    answer = bookinfo[node].curl(f"http://reviews:{PORT}/", "-X", method)
    assert answer.status == status
    assert (answer.body == DENIED) == (status == 403)


@pytest.mark.parametrize("who", ["outsider", "stranger"])
def test_another_namespace_is_refused(bookinfo, who):
    answer = bookinfo[who].curl(f"http://reviews.default:{PORT}/")
    assert (answer.status, answer.body) == (403, DENIED)


@pytest.mark.parametrize("who", ["outsider", "stranger"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_pods_own_addresses_are_guarded_from_both_nodes(bookinfo, who, version):
    """The client's node and the pod's: the same and the other, enrolled and not."""
    answer = bookinfo[who].curl(f"http://{pod_address(f'reviews-{version}')}:{PORT}/")
    assert (answer.status, answer.body) == (403, DENIED)


@pytest.mark.parametrize("node", settings.NODES)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_pods_own_addresses_are_guarded_by_method_too(bookinfo, node, version):
    url = f"http://{pod_address(f'reviews-{version}')}:{PORT}/"
    assert [bookinfo[node].curl(url, "-X", method).status for method in ("GET", "POST")] == [200, 403]


@pytest.mark.parametrize("who", [*settings.NODES, "outsider", "stranger"])
def test_a_service_without_a_waypoint_is_left_alone(bookinfo, who):
    assert bookinfo[who].curl(f"http://ratings.default:{PORT}/", "-X", "POST").status == 200


@pytest.mark.parametrize("node", settings.NODES)
def test_the_clients_address_is_what_the_application_sees(bookinfo, node):
    answer = bookinfo[node].curl(f"http://reviews:{PORT}/")
    assert answer.json()["accept"].startswith(f"{bookinfo[node].address()}:"), answer.body
