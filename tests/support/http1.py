# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 client that shows what is on the wire: sockets made in pods, bytes kept, nothing repaired."""
import dataclasses
import http.client
import json
import socket


@dataclasses.dataclass
class Reply:
    status: int
    headers: list
    body: bytes
    trailers: dict = dataclasses.field(default_factory=dict)

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ",".join(values) if values else None

    @property
    def saw(self):
        """What the application saw (echo_server.py)."""
        return json.loads(self.body)

    @property
    def pod(self):
        return self.saw["pod"]


class Session:
    """One connection from a pod, several requests."""

    def __init__(self, pod, address, port, timeout=10.0):
        self.address, self.port = address, port
        self.sock = pod.connect(address, port, timeout)
        self.connection = http.client.HTTPConnection(address, port, timeout=timeout)
        self.connection.sock = self.sock
        self.connection.auto_open = 0  # never dial again by itself: that would leave the pod

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.close()
        self.sock.close()

    def request(self, method="GET", path="/", headers=None, body=None, host=None, chunked=False):
        fields = {"Host": host or "service", **(headers or {})}
        self.connection.request(method, path, body=body, headers=fields, encode_chunked=chunked)
        response = self.connection.getresponse()
        return Reply(response.status, response.getheaders(), response.read())


def request(pod, address, port, method="GET", path="/", timeout=10.0, **options):
    with Session(pod, address, port, timeout) as session:
        return session.request(method, path, **options)


def raw(pod, address, port, data, timeout=5.0, half_close=False, pieces=None, quiet=None):
    """Sends bytes (whole, or cut at the given piece size) and returns (everything received, how it ended).
    How: 'fin', 'reset' or 'open' when the peer said nothing more within the timeout; once a whole reply is there, `quiet`
    seconds are enough."""
    sock = pod.connect(address, port, timeout)
    received = b""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step = pieces or max(1, len(data))
        for start in range(0, len(data), step):
            sock.sendall(data[start:start + step])
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        while piece := sock.recv(65536):
            received += piece
            if quiet is not None and is_whole(received):
                sock.settimeout(quiet)
        return received, "fin"
    except (ConnectionResetError, BrokenPipeError):
        return received, "reset"
    except TimeoutError:
        return received, "open"
    finally:
        sock.close()


def is_whole(data):
    try:
        return any(status >= 200 for status, _, _ in parse_replies(data))
    except AssertionError:
        return False


def parse_replies(data):
    """The responses in a byte stream: [(status, headers, body)]; raises on anything that is not HTTP/1.1."""
    replies = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, f"an unfinished head: {head[:200]!r}"
        lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = lines[0].split(" ")
        assert version == "HTTP/1.1", lines[0]
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        names = {name.lower(): value for name, value in fields}
        body = b""
        if "chunked" in names.get("transfer-encoding", ""):
            while True:
                size, _, data = data.partition(b"\r\n")
                assert size, "an unfinished chunked body"
                length = int(size, 16)
                if length == 0:
                    _trailers, separator, data = (b"\r\n" + data).partition(b"\r\n\r\n")
                    assert separator, "unfinished trailers"
                    break
                assert len(data) >= length + 2, "an unfinished chunk"
                body, data = body + data[:length], data[length + 2:]
        elif int(status) >= 200:
            length = int(names.get("content-length", "0"))
            body, data = data[:length], data[length:]
        replies.append((int(status), fields, body))
    return replies
