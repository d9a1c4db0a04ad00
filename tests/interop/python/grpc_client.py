#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One gRPC call of interop.proto, or several of a kind: grpc_client.py ADDRESS CALL, JSON of what happened on stdout.

Each CALL is a function below. A client of its own process, since it has to live in a pod.
"""
import json
import sys
import threading
import time

import grpc
from google.protobuf import empty_pb2, wrappers_pb2

SERVICE = "/weft.interop.Interop/"
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
LARGE_BYTES = 5 * 1024 * 1024
TIMEOUT = 20


class Interop:
    """The stub, by hand."""

    def __init__(self, channel):
        def method(make, name, reply):
            return make(SERVICE + name, lambda message: message.SerializeToString(), reply.FromString)
        bytes_value, empty = wrappers_pb2.BytesValue, empty_pb2.Empty
        self.echo = method(channel.unary_unary, "Echo", bytes_value)
        self.fail = method(channel.unary_unary, "Fail", empty)
        self.wait = method(channel.unary_unary, "Wait", empty)
        self.counts = method(channel.unary_unary, "Counts", wrappers_pb2.StringValue)
        self.collect = method(channel.stream_unary, "Collect", wrappers_pb2.Int64Value)
        self.repeat = method(channel.unary_stream, "Repeat", wrappers_pb2.Int64Value)
        self.chat = method(channel.stream_stream, "Chat", bytes_value)
        self.unknown = method(channel.unary_unary, "Unknown", empty)


def value(data):
    return wrappers_pb2.BytesValue(value=data)


def plain(pairs):
    return {name: item if isinstance(item, str) else item.hex() for name, item in pairs}


def failure(act):
    """What a call that must fail says: code, message, and the trailers."""
    try:
        act()
    except grpc.RpcError as error:
        return {"code": error.code().name, "message": error.details(), "trailers": plain(error.trailing_metadata() or ())}
    return {"code": "OK"}


def unary(stub):
    return {"same": stub.echo(value(b"hello"), timeout=TIMEOUT).value == b"hello"}


def many(stub):
    """A hundred calls at once on one connection."""
    calls = [stub.echo.future(value(b"%d" % n), timeout=TIMEOUT) for n in range(100)]
    return {"same": all(call.result().value == b"%d" % n for n, call in enumerate(calls))}


def large(stub):
    body = bytes(range(256)) * (LARGE_BYTES // 256)
    return {"same": stub.echo(value(body), timeout=TIMEOUT).value == body}


def metadata(stub):
    reply, call = stub.echo.with_call(value(b""), timeout=TIMEOUT, metadata=[
        ("x-text", "one"), ("x-data-bin", b"\x00\xff\x01"), ("other", "two")])
    return {"initial": plain(call.initial_metadata()), "trailing": plain(call.trailing_metadata())}


def deadline_is_told(stub):
    _, call = stub.echo.with_call(value(b""), timeout=TIMEOUT)
    return {"deadline_ms": int(dict(call.initial_metadata())["deadline-ms"])}


def client_stream(stub):
    return {"bytes": stub.collect((value(b"x" * 1000) for _ in range(1000)), timeout=TIMEOUT).value}


def server_stream(stub):
    return {"in_order": [n.value for n in stub.repeat(wrappers_pb2.Int64Value(value=1000), timeout=TIMEOUT)] ==
            list(range(1000))}


def bidirectional(stub):
    """A message is sent only when the one before has come back: nothing may be held back on the way."""
    came = threading.Semaphore(1)

    def messages():
        for n in range(200):
            came.acquire()
            yield value(b"%d" % n)
    echoed = []
    for reply in stub.chat(messages(), timeout=TIMEOUT):
        echoed.append(reply.value)
        came.release()
    return {"in_order": echoed == [b"%d" % n for n in range(200)]}


def fails(stub):
    return failure(lambda: stub.fail(empty_pb2.Empty(), timeout=TIMEOUT,
                                     metadata=[("code", "9"), ("message", "not now: 100 %")]))


def unknown(stub):
    return failure(lambda: stub.unknown(empty_pb2.Empty(), timeout=TIMEOUT))


def call(stub):
    """Whatever comes of one plain call."""
    return failure(lambda: stub.echo(value(b"x"), timeout=TIMEOUT))


def counts(stub):
    return dict(zip(("waiting", "canceled", "late"),
                    map(int, stub.counts(empty_pb2.Empty(), timeout=TIMEOUT).value.split())))


def until(stub, name, wanted):
    deadline = time.monotonic() + TIMEOUT
    while (now := counts(stub))[name] < wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    return now


def deadline(stub):
    before = counts(stub)["waiting"]
    said = failure(lambda: stub.wait(empty_pb2.Empty(), timeout=0.3))
    after = until(stub, "waiting", before + 1)
    return {**said, "arrived": after["waiting"] - before}


def cancel(stub):
    before = counts(stub)
    waiting = stub.wait.future(empty_pb2.Empty(), timeout=TIMEOUT)
    until(stub, "waiting", before["waiting"] + 1)
    waiting.cancel()
    return {"seen_by_server": until(stub, "canceled", before["canceled"] + 1)["canceled"] - before["canceled"]}


CALLS = {function.__name__: function for function in (
    unary, many, large, metadata, deadline_is_told, client_stream, server_stream, bidirectional, fails, unknown, call,
    deadline, cancel)}


def main():
    address, name = sys.argv[1:]
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), ("grpc.max_send_message_length",
                                                                       MESSAGE_BYTES_MAX)]
    with grpc.insecure_channel(address, options=options) as channel:
        print(json.dumps(CALLS[name](Interop(channel))))


if __name__ == "__main__":
    main()
