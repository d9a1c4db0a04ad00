#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make soak MINUTES=n: clients of every kind, changes of the configuration and new engines, as long as asked for.

An engine lives for one phase: a short warm load, a look at it, the long load, another look. What it holds in files,
memory and coroutine frames must be the same then; so must the agent's from the first look to the last. A client may
find its connection cut, since engines end; a wrong answer is a fault, and so is a kind of client that never succeeds.
"""
import argparse
import collections
import dataclasses
import http.client
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "bench")]

from echo_server import pattern  # noqa: E402
from http1 import Session  # noqa: E402
from http2 import Connection  # noqa: E402
from lab import Lab  # noqa: E402
from manifests import service, service_target  # noqa: E402
from measure import private_bytes  # noqa: E402
from tools import VENV_PYTHON, tool  # noqa: E402
from waiting import Late, wait_until  # noqa: E402
from world import PORT, TCP_PORT, World, split, to  # noqa: E402

H2_PORT, H2_ADDRESS = 9085, "10.96.0.22"
GRPC_PORT, GRPC_ADDRESS = 9086, "10.96.0.23"
TCP_ADDRESS = "10.96.0.24"
GRPC_CLIENT = ROOT / "tests" / "interop" / "python" / "grpc_client.py"
WRONG_MAX = 5  # told of each kind of client
PHASE_SECONDS, WARM_SECONDS = 120, 15
QUIET_SECONDS = 60  # that connections, pools and caches may take to go
FILES_SLACK = 16
MEMORY_SLACK = 0.1
MEMORY_SLACK_BYTES = 4 * 1024 * 1024


@dataclasses.dataclass
class Look:
    files: int
    memory: int
    frames: float = 0

    def growth(self, before):
        """In words; empty is good."""
        found = []
        if self.files > before.files + FILES_SLACK:
            found.append(f"files {before.files} -> {self.files}")
        if self.memory > before.memory * (1 + MEMORY_SLACK) + MEMORY_SLACK_BYTES:
            found.append(f"private bytes {before.memory} -> {self.memory}")
        if self.frames > before.frames:
            found.append(f"bytes of coroutine frames {before.frames:g} -> {self.frames:g}")
        return found


class Wrong(Exception):
    """An answer that no cut connection explains."""


def expect(condition, what):
    if not condition:
        raise Wrong(what)


class Soak:
    def __init__(self, lab):
        self.world = World(lab)
        self.agent, self.client = self.world.agent, self.world.client
        for pod in (self.world.a, self.world.b):
            pod.launch(tool("h2echo"), "--name", pod.name, "--port", H2_PORT)
        self.world.a.launch(tool("interop"), "--port", GRPC_PORT)
        self.agent.apply("services.yaml",
                         service("h2", [H2_ADDRESS], H2_PORT, {"app": "web"}, "waypoint", port_name="http2"),
                         service("grpc", [GRPC_ADDRESS], GRPC_PORT, {"only": "a"}, "waypoint", port_name="grpc"),
                         service("tcp", [TCP_ADDRESS], TCP_PORT, {"app": "web"}, "waypoint", port_name="data"))
        self.world.route(split(a=1, b=1))
        self.stop, self.counts, self.faults = threading.Event(), collections.Counter(), []

    # ---- what clients do, over and over
    def plain(self):
        with self.world.session() as session:
            for _ in range(50):
                reply = session.request(path="/?bytes=20000")
                expect(reply.status == 200 and reply.body == pattern(0, 20000), f"{reply.status} {reply.body[:80]}")

    def streams(self):
        with Connection(self.client, H2_ADDRESS, H2_PORT) as connection:
            for number in [connection.open("/?bytes=20000") for _ in range(50)]:
                reply = connection.reply(number)
                expect(reply.status == 200 and len(reply.body) == 20000, f"{reply.status} {len(reply.body)} bytes")

    def cancels(self):
        with Connection(self.client, H2_ADDRESS, H2_PORT) as connection:
            for _ in range(20):
                connection.cancel(connection.open("/?hang=head"))
            status = connection.get("/").status
            expect(status == 200, status)

    def resets(self):
        sock = self.client.connect(self.world.ip("web"), PORT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.sendall(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100000\r\n\r\nhalf")
        sock.close()

    def slow_readers(self):
        with self.client.connect(self.world.ip("web"), PORT) as sock:
            sock.sendall(b"GET /?bytes=20000000 HTTP/1.1\r\nHost: web\r\n\r\n")
            sock.recv(1000)
            self.stop.wait(1)

    def slow_streams(self):
        with Connection(self.client, H2_ADDRESS, H2_PORT) as connection:
            number = connection.open("/?bytes=20000000")
            connection.held.add(number)
            connection.wait(lambda: len(connection.streams[number].body) > 60000)
            self.stop.wait(1)

    def broken_replies(self):
        with Session(self.client, self.world.ip("web"), PORT) as session:
            try:
                reply = session.request(path="/?bytes=100000&reset=body")
            except (OSError, http.client.HTTPException):
                return  # as it must
            expect(reply.status != 200, "a reply that was cut looked whole")

    def tunnels(self):
        sent = os.urandom(1 + int.from_bytes(os.urandom(3)) // 8)
        cuts = []
        with self.client.connect(TCP_ADDRESS, TCP_PORT) as sock:
            def send():
                try:
                    sock.sendall(sent)
                    sock.shutdown(socket.SHUT_WR)
                except OSError as error:  # who is told first; the other one sees a mere end
                    cuts.append(error)
            sender = threading.Thread(target=send)
            sender.start()
            received = bytearray()
            try:
                while piece := sock.recv(65536):
                    received += piece
            finally:
                sender.join()
        if cuts:
            raise cuts[0]
        expect(received.startswith(sent), f"{len(sent)} bytes went, {len(received)} others came back")

    def silent_tunnels(self):
        with self.client.connect(TCP_ADDRESS, TCP_PORT) as sock:
            self.stop.wait(1)
            sock.sendall(b"late")
            expect(sock.recv(4) == b"late", "not echoed")

    def calls(self):
        for name in ("unary", "bidirectional", "cancel"):
            self.client.run(VENV_PYTHON, GRPC_CLIENT, f"{GRPC_ADDRESS}:{GRPC_PORT}", name, timeout=60).check_returncode()

    def changes(self):
        self.world.route(to("a"))
        # Of one service: for a connection that is no request, this denies all.
        self.world.policy("DENY", [{"to": [{"operation": {"paths": ["/secret"]}}]}], targets=[service_target("web")])
        self.stop.wait(0.5)
        self.world.route(split(a=1, b=3))
        self.agent.remove("policy-policy.yaml")

    CLIENTS = (plain, streams, cancels, resets, slow_readers, slow_streams, broken_replies, tunnels, silent_tunnels,
               calls, changes)

    def _repeat(self, act):
        while not self.stop.is_set():
            try:
                act(self)
                result = "done"
            except Wrong as error:
                result = "wrong"
                if self.counts[act.__name__, result] < WRONG_MAX:
                    self.faults.append(f"{act.__name__}: {error}")
            except Exception as error:  # a client may be cut: an engine ends
                result = type(error).__name__
                self.stop.wait(0.05)
            self.counts[act.__name__, result] += 1

    def load(self, seconds):
        self.stop.clear()
        threads = [threading.Thread(target=self._repeat, args=(act,)) for act in self.CLIENTS]
        steady = self.client.start(tool("h2client"), "--url", f"http://{H2_ADDRESS}:{H2_PORT}/", "--streams", 4,
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.stop.set()
        for thread in threads:
            thread.join()
        steady.communicate(timeout=60)
        self.client.processes.remove(steady)

    # ---- what is looked at
    def look(self, pid, frames=False):
        return Look(len(os.listdir(f"/proc/{pid}/fd")), private_bytes(pid),
                    self.agent.metrics().total("weft_l7_frame_bytes") if frames else 0)

    def expect_no_growth(self, what, pid, before, frames=False):
        try:
            wait_until(lambda: not self.look(pid, frames).growth(before), what, QUIET_SECONDS, poll=1)
        except Late:
            self.faults += [f"{what}: {fault}" for fault in self.look(pid, frames).growth(before)]

    def phase(self, seconds):
        engine = self.agent.engine_pid()
        self.load(WARM_SECONDS)
        time.sleep(WARM_SECONDS)  # what is kept for reuse goes
        before = self.look(engine, frames=True)
        self.load(seconds)
        self.expect_no_growth(f"engine {engine}", engine, before, frames=True)
        print(f"engine {engine}: before {before}, after {self.look(engine, frames=True)}", flush=True)
        os.kill(engine, signal.SIGTERM)
        wait_until(lambda: not pathlib.Path(f"/proc/{engine}").exists(), "the old engine is gone", 60)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    phases = max(1, round(minutes * 60 / (PHASE_SECONDS + 2 * WARM_SECONDS)))
    seconds = max(5, minutes * 60 / phases - 2 * WARM_SECONDS)
    with Lab() as lab:
        soak = Soak(lab)
        agent_pid, agent_before = soak.agent.process.pid, None
        for number in range(phases):
            soak.phase(seconds)
            if number == 0:
                agent_before = soak.look(agent_pid)
        soak.expect_no_growth("agent", agent_pid, agent_before)
    for (name, result), count in sorted(soak.counts.items()):
        print(f"{count:8} {name} {result}")
    soak.faults += [f"{act.__name__} never succeeded" for act in Soak.CLIENTS if not soak.counts[act.__name__, "done"]]
    print("\n".join(soak.faults) or "make soak: no growth, no wrong answer")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
