# SPDX-License-Identifier: Apache-2.0
"""Connections that are passed through: who speaks first, how they end, who may have one, what is counted."""
import contextlib
import hashlib
import os
import pathlib
import signal
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
from world import World

MEGABYTE = 1024 * 1024
BIG = 100 * MEGABYTE
ADDRESSES = {"tcp": "10.96.0.101", "tls": "10.96.0.102", "any": "10.96.0.103"}
PORTS = {"tcp": 7001, "tls": 7002, "any": 7003}
SNIFFED = "weft_l7_sniffed_connections_total"
SPLICES, SPLICED_BYTES = "weft_l7_splices_total", "weft_l7_spliced_bytes_total"


def with_ports(world):
    """Three services of pod a: a port declared TCP, one declared TLS, one that declares nothing."""
    world.agent.apply("tunnels.yaml", *[
        service(f"port-{kind}", [ADDRESSES[kind]], PORTS[kind], {"only": "a"}, "waypoint", port_name="data",
                app_protocol=None if kind == "any" else kind) for kind in PORTS])
    return world


@pytest.fixture
def ports(world):
    return with_ports(world)


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


def test_what_a_drain_cuts_is_counted(own_lab):
    world = with_ports(World(own_lab, engine_arguments=["--drain-timeout=1"]))
    cuts = world.agent.metrics().total("weft_l7_cut_exchanges_total", reason="drain_timeout")
    with serving(world, "tcp", greet), dial(world, "tcp") as sock:
        assert sock.recv(100) == b"220 ready\r\n"
        os.kill(world.agent.engine_pid(), signal.SIGTERM)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    wait_until(lambda: world.agent.metrics().total("weft_l7_cut_exchanges_total", reason="drain_timeout") == cuts + 1,
               "the cut is counted")
    metrics = world.agent.metrics()
    assert metrics.total("istio_tcp_connections_closed_total") == metrics.total("istio_tcp_connections_opened_total") == 1


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


def test_an_engine_that_was_asleep_waits_for_the_whole_timeout(ports):
    with serving(ports, "any", greet):
        for nap in (0.03, 0.06, 0.09, 0.25):
            time.sleep(nap)
            with dial(ports, "any") as sock, ports.agent.rises(SNIFFED, reason="http"):
                time.sleep(0.05)
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")  # 426, or whatever: it is HTTP
                sock.recv(100)


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


# ---------------------------------------------------------------- bulk

def send_blocks(sock, megabytes, fin=True):
    block = pattern(0, MEGABYTE)
    for _ in range(megabytes):
        sock.sendall(block)
    if fin:
        sock.shutdown(socket.SHUT_WR)


def digest_of(megabytes):
    return megabytes * MEGABYTE, hashlib.sha256(pattern(0, MEGABYTE) * megabytes).hexdigest()


def read_digest(sock, limit=None):
    """(bytes, SHA-256) of what comes until the FIN, or until so many bytes have."""
    digest, total = hashlib.sha256(), 0
    while (limit is None or total < limit) and (piece := sock.recv(MEGABYTE)):
        digest.update(piece)
        total += len(piece)
    return total, digest.hexdigest()


def exchange_blocks(sock, megabytes):
    """Sends and reads at the same time, each to the end."""
    sender = threading.Thread(target=send_blocks, args=(sock, megabytes), daemon=True)
    sender.start()
    result = read_digest(sock)
    sender.join(60)
    return result


def tcp_bytes(world):
    metrics = world.agent.metrics()
    labels = {"destination_service_name": "port-tcp", "source_workload": "client", "response_flags": "-"}
    return [metrics.total(f"istio_tcp_{name}_bytes_total", **labels) for name in ("sent", "received")]


def splices(world, reason="begun"):
    return world.agent.metrics().total(SPLICES, reason=reason)


def open_files(world):
    return len(os.listdir(f"/proc/{world.agent.engine_pid()}/fd"))


@pytest.mark.smoke
def test_a_hundred_megabytes_in_both_directions_arrive_whole_and_are_spliced(ports):
    received = {}

    def answer(sock):
        with sock:
            received["server"] = exchange_blocks(sock, BIG // MEGABYTE)
    before = tcp_bytes(ports)
    with ports.agent.rises(SPLICES, 2, reason="begun"), ports.agent.rises(SPLICED_BYTES, BIG):
        with serving(ports, "tcp", answer), dial(ports, "tcp") as sock:
            received["client"] = exchange_blocks(sock, BIG // MEGABYTE)
            wait_until(lambda: "server" in received, "the server has all")
    assert received == {"client": digest_of(BIG // MEGABYTE), "server": digest_of(BIG // MEGABYTE)}
    assert [now - old for now, old in zip(tcp_bytes(ports), before)] == [BIG, BIG]


def test_a_half_close_amid_bulk_leaves_the_other_direction_open(ports):
    def answer(sock):
        with sock:
            total, digest = read_digest(sock)
            sock.sendall(f"{total} {digest} ".encode())
            send_blocks(sock, 30)
    with serving(ports, "tcp", answer), dial(ports, "tcp") as sock, ports.agent.rises(SPLICES, 2, reason="begun"):
        send_blocks(sock, 30)
        said = b""
        while said.count(b" ") < 2:
            said += sock.recv(1)
        assert read_digest(sock) == digest_of(30)
    assert said.decode().split() == [str(part) for part in digest_of(30)]


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_amid_bulk_is_a_reset_for_the_other_end(ports, who):
    """Of the one that sends, behind a part of what it sent; of the one that reads, while the other sends."""
    ends = []
    block = pattern(0, MEGABYTE)

    def send_until_reset(sock):
        try:
            while True:
                sock.sendall(block)
        except (ConnectionResetError, BrokenPipeError):
            ends.append("reset")

    def read_and_reset(sock):
        assert read_digest(sock, 20 * MEGABYTE)[0] >= 20 * MEGABYTE
        reset(sock)
    with serving(ports, "tcp", send_until_reset if who == "client" else read_and_reset):
        with ports.agent.rises(SPLICES, reason="begun"), ports.agent.rises("weft_l7_tunnels_total", reason="reset"):
            sock = dial(ports, "tcp")
            (read_and_reset if who == "client" else send_until_reset)(sock)
            wait_until(lambda: ends, "the other end sees it")
            sock.close()
    assert ends == ["reset"]


def test_what_was_sent_before_a_reset_amid_bulk_is_a_prefix_and_ends_in_a_reset(ports):
    seen = []
    whole = pattern(0, MEGABYTE) * 20

    def listen(sock):
        received = bytearray()
        try:
            while piece := sock.recv(MEGABYTE):
                received += piece
            seen.append("fin")
        except ConnectionResetError:
            seen.append("reset" if whole.startswith(received) else "wrong bytes")
    with serving(ports, "tcp", listen), ports.agent.rises(SPLICES, reason="begun"):
        sock = dial(ports, "tcp")
        sock.sendall(whole)
        reset(sock)
        wait_until(lambda: seen, "the server sees the end")
    assert seen == ["reset"]


def test_a_reader_that_stops_amid_bulk_stops_the_sender_and_costs_no_memory(ports):
    go_on, received = threading.Event(), []

    def read_late(sock):
        with sock:
            head = read_digest(sock, 4 * MEGABYTE)[0]
            go_on.wait(30)
            received.append(head + read_digest(sock)[0])

    def private_bytes():
        text = pathlib.Path(f"/proc/{ports.agent.engine_pid()}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_")) * 1024
    with serving(ports, "tcp", read_late), dial(ports, "tcp") as sock, ports.agent.rises(SPLICES, reason="begun"):
        block = pattern(0, MEGABYTE)
        sent = 0
        sock.settimeout(0.5)  # a send that takes nothing for so long: everything is full
        before = private_bytes()
        with contextlib.suppress(TimeoutError):
            while sent < 200 * MEGABYTE:
                sent += sock.send(block)
        assert 4 * MEGABYTE < sent < 100 * MEGABYTE, "the kernel's buffers and one pipe"
        assert private_bytes() - before < 2 * MEGABYTE
        go_on.set()
        sock.settimeout(30)
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: received, "the server has the rest", 30)
    assert received == [sent]


def test_small_messages_are_not_spliced_however_many_there_are(ports):
    begun = splices(ports)
    with serving(ports, "tcp", greet), dial(ports, "tcp") as sock:
        assert sock.recv(100) == b"220 ready\r\n"
        for number in range(3000):
            message = pattern(number, 1000)
            sock.sendall(message)
            received = b""
            while len(received) < len(message):
                received += sock.recv(len(message) - len(received))
            assert received == message
    assert splices(ports) == begun


def test_bulk_that_pauses_gives_its_pipe_back_and_goes_on_later(ports):
    def count(sock):
        with sock:
            sock.sendall(str(read_digest(sock)).encode())
    files = open_files(ports)
    with serving(ports, "tcp", count), dial(ports, "tcp") as sock:
        for _ in range(2):
            with ports.agent.rises(SPLICES, reason="begun"), ports.agent.rises(SPLICES, reason="ended_idle"):
                send_blocks(sock, 20, fin=False)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).decode() == str(digest_of(40))
    wait_until(lambda: open_files(ports) <= files, "no descriptor is left", 20)


def test_urgent_data_amid_bulk_costs_the_splice_and_nothing_else(ports):
    """splice(2) takes nothing at such a byte, for ever. A receive passes it."""
    def count(sock):
        with sock:
            sock.sendall(str(read_digest(sock)).encode())

    def cpu():
        fields = pathlib.Path(f"/proc/{ports.agent.engine_pid()}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    with serving(ports, "tcp", count), dial(ports, "tcp") as sock, ports.agent.rises(SPLICES, reason="begun"):
        with ports.agent.rises(SPLICES, reason="ended_unsupported"):
            send_blocks(sock, 20, fin=False)
            sock.send(b"!", socket.MSG_OOB)
            send_blocks(sock, 20, fin=False)
        before, start = cpu(), time.monotonic()
        wait_until(lambda: time.monotonic() - start > 1, "a second of silence")
        assert cpu() - before < 0.2, "nothing turns"
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).decode() == str(digest_of(40))


def test_a_policy_that_forbids_bulk_cuts_it(ports):
    def send(sock):
        with sock, contextlib.suppress(OSError):
            send_blocks(sock, 100_000)
    with serving(ports, "tcp", send), dial(ports, "tcp") as sock:
        with ports.agent.rises(SPLICES, reason="begun"):
            read_digest(sock, 20 * MEGABYTE)
        with ports.agent.rises("weft_l7_cut_exchanges_total", reason="policy_changed"):
            ports.policy("ALLOW", [{"from": [{"source": {"namespaces": ["other"]}}]}])
        with pytest.raises(ConnectionResetError):
            read_digest(sock)


@pytest.mark.parametrize("pipes, begun, refused", [(1, (1, 2), True), (0, (0,), False)])
def test_without_a_pipe_bulk_is_copied(own_lab, pipes, begun, refused):
    world = with_ports(World(own_lab, engine_arguments=[f"--splice-pipes-max={pipes}"]))
    results = []

    def answer(sock):
        with sock:
            results.append(exchange_blocks(sock, 50))
    with serving(world, "tcp", answer), dial(world, "tcp") as sock:
        results.append(exchange_blocks(sock, 50))
        wait_until(lambda: len(results) == 2, "both have all")
    assert results == [digest_of(50)] * 2
    assert splices(world) in begun
    assert (splices(world, "refused_pipes_max") > 0) == refused


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
