# SPDX-License-Identifier: Apache-2.0
"""Real gRPC programs through the engine: clients in Python and Go (grpcurl), a server in Go (tests/interop).

Every call is made to the server's address too, where no proxy is: what fails there is no fault of Weft.
"""
import json

import pytest
from lab import REPOSITORY
from manifests import service
from tools import VENV_PYTHON, tool
from waiting import wait_until
from world import World

PORT = 9086
ADDRESS = "10.96.0.21"
CLIENT = REPOSITORY / "tests" / "interop" / "python" / "grpc_client.py"
PROTO = REPOSITORY / "tests" / "interop"
REQUESTS = "istio_requests_total"
GRPC = {"request_protocol": "grpc", "destination_service_name": "grpc"}


class Mesh:
    def __init__(self, world):
        self.world, self.agent, self.lab = world, world.agent, world.lab
        world.a.launch(tool("interop"), "--port", PORT)
        self.agent.apply("grpc.yaml", service("grpc", [ADDRESS], PORT, {"only": "a"}, "waypoint", port_name="grpc"))
        for way in WAYS:
            wait_until(lambda: self.call(way, "call").get("code") == "OK", f"the server answers {way}", seconds=20)

    def run(self, way, *command):
        """From a pod whose connections to the server take that way."""
        pod = self.world.client if way == "through the engine" else self.world.a
        address = f"{ADDRESS if way == 'through the engine' else '127.0.0.1'}:{PORT}"
        return pod.run(*[address if word == "ADDRESS" else word for word in command], timeout=60)

    def call(self, way, name):
        done = self.run(way, VENV_PYTHON, CLIENT, "ADDRESS", name)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


WAYS = ("directly", "through the engine")


@pytest.fixture(scope="module")
def mesh(lab):
    return Mesh(World(lab))


@pytest.fixture(autouse=True)
def clean(mesh):
    yield
    if (mesh.lab.source / "policy-policy.yaml").exists():
        mesh.agent.remove("policy-policy.yaml")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name,expected", [
    ("unary", {"same": True}),
    ("many", {"same": True}),
    ("large", {"same": True}),
    ("client_stream", {"bytes": 1000 * 1000}),
    ("server_stream", {"in_order": True}),
    ("bidirectional", {"in_order": True}),
    ("cancel", {"seen_by_server": 1}),
])
def test_call_ends_well(mesh, way, name, expected):
    assert mesh.call(way, name) == expected


@pytest.mark.parametrize("way", WAYS)
def test_deadline_ends_the_call_and_its_server_has_seen_it(mesh, way):
    assert {"code": "DEADLINE_EXCEEDED", "arrived": 1}.items() <= mesh.call(way, "deadline").items()


@pytest.mark.parametrize("way", WAYS)
def test_server_knows_the_deadline_of_its_client(mesh, way):
    assert 0 < mesh.call(way, "deadline_is_told")["deadline_ms"] <= 21_000  # it is rounded up on the wire


@pytest.mark.parametrize("way", WAYS)
def test_metadata_reaches_the_server_and_comes_back_as_headers_and_trailers(mesh, way):
    said = mesh.call(way, "metadata")
    assert {"got-x-text": "one", "got-x-data-bin": "00ff01"}.items() <= said["initial"].items()
    assert {"end-x-text": "one", "end-x-data-bin": "00ff01"}.items() <= said["trailing"].items()
    assert "got-other" not in said["initial"]


@pytest.mark.parametrize("way", WAYS)
def test_error_without_a_reply_keeps_its_code_and_message(mesh, way):
    assert {"code": "FAILED_PRECONDITION", "message": "not now: 100 %"}.items() <= mesh.call(way, "fails").items()


@pytest.mark.parametrize("way", WAYS)
def test_unknown_method_is_unimplemented(mesh, way):
    assert mesh.call(way, "unknown")["code"] == "UNIMPLEMENTED"


@pytest.mark.parametrize("way", WAYS)
def test_grpcurl_calls(mesh, way):
    done = mesh.run(way, tool("grpcurl"), "-plaintext", "-max-time", "10", "-import-path", PROTO, "-proto",
                    "interop.proto", "-d", '"aGVsbG8="', "ADDRESS", "weft.interop.Interop/Echo")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == "aGVsbG8="


@pytest.mark.parametrize("name,status", [("unary", 0), ("fails", 9), ("unknown", 12)])
def test_status_of_the_trailers_is_in_the_metrics(mesh, name, status):
    with mesh.agent.rises(REQUESTS, **GRPC, grpc_response_status=status, response_code=200, response_flags="-"):
        mesh.call("through the engine", name)


def test_messages_are_counted_in_both_directions(mesh):
    with mesh.agent.rises("istio_request_messages_total", by=1000, seconds=2, **GRPC), \
            mesh.agent.rises("istio_response_messages_total", by=1, seconds=2, **GRPC):
        mesh.call("through the engine", "client_stream")


def test_status_of_a_refusal_is_in_the_metrics(mesh):
    mesh.world.policy("DENY", [{}])
    with mesh.agent.rises(REQUESTS, seconds=2, **GRPC, grpc_response_status=7):
        mesh.call("through the engine", "call")


def test_refused_call_is_permission_denied(mesh):
    mesh.world.policy("DENY", [{}])
    assert mesh.call("through the engine", "call")["code"] == "PERMISSION_DENIED"


def test_policy_by_method_name_refuses_one_call_of_a_connection(mesh):
    mesh.world.policy("DENY", [{"to": [{"operation": {"paths": ["/weft.interop.Interop/Fail"]}}]}])
    assert mesh.call("through the engine", "fails")["code"] == "PERMISSION_DENIED"
    assert mesh.call("through the engine", "call")["code"] == "OK"


def test_service_without_endpoints_is_unavailable(mesh):
    mesh.agent.apply("grpc.yaml", service("grpc", [ADDRESS], PORT, {"only": "nobody"}, "waypoint", port_name="grpc"))
    try:
        assert mesh.call("through the engine", "call")["code"] == "UNAVAILABLE"
    finally:
        mesh.agent.apply("grpc.yaml", service("grpc", [ADDRESS], PORT, {"only": "a"}, "waypoint", port_name="grpc"))
