# SPDX-License-Identifier: Apache-2.0
"""Life and death of agent, engine and pods: nothing refused, nothing lost, nothing left, never open."""
import contextlib
import os
import pathlib
import signal
import socket
import threading
import time

import pytest
from http1 import Session, request
from load import Load
from manifests import dump, namespace, policy
from netns import bpf_links, delete_namespace
from waiting import wait_until
from weft import Agent
from world import PORT, World, split, to


def pod_address_session(world):
    return Session(world.stranger, world.a.ip4, PORT)


# ---- the engine
@pytest.mark.smoke
@pytest.mark.parametrize("way", ["service", "pod address"])
def test_killed_engine_refuses_no_connection(own_world, way):
    world = own_world
    world.policy("ALLOW", [{}])
    connect = world.session if way == "service" else lambda: pod_address_session(world)
    with Load(connect, threads=4) as load:
        wait_until(lambda: load.served() >= 50, "the load runs")
        for _ in range(3):
            died = time.monotonic()
            old = world.agent.kill_engine()
            wait_until(lambda: [pid for pid in world.agent.engine_pids() if pid != old], "another engine starts", 20)
            served = load.served()
            wait_until(lambda: load.served() >= served + 50, "requests are served again", 20)
            recovered = time.monotonic()
    assert load.not_connected() == []
    # Those in flight at the moment of death are lost; what connected after it waits and is served.
    late = [outcome for outcome in load.failed() if died + 0.05 < outcome.started < recovered]
    assert late == []


def test_engine_hand_over_on_sigterm_loses_nothing(own_world):
    """SIGTERM to the engine: it drains while the agent starts another that accepts on the same listeners."""
    world = own_world
    world.route(split(a=1, b=1))
    slow = []
    with Load(world.session, threads=3) as load:
        wait_until(lambda: load.served() >= 30, "the load runs")
        old = world.agent.engine_pid()
        thread = threading.Thread(target=lambda: slow.append(world.get(path="/?delay_ms=800").status))
        thread.start()
        wait_until(lambda: any(b"delay_ms" in app.bytes_received() for app in world.apps.values()), "it is in flight")
        os.kill(old, signal.SIGTERM)
        wait_until(lambda: not pathlib.Path(f"/proc/{old}").exists(), "the old engine is gone", 30)
        served = load.served()
        wait_until(lambda: load.served() >= served + 30, "another engine serves", 20)
        thread.join()
    assert load.failed() == []
    assert slow == [200]


def test_keep_alive_connection_is_told_to_close_by_a_draining_engine(own_world):
    world = own_world
    world.route(to("a"))
    with world.session() as session:
        assert session.request().status == 200
        session.connection.request("GET", "/?delay_ms=500", headers={"Host": "web"})
        wait_until(lambda: b"delay_ms" in world.apps["a"].bytes_received(), "the request is at the application")
        os.kill(world.agent.engine_pid(), signal.SIGTERM)
        response = session.connection.getresponse()
        assert (response.status, response.getheader("connection")) == (200, "close")


@pytest.mark.parametrize("way", ["service", "pod address"])
def test_silent_engine_fails_closed_where_a_policy_governs(own_world, way):
    world = own_world
    world.policy("ALLOW", [{}])
    engine = world.agent.engine_pid()
    connect = world.session if way == "service" else lambda: pod_address_session(world)
    with connect() as session:
        assert session.request().status == 200
    # A service that a policy governs is refused at the client already, a pod's address at the server.
    side = "connect" if way == "service" else "inbound"
    counter = f"weft_datapath_{side}_refused_engine_stale_total"

    def refused():
        try:
            connect().close()
            return False
        except OSError:
            return True
    os.kill(engine, signal.SIGSTOP)
    try:
        with world.agent.rises(counter):
            wait_until(refused, "connections are refused", 20, poll=0.1)
    finally:
        os.kill(engine, signal.SIGCONT)

    def served_again():
        try:
            with connect() as session:
                return session.request().status == 200
        except OSError:
            return False
    wait_until(served_again, "the engine is back", 20, poll=0.1)


def test_silent_engine_fails_open_where_no_policy_governs(own_world):
    world = own_world
    world.route(to("a"))
    os.kill(world.agent.engine_pid(), signal.SIGSTOP)
    try:
        with world.agent.rises("weft_datapath_connect_bypassed_engine_stale_total", seconds=20):
            def direct():
                try:
                    return world.session(timeout=1).request().status == 200
                except OSError:
                    return False
            wait_until(direct, "the service answers without the engine", 20, poll=0.1)
    finally:
        os.kill(world.agent.engine_pid(), signal.SIGCONT)


def test_garbage_of_a_process_on_the_socket_disturbs_nobody(own_world):
    world = own_world
    for garbage in (b"\xff\xff\xff\x7f", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x00" * 10, os.urandom(4096),
                    b"\x05\x00\x00\x00\x0a\x03", b"\x10"):
        with world.agent.rises("weft_agent_bad_messages_total") if len(garbage) > 4 else world.agent.rises(
                "weft_agent_bad_messages_total", by=0):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(world.agent.socket_path))
                sock.sendall(garbage)
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(10)
                with contextlib.suppress(ConnectionResetError):
                    while sock.recv(4096):
                        pass
    world.route(to("b"))
    assert world.get().pod == "b"


# ---- the agent
@pytest.mark.smoke
def test_killed_agent_is_not_missed_and_its_restart_adopts_everything(own_world):
    world = own_world
    world.policy("ALLOW", [{}])
    links = bpf_links()
    engine = world.agent.engine_pid()
    with Load(world.session, threads=2) as load, Load(lambda: pod_address_session(world), threads=2) as inbound:
        # Each inbound connection needs a socket of the agent: by now the stock has grown with the load.
        wait_until(lambda: load.served() >= 30 and inbound.served() >= 200, "the load runs")
        world.agent.kill_agent()
        served = load.served(), inbound.served()
        wait_until(lambda: load.served() >= served[0] + 50 and inbound.served() >= served[1] + 50,
                   "traffic goes on without an agent", 20)
        world.agent.start()
        world.agent.sync()
        served = load.served(), inbound.served()
        wait_until(lambda: load.served() >= served[0] + 50 and inbound.served() >= served[1] + 50,
                   "traffic goes on with the new agent", 20)
    assert load.failed() == [] and inbound.failed() == []
    assert world.agent.engine_pid() == engine
    assert set(bpf_links()) >= set(links)  # swapped in place, not made anew
    world.policy("DENY", [{}])
    assert world.get().status == 403
    assert request(world.stranger, world.a.ip4, PORT).status == 403


def test_new_connections_are_served_however_long_the_agent_is_away(own_world):
    """Each inbound connection has a socket of its own, and only the agent makes sockets: the engine uses them again."""
    world = own_world
    world.policy("ALLOW", [{}])
    for session in (pod_address_session(world), world.session("a")):  # both pods have their stock
        with session:
            assert session.request().status == 200
    world.agent.kill_agent()
    for count in range(400):
        with pod_address_session(world) as session:
            answer = session.request()
            assert (answer.status, answer.saw["accept"].rpartition(":")[0]) == (200, world.stranger.ip4), count
    for count in range(400):
        with world.session("a") as session:
            assert session.request().status == 200, count
    world.agent.start()
    world.agent.sync()
    assert world.agent.metrics().total("weft_l7_stock_events_total", reason="recycled") > 0


def test_changes_made_while_the_agent_was_dead_are_in_force_after_its_restart(own_world):
    world = own_world
    world.policy("ALLOW", [{}])
    world.agent.kill_agent()
    world.lab.remove("policy-policy.yaml")
    world.lab.apply("other.yaml", policy("other", "DENY", [{}]))
    world.agent.start()
    world.agent.sync()
    assert world.get().status == 403


def test_killed_agent_and_engine_leave_governed_pods_closed(own_world):
    world = own_world
    world.policy("ALLOW", [{}])
    world.agent.kill()

    def closed(connect):
        try:
            with connect() as session:
                return session.request().status != 200
        except OSError:
            return True
    wait_until(lambda: closed(world.session), "the service is closed", 20, poll=0.1)
    wait_until(lambda: closed(lambda: pod_address_session(world)), "the pod is closed", 20, poll=0.1)
    world.agent.start()
    world.agent.sync()
    assert world.get().status == 200


@pytest.mark.parametrize("end", ["graceful", "killed and cleaned up"])
def test_nothing_is_left_after_the_end(own_lab, end):
    world = World(own_lab)
    world.policy("DENY", [{}])
    assert world.get().status == 403
    if end == "graceful":
        assert world.agent.stop() == 0
    else:
        world.agent.kill()
        assert own_lab.pins() != []
        done = world.agent.cleanup()
        assert done.returncode == 0, done.stderr
    wait_until(lambda: not own_lab.pins() and not own_lab.weft_objects() and not world.agent.engine_pids(),
               lambda: f"nothing is left: {own_lab.pins()} {own_lab.weft_objects()} {world.agent.engine_pids()}")
    assert not world.agent.socket_path.exists()
    # Pods are as they were before Weft.
    assert request(world.stranger, world.a.ip4, PORT).saw["pod"] == "a"
    for pod in own_lab.pods.values():
        assert ":15001" not in pod.run("ss", "-Hltn").stdout and ":15006" not in pod.run("ss", "-Hltn").stdout


def test_request_that_is_whole_only_when_the_agent_ends_is_still_served(own_world):
    """The draining engine dials for it, as ever by way of the hooks."""
    world = own_world
    world.policy("ALLOW", [{}])
    with world.stranger.connect(world.a.ip4, PORT) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n")
        wait_until(lambda: world.agent.metrics().total("weft_l7_connections") >= 1, "the engine has the connection")
        world.agent.process.terminate()
        wait_until(lambda: not any("link_pod" in pin for pin in world.lab.pins()), "nothing is steered any more", 15)
        sock.sendall(b"\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert world.agent.process.wait(20) == 0
    wait_until(lambda: not world.lab.pins(), "nothing is left")


def test_cleanup_takes_the_hooks_away_before_the_engine_ends(own_world):
    world = own_world
    world.policy("ALLOW", [{}])
    slow = []
    thread = threading.Thread(target=lambda: slow.append(world.get(path="/?delay_ms=2000").status))
    thread.start()
    wait_until(lambda: any(b"delay_ms" in app.bytes_received() for app in world.apps.values()), "it is in flight")
    world.agent.kill_agent()
    done = []
    cleaner = threading.Thread(target=lambda: done.append(world.agent.cleanup().returncode))
    cleaner.start()
    wait_until(lambda: not world.lab.pins(), "the hooks are gone")
    assert world.agent.engine_pids()  # it finishes what it has
    assert request(world.stranger, world.a.ip4, PORT).saw["pod"] == "a"
    for each in (thread, cleaner):
        each.join()
    assert (slow, done, world.agent.engine_pids()) == ([200], [0], [])


def test_graceful_end_with_keep_leaves_everything_in_force_and_the_next_start_adopts_it(own_lab):
    world = World(own_lab, arguments=("--keep",))
    world.route(to("a"))
    world.policy("DENY", [{"to": [{"operation": {"paths": ["/closed"]}}]}])
    engine, links, pins = world.agent.engine_pid(), set(bpf_links()), own_lab.pins()

    def in_force():
        assert (world.get().pod, world.get(path="/closed").status) == ("a", 403)
        assert request(world.stranger, world.a.ip4, PORT, path="/closed").status == 403
    with Load(world.session, threads=2) as load:
        wait_until(lambda: load.served() >= 30, "the load runs")
        assert world.agent.stop() == 0
        assert own_lab.pins() == pins and world.agent.engine_pid() == engine
        served = load.served()
        wait_until(lambda: load.served() >= served + 50, "traffic goes on without an agent", 20)
        in_force()
        world.agent.start()
        world.agent.sync()
        in_force()
        served = load.served()
        wait_until(lambda: load.served() >= served + 50, "traffic goes on with the next agent", 20)
    assert load.failed() == []
    assert world.agent.engine_pid() == engine and set(bpf_links()) >= links
    world.agent.remove("policy-policy.yaml")
    assert world.get(path="/closed").status == 200


def test_cleanup_without_anything_to_clean_succeeds(own_lab):
    world = World(own_lab)
    assert world.agent.stop() == 0
    assert world.agent.cleanup().returncode == 0


def test_second_agent_on_the_same_socket_is_refused_and_the_first_goes_on(own_world):
    second = Agent(own_world.lab, wrapper_log="second.log")
    own_world.lab.agents.append(second)
    assert second.launch().wait(20) != 0
    assert second.log_tail()
    assert own_world.get("a").status == 200


# ---- pods
def test_deleted_pod_is_released_wholly(own_world):
    """Namespace deleted first, manifest later: the order in which a container runtime and an API server do it."""
    world = own_world
    world.policy("ALLOW", [{}])
    entries = {dict(fields)["map"]: value
               for fields, value in world.agent.metrics().find("weft_datapath_map_entries")}
    links = set(bpf_links())
    pod = world.lab.pod("guest", labels={"app": "web"})
    pod.serve(PORT)
    world.agent.apply("guest.yaml", pod.manifest())
    assert "guest" in {world.get().pod for _ in range(60)}
    assert request(pod, world.ip("a"), PORT).status == 200
    assert len(set(bpf_links()) - links) == 1
    pod.delete()
    wait_until(pod.link_gone, "the namespace is freed: no socket of ours pins it", 15)
    world.agent.remove("guest.yaml")
    assert set(bpf_links()) <= links

    def as_before():
        now = {dict(fields)["map"]: value
               for fields, value in world.agent.metrics().find("weft_datapath_map_entries")}
        return all(now[name] <= entries[name] for name in entries
                   if name in ("pods", "pod_addresses", "inbound_ports", "listeners"))
    wait_until(as_before, "the pod's map entries are gone")
    assert {world.get().status for _ in range(20)} == {200}


def test_namespace_without_a_name_stays_enforced_while_somebody_lives_in_it(own_world):
    """`ip netns del` takes the name only: the namespace lives as long as a process of it."""
    world = own_world
    world.policy("ALLOW", [{"from": [{"source": {"namespaces": ["nobody"]}}]}], name="closed")
    assert request(world.stranger, world.a.ip4, PORT).status == 403
    with world.agent.rises("weft_agent_pods_vanished_total"):
        delete_namespace(world.a.netns)
    with world.agent.rises("weft_datapath_inbound_refused_no_listener_total"):
        for _ in range(3):
            with pytest.raises(ConnectionError):
                request(world.stranger, world.a.ip4, PORT)
    links = len(bpf_links())
    world.a.end_processes()
    wait_until(world.a.link_gone, "the namespace is freed: no socket of ours pins it", 15)
    wait_until(lambda: len(bpf_links()) == links - 1, "its link is gone")
    world.a.alive = False
    world.agent.sync()
    assert world.get("b").status == 403


def test_pod_taken_out_of_the_mesh_is_released_and_works_on(own_world):
    world = own_world
    world.policy("ALLOW", [{"from": [{"source": {"namespaces": ["nobody"]}}]}], name="closed")
    assert request(world.stranger, world.a.ip4, PORT).status == 403
    original = (world.lab.source / "base.yaml").read_text()
    out = world.a.manifest(labels={"istio.io/dataplane-mode": "none"})
    world.agent.apply("base.yaml", original.replace(dump(world.a.manifest()), dump(out)))
    assert request(world.stranger, world.a.ip4, PORT).status == 200
    wait_until(lambda: ":15006" not in world.a.run("ss", "-Hltn").stdout, "no listener of ours is left in the pod")


def test_hundred_pods_come_and_go_without_a_trace(own_world):
    world = own_world
    descriptors = pathlib.Path(f"/proc/{world.agent.process.pid}/fd")
    engine_descriptors = pathlib.Path(f"/proc/{world.agent.engine_pid()}/fd")
    before = len(list(descriptors.iterdir())), len(list(engine_descriptors.iterdir()))
    for round_number in range(5):
        pods = [world.lab.pod(f"g{round_number}-{n}", namespace="crowd") for n in range(20)]
        world.agent.apply("crowd.yaml", namespace("crowd"), *[pod.manifest() for pod in pods])
        assert request(pods[0], world.ip("a"), PORT).status == 200
        for pod in pods:
            pod.delete()
        world.agent.remove("crowd.yaml")
        wait_until(lambda: all(pod.link_gone() for pod in pods), "the namespaces are freed", 20)

    def as_before():
        now = len(list(descriptors.iterdir())), len(list(engine_descriptors.iterdir()))
        return now[0] <= before[0] + 2 and now[1] <= before[1] + 40  # pools and stocks of the pods that stay
    wait_until(as_before, "no descriptor of a dead pod is left")
