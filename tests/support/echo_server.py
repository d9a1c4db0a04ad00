#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An application in a pod: answers every HTTP/1.1 request with JSON of what it saw. Dual stack, one thread a connection.

Query parameters bend the answer:
  status=N  bytes=N (a patterned body instead of JSON)  chunked=1  trailers=1  eof=1 (body ends with the connection)
  delay_ms=N (before the head)  stall_ms=N (in the middle of the body)  close=1  early=1 (answer before reading the body)
  informational=N (a 1xx head first)  reset=head|body (RST before anything, or in the middle of the body)
A control socket (Unix, one JSON line each way) hands out every byte received and sets a raw answer:
  {"verb": "take"} -> {"connections": [{"peer": ..., "bytes": base64, "closed": bool}]}, then forgets them
  {"verb": "sent"} -> {"bytes": so many bytes of bodies were given to the kernel so far}
  {"verb": "answer", "bytes": base64 or null, "close": bool}   raw bytes instead of the echo, after each request head
A second kind of port (--tcp) echoes bytes until the client's FIN, then answers with a summary and closes.
"""
import argparse
import base64
import hashlib
import json
import os
import signal
import socket
import struct
import threading
import time
import urllib.parse

HEAD_MAX = 256 * 1024
RECORD_MAX = 4 * 1024 * 1024  # per connection; bodies beyond are counted, not kept
PIECE = 64 * 1024


def address_text(address):
    host = address[0]
    if host.startswith("::ffff:"):
        host = host[7:]
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def pattern(start, length):
    """The body that `bytes=N` sends: any cut of it can be told from any other."""
    block = b"".join(struct.pack(">I", n) for n in range(start // 4, (start + length) // 4 + 2))
    return block[start % 4:start % 4 + length]


class Record:
    def __init__(self):
        self.lock = threading.Lock()
        self.connections = []
        self.answer = None
        self.sent = 0
        self.answer_closes = False

    def open(self, peer):
        entry = {"peer": peer, "bytes": bytearray(), "total": 0, "closed": False}
        with self.lock:
            self.connections.append(entry)
        return entry

    def take(self):
        with self.lock:
            taken, self.connections = self.connections, [c for c in self.connections if not c["closed"]]
            out = [{"peer": c["peer"], "bytes": base64.b64encode(bytes(c["bytes"])).decode(),
                    "total": c["total"], "closed": c["closed"]} for c in taken]
            for entry in self.connections:
                entry["bytes"] = bytearray()
                entry["total"] = 0
        return [c for c in out if c["total"] or c["closed"]]


class Connection:
    def __init__(self, server, sock, accepted):
        self.server, self.sock = server, sock
        self.accepted = address_text(accepted)
        self.entry = server.record.open(self.accepted)
        self.buffer = b""
        self.requests = 0

    def receive(self):
        data = self.sock.recv(PIECE)
        with self.server.record.lock:
            self.entry["total"] += len(data)
            if len(self.entry["bytes"]) < RECORD_MAX:
                self.entry["bytes"] += data
        self.buffer += data
        return bool(data)

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_MAX or not self.receive():
                return None
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ", 2)
        fields = [tuple(part.strip(" \t") for part in line.split(":", 1)) for line in lines[1:]]
        return method, target, version, fields

    def read_exactly(self, length, digest):
        left = length
        while left:
            if not self.buffer and not self.receive():
                raise ConnectionError("client went away inside the body")
            piece, self.buffer = self.buffer[:left], self.buffer[left:]
            digest.update(piece)
            left -= len(piece)
        return length

    def read_line(self):
        while b"\r\n" not in self.buffer:
            if not self.receive():
                raise ConnectionError("client went away inside a chunk")
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def read_body(self, fields):
        names = {name.lower(): value for name, value in fields}
        digest, total, trailers = hashlib.sha256(), 0, []
        if "chunked" in names.get("transfer-encoding", "").lower():
            while size := int(self.read_line().split(b";")[0], 16):
                total += self.read_exactly(size, digest)
                self.read_line()
            while line := self.read_line():
                trailers.append(line.decode("latin-1"))
        elif length := int(names.get("content-length", "0")):
            total = self.read_exactly(length, digest)
        return total, digest.hexdigest(), trailers

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        raise ConnectionAbortedError

    def serve(self):
        try:
            while (request := self.read_head()) is not None and self.answer(request):
                pass
        except (OSError, ValueError):
            pass
        finally:
            self.entry["closed"] = True
            self.sock.close()

    def answer(self, request):
        method, target, version, fields = request
        names = {name.lower(): value for name, value in fields}
        self.requests += 1
        if self.server.record.answer is not None:
            self.sock.sendall(self.server.record.answer)
            return not self.server.record.answer_closes
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(target).query))
        if query.get("reset") == "head":
            self.reset()
        if names.get("expect", "").lower() == "100-continue" and not query.get("early"):
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body_bytes, digest, trailers = (0, "", []) if query.get("early") else self.read_body(fields)
        if "delay_ms" in query:
            time.sleep(int(query["delay_ms"]) / 1000)
        if "informational" in query:
            self.sock.sendall(f"HTTP/1.1 {query['informational']} Early\r\nx-early: 1\r\n\r\n".encode())
        saw = {"pod": self.server.name, "method": method, "path": target, "version": version, "headers": fields,
               "body_bytes": body_bytes, "body_sha256": digest, "trailers": trailers,
               "accept": self.accepted, "getpeername": address_text(self.sock.getpeername()),
               "getsockname": address_text(self.sock.getsockname()), "request": self.requests}
        return self.send(method, query, json.dumps(saw).encode() + b"\n") and not query.get("early")

    def send(self, method, query, body):
        status = int(query.get("status", "200"))
        length = int(query.get("bytes", len(body)))
        head = [f"HTTP/1.1 {status} Reason", f"x-pod: {self.server.name}"]
        bodiless = method == "HEAD" or status in (204, 304)
        chunked = bool(query.get("chunked") or query.get("trailers"))
        closing = bool(query.get("close") or query.get("eof") or query.get("early"))
        if chunked:
            head.append("transfer-encoding: chunked")
        elif not query.get("eof") and status != 204:
            head.append(f"content-length: {length}")
        if query.get("trailers"):
            head.append("trailer: x-checksum")
        if closing:
            head.append("connection: close")
        head.append("content-type: " + ("application/octet-stream" if "bytes" in query else "application/json"))
        self.sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        if not bodiless:
            self.send_body(query, body, length, chunked)
        return not closing

    def send_body(self, query, body, length, chunked):
        sent, digest = 0, hashlib.sha256()
        while sent < length:
            size = min(PIECE, length - sent)
            if sent == 0 and ("stall_ms" in query or query.get("reset") == "body"):
                size = max(1, size // 2)
            piece = pattern(sent, size) if "bytes" in query else body[sent:sent + size]
            digest.update(piece)
            self.sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            sent += size
            with self.server.record.lock:
                self.server.record.sent += size
            if query.get("reset") == "body":
                self.reset()
            if "stall_ms" in query and sent == size:
                time.sleep(int(query["stall_ms"]) / 1000)
        if chunked:
            trailer = f"x-checksum: {digest.hexdigest()}\r\n" if query.get("trailers") else ""
            self.sock.sendall(f"0\r\n{trailer}\r\n".encode())


class Server:
    def __init__(self, name):
        self.name, self.record = name, Record()

    def listen(self, port, handler):
        listener = socket.socket(socket.AF_INET6)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", port))
        listener.listen(1024)
        threading.Thread(target=self.accept, args=(listener, handler), daemon=True).start()

    def accept(self, listener, handler):
        while True:
            sock, peer = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=handler, args=(sock, peer), daemon=True).start()

    def http(self, sock, peer):
        Connection(self, sock, peer).serve()

    def tcp(self, sock, peer):
        """Echo until FIN, then one line about what came: shows half-closes and lost bytes."""
        total, digest = 0, hashlib.sha256()
        try:
            while piece := sock.recv(PIECE):
                total += len(piece)
                digest.update(piece)
                sock.sendall(piece)
            line = {"pod": self.name, "accept": address_text(peer), "getpeername": address_text(sock.getpeername()),
                    "bytes": total, "sha256": digest.hexdigest()}
            sock.sendall(b"\n" + json.dumps(line).encode() + b"\n")
        except OSError:
            pass
        sock.close()

    def control(self, path):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(16)
        while True:
            sock, _ = listener.accept()
            with sock, sock.makefile("rw") as stream:
                request = json.loads(stream.readline())
                stream.write(json.dumps(self.command(request)) + "\n")
                stream.flush()

    def command(self, request):
        if request["verb"] == "take":
            return {"connections": self.record.take()}
        if request["verb"] == "sent":
            return {"bytes": self.record.sent}
        if request["verb"] == "answer":
            raw = request["bytes"]
            self.record.answer_closes = bool(request.get("close"))
            self.record.answer = None if raw is None else base64.b64decode(raw)
            return {}
        return {"error": "unknown verb"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--http", type=int, action="append", default=[])
    parser.add_argument("--tcp", type=int, action="append", default=[])
    parser.add_argument("--control")
    options = parser.parse_args()
    server = Server(options.name)
    for port in options.http:
        server.listen(port, server.http)
    for port in options.tcp:
        server.listen(port, server.tcp)
    if options.control:
        threading.Thread(target=server.control, args=(options.control,), daemon=True).start()
        while not os.path.exists(options.control):
            time.sleep(0.001)
    print("ready", flush=True)
    signal.pause()  # until the lab kills it


if __name__ == "__main__":
    main()
