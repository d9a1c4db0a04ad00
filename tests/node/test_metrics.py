# SPDX-License-Identifier: Apache-2.0
"""Istio's metrics as a dashboard reads them: exact names, labels, order and values."""
import socket
import struct

import pytest
from http1 import raw, request
from manifests import service
from waiting import wait_until
from world import PORT, to

LABELS = ["reporter", "source_workload", "source_canonical_service", "source_canonical_revision",
          "source_workload_namespace", "source_principal", "source_app", "source_version", "source_cluster",
          "destination_workload", "destination_workload_namespace", "destination_principal", "destination_app",
          "destination_version", "destination_service", "destination_canonical_service",
          "destination_canonical_revision", "destination_service_name", "destination_service_namespace",
          "destination_cluster", "request_protocol", "response_code", "grpc_response_status", "response_flags",
          "connection_security_policy"]
BUCKETS = ["0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000", "30000", "60000",
           "300000", "600000", "1800000", "3600000", "+Inf"]
REQUESTS = "istio_requests_total"


def counted(world, act, requests=1, **labels):
    """How much istio_requests_total grew by an action, for these labels; waits until all its requests are counted."""
    total = world.agent.metrics().total(REQUESTS)
    before = world.agent.metrics().total(REQUESTS, **labels)
    act()
    wait_until(lambda: world.agent.metrics().total(REQUESTS) >= total + requests,
               lambda: f"{requests} requests are counted: {world.agent.metrics().total(REQUESTS) - total}")
    return world.agent.metrics().total(REQUESTS, **labels) - before


@pytest.mark.smoke
def test_labels_are_exactly_istios_in_istios_order_and_true(world):
    world.route(to("a"))
    world.get(path="/metrics-1")
    samples = wait_until(lambda: world.agent.metrics().find(REQUESTS, destination_workload="a", response_code=200),
                         "the request is counted")
    fields, _ = samples[0]
    assert [name for name, _ in fields] == LABELS
    assert dict(fields) == {
        "reporter": "waypoint", "source_workload": "client", "source_canonical_service": "client",
        "source_canonical_revision": "latest", "source_workload_namespace": "default",
        "source_principal": "spiffe://cluster.local/ns/default/sa/client", "source_app": "client",
        "source_version": "unknown", "source_cluster": "Kubernetes", "destination_workload": "a",
        "destination_workload_namespace": "default",
        "destination_principal": "spiffe://cluster.local/ns/default/sa/server", "destination_app": "web",
        "destination_version": "v1", "destination_service": "a.default.svc.cluster.local",
        "destination_canonical_service": "web", "destination_canonical_revision": "v1",
        "destination_service_name": "a", "destination_service_namespace": "default",
        "destination_cluster": "Kubernetes", "request_protocol": "http", "response_code": "200",
        "grpc_response_status": "", "response_flags": "-", "connection_security_policy": "none"}


def test_histograms_have_istios_buckets_and_add_up(world):
    world.route(to("a"))
    world.get()
    for name in ("istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"):
        series = wait_until(lambda: world.agent.metrics().find(name + "_bucket"), f"{name} is there")
        first = [fields for fields, _ in series if fields[:-1] == series[0][0][:-1]]
        assert [dict(fields)["le"] for fields in first] == BUCKETS
        assert [label for label, _ in first[0]] == [*LABELS, "le"]
        metrics = world.agent.metrics()
        assert metrics.total(name + "_count") == metrics.total(name + "_bucket", le="+Inf") == metrics.total(REQUESTS)


def test_each_request_is_counted_once(world):
    world.route(to("a"))

    def ten():
        with world.session() as session:
            for _ in range(10):
                session.request()
    assert counted(world, ten, requests=10) == 10


def test_body_sizes_are_in_the_byte_metrics(world):
    world.route(to("a"))

    def sums():
        metrics = world.agent.metrics()
        return metrics.total("istio_request_bytes_sum"), metrics.total("istio_response_bytes_sum")
    before = sums()
    world.get(method="POST", path="/?bytes=200000", body=b"x" * 100000)
    wait_until(lambda: sums()[1] - before[1] >= 200000, "the bytes are counted")
    up, down = (after - earlier for after, earlier in zip(sums(), before))
    assert 100000 <= up < 101000 and 200000 <= down < 201000


@pytest.mark.parametrize("case,labels", [
    ("denied", {"response_code": 403, "response_flags": "-"}),
    ("no route", {"response_code": 404, "response_flags": "NR", "destination_workload": "unknown"}),
    ("no endpoint", {"response_code": 503, "response_flags": "UH"}),
    ("bad backend", {"response_code": 500, "destination_workload": "unknown"}),
    ("application resets", {"response_code": 503, "response_flags": "UC", "destination_workload": "a"}),
    ("application listens nowhere", {"response_code": 503, "response_flags": "UF"}),
    ("client goes away", {"response_flags": "DC"}),
])
def test_response_flags(world, case, labels):
    if case == "denied":
        world.policy("DENY", [{}])
    elif case == "no route":
        world.route({"matches": [{"path": {"type": "Exact", "value": "/only"}}], **to("a")})
    elif case == "no endpoint":
        world.route(to("nobody"))
    elif case == "bad backend":
        world.route(to("no-such-service"))
    elif case == "application listens nowhere":
        world.agent.apply("closed.yaml", service("closed", ["10.96.0.88"], 1234, {"only": "a"}, "waypoint"))
    else:
        world.route(to("a"))

    def act():
        if case == "client goes away":
            sock = world.client.connect(world.ip("web"), PORT)
            sock.sendall(b"GET /?delay_ms=500 HTTP/1.1\r\nHost: web\r\n\r\n")
            wait_until(lambda: b"delay_ms" in world.apps["a"].bytes_received(), "the application has the request")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a FIN may be a half-close
            sock.close()
        elif case == "application listens nowhere":
            request(world.client, "10.96.0.88", 1234)
        elif case == "application resets":
            world.get(method="POST", path="/?reset=head", body=b"x")
        else:
            world.get()
    assert counted(world, act, **labels) == 1


def test_request_by_pod_address_from_a_known_pod_names_it(world):
    world.policy("ALLOW", [{}])
    assert counted(world, lambda: request(world.stranger, world.a.ip4, PORT),
                   source_workload="stranger", source_workload_namespace="plain", destination_workload="a") == 1


def test_unknown_client_is_unknown_in_every_source_label(world):
    nobody = world.lab.pod("not-in-manifests")
    world.policy("ALLOW", [{}])
    assert counted(world, lambda: request(nobody, world.a.ip4, PORT), source_workload="unknown",
                   source_principal="unknown", source_workload_namespace="unknown", source_app="unknown",
                   source_canonical_revision="latest", source_cluster="unknown") == 1
    nobody.delete()


def test_label_values_never_come_from_text_that_clients_choose(world):
    world.route(to("a"))
    marks = [b"evil-host.example", b"EVILMETHOD", b"/evil-path", b"evil-agent"]
    raw(world.client, world.ip("web"), PORT, b"GET /evil-path HTTP/1.1\r\nHost: evil-host.example\r\n"
        b"User-Agent: evil-agent\r\nConnection: close\r\n\r\n")
    raw(world.client, world.ip("web"), PORT, b"EVILMETHOD / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    text = world.agent.metrics().text
    assert not any(mark.decode() in text for mark in marks)


def test_engine_and_agent_tell_their_health(world):
    assert world.agent.http("/healthz")[0] == 200
    assert world.agent.http("/readyz")[0] == 200
    assert world.agent.http("/no-such-page")[0] == 404
    metrics = world.agent.metrics()
    assert metrics.total("weft_agent_engine_connected") == 1
    assert metrics.total("weft_agent_generation_applied") == metrics.total("weft_agent_generation_wanted") > 0
    assert metrics.total("weft_agent_pods_captured") == 4
