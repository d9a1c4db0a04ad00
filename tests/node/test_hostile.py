# SPDX-License-Identifier: Apache-2.0
"""Hostile HTTP/1 (hostile_h1.yaml) against real processes, on both ways in: what the client gets, and what reaches the
application. The rows are data; this file is the one runner."""
import pathlib

import pytest
import yaml
from http1 import parse_replies, raw
from world import PORT, to

ROWS = yaml.safe_load((pathlib.Path(__file__).parent / "hostile_h1.yaml").read_text())
WAYS = pytest.mark.parametrize("way", ["service", "pod address"])


def rows(group):
    return pytest.mark.parametrize("row", ROWS[group], ids=[row["id"] for row in ROWS[group]])


def octets(text):
    many = "".join(f"X-{n}: 1\r\n" for n in range(101))
    return text.replace("HEADMANY", "Host: web\r\n" + many).replace("HEAD", "Host: web\r\n") \
        .replace("LONG", "x" * 61440).encode("latin-1")


@pytest.fixture(scope="module")
def hostile_world(shared_world):
    """Everything goes to application a, under a policy, so that both ways in pass the engine."""
    shared_world.route(to("a"))
    shared_world.policy("ALLOW", [{}])
    return shared_world


@pytest.fixture
def send(hostile_world, way):
    hostile_world.apps["a"].take()

    def act(data, timeout=2.0, **options):
        pod, address = (hostile_world.client, hostile_world.ip("web")) if way == "service" \
            else (hostile_world.stranger, hostile_world.a.ip4)
        received, end = raw(pod, address, PORT, data, timeout=timeout, **options)
        act.received = received  # for messages
        return [status for status, _, _ in parse_replies(received)], end, hostile_world.apps["a"].bytes_received()
    return act


def fits(statuses, wanted):
    return len(statuses) == len(wanted) and all(
        status in (one if isinstance(one, list) else [one]) for status, one in zip(statuses, wanted))


@WAYS
@rows("refused")
def test_refused(send, row):
    statuses, end, reached = send(octets(row["send"]))
    assert fits(statuses, row.get("get", [400])) and end != "open", (statuses, end)
    assert reached == b""


@WAYS
@rows("refused")
def test_refused_byte_by_byte(send, row):
    statuses, end, reached = send(octets(row["send"]), pieces=1)
    assert (fits(statuses, row.get("get", [400])) or (statuses == [] and end == "reset")) and end != "open"
    assert reached == b""


@WAYS
@rows("cut")
def test_cut(send, row):
    statuses, end, reached = send(octets(row["send"]))
    assert fits(statuses, row.get("get", [400])) and end != "open", (statuses, end)
    assert not reached.endswith(b"0\r\n\r\n"), "the application got a whole request"


@WAYS
@rows("served")
def test_served(send, row):
    statuses, end, reached = send(octets(row["send"]))
    assert fits(statuses, row["get"]), statuses
    assert (end == "open") == row.get("open", False)
    if row["reaches"] == "nothing":
        assert reached == b""
        return
    for text in row["reaches"]:
        assert octets(text) in reached, reached
    for text in row.get("lacks", []):
        assert octets(text).lower() not in reached.lower(), reached


@WAYS
@rows("upstream")
def test_upstream(send, hostile_world, row):
    with hostile_world.apps["a"].answering(octets(row["answer"])):
        statuses, end, _ = send(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n", timeout=10.0, quiet=0.3)
    assert fits(statuses, row["get"]), (statuses, end, send.received)
    # The connection that carried it is not used again, and nothing of it leaks into the next reply.
    statuses, end, _ = send(b"GET /next HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n", timeout=10.0)
    assert statuses == [200], (end, send.received)


def test_every_fault_is_counted(hostile_world):
    with hostile_world.agent.rises("weft_l7_request_errors_total", reason="400"):
        raw(hostile_world.client, hostile_world.ip("web"), PORT, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
