# SPDX-License-Identifier: Apache-2.0
"""A rolling update of the DaemonSet while clients of both nodes go on."""
import json
import subprocess
import threading

import pytest
import settings
import weft
from kubectl import kubectl
from pods import IN_POD, apply, echo_pod, service, wait_for

LOAD_SECONDS = 40
GATEWAY = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
           "spec": {"gatewayClassName": "weft-waypoint",
                    "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]}}
ONLY_GET = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "spec": {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "waypoint"}],
                     "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}}


@pytest.fixture(scope="module")
def guarded(installed, namespace, clients):
    """A service with a policy, its pods on both nodes: {client's node: Client}."""
    kubectl("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    meta = {"namespace": namespace}
    apply({**GATEWAY, "metadata": {**meta, "name": "waypoint"}}, {**ONLY_GET, "metadata": {**meta, "name": "get"}},
          *(echo_pod(f"web-{node}", namespace, node, {"app": "web"}) for node in settings.NODES),
          service("web", namespace, labels={"istio.io/use-waypoint": "waypoint"}))
    wait_for("condition=Ready", "pod", "--all", namespace=namespace)
    for node, client in clients.items():
        weft.wait_until(lambda client=client: client.curl("http://web/", "-X", "POST").status == 403, 30,
                        f"the policy is not in force for clients of {node}")
    return clients


class Background:
    """The load of one client while the test goes on."""

    def __init__(self, client, *arguments):
        self.thread = threading.Thread(target=self._run, args=(client, arguments))
        self.thread.start()

    def _run(self, client, arguments):
        self.said = client.run("python3", "-B", f"{IN_POD}/steady_load.py", *map(str, arguments),
                               seconds=LOAD_SECONDS + 30, check=False)

    def result(self):
        self.thread.join()
        return json.loads(self.said.stdout) if self.said.stdout else {"failures": [self.said.stderr], "failed": 1}


def test_a_rolling_update_loses_no_connection_and_no_request(guarded):
    loads = {(node, each): Background(client, "web", 80, LOAD_SECONDS, 2, each)
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
