# SPDX-License-Identifier: Apache-2.0
"""What one pod, or all of them, may cost: refusals with a reason, nobody else concerned, and an end of it."""
import contextlib
import pathlib
import socket
import struct

import pytest
from http1 import Session
from http2 import Connection
from manifests import service
from waiting import wait_until
from world import PORT, World, to

MEGABYTE = 1024 * 1024
HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost: web\r\nX-Long: " + b"x" * 55_000
REFUSED_REQUESTS = "weft_l7_refused_requests_total"
REFUSED_CONNECTIONS = "weft_l7_refused_connections_total"


def resident(pid):
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def limited(lab, *flags):
    world = World(lab, engine_arguments=flags)
    # The second client is the other pod: enrolled, with a count of its own.
    world.route(to("a"))
    return world


def expect_refusal(world):
    """A reset, which may come before or behind the end of connect()."""
    with pytest.raises((ConnectionResetError, BrokenPipeError)), \
            world.client.connect(world.ip("web"), PORT) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        sock.recv(100)


def enrolled_outsider_gets(world):
    return world.get(pod=world.outsider).status


def test_pod_at_its_limit_of_connections_is_refused_and_another_pod_is_served(own_lab):
    world = limited(own_lab, "--connections-per-pod-max=2")
    with world.session() as first, world.session() as second:
        assert [first.request().status, second.request().status] == [200, 200]
        with world.agent.rises(REFUSED_CONNECTIONS, reason="pod_limit"):
            expect_refusal(world)
        assert enrolled_outsider_gets(world) == 200
        assert [first.request().status, second.request().status] == [200, 200]
    wait_until(lambda: world.agent.metrics().total("weft_l7_connections") == 0, "the connections are gone")
    assert world.get().status == 200


def test_pod_at_its_limit_of_requests_gets_503_and_another_pod_is_served(own_lab):
    world = limited(own_lab, "--requests-per-pod-max=1")
    world.apps["a"].answer(b"")  # never
    busy = world.client.connect(world.ip("web"), PORT)
    with busy:
        busy.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        wait_until(lambda: world.agent.metrics().total("weft_l7_exchanges") == 1, "the request is under way")
        with world.agent.rises(REFUSED_REQUESTS, reason="pod_limit"), \
                world.agent.rises("istio_requests_total", response_flags="UO", response_code=503):
            reply = world.get()
        assert (reply.status, reply.body) == (503, b"overflow: requests of the pod")
        world.apps["a"].answer(None)
        assert enrolled_outsider_gets(world) == 200
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a FIN would only be half the end
    wait_until(lambda: world.agent.metrics().total("weft_l7_exchanges") == 0, "the request has ended")
    assert world.get().status == 200


def test_engine_near_its_memory_sheds_requests_and_connections_and_recovers(own_lab):
    world = limited(own_lab, "--memory-max=64", "--head-timeout=600")
    engine = world.agent.engine_pid()

    def pressure():
        return world.agent.metrics().total("weft_l7_memory_pressure")
    assert world.get().status == 200 and pressure() == 0
    with contextlib.ExitStack() as held, Session(world.client, world.ip("web"), PORT) as early:
        assert early.request().status == 200
        # Heads that never end hold memory. Short of the step that refuses connections, as far as that can be aimed at.
        for _ in range(4000):
            if resident(engine) >= 0.87 * 64 * MEGABYTE:
                break
            sock = held.enter_context(world.client.connect(world.ip("web"), PORT))
            sock.sendall(HALF_A_HEAD)
            if early.request().status != 200:  # and the engine has what was sent before: it is as large as it looks
                break
        wait_until(lambda: pressure() >= 1, lambda: f"requests are shed: {resident(engine)}")
        with world.agent.rises(REFUSED_REQUESTS, reason="memory"), \
                world.agent.rises("istio_requests_total", response_flags="OM", response_code=503):
            reply = early.request()
        assert (reply.status, reply.body) == (503, b"overloaded: memory")
        # On to the step that refuses connections: it refuses these, too.
        with contextlib.suppress(OSError):
            for _ in range(2000):
                if pressure() >= 2:
                    break
                sock = held.enter_context(world.client.connect(world.ip("web"), PORT))
                sock.sendall(HALF_A_HEAD)
        with world.agent.rises(REFUSED_CONNECTIONS, reason="memory"):
            expect_refusal(world)
    wait_until(lambda: pressure() == 0, lambda: f"the memory is given back: {resident(engine)}", seconds=30)
    assert world.get().status == 200
    assert world.agent.engine_pid() == engine, "the same engine all the time"


def test_http2_client_that_never_acknowledges_settings_is_closed_with_the_reason(own_lab):
    world = limited(own_lab, "--h2-settings-timeout=1")
    address = "10.96.0.40"
    world.agent.apply("h2.yaml", service("h2", [address], PORT, {"only": "a"}, "waypoint", port_name="http2"))
    with world.agent.rises("weft_l7_timeouts_total", reason="downstream_settings"):
        with world.client.connect(address, PORT) as sock:
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            received = b""
            while piece := sock.recv(65536):
                received += piece
    goaway_settings_timeout = b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\0" + b"\0\0\0\4"
    assert received.endswith(goaway_settings_timeout)
    with Connection(world.client, address, PORT) as polite:
        polite.wait(lambda: polite.h2.remote_settings.max_concurrent_streams < 2 ** 31)
        polite.sock.settimeout(2.0)
        with contextlib.suppress(socket.timeout):
            polite.wait(lambda: False)  # quiet for longer than the limit
        assert world.agent.metrics().total("weft_l7_timeouts_total", reason="downstream_settings") == 1
