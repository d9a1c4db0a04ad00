# SPDX-License-Identifier: Apache-2.0
"""What the engine forwards is, to nginx, haproxy, Node and Go, exactly the one request that the engine judged; what it
refuses never reaches them. Rows: differential.yaml, and the refused ones of hostile_h1.yaml.

What the engine understood is shown by a policy that allows the rows' methods, hosts and paths and nothing else. That a
request was one and no more is shown by the next one, on the same connection.
"""
import contextlib
import itertools
import pathlib
import re

import pytest
import yaml
from http1 import parse_replies, raw
from http2 import Connection, StreamReset
from lab import Lab
from manifests import service, service_target
from recorders import PORTS, Recorder, Understood
from waiting import wait_until
from world import World

HERE = pathlib.Path(__file__).parent
ROWS = yaml.safe_load((HERE / "differential.yaml").read_text())
HOSTILE = yaml.safe_load((HERE / "hostile_h1.yaml").read_text())["refused"]
LEVELS = ("BASE", "NONE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
ADDRESSES = {kind: f"10.96.0.{120 + n}" for n, kind in enumerate(PORTS)}
NEXT = b"GET /next HTTP/1.1\r\nHost: web\r\n\r\n"


def long(text):
    return re.sub(r"LONG_(\d+)", lambda match: "x" * int(match[1]), text)


def octets(text):
    many = "".join(f"X-{n}: 1\r\n" for n in range(90))
    text = re.sub(r"\nHEAD(MANY)?", lambda match: "\nHost: web\r\n" + (many if match[1] else ""), text)
    return long(text).encode("latin-1")


def understood(row, level="BASE"):
    target = row["targets"][level] if "targets" in row else row.get("target", "/")
    return Understood(row.get("method", "GET"), long(target), row.get("host", "web"), row.get("body", 0))


def accepted():
    for level, row in itertools.product(LEVELS, ROWS["accepted"]):
        if level == "BASE" or "targets" in row:
            yield from (pytest.param(level, kind, row, id=f"{level}-{row['id']}-{kind}")
                        for kind in PORTS if kind not in row.get("except", ()))


def rule(wanted):
    operation = {"methods": [wanted.method], "hosts": [wanted.host]}
    if wanted.target != "*":  # which a policy would read as any path
        operation["paths"] = [wanted.target.partition("?")[0]]
    return {"to": [{"operation": operation}]}


class Mesh:
    def __init__(self, lab, level):
        self.lab, self.level = lab, level
        self.world = World(lab, engine_arguments=(f"--path-normalization={level}",))
        self.recorders = {kind: Recorder(self.world.a, kind) for kind in PORTS}
        wanted = {understood(row, level) for row in ROWS["accepted"] if level == "BASE" or "targets" in row}
        rules = [rule(each) for each in sorted(wanted | {Understood("GET", "/next", "web", 0)}, key=str)]
        self.world.agent.apply("recorders.yaml", *[
            service(kind, [ADDRESSES[kind]], PORTS[kind], {"only": "a"}, "waypoint") for kind in PORTS])
        self.world.policy("ALLOW", rules, targets=[service_target(kind) for kind in PORTS])
        self.past = {kind: [] for kind in PORTS}

    def send_h1(self, kind, data):
        received, end = raw(self.world.client, ADDRESSES[kind], PORTS[kind], data, timeout=5.0, quiet=0.02)
        head_only = data.lstrip().startswith(b"HEAD ")
        replies = [(status, None, None) for status in re.findall(rb"^HTTP/1.1 (\d+)", received)] if head_only \
            else parse_replies(received)
        return [int(status) for status, _, _ in replies if int(status) >= 200], end

    def send_h2(self, kind, row):
        """[status], or [] for a reset of the stream."""
        with Connection(self.world.client, ADDRESSES[kind], PORTS[kind]) as connection:
            connection.authority = "web"
            fields = {name: long(value) if isinstance(value, str) else value for name, value in row["h2"].items()}
            number = connection.open_raw(fields, [long(piece).encode("latin-1") for piece in row.get("data", [])],
                                         row.get("trailers"))
            with contextlib.suppress(StreamReset):
                return [connection.reply(number).status]
            return []

    def next(self, kind):
        """What the recorder understood up to and with one more request, which it got."""
        statuses, _ = self.send_h1(kind, NEXT)
        assert statuses == [200]
        seen = []

        def known():
            seen.extend(self.recorders[kind].take())
            return [entry for entry, _ in seen if entry.target == "/next"]
        wait_until(known, lambda: f"{kind} has it: {seen}")
        return seen


@pytest.fixture(scope="module")
def meshes():
    """One at a time: that of the level asked for last."""
    made = {}

    def close():
        for mesh in made.values():
            mesh.lab.close()
            assert mesh.lab.leftovers() == []
        made.clear()

    def of(level):
        if level not in made:
            close()
            made[level] = Mesh(Lab(), level)
        return made[level]
    yield of
    close()


@pytest.mark.parametrize("level,kind,row", accepted())
def test_everybody_understands_the_same_one_request(meshes, level, kind, row):
    mesh = meshes(level)
    mesh.next(kind)
    statuses = mesh.send_h1(kind, octets(row["h1"]))[0] if "h1" in row else mesh.send_h2(kind, row)
    (first, first_peer), *rest = mesh.next(kind)
    assert first == understood(row, level)
    assert statuses == [405 if kind == "nginx" and first.method == "TRACE" else 200]
    assert [entry for entry, _ in rest] == [Understood("GET", "/next", "web", 0)]
    assert rest[0][1] == first_peer or statuses == [405], "the connection was in doubt"


@pytest.mark.parametrize("kind", PORTS)
@pytest.mark.parametrize("row", HOSTILE + ROWS["refused"], ids=lambda row: row["id"])
def test_nobody_hears_of_what_is_refused(meshes, kind, row):
    mesh = meshes("BASE")
    mesh.next(kind)
    [wanted] = row.get("get", [400])
    if "send" in row:
        [status], end = mesh.send_h1(kind, octets(row["send"]))
        assert status in (wanted if isinstance(wanted, list) else [wanted]) and end != "open"
    else:
        assert mesh.send_h2(kind, row) in ([], [wanted])
    assert [entry.target for entry, _ in mesh.next(kind)] == ["/next"]
