# SPDX-License-Identifier: Apache-2.0
"""Bodies and connections: big ones, many of them, half-closed, cut off, slow."""
import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import socket
import threading

import pytest
from echo_server import pattern
from http1 import Session, parse_replies, raw, request
from manifests import service
from waiting import wait_until
from world import PORT, TCP_PORT, to

MEGABYTE = 1024 * 1024
BIG = 50 * MEGABYTE
PATHS = pytest.mark.parametrize("way", ["service", "pod address"])


def session_on(world, way, timeout=60):
    if way == "service":
        world.route(to("a"))
        return world.session(timeout=timeout)
    world.policy("ALLOW", [{}])
    return Session(world.stranger, world.a.ip4, PORT, timeout)


def resident(pid):
    return int(open(f"/proc/{pid}/statm").read().split()[1]) * 4096


@PATHS
@pytest.mark.parametrize("chunked", [False, True])
def test_fifty_megabytes_up_arrive_whole(world, way, chunked):
    block = pattern(0, MEGABYTE)
    expected = hashlib.sha256(block * 50).hexdigest()
    headers = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(BIG)}
    with session_on(world, way) as session:
        saw = session.request("POST", body=(block for _ in range(50)), headers=headers, chunked=chunked).saw
    assert (saw["body_bytes"], saw["body_sha256"]) == (BIG, expected)


@PATHS
@pytest.mark.parametrize("framing", ["bytes", "chunked=1&bytes", "eof=1&bytes"])
def test_fifty_megabytes_down_arrive_whole(world, way, framing):
    with session_on(world, way) as session:
        body = session.request(path=f"/?{framing}={BIG}").body
    assert len(body) == BIG
    expected = hashlib.sha256()
    for start in range(0, BIG, 64 * 1024):
        expected.update(pattern(start, 64 * 1024))
    assert hashlib.sha256(body).hexdigest() == expected.hexdigest()


def test_reader_that_stops_reading_does_not_grow_the_engine(world):
    world.route(to("a"))
    engine = world.agent.engine_pid()
    before = resident(engine)
    socks = []
    for _ in range(4):
        sock = world.client.connect(world.ip("web"), PORT)
        sock.sendall(b"GET /?bytes=104857600 HTTP/1.1\r\nHost: web\r\n\r\n")
        socks.append(sock)
    assert all(sock.recv(1000) for sock in socks)
    # The application blocks in send() once every buffer in between is full.
    samples = []

    def stuck():
        samples.append(world.apps["a"].bytes_sent())
        return len(samples) > 1 and samples[-2] == samples[-1] > 0
    wait_until(stuck, lambda: f"the application stops sending: {samples[-5:]}", poll=0.5)
    assert samples[-1] < 4 * 104857600 and resident(engine) - before < 32 * MEGABYTE
    for sock in socks:
        received = 1000
        while received < 2 * MEGABYTE:  # goes on where it stopped
            received += len(sock.recv(65536))
        sock.close()
    assert world.get().status == 200


def test_a_burst_that_makes_malloc_give_memory_back_is_survived(world):
    """That needs system calls which nothing else needs, and seccomp ends who makes others."""
    world.route(to("a"))
    engine = world.agent.engine_pid()
    half_a_head = b"GET / HTTP/1.1\r\nHost: web\r\nX-Long: " + b"x" * 55_000
    with contextlib.ExitStack() as stack:
        before = resident(engine)
        for _ in range(300):
            sock = stack.enter_context(world.client.connect(world.ip("web"), PORT))
            sock.sendall(half_a_head)
        wait_until(lambda: resident(engine) - before > 4 * MEGABYTE, lambda: "the engine holds the heads")
    assert [world.get().status for _ in range(20)] == [200] * 20 and world.agent.engine_pid() == engine


def test_two_hundred_parallel_clients_are_all_served(world):
    world.route(to("a", 1))
    barrier = threading.Barrier(200)

    def one(number):
        with world.session(timeout=30) as session:
            barrier.wait()
            return [session.request(path=f"/{number}/{i}").saw["path"] for i in range(5)] == \
                [f"/{number}/{i}" for i in range(5)]
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        assert all(pool.map(one, range(200)))


def test_a_thousand_short_connections_are_all_served(world):
    world.route(to("a"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: world.get().status, range(1000)))
    assert statuses == [200] * 1000


@pytest.mark.smoke
def test_client_that_half_closes_after_its_request_gets_the_whole_answer(world):
    world.route(to("a"))
    received, end = raw(world.client, world.ip("web"), PORT,
                        b"GET /?delay_ms=100&bytes=100000 HTTP/1.1\r\nHost: web\r\n\r\n", half_close=True)
    (status, _, body), = parse_replies(received)
    assert (status, len(body), end) == (200, 100000, "fin")


def test_plain_tcp_service_keeps_half_close(world):
    received, end = raw(world.client, world.b.ip4, TCP_PORT, b"x" * 100000, half_close=True)
    assert received.startswith(b"x" * 100000 + b"\n{") and b'"bytes": 100000' in received and end == "fin"


@PATHS
def test_application_that_resets_before_answering_gives_503(world, way):
    with session_on(world, way) as session:
        assert session.request("POST", "/?reset=head", body=b"x").status == 503
    assert world.get().status == 200


@PATHS
def test_application_that_dies_inside_its_body_is_not_made_to_look_whole(world, way):
    with session_on(world, way) as session:
        session.connection.request("GET", "/?reset=body&bytes=100000", headers={"Host": "web"})
        response = session.connection.getresponse()
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            response.read()


def test_application_that_refuses_connections_gives_503(world):
    world.agent.apply("closed.yaml", service("closed", ["10.96.0.88"], 1234, {"only": "a"}, "waypoint"))
    world.policy("ALLOW", [{}])
    assert request(world.client, "10.96.0.88", 1234).status == 503


def test_client_that_goes_away_ends_the_request_at_the_application(world):
    world.route(to("a"))
    sock = world.client.connect(world.ip("web"), PORT)
    sock.sendall(b"GET /?bytes=1073741824 HTTP/1.1\r\nHost: web\r\n\r\n")
    assert sock.recv(1000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()

    def sending():  # the second column is what the kernel has not got rid of; idle pooled connections have nothing
        lines = world.a.run("ss", "-Htn", "sport", "=", f":{PORT}").stdout.splitlines()
        return [line for line in lines if line.startswith("ESTAB") and line.split()[2] != "0"]
    wait_until(lambda: not sending(), "the application's connection ends", 10)


def test_pipelined_requests_are_answered_in_order(world):
    world.route(to("a"))
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: web\r\n%s\r\n" % (n, b"Connection: close\r\n" if n == 9 else b"")
                        for n in range(10))
    received, end = raw(world.client, world.ip("web"), PORT, requests)
    assert [json.loads(body)["path"] for _, _, body in parse_replies(received)] == [f"/{n}" for n in range(10)]
    assert end == "fin"


@pytest.mark.parametrize("pieces", [1, 7])
def test_request_in_tiny_pieces_is_one_request(world, pieces):
    world.route(to("a"))
    body = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
    received, _ = raw(world.client, world.ip("web"), PORT, b"POST / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n" + body, pieces=pieces)
    (status, _, answer), = parse_replies(received)
    assert status == 200 and b'"body_bytes": 11' in answer


def test_head_has_no_body_and_the_connection_goes_on(world):
    world.route(to("a"))
    with world.session() as session:
        reply = session.request("HEAD")
        assert (reply.status, reply.body) == (200, b"") and int(reply.header("content-length")) > 0
        assert session.request().status == 200


@pytest.mark.parametrize("status", [204, 304])
def test_replies_without_a_body_keep_the_connection(world, status):
    world.route(to("a"))
    with world.session() as session:
        assert [session.request(path=path).status for path in (f"/?status={status}", "/")] == [status, 200]


def test_informational_heads_pass(world):
    world.route(to("a"))
    received, _ = raw(world.client, world.ip("web"), PORT,
                      b"GET /?informational=103 HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    assert [status for status, _, _ in parse_replies(received)] == [103, 200]


def test_expect_continue_is_answered_before_the_body_is_sent(world):
    world.route(to("a"))
    sock = world.client.connect(world.ip("web"), PORT)
    sock.sendall(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert sock.recv(4096).startswith(b"HTTP/1.1 100")
    sock.sendall(b"hello")
    sock.shutdown(socket.SHUT_WR)
    received = b"".join(iter(lambda: sock.recv(65536), b""))
    assert b'"body_bytes": 5' in received
    sock.close()


def test_trailers_arrive_both_ways(world):
    world.route(to("a"))
    received, _ = raw(world.client, world.ip("web"), PORT,
                      b"POST /?trailers=1 HTTP/1.1\r\nHost: web\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
                      b"TE: trailers\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n")
    assert b"x-sum: 42" in received          # the application saw ours
    assert received.lower().count(b"x-checksum:") >= 1  # and we its


@pytest.mark.parametrize("method,upgrade", [("GET", "h2c"), ("GET", "TLS/1.0"), ("GET", "h2c, websocket"), ("POST", "h2c")])
def test_upgrade_to_anything_but_websocket_is_not_offered_to_the_application(world, method, upgrade):
    world.route(to("a"))
    with world.session() as session:
        reply = session.request(method, headers={"Connection": "Upgrade", "Upgrade": upgrade})
        assert reply.status == 200  # as a plain request: the application is not asked to switch
        assert not any(name.lower() == "upgrade" for name, _ in reply.saw["headers"])
