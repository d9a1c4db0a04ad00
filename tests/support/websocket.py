# SPDX-License-Identifier: Apache-2.0
"""WebSocket clients (RFC 6455) over HTTP/1 and over HTTP/2's extended CONNECT (RFC 8441), and a server of the latter:
frames made by hand, so that tests decide what is sent when."""
import base64
import contextlib
import hashlib
import os
import socket
import struct
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from http1 import parse_replies
from http2 import Connection

TEXT, CLOSE = 1, 8
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(payload, opcode=TEXT, masked=True):
    """One final frame, of a client when `masked`."""
    size = len(payload)
    bit = 0x80 if masked else 0
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += struct.pack(">BH", bit | 126, size)
    else:
        head += struct.pack(">BQ", bit | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def parse(data):
    """([(opcode, payload)], the rest) of frames; masks are taken off."""
    frames = []
    while len(data) >= 2:
        at, size = 2, data[1] & 0x7f
        masked = bool(data[1] & 0x80)
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        end = at + 4 * masked + size
        if len(data) < at or len(data) < end:
            break
        payload = data[end - size:end]
        if masked:
            key = (data[at:at + 4] * (size // 4 + 1))[:size]
            payload = bytes(one ^ other for one, other in zip(payload, key))
        frames.append((data[0] & 0x0f, bytes(payload)))
        data = data[end:]
    return frames, data


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status} {body!r}")
        self.status, self.body = status, body


class Http1Client:
    """Opened by a GET with an upgrade; `early` is sent in one piece with it."""

    def __init__(self, pod, address, port, path="/", early=b"", timeout=10.0):
        self.sock, self.data = pod.connect(address, port, timeout), b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode() + early)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, self.data = received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            [(status, _, body)] = parse_replies(received)
            raise Refused(status, body)
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest())
        assert b"sec-websocket-accept: " + accept.lower() in head.lower()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def _receive(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise ConnectionError("the connection ended")
        return piece

    def send_bytes(self, data):
        self.sock.sendall(data)

    def end(self):
        """No more from this side."""
        self.sock.shutdown(socket.SHUT_WR)

    def receive_frame(self):
        while not (parsed := parse(self.data))[0]:
            self.data += self._receive()
        [first, *others], rest = parsed
        self.data = b"".join(frame(payload, opcode, False) for opcode, payload in others) + rest
        return first

    def receive_end(self):
        """Waits for the peer's end: raises ConnectionResetError where it is a reset."""
        while piece := self.sock.recv(65536):
            self.data += piece


class Http2Client(Http1Client):
    """Opened by an extended CONNECT."""

    def __init__(self, pod, address, port, path="/", early=b"", timeout=10.0):
        self.connection, self.data = Connection(pod, address, port, timeout), b""
        self.connection.authority = "web"
        self.connection.wait(lambda: self.connection.h2.remote_settings.enable_connect_protocol)
        self.number = self.connection.open_raw({":method": "CONNECT", ":protocol": "websocket", ":path": path,
                                                "sec-websocket-version": "13"}, [early] if early else [], end=False)
        self.stream = self.connection.streams[self.number]
        self.connection.wait(lambda: self.stream.head or self.stream.reset is not None)
        if self.stream.reset is not None or dict(self.stream.head)[":status"] != "200":
            reply = self.connection.reply(self.number)
            raise Refused(reply.status, reply.body)

    def __exit__(self, *_):
        self.connection.sock.close()

    def _receive(self):
        self.connection.wait(lambda: self.stream.body or self.stream.ended or self.stream.reset is not None)
        data = bytes(self.stream.body)
        self.stream.body.clear()
        if not data:
            raise ConnectionError(f"ended, RST_STREAM {self.stream.reset}")
        return data

    def send_bytes(self, data):
        while data:
            room = min(self.connection.h2.local_flow_control_window(self.number), 16384)
            if room == 0:
                self.connection.wait(lambda: self.connection.h2.local_flow_control_window(self.number) > 0)
                continue
            self.connection.send(self.number, data[:room])
            data = data[room:]

    def end(self):
        self.connection.send(self.number, b"", end=True)

    def receive_end(self):
        self.connection.wait(lambda: self.stream.ended or self.stream.reset is not None)
        self.data += bytes(self.stream.body)
        if self.stream.reset and not self.stream.ended:
            raise ConnectionResetError(f"RST_STREAM {self.stream.reset}")


class Http2Server:
    """Echoes the bytes of each extended CONNECT in a pod, in threads of this process; /no is refused with 403. `accept`
    is waited for before an answer, `early` is what came before it."""

    def __init__(self, pod, port):
        self.accept = threading.Event()
        self.accept.set()
        self.early, self.heads = bytearray(), []
        self.listener = pod.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("0.0.0.0", port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        session = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8",
                                                                       validate_inbound_headers=False))
        session.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        session.initiate_connection()
        waiting = []
        with sock, contextlib.suppress(OSError):
            sock.settimeout(0.05)
            while True:
                sock.sendall(session.data_to_send())
                if self.accept.is_set():
                    for number, path in waiting:
                        session.send_headers(number, [(":status", "403" if path == "/no" else "200")], path == "/no")
                    waiting.clear()
                    sock.sendall(session.data_to_send())
                try:
                    data = sock.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                for event in session.receive_data(data):
                    self._on(session, event, waiting)

    def _on(self, session, event, waiting):
        if isinstance(event, h2.events.RequestReceived):
            self.heads.append(dict(event.headers))
            waiting.append((event.stream_id, dict(event.headers)[":path"]))
        elif isinstance(event, h2.events.DataReceived):
            session.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if any(number == event.stream_id for number, _ in waiting):
                self.early += event.data
            else:
                for opcode, payload in parse(bytes(event.data))[0]:
                    session.send_data(event.stream_id, frame(payload, opcode, masked=False))
        elif isinstance(event, h2.events.StreamEnded):
            with contextlib.suppress(h2.exceptions.ProtocolError):
                session.end_stream(event.stream_id)
