# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 clients and HTTP/2 applications through the engine: streams, their ends, and what holds for each of them."""
import collections
import hashlib
import json
import os
import pathlib
import signal
import subprocess

import pytest
from echo_server import pattern
from http2 import Connection, StreamReset
from manifests import service
from tools import tool
from waiting import wait_until
from world import World

PORT = 9085
BOTH, ONLY_A = "10.96.0.22", "10.96.0.23"
LARGE_BYTES = 100 * 1024 * 1024


class Mesh:
    def __init__(self, world):
        self.world, self.agent, self.lab = world, world.agent, world.lab
        for pod in (world.a, world.b):
            pod.launch(tool("h2echo"), "--name", pod.name, "--port", PORT)
        self.agent.apply("h2.yaml", service("both", [BOTH], PORT, {"app": "web"}, "waypoint", port_name="http2"),
                         service("only-a", [ONLY_A], PORT, {"only": "a"}, "waypoint", port_name="http2"))

    def connection(self, address=ONLY_A):
        return Connection(self.world.client, address, PORT)

    def counts(self, pod=None):
        """What the application of a pod has counted; asked inside of it, so that the engine is not concerned."""
        done = self.curl("http://127.0.0.1:%d/counts" % PORT, pod=pod or self.world.a)
        return json.loads(done.stdout)

    def curl(self, *arguments, pod=None):
        done = (pod or self.world.client).run("curl", "-sS", "--fail", "--http2-prior-knowledge", "--max-time", "60",
                                              *arguments, timeout=90)
        assert done.returncode == 0, done.stderr
        return done


@pytest.fixture(scope="module")
def mesh(lab):
    return Mesh(World(lab))


@pytest.fixture(autouse=True)
def clean(request):
    yield
    if "mesh" in request.fixturenames:
        made = request.getfixturevalue("mesh")
        if (made.lab.source / "policy-policy.yaml").exists():
            made.agent.remove("policy-policy.yaml")


def test_request_and_reply_are_http2_on_both_sides(mesh):
    with mesh.connection() as connection:
        reply = connection.get("/x?y=z", headers={"x-one": "1"})
    saw = reply.saw
    assert (reply.status, reply.header("x-pod")) == (200, "a")
    assert (saw["version"], saw["method"], saw["path"]) == ("HTTP/2.0", "GET", "/x?y=z")
    assert saw["authority"] == f"{ONLY_A}:{PORT}" and saw["headers"]["X-One"] == ["1"]


def test_streams_of_one_connection_are_served_at_the_same_time(mesh):
    with mesh.connection() as connection:
        before = mesh.counts()
        streams = {connection.open(f"/{n}?delay_ms=1000"): f"/{n}?delay_ms=1000" for n in range(80)}
        wait_until(lambda: mesh.counts()["began"] - before["began"] == 80, "all are at the application", poll=0.1)
        assert mesh.counts()["ended"] == before["ended"]
        assert {number: connection.reply(number).saw["path"] for number in streams} == streams


def test_trailers_of_a_reply_come_through(mesh):
    with mesh.connection() as connection:
        reply = connection.get("/?bytes=100000&trailers=1")
    assert reply.trailers == {"x-checksum": hashlib.sha256(pattern(0, 100000)).hexdigest()}


def test_large_reply_is_whole(mesh):
    path = mesh.lab.folder / "down"
    mesh.curl(f"http://{ONLY_A}:{PORT}/?bytes={LARGE_BYTES}", "-o", path)
    assert hash_of(path) == hashlib.sha256(pattern(0, LARGE_BYTES)).hexdigest()


def test_large_request_is_whole(mesh):
    path = mesh.lab.folder / "up"
    path.write_bytes(pattern(0, LARGE_BYTES))
    saw = json.loads(mesh.curl("--data-binary", f"@{path}", f"http://{ONLY_A}:{PORT}/").stdout)
    assert (saw["body_bytes"], saw["body_sha256"]) == (LARGE_BYTES, hash_of(path))


def hash_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_slow_reader_of_one_stream_holds_up_no_other(mesh):
    with mesh.connection() as connection:
        slow = begin_slow_reading(connection)
        assert {connection.get("/").status for _ in range(20)} == {200}
        assert not connection.streams[slow].ended
        connection.cancel(slow)


def begin_slow_reading(connection):
    number = connection.open("/?bytes=10000000")
    connection.held.add(number)
    connection.wait(lambda: len(connection.streams[number].body) >= 60000)
    return number


def test_slow_readers_hold_up_no_other_client(own_lab):
    """Clients share the connection to an application: what some of them do not read must not fill its window."""
    mesh = Mesh(World(own_lab))
    with mesh.connection() as slow, mesh.connection() as other:
        for _ in range(12):
            begin_slow_reading(slow)
        assert {other.get("/?bytes=1000").status for _ in range(20)} == {200}


def test_slow_reader_that_cancels_is_a_cancel_at_the_application(mesh):
    before = mesh.counts()
    with mesh.connection() as connection:
        connection.cancel(begin_slow_reading(connection))
        wait_until(lambda: mesh.counts()["canceled"] > before["canceled"], "the application knows")


def test_slow_reader_that_leaves_is_a_cancel_at_the_application(own_lab):
    mesh = Mesh(World(own_lab))
    with mesh.connection() as connection:
        begin_slow_reading(connection)
    wait_until(lambda: mesh.counts()["canceled"] > 0, "the application knows", seconds=5)


@pytest.mark.parametrize("where", ["head", "body"])
def test_cancel_of_a_client_reaches_the_application(mesh, where):
    with mesh.connection() as connection:
        before = mesh.counts()
        number = connection.open(f"/?hang={where}&bytes=200000")
        wait_until(lambda: mesh.counts()["began"] > before["began"], "it is at the application")
        if where == "body":
            connection.wait(lambda: connection.streams[number].body)
        connection.cancel(number)
        wait_until(lambda: mesh.counts()["canceled"] > before["canceled"], "the application knows")
        assert connection.get("/").status == 200


def test_client_that_goes_away_is_a_cancel_of_all_its_streams(mesh):
    before = mesh.counts()
    with mesh.connection() as connection:
        for _ in range(5):
            connection.open("/?hang=head")
        wait_until(lambda: mesh.counts()["began"] - before["began"] == 5, "all are at the application")
    wait_until(lambda: mesh.counts()["canceled"] - before["canceled"] == 5, "the application knows of each")


def test_reset_inside_a_reply_is_a_reset_and_no_end(mesh):
    with mesh.connection() as connection:
        with pytest.raises(StreamReset):
            connection.get("/?reset=body&bytes=200000")
        assert connection.get("/").status == 200


def test_reset_before_a_reply_is_503(mesh):
    with mesh.connection() as connection:
        assert connection.get("/?reset=head").status == 503
        assert connection.get("/").status == 200


def test_each_stream_is_balanced_by_itself(mesh):
    with mesh.connection(BOTH) as connection:
        pods = collections.Counter(connection.get("/").pod for _ in range(100))
    assert set(pods) == {"a", "b"} and min(pods.values()) >= 30


def test_policy_judges_each_stream(mesh):
    mesh.world.policy("DENY", [{"to": [{"operation": {"paths": ["/secret"]}}]}])
    with mesh.connection() as connection:
        streams = [connection.open(path) for path in ("/", "/secret", "/other", "/secret")]
        assert [connection.reply(number).status for number in streams] == [200, 403, 200, 403]


def test_requests_are_counted_one_by_one(mesh):
    with mesh.agent.rises("istio_requests_total", by=30, destination_service_name="only-a", response_code=200,
                          request_protocol="http", response_flags="-"):
        with mesh.connection() as connection:
            for number in [connection.open("/") for _ in range(30)]:
                connection.reply(number)


def test_engine_that_ends_loses_no_request(own_lab):
    """Its GOAWAY sends a client's next requests to the engine that follows; those in flight are answered."""
    mesh = Mesh(World(own_lab))
    client = mesh.world.client.launch(tool("h2client"), "--url", f"http://{BOTH}:{PORT}/?delay_ms=20", "--streams", 16,
                                      stdin=subprocess.PIPE)
    for _ in range(2):
        old = mesh.agent.engine_pid()
        os.kill(old, signal.SIGTERM)
        wait_until(lambda: not pathlib.Path(f"/proc/{old}").exists(), "the old engine is gone", 30)
        began = served(mesh)
        wait_until(lambda: served(mesh) >= began + 100, "the next engine serves", 20)
    outcome = json.loads(client.communicate(timeout=40)[0])
    assert outcome["failed"] == [] and outcome["served"] > 200 and outcome["dialed"] >= 3


def served(mesh):
    return sum(mesh.counts(pod)["ended"] for pod in (mesh.world.a, mesh.world.b))
