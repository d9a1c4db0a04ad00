#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/fuzz/corpus anew: real cases, in the layout of input.hpp. Run by hand when cases are added.

HTTP/1 comes from tests/node/hostile_h1.yaml, so a hostile input that is written down there is a seed here.
"""
import pathlib
import shutil
import struct

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CORPUS = ROOT / "tests/fuzz/corpus"
CUTS = (7, 30, 61)  # any will do: the program takes them modulo the length
SEED_BYTES_MAX = 1500


def write(target, seeds):
    folder = CORPUS / target
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, (options, text) in enumerate(seeds):
        if len(text) <= SEED_BYTES_MAX:
            (folder / f"{number:03}").write_bytes(struct.pack(">B3H", options, *CUTS) + text)


def hostile():
    """Requests of clients and answers of applications; YAML escapes stand for one byte each."""
    cases = yaml.safe_load((ROOT / "tests/node/hostile_h1.yaml").read_text())
    requests, replies = [], []
    for row in (row for rows in cases.values() for row in rows):
        if isinstance(row.get("send"), str):
            requests.append(row["send"].replace("HEAD", "Host: web\r\n").encode("latin-1"))
        if isinstance(row.get("answer"), str):
            replies.append(row["answer"].encode("latin-1"))
    return requests, replies


REPLIES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nGrpc-Status: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 7\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nuntil the end",
]
CHUNKS = [b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"00000005\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
          b"5;a=\"b\r\n\"\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\nHost: c\r\n\r\n",
          b"FFFFFFFFFFFFFFFF1\r\n", b"5\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"0\r\n:path: /x\r\n\r\n",
          b"ffffffffffffffff\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"a\r\n0123456789\r\n0\r\n\r\n0\r\n\r\n"]
PATHS = ["/a/../b", "/a/%2E./b", "/../../etc", "/a%2f%2e%2e%2fb", "//a", "/a//../b", "/a\\b", "/a/%2e%2e%5cb",
         "/%41dmin", "/%2561dmin", "/a%00b", "/%%0000", "/a;x=1/b", "/a?x=/../y//z", "/a/..", "/...", "/%2%65",
         "/a/%2F%2f/c#/../d", "*", "http://h/../a"]


CNI = [
    b'{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge","ipam":{"ranges":[[{}]]}},{"type":"portmap"}],"z":1}',
    b'{"cniVersion":"0.4.0","name":"n","plugins":[{"type":"weft-cni"},{"type":"ptp"},{"type":"weft-cni","a":1}]}',
    b'{"cniVersion":"0.2.0","name":"n","plugins":[{"type":"ptp"}]}', b'{"name":"n","plugins":[]}',
    b'{"cniVersion":"1.1.0","name":"n","type":"ptp","ipam":{"type":"host-local"}}', b"[[[[[[[[", b'{"plugins":[{}]}',
    b'{"cniVersion":"1.0.0","type":"weft-cni","timeoutSeconds":3,"failurePolicy":"failOpen","socket":"/s",'
    b'"excludeNamespaces":["a"],"prevResult":{"interfaces":[{"name":"eth0","sandbox":"/n"}],'
    b'"ips":[{"address":"10.0.0.1/24","interface":0},{"address":"fd00::1/64"}]}}',
    b"IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=c",
    b'{"contract":1,"verb":"add","namespace":"a","pod":"b","uid":"c","container":"d","addresses":["10.0.0.1"],"waitMs":9}',
    b'{"contract":1,"outcome":"refused","reason":"why"}',
]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literals(*fields):
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)


GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]
OK = [(b":status", b"200")]


def raw_frames(head, body_head):
    """Frames as they are on the wire: option 0."""
    return [
        frame(1, 5, 1, literals(*head)),
        frame(1, 4, 5, literals(*body_head, (b"content-length", b"5"))) + frame(0, 1, 5, b"hello"),
        frame(1, 4, 5, literals(*body_head)) + frame(0, 0, 5, b"hello") + frame(1, 5, 5, literals((b"a", b"b"))),
        frame(1, 1, 1, literals(*head)[:9]) + frame(9, 4, 1, literals(*head)[9:]),
        frame(1, 5, 1, b"\x3f\xe1\x1f\x82\x86\x84\x41\x01a") + frame(1, 5, 3, b"\x82\x86\x84\xbe"),
        frame(1, 5, 1, literals(*head, (b"a", b"b\r\nc: d"))) + frame(3, 0, 1, struct.pack(">I", 8)),
        frame(4, 0, 0, struct.pack(">HI", 4, 0)) + frame(8, 0, 0, struct.pack(">I", 0x7fffffff)),
        frame(6, 0, 0, b"12345678") + frame(7, 0, 0, bytes(8)) + frame(2, 0, 1, bytes(5)) + frame(0, 0, 1),
    ]


# One frame for each few bytes, as h2_input.cpp reads them.
CHOSEN_FRAMES = [bytes(text) for text in (
    [16, 1, 0], [0, 1, 0, 3, 1, 5, *b"hello", 19, 1, 0], [0, 1, 1, 0, 19, 1, 5, *b"hello"], [16, 1, 1, 4, 16, 3, 1, 12],
    [5, 1, 8, 6, 0, 0, 0, 0, 9, 7, 0, 4, 0, 0, 1], [9, 1, 0, 20, 10, 0, 26, 0], [11, 0, 7, 0, 8, *bytes(8)])]


def vector(content, length_bytes):
    return struct.pack(">I", len(content))[4 - length_bytes:] + content


def client_hello(*extensions):
    body = b"\x03\x03" + b"r" * 32 + vector(b"s" * 32, 1) + vector(b"\x13\x01", 2) + vector(b"\0", 1)
    return b"\x01" + vector(body + vector(b"".join(extensions), 2), 3)


def extension(kind, content):
    return struct.pack(">H", kind) + vector(content, 2)


def hellos():
    name = extension(0, vector(b"\0" + vector(b"Web.example.", 2), 2))
    alpn = extension(16, vector(vector(b"h2", 1) + vector(b"http/1.1", 1), 2))
    messages = [client_hello(), client_hello(name), client_hello(alpn, name), client_hello(name, name),
                client_hello(extension(10, b"\0\2\0\x1d"), name, alpn)]
    return [(1, message) for message in messages] + [(0, b"\x16\x03\x01" + vector(message, 2)) for message in messages]


def main():
    requests, replies = hostile()
    write("h1_request", [(0, text) for text in requests])
    write("h1_response", [(1, text) for text in replies + REPLIES])
    write("h1_chunked", [(0, text) for text in CHUNKS])
    for target, heads in (("h2_server", (GET, POST)), ("h2_client", (OK, OK))):
        write(target, [(1, text) for text in raw_frames(*heads)] + [(0, text) for text in CHOSEN_FRAMES])
    write("client_hello", hellos())
    write("cni", [(0, text) for text in CNI])
    write("normalize", [(0, path.encode()) for path in PATHS])
    write("sniff", [(0, text) for text in (b"GET / HTTP/1.1\r\n", b"\r\n\r\nPOST /x HTTP/1.0\r\n", b"GET key\r\n",
                                           b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"EHLO a\r\n", b"*1\r\n$4\r\nPING\r\n")]
          + [(1, b"GET /a\x7f\x7f\x7f\x7f\x7f"), *hellos()])


if __name__ == "__main__":
    main()
