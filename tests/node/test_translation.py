# SPDX-License-Identifier: Apache-2.0
"""Clients of one HTTP version, applications of the other: each meets what its own version would give it."""
import hashlib
import http.client
import json
import threading

import pytest
from echo_server import pattern
from http1 import Session, parse_replies, raw
from http2 import Connection, StreamReset
from manifests import service
from tools import tool
from waiting import wait_until
from world import PORT, World

H2C, H2C_PORT = "10.96.0.24", 9085
LONG = 48_000  # bytes of one field: below the limits of a head on both sides
LARGE = 20 * 1024 * 1024


class Mesh:
    """Service h2c is HTTP/2 at the application, service a is HTTP/1."""

    def __init__(self, world):
        self.world, self.agent, self.lab = world, world.agent, world.lab
        world.a.launch(tool("h2echo"), "--name", "a", "--port", H2C_PORT)
        self.agent.apply("h2c.yaml", service("h2c", [H2C], H2C_PORT, {"only": "a"}, "waypoint", port_name="data",
                                             app_protocol="kubernetes.io/h2c"))

    def session(self):
        """HTTP/1 to the HTTP/2 application."""
        return Session(self.world.client, H2C, H2C_PORT)

    def connection(self):
        """HTTP/2 to the HTTP/1 application."""
        return Connection(self.world.client, self.world.ip("a"), PORT)

    def raw(self, data, **options):
        return raw(self.world.client, H2C, H2C_PORT, data, quiet=0.1, **options)

    def counts(self):
        done = self.world.a.run("curl", "-sS", "--http2-prior-knowledge", "--max-time", "10",
                                f"http://127.0.0.1:{H2C_PORT}/counts")
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def mesh(lab):
    return Mesh(World(lab))


# ---------------------------------------------------------------- HTTP/1 client, HTTP/2 application

def test_http1_request_is_an_http2_request(mesh):
    with mesh.session() as session:
        reply = session.request("POST", "/x?y=z", headers={"X-One": "1", "Connection": "X-Gone", "X-Gone": "1"},
                                body=b"hello", host="name.example:81")
    saw = reply.saw
    assert (reply.status, saw["version"], saw["method"], saw["path"]) == (200, "HTTP/2.0", "POST", "/x?y=z")
    assert (saw["authority"], saw["body_bytes"]) == ("name.example:81", 5)
    assert saw["headers"]["X-One"] == ["1"] and "X-Gone" not in saw["headers"] and "Connection" not in saw["headers"]


def test_trailers_of_an_http1_request_and_of_its_http2_reply_arrive(mesh):
    received, _ = mesh.raw(b"POST /?trailers=1 HTTP/1.1\r\nHost: web\r\nTE: trailers\r\nTrailer: x-sum\r\n"
                           b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n")
    assert b'"trailers":{"X-Sum":["42"]}' in received and b'"body_bytes":3' in received
    received, _ = mesh.raw(b"GET /?trailers=1&bytes=100000 HTTP/1.1\r\nHost: web\r\nTE: trailers\r\n\r\n")
    sum_line = f"\r\n0\r\nx-checksum: {hashlib.sha256(pattern(0, 100000)).hexdigest()}\r\n\r\n"
    assert received.lower().endswith(sum_line.encode())


@pytest.mark.parametrize("method,query,status", [("HEAD", "bytes=5", 200), ("GET", "status=204", 204),
                                                 ("GET", "status=304", 304), ("GET", "bytes=0", 200)])
def test_http2_reply_without_a_body_keeps_the_http1_connection(mesh, method, query, status):
    with mesh.session() as session:
        reply = session.request(method, f"/?{query}")
        assert (reply.status, reply.body) == (status, b"")
        assert method != "HEAD" or reply.header("content-length") == "5"
        assert session.request().saw["version"] == "HTTP/2.0"


def test_informational_head_of_an_http2_application_passes(mesh):
    received, _ = mesh.raw(b"GET /?informational=103 HTTP/1.1\r\nHost: web\r\n\r\n")
    assert [status for status, _, _ in parse_replies(received)] == [103, 200]


def test_http1_client_that_expects_100_gets_it_before_its_body_is_there(mesh):
    with mesh.world.client.connect(H2C, H2C_PORT) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        received = b""
        while b'"body_bytes":5' not in received and (more := sock.recv(65536)):
            received += more
        assert b'"body_bytes":5' in received


def test_early_reply_of_an_http2_application_comes_while_an_http1_client_sends(mesh):
    with mesh.world.client.connect(H2C, H2C_PORT) as sock:
        sock.sendall(b"POST /?early=1 HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\nabc")
        head = sock.recv(65536)
    assert head.startswith(b"HTTP/1.1 200 ") and b"connection: close\r\n" in head.lower()


def test_long_fields_pass_from_http1_to_http2_and_back(mesh):
    with mesh.session() as session:
        reply = session.request("GET", f"/?header_bytes={LONG}", headers={"X-Long": "y" * LONG})
    assert reply.saw["headers"]["X-Long"] == ["y" * LONG] and reply.header("x-long") == "x" * LONG


def test_large_bodies_between_http1_and_http2_are_whole(mesh):
    with mesh.session() as session:
        saw = session.request("POST", "/", body=pattern(0, LARGE)).saw
        assert (saw["body_bytes"], saw["body_sha256"]) == (LARGE, hashlib.sha256(pattern(0, LARGE)).hexdigest())
        assert session.request("GET", f"/?bytes={LARGE}").body == pattern(0, LARGE)


def test_stream_reset_before_a_reply_is_503_for_an_http1_client(mesh):
    with mesh.session() as session:
        assert [session.request(path=path).status for path in ("/?reset=head", "/")] == [503, 200]


@pytest.mark.parametrize("framing", ["", "&trailers=1"], ids=["length", "chunked"])
def test_stream_reset_inside_a_reply_is_no_clean_end_for_an_http1_client(mesh, framing):
    with mesh.session() as session:
        session.connection.request("GET", f"/?reset=body&bytes=200000{framing}", headers={"Host": "web"})
        response = session.connection.getresponse()
        assert response.status == 200
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            response.read()


def test_http1_client_that_leaves_is_a_cancel_at_the_http2_application(mesh):
    before = mesh.counts()
    with mesh.world.client.connect(H2C, H2C_PORT) as sock:
        sock.sendall(b"GET /?hang=body&bytes=100000 HTTP/1.1\r\nHost: web\r\n\r\n")
        assert sock.recv(1000)
        sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: a reset
    wait_until(lambda: mesh.counts()["canceled"] > before["canceled"], "the application knows")


def test_http1_clients_share_connections_to_an_http2_application(mesh):
    connections = []

    def ask():
        with mesh.session() as session:
            connections.append(session.request(path="/?delay_ms=300").saw["connection"])
    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(connections) == 20 and len(set(connections)) <= 4


# ---------------------------------------------------------------- HTTP/2 client, HTTP/1 application

def test_http2_request_is_an_http1_request(mesh):
    with mesh.connection() as connection:
        number = connection.open_raw({":method": "POST", ":path": "/x?y=z", ":authority": "name.example:81",
                                      "x-one": "1", "cookie": ["a=1", "b=2"]}, [b"hel", b"lo"])
        saw = connection.reply(number).saw
    fields = {name.lower(): value for name, value in saw["headers"]}
    assert (saw["version"], saw["method"], saw["path"], saw["body_bytes"]) == ("HTTP/1.1", "POST", "/x?y=z", 5)
    assert (fields["host"], fields["x-one"], fields["cookie"]) == ("name.example:81", "1", "a=1; b=2")


def test_trailers_of_an_http2_request_and_of_its_http1_reply_arrive(mesh):
    with mesh.connection() as connection:
        number = connection.open_raw({":method": "POST", "te": "trailers", ":path": "/?trailers=1"}, [b"abc"],
                                     {"x-sum": "42"})
        reply = connection.reply(number)
    assert [line.lower() for line in reply.saw["trailers"]] == ["x-sum: 42"]
    assert reply.trailers == {"x-checksum": hashlib.sha256(reply.body).hexdigest()}


@pytest.mark.parametrize("method,query,status", [("HEAD", "bytes=5", 200), ("GET", "status=204", 204),
                                                 ("GET", "status=304", 304), ("GET", "bytes=0", 200)])
def test_http1_reply_without_a_body_ends_its_stream(mesh, method, query, status):
    with mesh.connection() as connection:
        reply = connection.get(f"/?{query}", method=method)
        assert (reply.status, reply.body) == (status, b"")
        assert method != "HEAD" or reply.header("content-length") == "5"


@pytest.mark.parametrize("framing", ["chunked=1", "eof=1", "close=1"])
def test_every_framing_of_an_http1_reply_ends_its_stream(mesh, framing):
    with mesh.connection() as connection:
        assert connection.get(f"/?bytes=300000&{framing}").body == pattern(0, 300000)
        assert connection.get("/").status == 200


def test_informational_head_of_an_http1_application_passes(mesh):
    with mesh.connection() as connection:
        number = connection.open("/?informational=103")
        assert connection.reply(number).status == 200
        [early] = connection.streams[number].informational
    assert dict(early)[":status"] == "103" and dict(early)["x-early"] == "1"


def test_early_reply_of_an_http1_application_comes_while_an_http2_client_sends(mesh):
    with mesh.connection() as connection:
        number = connection.open_raw({":method": "POST", ":path": "/?early=1"}, [b"abc"], end=False)
        stream = connection.streams[number]
        connection.wait(lambda: stream.ended or stream.reset is not None)
        assert dict(stream.head)[":status"] == "200" and stream.reset in (None, 0)
        assert connection.get("/").status == 200


def test_long_fields_pass_from_http2_to_http1_and_back(mesh):
    with mesh.connection() as connection:
        saw = connection.get("/", headers={"x-long": "y" * LONG}).saw
        assert dict(saw["headers"])["x-long"] == "y" * LONG
        answer = f"HTTP/1.1 200 OK\r\nx-long: {'x' * LONG}\r\ncontent-length: 0\r\n\r\n".encode()
        with mesh.world.apps["a"].answering(answer):
            assert connection.get("/").header("x-long") == "x" * LONG


def test_reset_of_an_http1_application_concerns_one_stream(mesh):
    with mesh.connection() as connection:
        slow = connection.open("/?delay_ms=500")
        before, inside = connection.open("/?reset=head"), connection.open("/?reset=body&bytes=200000")
        assert connection.reply(before).status == 503
        with pytest.raises(StreamReset):
            connection.reply(inside)
        assert connection.reply(slow).status == 200


@pytest.mark.parametrize("answer,status", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 502),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502),
    (b"HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 0\r\n\r\n", 502)], ids=["two lengths", "101", "NUL"])
def test_bad_reply_of_an_http1_application_is_502_for_an_http2_client(mesh, answer, status):
    with mesh.connection() as connection, mesh.world.apps["a"].answering(answer):
        assert connection.get("/").status == status


def test_streams_of_an_http2_client_are_served_at_the_same_time_by_http1(mesh):
    with mesh.connection() as connection:
        streams = {connection.open(f"/{n}?delay_ms=500"): f"/{n}?delay_ms=500" for n in range(50)}
        replies = {number: connection.reply(number).saw for number in streams}
    assert {number: saw["path"] for number, saw in replies.items()} == streams
    assert len({saw["accept"] for saw in replies.values()}) == 50


# ---------------------------------------------------------------- an application dies

@pytest.mark.parametrize("version", ["HTTP/1", "HTTP/2"])
def test_application_killed_inside_a_reply_gives_no_clean_end_and_the_next_request_goes_elsewhere(own_world, version):
    world = own_world
    if version == "HTTP/1":
        with world.session() as session:
            session.connection.request("GET", "/?bytes=1000000000", headers={"Host": "web"})
            response = session.connection.getresponse()
            dead = response.getheader("x-pod")
            assert response.read(100000) == pattern(0, 100000)
            world.apps[dead].stop()
            with pytest.raises((ConnectionError, http.client.IncompleteRead)):
                response.read()
    else:
        with Connection(world.client, world.ip("web"), PORT) as connection:
            number = connection.open("/?bytes=1000000000")
            connection.held.add(number)
            stream = connection.streams[number]
            connection.wait(lambda: len(stream.body) >= 60000)
            dead = dict(stream.head)["x-pod"]
            world.apps[dead].stop()
            connection.release(number)
            connection.wait(lambda: stream.ended or stream.reset is not None)
            assert stream.reset is not None and not stream.ended
    others = [world.get() for _ in range(20)]
    assert {(reply.status, reply.pod) for reply in others} == {(200, "b" if dead == "a" else "a")}
