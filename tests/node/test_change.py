# SPDX-License-Identifier: Apache-2.0
"""Changes: in force when sync returns, never harmful to a request in flight, last good version kept."""
import collections
import threading

import pytest
from http1 import request
from load import Load
from manifests import dump, namespace, policy, service, waypoint_gateway
from waiting import wait_until
from world import PORT, split, to


@pytest.mark.smoke
def test_route_change_is_in_force_when_sync_returns(world):
    for pod in ("a", "b") * 5:
        world.route(to(pod))
        assert world.get().pod == pod


def test_policy_change_is_in_force_when_sync_returns_on_every_way_in(world):
    for action, status in (("DENY", 403), ("ALLOW", 200)) * 4:
        world.policy(action, [{}])
        assert world.get("a").status == status
        assert request(world.client, world.a.ip4, PORT).status == status
        assert request(world.stranger, world.a.ip6, PORT).status == status


def test_new_policy_judges_the_next_request_of_an_open_connection(world):
    world.policy("ALLOW", [{}])
    with world.session() as session:
        assert session.request().status == 200
        world.policy("DENY", [{}])
        assert session.request().status == 403
        world.policy("ALLOW", [{}])
        assert session.request().status == 200


def test_first_policy_on_a_pod_governs_new_connections_to_its_address_at_once(world):
    assert request(world.stranger, world.a.ip4, PORT).status == 200
    world.policy("DENY", [{}])
    assert request(world.stranger, world.a.ip4, PORT).status == 403
    world.clear()
    assert request(world.stranger, world.a.ip4, PORT).status == 200


def test_changes_under_load_break_no_request(world):
    world.route(split(a=1, b=1))
    world.policy("ALLOW", [{}])
    with Load(lambda: world.session()) as load:
        for number in range(15):
            world.route(split(a=1 + number % 3, b=1))
            world.policy("ALLOW", [{"to": [{"operation": {"methods": ["GET"], "paths": [f"/{number}", "*"]}}]}])
        wait_until(lambda: load.count() >= 300, "some hundred requests", 30)
    assert load.failed() == []


def test_request_in_flight_survives_the_change_that_removes_its_backend(world):
    world.route(to("a"))
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(world.get(path="/?delay_ms=700&bytes=100000").status))
    thread.start()
    wait_until(lambda: b"delay_ms" in world.apps["a"].bytes_received(), "the request is at the application")
    world.route(to("b"))
    assert world.get().pod == "b"
    thread.join()
    assert statuses == [200]


def test_pod_that_is_not_ready_gets_no_request(world):
    original = (world.lab.source / "base.yaml").read_text()
    ready, not_ready = dump(world.b.manifest()), dump(world.b.manifest(ready=False))
    assert ready in original
    try:
        world.agent.apply("base.yaml", original.replace(ready, not_ready))
        for name in ("web", "direct"):  # chosen by the engine, and in the kernel
            assert collections.Counter(world.get(name).pod for _ in range(20)) == {"a": 20}
        assert world.get("b").status == 503
    finally:
        world.agent.apply("base.yaml", original)
    for name in ("web", "direct"):
        assert {world.get(name).pod for _ in range(40)} == {"a", "b"}


def test_symlink_swap_as_kubernetes_mounts_a_config_map(own_lab):
    """..data -> ..2024_1; the names in the folder are links into ..data."""
    folder = own_lab.source
    pod, server = own_lab.pod("c"), own_lab.pod("s", labels={"app": "s"})
    server.serve(PORT)
    base = [namespace("default"), waypoint_gateway(), pod.manifest(), server.manifest(),
            service("s", ["10.96.1.1"], PORT, waypoint="waypoint")]

    def swap(version, *objects):
        (folder / f"..{version}").mkdir()
        (folder / f"..{version}" / "all.yaml").write_text(dump(*objects))
        (folder / "..new").symlink_to(f"..{version}")
        (folder / "..new").rename(folder / "..data")
    swap("1", *base)
    (folder / "all.yaml").symlink_to("..data/all.yaml")
    agent = own_lab.agent()
    agent.sync()
    assert request(pod, "10.96.1.1", PORT).status == 200
    swap("2", *base, policy("no", "DENY", [{}]))
    agent.sync()
    assert request(pod, "10.96.1.1", PORT).status == 403
