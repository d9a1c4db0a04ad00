# SPDX-License-Identifier: Apache-2.0
"""One client's flood or sloth is its own: it is ended and counted, others are served, and the engine does not grow."""
import contextlib
import time

import pytest
from http1 import Session
from http2 import Connection
from load import Load
from waiting import wait_until
from weft import process_status
from world import PORT, to

ENDED = {"name": "weft_l7_http2_connections_total", "reason": "ended_by_error"}
ENHANCE_YOUR_CALM = 11
MEGABYTE = 1024 * 1024
GIGABYTE = 1024 * MEGABYTE
IDLE = 1000
PAUSE_SECONDS = 0.25  # --flood-pause


def resident(world):
    return int(process_status(world.agent.engine_pid())["VmRSS"].split()[0]) * 1024


def flood_resets(connection):
    """Opens and cancels streams until the peer ends the connection; its error code, or None for a bare end."""
    try:
        for _ in range(100):
            for _ in range(100):
                connection.cancel(connection.open("/?delay_ms=1000"))
            connection.sock.settimeout(0.001)
            with contextlib.suppress(TimeoutError):
                connection.wait(lambda: connection.gone is not None)
            connection.sock.settimeout(10)
            if connection.gone is not None:
                return connection.gone
        connection.wait(lambda: connection.gone is not None)
        return connection.gone
    except TimeoutError:
        raise AssertionError("10,000 streams were opened and canceled and nobody minded") from None
    except OSError:
        return connection.drain()


def test_rapid_reset_flood_is_ended_and_other_pods_are_served(world):
    world.route(to("a"))

    def served():
        return Session(world.outsider, world.ip("web"), PORT)
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.callback(world.client.connect(world.ip("web"), PORT).close)
        with world.agent.rises(**ENDED, by=5), Load(served, threads=2) as load:
            wait_until(lambda: load.served() >= 20, "the other pod is served")
            for _ in range(5):
                with Connection(world.client, world.ip("web"), PORT) as connection:
                    assert flood_resets(connection) in (ENHANCE_YOUR_CALM, None)
            before = load.count()
            wait_until(lambda: load.count() >= before + 20, "the other pod is served")
        assert load.failed() == []
    with world.session() as session:
        assert session.request().status == 200


def test_next_connections_of_a_pod_that_floods_wait_for_their_turn(world):
    """They are late, not refused; those of another pod are neither."""
    world.route(to("a"))
    before = world.agent.metrics().total("weft_l7_held_connections_total")
    with world.agent.rises("weft_l7_held_connections_total", by=3):
        for _ in range(2):  # the second has waited, too; after it the pause is twice as long
            with Connection(world.b, world.ip("web"), PORT) as connection:
                assert flood_resets(connection) in (ENHANCE_YOUR_CALM, None)
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(Session(world.b, world.ip("web"), PORT)) for _ in range(2)]
            with Session(world.outsider, world.ip("web"), PORT) as other:
                assert other.request().status == 200
            # One waits in the engine, the other where the kernel keeps who has not been accepted.
            assert world.agent.metrics().total("weft_l7_held_connections_total") == before + 2
            assert [session.request().status for session in held] == [200, 200]
        assert time.monotonic() - began >= PAUSE_SECONDS


def wait_until_the_application_is_held_up(world):
    """Every buffer on the way is full; returns how many bytes the application has got rid of so far."""
    samples = []

    def stuck():
        samples.append(world.apps["a"].bytes_sent())
        return len(samples) > 1 and samples[-2] == samples[-1]
    wait_until(stuck, lambda: f"the application stops sending: {samples[-5:]}", poll=0.5)
    return samples[-1]


@pytest.mark.parametrize("version", ["HTTP/1", "HTTP/2"])
def test_slow_reader_of_a_gigabyte_leaves_the_engine_flat(world, version):
    world.route(to("a"))
    assert world.get(path="/?bytes=1000000").status == 200
    before, path = resident(world), f"/?bytes={GIGABYTE}"
    with contextlib.ExitStack() as stack:
        if version == "HTTP/1":
            sock = stack.enter_context(world.client.connect(world.ip("web"), PORT))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())

            def bite():
                return len(sock.recv(100_000))
        else:
            connection = stack.enter_context(Connection(world.client, world.ip("web"), PORT))
            body = connection.streams[connection.open(path)].body

            def bite():
                connection.wait(lambda: body)
                size = len(body)
                body.clear()
                return size
        assert bite() > 0
        began = world.apps["a"].bytes_sent()
        for _ in range(3):
            assert wait_until_the_application_is_held_up(world) - began < GIGABYTE // 4
            assert resident(world) - before < 16 * MEGABYTE
            taken = 0
            while taken < 10 * MEGABYTE:  # it goes on where it stopped
                taken += bite()
        assert world.get().status == 200
