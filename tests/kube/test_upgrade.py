# SPDX-License-Identifier: Apache-2.0
"""A rolling update of the DaemonSet while clients of both nodes go on."""
import json
import time

import pytest
import settings
import weft
from kubectl import kubectl, objects
from pods import apply, echo_pod, service, steady_load, wait_for
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
    loads = {(node, each): steady_load(client, "web", LOAD_SECONDS, requests_per_connection=each)
             for node, client in guarded.items() for each in (1, 20)}
    before = {node: weft.agent_pod(node) for node in settings.NODES}
    kubectl("rollout", "restart", f"daemonset/{weft.RELEASE}", "--namespace", weft.NAMESPACE)
    weft.wait_rolled_out(LOAD_SECONDS - 5)  # all of it is under load
    assert all(weft.agent_pod(node) != pod for node, pod in before.items())
    results = {key: load.result() for key, load in loads.items()}
    assert {key: result["failures"] for key, result in results.items()} == {key: [] for key in loads}
    for (node, each), result in results.items():
        assert result["requests"] >= result["connections"] > 100, (node, each, result)
    # The policy held all the while, and does now.
    for client in guarded.values():
        assert client.curl("http://web/", "-X", "POST").status == 403


def test_an_agent_that_cannot_read_its_objects_does_not_take_the_place_of_the_old_one(nodes, guarded):
    """A release whose agents have no API server: the rollout stops at the first pod, and nothing changes."""
    before = {node: weft.agent_pod(node) for node in settings.NODES}
    closed = {"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
              "users": [{"name": "u", "user": {"token": "x"}}],
              "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}
    for node in settings.NODES:
        nodes[node].run("sh", "-c", f"echo '{json.dumps(closed)}' >/run/weft/closed.kubeconfig")
    weft.helm("upgrade", weft.RELEASE, weft.CHART, "--namespace", weft.NAMESPACE, "--reuse-values",
              "--set", "agent.extraArgs={--kubeconfig=/run/weft/closed.kubeconfig}")
    try:
        weft.wait_until(lambda: len(weft.pods_of()) > len(settings.NODES), 30, "no new pod comes")
        time.sleep(20)  # four times what a readiness probe needs
        (new,) = set(weft.pods_of()) - set(before.values())
        agent = next(each for each in objects("pod", new, "--namespace", weft.NAMESPACE)["status"]["containerStatuses"]
                     if each["name"] == "agent")
        assert (agent["restartCount"], agent["ready"], list(agent["state"])) == (0, False, ["running"]), agent
        for node, name in before.items():
            assert name in weft.pods_of(), f"{node}: the old pod has gone"
            assert guarded[node].curl("http://web/", "-X", "POST").status == 403
            assert guarded[node].curl("http://web/").status == 200
    finally:
        weft.install()
        for node in settings.NODES:
            nodes[node].run("rm", "-f", "/run/weft/closed.kubeconfig")
