# SPDX-License-Identifier: Apache-2.0
"""Two agents on one socket: the newcomer takes the place of the other, which stands by (a rolling upgrade)."""
import signal
import threading
import time

import pytest
from waiting import wait_until
from weft import Agent
from world import to

CLOSED = [{"to": [{"operation": {"paths": ["/closed"]}}]}]


class Load:
    """One request after the other from the client, each on a connection of its own."""

    def __init__(self, world):
        self.world, self.over, self.statuses = world, False, []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.over:
            try:
                self.statuses.append(self.world.get().status)
            except OSError as error:
                self.statuses.append(repr(error))

    def end(self):
        self.over = True
        self.thread.join()
        return self.statuses


@pytest.fixture
def two(own_world):
    """A world whose agent may be followed by another: (world, newcomer), the newcomer not started."""
    world = own_world
    world.route(to("a"))
    world.policy("DENY", CLOSED)
    newcomer = Agent(world.lab, arguments=["--take-over"])
    world.lab.agents.append(newcomer)
    return world, newcomer


def events(agent, name):
    return agent.log_path.read_text(errors="replace").count(name)


def test_newcomer_takes_over_without_losing_a_connection(two):
    world, newcomer = two
    first, engine = world.agent.process, world.agent.engine_pid()
    load = Load(world)
    newcomer.start()
    assert newcomer.engine_pid() == engine, "the engine stays"
    time.sleep(1)
    statuses = load.end()
    assert set(statuses) == {200} and len(statuses) > 50, statuses
    assert first.poll() is None, "it stands by"
    assert world.get(path="/closed").status == 403
    newcomer.remove("policy-policy.yaml")
    assert world.get(path="/closed").status == 200
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    assert newcomer.http("/readyz")[0] == 200
    assert world.get().status == 200


def test_the_one_that_stands_by_serves_again_when_the_other_dies(two):
    world, newcomer = two
    newcomer.start()
    load = Load(world)
    newcomer.kill_agent()
    wait_until(lambda: world.agent.http("/readyz")[0] == 200, lambda: f"the first serves: {world.agent.log_tail()}", 20)
    statuses = load.end()
    assert set(statuses) == {200}, statuses
    world.agent.remove("policy-policy.yaml")
    assert world.get(path="/closed").status == 200


def test_without_the_option_a_second_agent_is_refused(two):
    world, newcomer = two
    newcomer.command.remove("--take-over")
    newcomer.launch()
    assert newcomer.process.wait(10) == 1
    assert "another weft-agent runs on this socket" in newcomer.log_tail()
    assert world.agent.http("/readyz")[0] == 200


def test_a_newcomer_that_cannot_read_its_source_leaves_the_other_alone(two):
    """Nobody listens at its API server: what serves now is better than what knows nothing."""
    world, newcomer = two
    kubeconfig = world.lab.folder / "kubeconfig"
    kubeconfig.write_text("apiVersion: v1\nkind: Config\ncurrent-context: c\n"
                          "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
                          "users: [{name: u, user: {token: t}}]\n"
                          "contexts: [{name: c, context: {cluster: c, user: u}}]\n")
    at = newcomer.command.index("--source")
    newcomer.command[at:at + 2] = ["--source", "kube", "--kubeconfig", kubeconfig, "--node-name", "n"]
    newcomer.launch()
    load = Load(world)
    time.sleep(2)
    assert set(load.end()) == {200}
    assert newcomer.process.poll() is None
    assert events(newcomer, "taking_over") == 0
    newcomer.process.send_signal(signal.SIGTERM)
    assert newcomer.process.wait(10) == 0
    world.agent.remove("policy-policy.yaml")
    assert world.get(path="/closed").status == 200
