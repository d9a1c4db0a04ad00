# SPDX-License-Identifier: Apache-2.0
"""Metrics of each node, and a Prometheus that finds both nodes by the annotations of Weft's pods."""
import json
import signal
import subprocess
import urllib.parse
import urllib.request

import pytest
import settings
import weft
from kubectl import kubectl
from pods import apply, echo_pod, service, wait_for
from waypoint import gateway, methods, policy, route

PROMETHEUS = settings.PROGRAMS / "prometheus"
PORT = 19090
REQUESTS = 40


# The discovery of pods by their annotations that Prometheus' own example configuration has.
def config():
    def relabel(sources, **rest):
        return {"source_labels": [f"__meta_kubernetes_pod_{name}" if name != "__address__" else name for name in sources],
                **rest}

    return {"global": {"scrape_interval": "1s"}, "scrape_configs": [{
        "job_name": "pods",
        "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": str(settings.KUBECONFIG)}],
        "relabel_configs": [
            relabel(["annotation_prometheus_io_scrape"], action="keep", regex="true"),
            relabel(["annotation_prometheus_io_path"], target_label="__metrics_path__", regex="(.+)"),
            relabel(["__address__", "annotation_prometheus_io_port"], target_label="__address__",
                    regex=r"([^:]+)(?::\d+)?;(\d+)", replacement="$1:$2"),
            relabel(["node_name"], target_label="node")]}]}


@pytest.fixture(scope="module")
def traffic(installed, namespace, clients):
    """Requests of clients on both nodes to both versions of a service with a route, and refused ones."""
    kubectl("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    for name in ("caller", "server"):
        apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}})
    pods = [echo_pod(f"web-{version}", namespace, node, {"app": "web", "version": version}, serviceAccountName="server")
            for version, node in (("v1", "node1"), ("v2", "node2"))]
    apply(gateway(namespace), policy(namespace, "get", methods("GET")), *pods,
          *(service(f"web-{version}", namespace, {"app": "web", "version": version}) for version in ("v1", "v2")),
          service("web", namespace, labels={"istio.io/use-waypoint": "waypoint"}),
          route(namespace, "web", "web", 80, {"web-v1": 1, "web-v2": 1}))
    wait_for("condition=Ready", "pod", "--all", namespace=namespace)
    for node, client in clients.items():
        weft.wait_until(lambda client=client: client.curl("http://web/", "-X", "POST").status == 403, 30,
                        f"the policy is not in force for clients of {node}")
        assert {answer.status for answer in client.curls("http://web/", REQUESTS)} == {200}
    return namespace


def requests_of(node, namespace, **labels):
    return weft.metrics(node).find("istio_requests_total", destination_service_namespace=namespace, **labels)


@pytest.mark.parametrize("node", settings.NODES)
def test_each_node_counts_the_requests_of_its_clients(traffic, node):
    found = requests_of(node, traffic, reporter="waypoint", response_code=200)
    assert sum(value for _, value in found) == REQUESTS
    assert {dict(labels)["destination_version"] for labels, _ in found} == {"v1", "v2"}
    domain = "spiffe://cluster.local"
    for labels, _ in found:
        labels = dict(labels)
        wanted = {"source_workload": f"client-{node}", "source_canonical_service": f"client-{node}",
                  "source_workload_namespace": traffic, "source_principal": f"{domain}/ns/{traffic}/sa/default",
                  "destination_workload": f"web-{labels['destination_version']}",
                  "destination_canonical_service": "web", "destination_workload_namespace": traffic,
                  "destination_principal": f"{domain}/ns/{traffic}/sa/server", "request_protocol": "http",
                  "connection_security_policy": "none"}
        assert {name: labels[name] for name in wanted} == wanted


@pytest.fixture(scope="module")
def prometheus(traffic, tmp_path_factory):
    """Its query function: the vector of an instant."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "config.json").write_text(json.dumps(config()))
    with open(settings.log_of("prometheus"), "wb") as log:
        process = subprocess.Popen([PROMETHEUS, f"--config.file={folder}/config.json", f"--storage.tsdb.path={folder}/data",
                                    f"--web.listen-address=127.0.0.1:{PORT}"], stdout=log, stderr=log)

    def query(text):
        url = f"http://127.0.0.1:{PORT}/api/v1/query?" + urllib.parse.urlencode({"query": text})
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]["result"]

    def answers():
        try:
            return query("vector(1)")
        except OSError:
            assert process.poll() is None, settings.why("prometheus")
            return None

    try:
        weft.wait_until(answers, 30, "Prometheus does not answer")
        yield query
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_prometheus_finds_both_nodes_and_answers(prometheus, traffic):
    def scraped():
        return {each["metric"]["node"] for each in prometheus("up == 1")} == set(settings.NODES)

    weft.wait_until(scraped, 30, "not both nodes are scraped")
    text = ('sum by (node, destination_version) (istio_requests_total{reporter="waypoint",response_code="200",'
            f'destination_service_namespace="{traffic}"}})')

    def counted():
        values = {}
        for each in prometheus(text):
            values[each["metric"]["node"]] = values.get(each["metric"]["node"], 0) + float(each["value"][1])
        return values == {node: REQUESTS for node in settings.NODES}

    weft.wait_until(counted, 30, lambda: f"Prometheus answers {prometheus(text)}")
