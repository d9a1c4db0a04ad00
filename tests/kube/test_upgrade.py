# SPDX-License-Identifier: Apache-2.0
"""A rolling update of the DaemonSet while clients of both nodes go on."""
import pytest
import settings
import weft
from kubectl import kubectl
from pods import SteadyLoad, apply, echo_pod, service, wait_for
from waypoint import gateway, methods, policy

LOAD_SECONDS = 40


@pytest.fixture(scope="module")
def guarded(installed, namespace, clients):
    """A service with a policy, its pods on both nodes: {client's node: Client}."""
    kubectl("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    apply(gateway(namespace), policy(namespace, "get", methods("GET")),
          *(echo_pod(f"web-{node}", namespace, node, {"app": "web"}) for node in settings.NODES),
          service("web", namespace, labels={"istio.io/use-waypoint": "waypoint"}))
    wait_for("condition=Ready", "pod", "--all", namespace=namespace)
    for node, client in clients.items():
        weft.wait_until(lambda client=client: client.curl("http://web/", "-X", "POST").status == 403, 30,
                        f"the policy is not in force for clients of {node}")
    return clients


def test_a_rolling_update_loses_no_connection_and_no_request(guarded):
    loads = {(node, each): SteadyLoad(client, "web", LOAD_SECONDS, requests_per_connection=each)
             for node, client in guarded.items() for each in (1, 20)}
    before = {node: weft.agent_pod(node) for node in settings.NODES}
    kubectl("rollout", "restart", f"daemonset/{weft.RELEASE}", "--namespace", weft.NAMESPACE)
    weft.wait_rolled_out()
    assert all(weft.agent_pod(node) != pod for node, pod in before.items())
    results = {key: load.result() for key, load in loads.items()}
    assert {key: result["failures"] for key, result in results.items()} == {key: [] for key in loads}
    for (node, each), result in results.items():
        assert result["requests"] >= result["connections"] > 100, (node, each, result)
    # The policy held all the while, and does now.
    for client in guarded.values():
        assert client.curl("http://web/", "-X", "POST").status == 403
