# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 client over cleartext (prior knowledge): one connection from a pod, many streams, nothing repaired."""
import contextlib

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from http1 import Reply

PIECE = 64 * 1024
WINDOW = 8 * 1024 * 1024


class StreamReset(Exception):
    """The peer reset a stream: `code` is HTTP/2's."""

    def __init__(self, code, received):
        super().__init__(f"RST_STREAM {code} after {received} bytes")
        self.code, self.received = code, received


class _Stream:
    def __init__(self):
        self.head, self.body, self.trailers = None, bytearray(), {}
        self.informational = []
        self.ended, self.reset = False, None


class Connection:
    """Used by one thread. Replies come while somebody waits for one of them; `held` streams get no more window."""

    def __init__(self, pod, address, port, timeout=10.0):
        self.sock = pod.connect(address, port, timeout)
        self.authority = f"{address}:{port}"
        self.streams, self.held = {}, set()
        self.gone = None  # the code of a GOAWAY that came
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False))
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW)
        self._flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def open(self, path="/", method="GET", headers=None):
        """A request without a body; returns the number of its stream."""
        number = self.h2.get_next_available_stream_id()
        self.streams[number] = _Stream()
        self.h2.send_headers(number, [(":method", method), (":scheme", "http"), (":authority", self.authority),
                                      (":path", path), *(headers or {}).items()], end_stream=True)
        self._flush()
        return number

    def open_raw(self, fields, data=(), trailers=None, end=True):
        """A request as it is told, however wrong: `fields` replace those of open(), None takes one away, a list repeats
        one. Ended by the last of `data` or by the trailers; `end` False: not at all."""
        number = self.h2.get_next_available_stream_id()
        self.streams[number] = _Stream()
        wanted = {":method": "GET", ":scheme": "http", ":authority": self.authority, ":path": "/", **fields}
        ordered = sorted(wanted.items(), key=lambda field: not field[0].startswith(":"))
        self.h2.send_headers(number, [(name, each) for name, value in ordered
                                      for each in (value if isinstance(value, list) else [value]) if each is not None],
                             end_stream=end and not data and not trailers)
        for count, piece in enumerate(data, 1):
            self.h2.send_data(number, piece, end_stream=end and count == len(data) and not trailers)
        if trailers:
            self.h2.send_headers(number, list(trailers.items()), end_stream=True)
        self._flush()
        return number

    def send(self, number, data, end=False):
        """More of a body, within the window."""
        self.h2.send_data(number, data, end_stream=end)
        self._flush()

    def cancel(self, number):
        self.h2.reset_stream(number, error_code=8)
        self._flush()

    def release(self, number):
        """A held stream is read again."""
        self.held.discard(number)
        self.h2.acknowledge_received_data(len(self.streams[number].body), number)
        self._flush()

    def reply(self, number):
        """Waits for the end of a stream. Raises StreamReset, but not where the reply is whole and only the rest of the
        request is not wanted (RFC 9113 8.1)."""
        stream = self.streams[number]
        self.wait(lambda: stream.ended or stream.reset is not None)
        if stream.reset is not None and not (stream.ended and stream.reset == 0):
            raise StreamReset(stream.reset, len(stream.body))
        status = int(dict(stream.head)[":status"])
        return Reply(status, [field for field in stream.head if field[0] != ":status"], bytes(stream.body),
                     stream.trailers)

    def get(self, path="/", **options):
        return self.reply(self.open(path, **options))

    def wait(self, condition):
        """Takes what comes until the condition holds; the socket's timeout is the deadline of each piece."""
        while not condition():
            data = self.sock.recv(PIECE)
            if not data:
                raise ConnectionError("the connection ended")
            for event in self.h2.receive_data(data):
                self._on(event)
            self._flush()

    def drain(self):
        """Takes what is left of a connection that has ended; returns `gone`."""
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            while data := self.sock.recv(PIECE):
                for event in self.h2.receive_data(data):
                    self._on(event)
        return self.gone

    def _on(self, event):
        if isinstance(event, h2.events.ConnectionTerminated):
            self.gone = event.error_code
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            stream.head = event.headers
        elif isinstance(event, h2.events.InformationalResponseReceived):
            stream.informational.append(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            if event.stream_id not in self.held:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = event.error_code

    def _flush(self):
        self.sock.sendall(self.h2.data_to_send())
