# SPDX-License-Identifier: Apache-2.0
"""The API server is killed: what is in force goes on, and what was changed meanwhile comes into force when it is back."""
import time

import control_plane
import processes
import pytest
import settings
import weft
from kubectl import kubectl
from pods import apply, echo_pod, service, steady_load, until, wait_for
from waypoint import gateway, methods, policy, route

AWAY_SECONDS = 60
IN_FORCE_SECONDS = 2.0
AFTER_SECONDS = 40  # its start, and what follows it


@pytest.fixture(scope="module")
def guarded(installed, namespace, clients):
    """A service whose route goes to `one`, and a policy that lets only GET through."""
    kubectl("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    apply(gateway(namespace), policy(namespace, "only", methods("GET")), route(namespace, "web", "web", 80, {"one": 1}),
          echo_pod("one", namespace, "node1", {"set": "web"}), echo_pod("two", namespace, "node2", {"set": "web"}),
          service("one", namespace), service("two", namespace),
          service("web", namespace, {"set": "web"}, labels={"istio.io/use-waypoint": "waypoint"}))
    wait_for("condition=Ready", "pod", "--all", namespace=namespace)
    for node, client in clients.items():
        weft.wait_until(lambda client=client: client.curl("http://web/", "-X", "POST").status == 403, 30,
                        f"the policy is not in force for clients of {node}")
    return clients


@pytest.fixture
def killed_api_server(nodes):
    assert processes.end(["kube-apiserver"]) == []
    try:
        yield
    finally:
        if not processes.alive("kube-apiserver"):
            control_plane.start_api_server()


def test_traffic_goes_on_and_changes_are_in_force_soon_after_its_return(guarded, namespace, request):
    loads = {node: steady_load(client, "web", AWAY_SECONDS + AFTER_SECONDS, requests_per_connection=5)
             for node, client in guarded.items()}
    seen = {node: until(client, "web", AWAY_SECONDS + AFTER_SECONDS, "PUT", 200, "two")
            for node, client in guarded.items()}
    request.getfixturevalue("killed_api_server")
    went = time.monotonic()
    for node in settings.NODES:
        assert weft.probe(node, "/readyz") == 200
    time.sleep(AWAY_SECONDS - (time.monotonic() - went))
    for node in settings.NODES:
        assert weft.probe(node, "/readyz") == 200
        assert weft.probe(node, "/healthz") == 200
    control_plane.start_api_server()
    # What people had waiting comes in at once. From then on the server has it: kubectl's own time is not ours.
    apply(policy(namespace, "only", methods("GET", "PUT")), route(namespace, "web", "web", 80, {"two": 1}))
    accepted = time.time()
    at = {node: each.result()["at"] for node, each in seen.items()}
    late = {node: when and when - accepted for node, when in at.items()}
    assert all(when is not None and when <= IN_FORCE_SECONDS for when in late.values()), late
    results = {node: load.result() for node, load in loads.items()}
    assert {node: result["failures"] for node, result in results.items()} == {node: [] for node in loads}
    assert all(result["requests"] > 1000 for result in results.values()), results
