# SPDX-License-Identifier: Apache-2.0
"""Connections that are older than the policy which governs their port are reset by the time `weftctl sync` returns; what
the engine judges, and what a pod says to itself, goes on."""
import select
import socket

import pytest
from http1 import Session, request
from load import Load
from manifests import service, service_target
from waiting import wait_until
from world import OTHER_PORT, PORT, to

CUT = "weft_agent_connections_cut_total"
GET_ONLY = [{"to": [{"operation": {"methods": ["GET"]}}]}]


def cut_so_far(world):
    return world.agent.metrics().total(CUT)


def expect_reset(session):
    with pytest.raises(ConnectionResetError):
        session.sock.recv(1)


@pytest.mark.smoke
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("who", ["stranger", "outsider"])
def test_connection_older_than_the_policy_is_reset(world, who, family):
    pod, address = getattr(world, who), world.a.ip4 if family == 4 else world.a.ip6
    with Session(pod, address, PORT) as old, Session(pod, address, OTHER_PORT) as free:
        assert old.request().status == free.request().status == 200
        before = cut_so_far(world)
        world.policy("ALLOW", GET_ONLY)
        assert cut_so_far(world) == before + 1
        expect_reset(old)
        assert free.request().status == 200  # no policy governs that port
    assert request(pod, address, PORT).status == 200  # judged now
    assert request(pod, address, PORT, method="DELETE").status == 403


def test_connection_to_a_port_declared_tcp_is_reset_and_the_next_is_judged(world):
    with Session(world.stranger, world.a.ip4, OTHER_PORT) as old:
        assert old.request().status == 200
        world.agent.apply("opaque.yaml", service("opaque", ["10.96.0.77"], OTHER_PORT, {"only": "a"}, "waypoint",
                                                 app_protocol="tcp"))
        world.policy("ALLOW", [{}], targets=[service_target("opaque")])
        expect_reset(old)
    assert request(world.stranger, world.a.ip4, OTHER_PORT).status == 200


def test_connections_that_the_engine_judges_go_on(own_world):
    """Its connections to the application from before the policy, and what it accepted, over later changes of the pod's
    rules and over a restart of the agent, which looks at every pod anew."""
    world = own_world
    world.route(to("a"))
    with world.session() as routed, Session(world.a, world.a.ip4, PORT) as own:
        assert routed.request().status == own.request().status == 200
        world.policy("ALLOW", GET_ONLY)
        assert routed.request().status == own.request().status == 200
        with Session(world.stranger, world.a.ip4, PORT) as steered:
            assert steered.request().status == 200
            world.agent.apply("more.yaml", service("more", ["10.96.0.78"], OTHER_PORT, {"only": "a"}, "waypoint"))
            world.policy("ALLOW", GET_ONLY, name="more", targets=[service_target("more")])
            assert [session.request().status for session in (routed, own, steered)] == [200] * 3
            assert cut_so_far(world) == 0
            world.agent.kill_agent()
            world.agent.start()
            world.agent.sync()
            assert [session.request().status for session in (routed, own, steered)] == [200] * 3
            assert steered.request("DELETE").status == 403
    assert cut_so_far(world) == 0


class LateSession(Session):
    """The client's kernel keeps the last packet of the handshake back for 200 ms (the first request would take it along):
    the server's end is a handshake for that long, as it is over a long way."""

    def __init__(self, pod, address, port, hold):
        self.address, self.port = address, port
        super().__init__(_Late(pod), address, port)
        if select.select([self.sock], [], [], hold)[0]:
            self.sock.recv(1)  # raises what came: nobody has spoken yet


class _Late:
    def __init__(self, pod):
        self.pod = pod

    def connect(self, address, port, timeout):
        sock = self.pod.socket()
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        sock.connect((address, port))
        return sock


def test_handshakes_on_their_way_to_the_engine_outlive_a_restart_of_the_agent(own_world):
    world = own_world
    world.policy("ALLOW", GET_ONLY)
    with Load(lambda: LateSession(world.stranger, world.a.ip4, PORT, 0.15), threads=16) as load:
        for _ in range(3):
            wait_until(lambda before=load.count(): load.count() >= before + 32, "connections are made")
            world.agent.kill_agent()
            world.agent.start()
            world.agent.sync()
            wait_until(lambda before=load.count(): load.count() >= before + 32, "connections are made")
    assert load.failed() == []
    assert cut_so_far(world) == 0


def test_connection_whose_handshake_is_older_than_the_policy_is_reset(world):
    """Its handshake ends at the application; sync waits for it."""
    with LateSession(world.stranger, world.a.ip4, PORT, 0) as old:
        world.policy("ALLOW", GET_ONLY)
        expect_reset(old)
    assert request(world.stranger, world.a.ip4, PORT, method="DELETE").status == 403


def test_connection_from_before_the_pods_capture_is_reset(own_world):
    world = own_world
    world.policy("ALLOW", GET_ONLY)
    assert world.agent.stop() == 0
    with Session(world.stranger, world.a.ip4, PORT) as old:
        assert old.request("DELETE").status == 200  # nothing is captured
        world.agent.start()
        world.agent.sync()
        expect_reset(old)
    assert cut_so_far(world) == 1
    assert request(world.stranger, world.a.ip4, PORT, method="DELETE").status == 403


def test_status_says_whether_the_kernel_can_end_connections(world):
    assert world.agent.status()["datapath"]["cut_fault"] == ""
