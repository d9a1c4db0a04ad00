# SPDX-License-Identifier: Apache-2.0
"""Connections that are passed through: who speaks first, how they end, who may have one, what is counted."""
import contextlib
import hashlib
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest
from echo_server import pattern
from manifests import service
from waiting import wait_until

MEGABYTE = 1024 * 1024
BIG = 100 * MEGABYTE
ADDRESSES = {"tcp": "10.96.0.101", "tls": "10.96.0.102", "any": "10.96.0.103"}
PORTS = {"tcp": 7001, "tls": 7002, "any": 7003}
SNIFFED = "weft_l7_sniffed_connections_total"


@pytest.fixture
def ports(world):
    """Three services of pod a: a port declared TCP, one declared TLS, one that declares nothing."""
    world.agent.apply("tunnels.yaml", *[
        service(f"port-{kind}", [ADDRESSES[kind]], PORTS[kind], {"only": "a"}, "waypoint", port_name="data",
                app_protocol=None if kind == "any" else kind) for kind in PORTS])
    return world


@contextlib.contextmanager
def serving(world, kind, handler):
    """Serves that port in pod a; `handler` has the socket, in a thread per connection."""
    listener = world.a.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", PORTS[kind]))
    listener.listen(64)
    threads = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.settimeout(30)
                threads.append(threading.Thread(target=handler, args=(sock,), daemon=True))
                threads[-1].start()
    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [acceptor, *threads]:
            thread.join(30)


def dial(world, kind, pod=None):
    return (pod or world.client).connect(ADDRESSES[kind], PORTS[kind], 30)


def read_all(sock):
    received = b""
    while piece := sock.recv(65536):
        received += piece
    return received


def greet(sock):
    with sock, contextlib.suppress(OSError):
        sock.sendall(b"220 ready\r\n")
        while piece := sock.recv(65536):
            sock.sendall(piece)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def ends_with_reset(sock):
    """True for a reset without a byte."""
    try:
        return sock.recv(1) == b"never"
    except ConnectionResetError:
        return True


def is_refused(world, kind):
    """As the above; the reset may come before connect() has returned."""
    try:
        with dial(world, kind) as sock:
            return ends_with_reset(sock)
    except ConnectionResetError:
        return True


# ---------------------------------------------------------------- who speaks first

@pytest.mark.parametrize("kind", ["tcp", "any"])
def test_a_server_that_speaks_first_is_heard(ports, kind):
    silent = ports.agent.metrics().total(SNIFFED, reason="silence")
    with serving(ports, kind, greet), dial(ports, kind) as sock:
        start = time.monotonic()
        assert sock.recv(100) == b"220 ready\r\n"
        took = time.monotonic() - start
        sock.sendall(b"HELO\r\n")
        assert sock.recv(100) == b"HELO\r\n"
    sniffed = ports.agent.metrics().total(SNIFFED, reason="silence") - silent
    assert sniffed == (1 if kind == "any" else 0)
    assert took < 2 and (kind == "tcp" or took > 0.05)


def test_a_client_that_speaks_first_does_not_wait_for_the_timeout(ports):
    with serving(ports, "any", greet), dial(ports, "any") as sock, ports.agent.rises(SNIFFED, reason="tcp"):
        sock.sendall(b"get key\r\n")
        received = b""
        while not received.endswith(b"get key\r\n"):
            received += sock.recv(100)
        assert received == b"220 ready\r\nget key\r\n"


# ---------------------------------------------------------------- ends

def test_a_half_closed_connection_still_gets_its_answer(ports):
    def answer(sock):
        with sock:
            sock.sendall(hashlib.sha256(read_all(sock)).hexdigest().encode())
    with serving(ports, "tcp", answer), dial(ports, "tcp") as sock:
        sock.sendall(pattern(0, MEGABYTE))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).decode() == hashlib.sha256(pattern(0, MEGABYTE)).hexdigest()


def test_a_reset_of_the_server_is_one_for_the_client(ports):
    def hang_up(sock):
        sock.recv(1)
        reset(sock)
    with serving(ports, "tcp", hang_up), dial(ports, "tcp") as sock:
        sock.sendall(b"x")
        assert ends_with_reset(sock)


def test_a_reset_of_the_client_is_one_for_the_server(ports):
    seen = []

    def listen(sock):
        with sock:
            sock.sendall(b"ready")
            seen.append(ends_with_reset(sock))
    with serving(ports, "tcp", listen):
        sock = dial(ports, "tcp")
        assert sock.recv(5) == b"ready"
        reset(sock)
        wait_until(lambda: seen, "the server sees the end")
    assert seen == [True]


def test_a_hundred_megabytes_in_both_directions_arrive_whole(ports):
    block = pattern(0, MEGABYTE)
    expected = hashlib.sha256(block * (BIG // MEGABYTE)).hexdigest()
    received = {}

    def exchange(name, sock):
        def send():
            for _ in range(BIG // MEGABYTE):
                sock.sendall(block)
            sock.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        digest, total = hashlib.sha256(), 0
        while piece := sock.recv(MEGABYTE):
            digest.update(piece)
            total += len(piece)
        sender.join(60)
        received[name] = (total, digest.hexdigest())

    def answer(sock):
        with sock:
            exchange("server", sock)
    with serving(ports, "tcp", answer), dial(ports, "tcp") as sock:
        exchange("client", sock)
        wait_until(lambda: "server" in received, "the server has all")
    assert received == {"client": (BIG, expected), "server": (BIG, expected)}


# ---------------------------------------------------------------- TLS

@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2", "-subj", "/CN=db.example",
                    "-addext", "subjectAltName=DNS:db.example,DNS:other.example"], check=True, capture_output=True)
    return folder


@contextlib.contextmanager
def tls_server(world, kind, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def echo(sock):
        with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as secure:
            secure.sendall(secure.recv(100))
    with serving(world, kind, echo):
        yield


def ask_tls(world, kind, certificate, name):
    context = ssl.create_default_context(cafile=certificate / "cert.pem")
    with context.wrap_socket(dial(world, kind), server_hostname=name) as secure:
        secure.sendall(b"over TLS")
        return secure.recv(100)


@pytest.mark.parametrize("kind", ["tls", "any"])
def test_tls_passes_through_untouched_and_its_server_name_is_judged(ports, certificate, kind):
    with tls_server(ports, kind, certificate):
        with ports.agent.rises("weft_l7_client_hellos_total", reason="read"):
            assert ask_tls(ports, kind, certificate, "other.example") == b"over TLS"
        ports.policy("ALLOW", [{"when": [{"key": "connection.sni", "values": ["db.example"]}]}])
        assert ask_tls(ports, kind, certificate, "db.example") == b"over TLS"
        with ports.agent.rises("weft_l7_denied_tunnels_total"), pytest.raises(OSError):
            ask_tls(ports, kind, certificate, "other.example")


# ---------------------------------------------------------------- policies

@pytest.mark.parametrize("action, rule, allowed", [
    ("ALLOW", {"from": [{"source": {"namespaces": ["default"]}}]}, True),
    ("ALLOW", {"from": [{"source": {"namespaces": ["other"]}}]}, False),
    ("ALLOW", {"to": [{"operation": {"methods": ["GET"]}}]}, False),
    ("DENY", {"to": [{"operation": {"methods": ["GET"]}}]}, False),
    ("DENY", {"to": [{"operation": {"methods": ["GET"], "ports": ["1"]}}]}, True),
])
def test_policies_judge_it_as_a_connection(ports, action, rule, allowed):
    ports.policy(action, [rule])
    with serving(ports, "tcp", greet):
        if allowed:
            with dial(ports, "tcp") as sock:
                assert sock.recv(100) == b"220 ready\r\n"
        else:
            with ports.agent.rises("weft_l7_denied_tunnels_total", reason="service_policy"):
                assert is_refused(ports, "tcp")


def test_a_policy_that_forbids_it_cuts_an_open_one_and_leaves_others(ports):
    with serving(ports, "tcp", greet), dial(ports, "tcp") as sock, dial(ports, "tcp", ports.outsider) as other:
        assert sock.recv(100) == other.recv(100) == b"220 ready\r\n"
        ports.policy("ALLOW", [{"from": [{"source": {"namespaces": ["other", "default"]}}]}])
        sock.sendall(b"still here")
        assert sock.recv(100) == b"still here"
        with ports.agent.rises("weft_l7_cut_exchanges_total", reason="policy_changed"):
            ports.policy("ALLOW", [{"from": [{"source": {"namespaces": ["other"]}}]}])
            assert ends_with_reset(sock)
        other.sendall(b"unharmed")
        assert other.recv(100) == b"unharmed"


# ---------------------------------------------------------------- metrics

def test_its_bytes_are_counted_while_it_is_open(ports):
    labels = {"destination_service_name": "port-tcp", "source_workload": "client", "response_flags": "-"}

    def total(name):
        return ports.agent.metrics().total(f"istio_tcp_{name}_total", **labels)
    names = ["connections_opened", "connections_closed", "sent_bytes", "received_bytes"]
    before = [total(name) for name in names]
    with serving(ports, "tcp", greet):
        with dial(ports, "tcp") as sock:
            assert sock.recv(100) == b"220 ready\r\n"
            sock.sendall(b"12345")
            assert sock.recv(100) == b"12345"
            assert [total(name) - old for name, old in zip(names, before)] == [1, 0, 16, 5]
        wait_until(lambda: total("connections_closed") == before[1] + 1, "it is counted as closed")
    fields, _ = ports.agent.metrics().find("istio_tcp_connections_opened_total", **labels)[0]
    found = dict(fields)
    assert found["request_protocol"] == "tcp" and found["reporter"] == "waypoint"
    assert "response_code" not in found and "grpc_response_status" not in found
