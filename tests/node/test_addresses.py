# SPDX-License-Identifier: Apache-2.0
"""The application notices nothing: the addresses that both ends see, on every path, IPv4, IPv6 and IPv4-mapped."""
import socket

import pytest
from http1 import Session, request
from world import PORT, TCP_PORT, to

FAMILIES = pytest.mark.parametrize("family", [4, 6])


def address(pod, family):
    return pod.ip4 if family == 4 else pod.ip6


def shown(sock):
    """(own address, peer's address) as the application's calls give them."""
    def plain(name):
        host = name[0].removeprefix("::ffff:")
        return host, name[1]
    return plain(sock.getsockname()), plain(sock.getpeername())


def seen_by_application(reply):
    """The address that accept() and getpeername() gave it; they must agree, port included."""
    saw = reply.saw
    assert saw["accept"] == saw["getpeername"]
    host, _, port = saw["accept"].rpartition(":")
    return host.strip("[]"), int(port)


@pytest.mark.smoke
@FAMILIES
def test_application_sees_the_client_that_dialled_the_service(world, family):
    world.route(to("a"))
    assert seen_by_application(world.get(family=family))[0] == address(world.client, family)


@FAMILIES
@pytest.mark.parametrize("who", ["client", "outsider", "stranger"])
def test_application_sees_the_client_that_dialled_the_pod_address(world, family, who):
    world.policy("ALLOW", [{}])
    pod = getattr(world, who)
    reply = request(pod, address(world.a, family), PORT)
    assert seen_by_application(reply)[0] == address(pod, family)


@FAMILIES
def test_application_sees_the_port_of_the_foreign_connection_that_the_engine_dialled_for(world, family):
    world.policy("ALLOW", [{}])
    fresh = world.lab.pod(f"fresh{family}", namespace="plain")  # no pooled connection carries its address yet
    with Session(fresh, address(world.a, family), PORT) as session:
        own_port = session.sock.getsockname()[1]
        assert seen_by_application(session.request()) == (address(fresh, family), own_port)
    fresh.delete()


@FAMILIES
def test_client_sees_the_service_as_its_peer_and_itself_as_itself(world, family):
    world.route(to("a"))
    with world.session(family=family) as session:
        assert session.request().status == 200
        own, peer = shown(session.sock)
    assert peer == (world.ip("web", family), PORT)
    assert own[0] == address(world.client, family)


@FAMILIES
def test_client_of_a_plain_service_sees_the_service_as_its_peer(world, family):
    with world.session("direct", family=family) as session:
        assert seen_by_application(session.request())[0] == address(world.client, family)
        own, peer = shown(session.sock)
    assert (own[0], peer) == (address(world.client, family), (world.ip("direct", family), PORT))


@pytest.mark.parametrize("name", ["web", "direct"])
def test_ipv4_mapped_address_on_an_ipv6_socket_is_ipv4(world, name):
    world.route(to("a"))
    with Session(world.client, f"::ffff:{world.ip(name)}", PORT) as session:
        assert seen_by_application(session.request(host="web"))[0] == world.client.ip4
        own, peer = session.sock.getsockname(), session.sock.getpeername()
    assert (own[0], peer[0], peer[1]) == (f"::ffff:{world.client.ip4}", f"::ffff:{world.ip(name)}", PORT)


def test_socket_bound_to_the_pod_address_keeps_working(world):
    world.route(to("a"))
    for family, kind in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        sock = world.client.socket(kind)
        sock.settimeout(5)
        sock.bind((address(world.client, family), 0))
        sock.connect((world.ip("web", family), PORT))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        sock.close()


def test_socket_bound_to_a_device_keeps_working(world):
    world.route(to("a"))
    sock = world.client.socket()
    sock.settimeout(5)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    sock.connect((world.ip("web"), PORT))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    sock.close()


def test_non_blocking_connect_becomes_writable_without_error(world):
    import select
    world.route(to("a"))
    sock = world.client.socket()
    sock.setblocking(False)
    assert sock.connect_ex((world.ip("web"), PORT)) in (0, 115)  # EINPROGRESS
    assert select.select([], [sock], [], 5)[1] == [sock]
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    sock.close()


@FAMILIES
def test_udp_to_a_service_address_is_left_alone(world, family):
    sock = world.client.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    with pytest.raises(OSError):  # no route to the service range in this lab: nobody has rewritten it
        sock.connect((world.ip("web", family), PORT))
    sock.close()


def test_connection_to_an_address_that_is_no_service_is_left_alone(world):
    with world.agent.rises("weft_datapath_connect_untouched_total"), \
            Session(world.client, world.b.ip4, TCP_PORT) as session:
        assert shown(session.sock)[1] == (world.b.ip4, TCP_PORT)


def test_plain_service_without_endpoints_refuses_at_once(world):
    from manifests import service
    world.agent.apply("empty.yaml", service("empty", ["10.96.0.77"], PORT, {"app": "none-such"}))
    with world.agent.rises("weft_datapath_connect_refused_no_backend_total"), pytest.raises(OSError):
        world.client.connect("10.96.0.77", PORT)
