# SPDX-License-Identifier: Apache-2.0
"""The test's end of an application that runs in a pod (echo_server.py)."""
import base64
import contextlib
import json
import pathlib
import signal
import socket
import sys

SERVER = pathlib.Path(__file__).resolve().parent / "echo_server.py"


class Application:
    """One echo server. `take()` is the second oracle of hostile-input tests: the bytes that reached the application."""

    _count = 0

    def __init__(self, pod, name, http_ports, tcp_ports):
        Application._count += 1
        self.pod, self.name = pod, name
        self.control_path = pod.lab.folder / f"app{Application._count}.sock"
        self.http_ports, self.tcp_ports = http_ports, tcp_ports
        arguments = [sys.executable, SERVER, "--name", name, "--control", self.control_path]
        for port in http_ports:
            arguments += ["--http", port]
        for port in tcp_ports:
            arguments += ["--tcp", port]
        self.process = pod.launch(*arguments)

    def _ask(self, **request):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.control_path))
            with sock.makefile("rw") as stream:
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                return json.loads(stream.readline())

    def take(self):
        """[(peer, bytes)] received since the last call."""
        return [(c["peer"], base64.b64decode(c["bytes"])) for c in self._ask(verb="take")["connections"]]

    def bytes_received(self):
        return b"".join(data for _, data in self.take())

    def bytes_sent(self):
        """Of the bodies of its replies, as far as the kernel took them."""
        return self._ask(verb="sent")["bytes"]

    def answer(self, raw, close=False):
        """From now on these bytes are the answer to every request head; None: echo again."""
        encoded = None if raw is None else base64.b64encode(raw).decode()
        self._ask(verb="answer", bytes=encoded, close=close)

    @contextlib.contextmanager
    def answering(self, raw, close=False):
        self.answer(raw, close)
        try:
            yield
        finally:
            self.answer(None)

    @contextlib.contextmanager
    def paused(self):
        """Stopped, not dead: connections wait in its backlog."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.process.kill()
        self.process.wait()
