# SPDX-License-Identifier: Apache-2.0
"""WebSocket between clients and applications of both HTTP versions: opened, refused, policed, ended, idle."""
import contextlib
import threading

import pytest
from lab import REPOSITORY
from manifests import service, service_target
from tools import VENV_PYTHON
from waiting import Late, wait_until
from websocket import CLOSE, TEXT, Http1Client, Http2Client, Http2Server, Refused, frame
from world import World

SERVER = REPOSITORY / "tests" / "interop" / "python" / "websocket_server.py"
PORTS = {"http1": 9086, "http2": 9087}
ADDRESSES = {"http1": "10.96.0.25", "http2": "10.96.0.26"}
PROTOCOLS = {"http1": "kubernetes.io/ws", "http2": "kubernetes.io/h2c"}
CLIENTS = {"http1": Http1Client, "http2": Http2Client}


class Mesh:
    def __init__(self, world):
        self.world, self.agent, self.lab = world, world.agent, world.lab
        world.a.launch(VENV_PYTHON, SERVER, PORTS["http1"])
        self.http2 = Http2Server(world.a, PORTS["http2"])
        self.agent.apply("websocket.yaml", *[
            service(f"ws-{kind}", [ADDRESSES[kind]], PORTS[kind], {"only": "a"}, "waypoint", port_name="data",
                    app_protocol=PROTOCOLS[kind]) for kind in PORTS])

    def open(self, client, backend, path="/", **options):
        return CLIENTS[client](self.world.client, ADDRESSES[backend], PORTS[backend], path, **options)

    def deny(self, backend, operation):
        self.world.policy("DENY", [{"to": [{"operation": operation}]}], targets=[service_target(f"ws-{backend}")])


@pytest.fixture(scope="module")
def shared(lab):
    made = Mesh(World(lab))
    yield made
    made.http2.close()


@pytest.fixture
def mesh(shared):
    yield shared
    if (shared.lab.source / "policy-policy.yaml").exists():
        shared.agent.remove("policy-policy.yaml")
    shared.http2.accept.set()


CLIENT = pytest.mark.parametrize("client", CLIENTS)
BACKEND = pytest.mark.parametrize("backend", PORTS)


@CLIENT
@BACKEND
def test_messages_are_echoed(mesh, client, backend):
    with mesh.open(client, backend) as socket:
        for message in (b"one", b"", b"two" * 50):
            socket.send_bytes(frame(message))
            assert socket.receive_frame() == (TEXT, message)


@CLIENT
def test_large_message_is_whole(mesh, client):
    message = b"0123456789" * 200_000
    with mesh.open(client, "http1") as socket:
        socket.send_bytes(frame(message))
        assert socket.receive_frame() == (TEXT, message)


@CLIENT
def test_application_may_speak_first(mesh, client):
    with mesh.open(client, "http1", "/first") as socket:
        assert socket.receive_frame() == (TEXT, b"first")


def test_http2_application_is_asked_by_an_extended_connect(mesh):
    with mesh.open("http1", "http2", "/chat?x=1"):
        head = mesh.http2.heads[-1]
    assert (head[":method"], head[":protocol"], head[":path"]) == ("CONNECT", "websocket", "/chat?x=1")
    assert "sec-websocket-key" not in head and "upgrade" not in head and "connection" not in head


@CLIENT
def test_what_comes_before_the_acceptance_is_held_until_then(mesh, client):
    mesh.http2.accept.clear()
    mesh.http2.early.clear()
    heads = len(mesh.http2.heads)

    def accept():
        wait_until(lambda: len(mesh.http2.heads) > heads, "the application is asked")
        with contextlib.suppress(Late):
            wait_until(lambda: mesh.http2.early, "something comes early", seconds=0.3)
        mesh.http2.accept.set()
    thread = threading.Thread(target=accept)
    thread.start()
    with mesh.open(client, "http2", early=frame(b"early")) as socket:
        assert socket.receive_frame() == (TEXT, b"early")
    thread.join()
    assert mesh.http2.early == b""


@CLIENT
@BACKEND
def test_refusal_of_the_application_passes(mesh, client, backend):
    with pytest.raises(Refused) as refused:
        mesh.open(client, backend, "/no")
    assert refused.value.status == 403 and (backend == "http2" or refused.value.body == b"no\n")


@CLIENT
@BACKEND
def test_policy_refuses_it_like_any_request(mesh, client, backend):
    mesh.deny(backend, {"methods": ["GET"], "paths": ["/closed"]})
    heads = len(mesh.http2.heads)
    with pytest.raises(Refused) as refused:
        mesh.open(client, backend, "/closed")
    assert (refused.value.status, refused.value.body) == (403, b"RBAC: access denied")
    assert len(mesh.http2.heads) == heads
    with mesh.open(client, backend, "/open") as socket:
        socket.send_bytes(frame(b"in"))
        assert socket.receive_frame() == (TEXT, b"in")


@CLIENT
def test_close_handshake_of_the_application_ends_it_cleanly(mesh, client):
    with mesh.open(client, "http1", "/bye") as socket:
        socket.send_bytes(frame(b"last"))
        assert socket.receive_frame() == (TEXT, b"last")
        opcode, payload = socket.receive_frame()
        assert (opcode, payload[:2]) == (CLOSE, b"\x03\xe8")
        socket.send_bytes(frame(payload, CLOSE))
        socket.receive_end()


@CLIENT
@BACKEND
def test_half_closed_client_still_gets_what_was_said(mesh, client, backend):
    with mesh.open(client, backend) as socket:
        socket.send_bytes(frame(b"said"))
        socket.end()
        assert socket.receive_frame() == (TEXT, b"said")
        if backend == "http2":  # the package answers an end without a close frame with a reset
            socket.receive_end()


@CLIENT
def test_upgrade_is_a_request_in_the_metrics(mesh, client):
    with mesh.agent.rises("istio_requests_total", destination_service_name="ws-http1", response_code=101):
        with mesh.open(client, "http1") as socket:
            socket.send_bytes(frame(b"x"))
            assert socket.receive_frame() == (TEXT, b"x")


@CLIENT
def test_silent_one_is_cut_after_the_idle_timeout(own_lab, client):
    mesh = Mesh(World(own_lab, engine_arguments=("--exchange-idle-timeout=1",)))
    with mesh.open(client, "http1") as socket:
        with mesh.agent.rises("weft_l7_timeouts_total", reason="exchange_idle"):
            with pytest.raises(ConnectionError):
                socket.receive_frame()
    mesh.http2.close()
