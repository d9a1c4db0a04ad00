# SPDX-License-Identifier: Apache-2.0
"""An agent that starts over what a former one left: it changes nothing before it knows what shall be."""
import contextlib
import http.client
import os
import signal

import pytest
from http1 import request
from lab import binary
from manifests import namespace, policy, service, waypoint_gateway
from waiting import wait_until
from weft import ENGINE_USER, Agent
from world import PORT, to

CLOSED = [{"to": [{"operation": {"paths": ["/closed"]}}]}]


def held(agent, *words):
    """The agent runs, is not ready, and says why in the status and to sync."""
    agent.launch()
    wait_until(lambda: agent.http("/readyz")[0] == 503 and "left as" in agent.http("/readyz")[1],
               lambda: f"the agent holds: {agent.http('/readyz')} {agent.log_tail()}", 20)
    missing = wait_until(lambda: agent.status()["generation"]["missing"], "the status names what is missing")
    assert all(any(word in line for line in missing) for word in words), missing
    done = agent.ctl("--timeout", 1, "sync", check=False)
    assert done.returncode == 1 and "left as" in done.stderr, done
    assert agent.metrics().total("weft_agent_source_holds_total") >= 1


def guarded(world):
    """The policy holds on both ways, and what it allows still passes (with fresh sockets of the held agent, too)."""
    assert world.get(path="/closed").status == 403
    assert request(world.stranger, world.a.ip4, PORT, path="/closed").status == 403
    for _ in range(40):  # more than an engine has in stock
        assert request(world.stranger, world.a.ip4, PORT).status == 200
    assert world.get().status == 200


@pytest.mark.parametrize("loss", ["directory is missing", "directory is empty", "file is broken", "policy is refused"])
def test_agent_that_restarts_without_its_whole_source_leaves_everything_in_force(own_world, loss):
    world = own_world
    world.route(to("a"))
    world.policy("DENY", CLOSED)
    world.agent.kill_agent()
    source, hidden = world.lab.source, world.lab.source.with_name("hidden")
    broken = {"file is broken": "kind: [\n", "policy is refused": policy("policy", "PERMIT", CLOSED)}.get(loss)
    if broken:
        world.lab.apply("policy-policy.yaml", broken)
        held(world.agent, "policy-policy.yaml" if loss == "file is broken" else "default/policy was in force")
    else:
        source.rename(hidden)
        if loss == "directory is empty":
            source.mkdir()
        held(world.agent, "no object" if loss == "directory is empty" else str(source))
    guarded(world)
    if broken:
        world.lab.apply("policy-policy.yaml", policy("policy", "DENY", CLOSED))
    else:
        if source.exists():
            source.rmdir()
        hidden.rename(source)
    wait_until(lambda: world.agent.http("/readyz")[0] == 200, "the agent goes on", 20)
    guarded(world)
    world.agent.remove("policy-policy.yaml")
    assert world.get(path="/closed").status == 200


def test_policy_that_turned_bad_under_an_agent_does_not_hold_the_next_one(own_world):
    """One tenant's mistake: what was in force stays, and everybody else goes on."""
    world = own_world
    world.policy("DENY", CLOSED)
    world.lab.apply("policy-policy.yaml", policy("policy", "PERMIT", CLOSED))
    world.fault("default/policy")
    for end in (world.agent.kill_agent, world.agent.kill):
        end()
        world.agent.start()
        world.agent.sync()
        guarded(world)
        world.fault("default/policy")
    assert world.agent.metrics().total("weft_agent_source_holds_total") == 0
    world.route(to("a"))  # others' changes come into force
    assert world.get().status == 200
    world.agent.remove("policy-policy.yaml")
    assert world.get(path="/closed").status == 200


def test_agent_and_engine_that_restart_without_their_source_stay_closed(own_world):
    world = own_world
    world.policy("DENY", CLOSED)
    world.agent.kill()
    hidden = world.lab.source.with_name("hidden")
    world.lab.source.rename(hidden)
    held(world.agent, str(world.lab.source))

    def closed(connect):
        with contextlib.suppress(OSError):
            return connect(path="/closed").status == 403
        return True
    wait_until(lambda: closed(lambda **o: request(world.stranger, world.a.ip4, PORT, **o)), "the pod is closed", 20)
    hidden.rename(world.lab.source)
    wait_until(lambda: world.agent.http("/readyz")[0] == 200, "the agent goes on", 20)
    guarded(world)


def test_object_that_never_was_good_does_not_hold_a_restart_up(own_world):
    world = own_world
    world.policy("DENY", CLOSED)
    world.lab.apply("never.yaml", policy("never", "PERMIT", [{}]))
    world.fault("default/never")
    world.agent.kill_agent()
    world.agent.start()
    world.agent.sync()
    guarded(world)


@pytest.mark.parametrize("text", ["kind: [\n", "apiVersion: v1\nnote: to whoever reads this\n"])
def test_file_that_never_was_whole_does_not_hold_a_restart_up(own_world, text):
    world = own_world
    world.policy("DENY", CLOSED)
    world.lab.apply("notes.yaml", text)
    world.fault("notes.yaml")
    world.agent.kill()
    world.agent.start()
    world.agent.sync()
    assert world.agent.metrics().total("weft_agent_source_holds_total") == 0
    world.fault("notes.yaml")
    guarded(world)
    guest = world.lab.pod("guest")
    with world.agent.rises("weft_agent_pods_captured"):
        world.agent.apply("guest.yaml", guest.manifest())
    assert request(guest, world.ip("a"), PORT, path="/closed", host="a").status == 403
    assert request(guest, world.ip("a"), PORT, host="a").status == 200
    # Now something of what was in force may be in it.
    world.agent.kill_agent()
    world.lab.remove("guest.yaml")
    held(world.agent, "notes.yaml cannot be read whole", "default/guest")
    world.lab.remove("notes.yaml")
    wait_until(lambda: world.agent.http("/readyz")[0] == 200, "the agent goes on", 20)
    guarded(world)


def test_graceful_end_removes_the_record_of_objects(own_world):
    assert any(path.name.endswith(".objects") for path in own_world.lab.folder.iterdir())
    assert own_world.agent.stop() == 0
    assert not any(path.name.endswith(".objects") for path in own_world.lab.folder.iterdir())


def test_engine_of_seventy_pods_outlives_two_agents_with_all_its_listeners(own_world):
    """More listeners than one message carries."""
    world = own_world
    pods = [world.lab.pod(f"g{number}", namespace="crowd") for number in range(70)]
    world.agent.apply("crowd.yaml", namespace("crowd"), *[pod.manifest() for pod in pods])
    engine = world.agent.engine_pid()

    def listeners():
        return world.agent.metrics().total("weft_l7_listeners")
    before = listeners()
    assert before >= 4 * 70
    for _ in range(3):
        world.agent.kill_agent()
        world.agent.start()
        world.agent.sync()
        assert listeners() == before
        assert world.agent.metrics().total("weft_l7_agent_disconnects_total", reason="message") == 0
        for pod in (pods[0], pods[-1]):
            assert request(pod, world.ip("a"), PORT).status == 200
    assert world.agent.engine_pid() == engine


def test_pods_whose_namespaces_cannot_be_named_after_a_restart_stay_enforced(own_world):
    """The folder of namespaces is not mounted where the new agent looks."""
    world = own_world
    world.policy("DENY", CLOSED)
    world.agent.kill_agent()
    command = list(world.agent.command)
    world.agent.command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run/netns && exec "$@"', "sh", *command]
    world.agent.launch()
    wait_until(lambda: world.agent.http("/readyz")[0] == 200, "the agent runs", 20)
    assert world.agent.metrics().total("weft_agent_pods_missing") > 0
    guarded(world)
    world.agent.apply("policy-more.yaml", policy("more", "DENY", [{"to": [{"operation": {"paths": ["/more"]}}]}]))
    assert request(world.stranger, world.a.ip4, PORT, path="/more").status == 403
    world.agent.kill_agent()
    world.agent.command = command
    world.agent.start()
    world.agent.sync()
    guarded(world)


def test_engine_that_comes_back_with_listeners_of_a_deleted_pod_lets_go_of_them(own_world):
    world = own_world
    guest = world.lab.pod("guest")
    world.agent.apply("guest.yaml", guest.manifest())
    engine = world.agent.engine_pid()
    os.kill(engine, signal.SIGSTOP)
    try:
        world.agent.kill_agent()
        world.agent.launch()
        # It does not wait for the engine any longer, and has taken over every pod.
        wait_until(lambda: world.agent.http("/healthz")[0] == 200 and
                   world.agent.metrics().total("weft_agent_pods_captured") >= 5, "the agent has begun", 20)
        world.lab.remove("guest.yaml")
        wait_until(lambda: "default/guest" not in world.agent.ctl("status", "-o", "json").stdout, "the pod is let go")
        guest.delete()
    finally:
        os.kill(engine, signal.SIGCONT)
    wait_until(guest.link_gone, "nothing pins the namespace of the deleted pod", 20)
    world.agent.sync()
    assert world.get().status == 200


def test_engine_that_outlives_a_cleanup_judges_nobody_with_anothers_identity(own_lab):
    """The former agent's pod is not in the mesh any more; its old listener must not speak for a pod that is."""
    lab = own_lab
    former, client, server = lab.pod("a-former"), lab.pod("client", service_account="friend"), lab.pod("server")
    server.labels["app"] = "s"
    server.serve(PORT)
    base = [namespace("default"), waypoint_gateway(), server.manifest(), service("s", ["10.96.2.1"], PORT,
                                                                                 waypoint="waypoint"),
            policy("p", "ALLOW", [{"from": [{"source": {"principals": ["cluster.local/ns/default/sa/friend"]}}]}])]
    lab.apply("all.yaml", *base, former.manifest())
    agent = Agent(lab, engine=False, arguments=("--engine-user", ENGINE_USER))
    lab.agents.append(agent)
    agent.launch()
    wait_until(lambda: agent.http("/healthz")[0] == 200, "the agent runs", 15)
    engine = Agent(lab, wrapper_log="engine.log")
    engine.command = [binary("weft-l7engine"), "--socket", agent.socket_path, "--user", ENGINE_USER, "--workers", "1"]
    engine.launch()
    agent.sync()
    assert request(former, "10.96.2.1", PORT, host="s").status == 403
    agent.kill_agent()
    os.kill(engine.process.pid, signal.SIGSTOP)
    assert agent.cleanup().returncode == 0
    # Sorted as the former pods were: the same numbers from the same start would go to the same places.
    lab.apply("all.yaml", *base, client.manifest())
    agent.launch()
    wait_until(lambda: agent.http("/healthz")[0] == 200 and
               agent.metrics().total("weft_agent_pods_captured") == 2, "the new agent has its pods", 15)
    os.kill(engine.process.pid, signal.SIGCONT)
    agent.sync()
    assert request(client, "10.96.2.1", PORT, host="s").status == 200
    # What the former listener would be asked, if it still were there: the service by its code, from the former pod.
    for code in range(0x10000, 0x10004):
        address = f"127.{code >> 16}.{code >> 8 & 255}.{code & 255}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            assert request(former, address, 15001, host="s").status != 200
    engine.process.terminate()
    engine.process.wait(20)
