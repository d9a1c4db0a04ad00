# SPDX-License-Identifier: Apache-2.0
"""Bad input: each gives one clear error in the status and a counter, and everything else keeps working."""
import os
import shutil

import pytest
from http1 import request
from manifests import dump, http_route, namespace, policy, service, service_parent, service_target
from netns import run
from waiting import wait_until
from world import OTHER_PORT, PORT, World, to

REFUSED = "weft_agent_refused_objects_total"
FAULTS = "weft_agent_source_faults_total"


@pytest.fixture
def good(world):
    """A working route to a; after the test it must still work, and a later change must still come through."""
    world.route(to("a"))
    yield world
    assert world.get().pod == "a"
    world.route(to("b"))
    assert world.get().pod == "b"


@pytest.mark.smoke
@pytest.mark.parametrize("name,text", [
    ("unclosed", "kind: Service\nspec: {a: [1, 2\n"),
    ("stray comma", "{},"),
    ("tab", "kind:\tService\n\tx: y\n"),
    ("binary", "\u0000\u0001\u0002"),
    ("alias bomb", "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8))),
    ("deep", "a: " + "[" * 2000 + "]" * 2000),
])
def test_broken_yaml(good, name, text):
    with good.agent.rises(FAULTS):
        good.lab.apply("broken.yaml", text)
        good.fault("broken.yaml")
    good.agent.ctl("sync", check=False)


def test_broken_file_keeps_the_last_good_version_of_its_objects(good):
    good.policy("DENY", [{}], name="kept")
    good.lab.apply("policy-kept.yaml", "kind: [\n")
    good.fault("policy-kept.yaml")
    assert good.get().status == 403
    good.lab.remove("policy-kept.yaml")
    good.agent.sync()


def test_sync_fails_with_the_reason_while_a_file_cannot_be_read_and_the_rest_is_in_force(good):
    path = good.lab.source / "pipe.yaml"
    os.mkfifo(path)
    good.lab.apply("policy-p.yaml", policy("p", "DENY", [{"to": [{"operation": {"paths": ["/closed"]}}]}]))
    done = good.agent.ctl("sync", check=False)
    assert done.returncode == 1 and "pipe.yaml: is not a regular file" in done.stderr.splitlines()[-1], done
    assert good.get(path="/closed").status == 403
    path.unlink()
    good.lab.remove("policy-p.yaml")
    good.agent.sync()


def test_sync_waits_for_a_file_that_is_being_written(good):
    both = [policy(name, "DENY", [{"to": [{"operation": {"paths": [f"/{name}"]}}]}]) for name in ("p", "q")]
    good.lab.apply("policies.yaml", *both)
    good.agent.sync()
    with open(good.lab.source / "policies.yaml", "w") as file:
        file.write(dump(both[0]))
        file.flush()  # a good manifest, and half of it
        done = good.agent.ctl("--timeout", 1, "sync", check=False)
        assert done.returncode == 1 and "being written" in done.stderr, done
        assert (good.get(path="/p").status, good.get(path="/q").status) == (403, 403)
        file.write("---\n" + dump(both[1]))
    good.agent.sync()
    assert (good.get(path="/p").status, good.get(path="/q").status) == (403, 403)
    good.agent.remove("policies.yaml")


OBJECTS = {
    "unknown enum": (policy("p", "PERMIT", [{}]), "default/p", "spec.action"),
    "unknown field": ({**policy("p", "DENY", [{}]), "specs": {}}, "default/p", "specs"),
    "unknown field in a rule": (policy("p", "ALLOW", [{"to": [{"operation": {"method": ["GET"]}}]}]), "default/p",
                                "spec.rules[0].to[0].operation.method"),
    "wrong type": (policy("p", "ALLOW", [{"to": [{"operation": {"methods": "GET"}}]}]), "default/p",
                   "spec.rules[0].to[0].operation.methods"),
    "bad block": (policy("p", "ALLOW", [{"from": [{"source": {"ipBlocks": ["10.0.0.0/33"]}}]}]), "default/p",
                  "spec.rules[0].from[0].source.ipBlocks[0]"),
    "bad port": (policy("p", "ALLOW", [{"to": [{"operation": {"ports": ["http"]}}]}]), "default/p",
                 "spec.rules[0].to[0].operation.ports[0]"),
    "unknown condition": (policy("p", "DENY", [{"when": [{"key": "destination.labels[x]", "values": ["y"]}]}]),
                          "default/p", "spec.rules[0].when[0].key"),
    "action of a later release": (policy("p", "CUSTOM", [{}]), "default/p", "spec.action"),
    "route filter of a later release": (http_route("r", [service_parent("web")], [
        {**to("b"), "filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 301}}]}]), "default/r",
        "spec.rules[0].filters"),
    "negative weight": (http_route("r", [service_parent("web")], [
        {"backendRefs": [{"name": "b", "port": PORT, "weight": -1}]}]), "default/r",
        "spec.rules[0].backendRefs[0].weight"),
    "regular expression": (http_route("r", [service_parent("web")], [
        {"matches": [{"path": {"type": "RegularExpression", "value": "/.*"}}], **to("b")}]), "default/r",
        "spec.rules[0].matches[0].path.type"),
    "bad address": (service("s", ["10.96.0.300"], PORT), "default/s", "spec.clusterIPs[0]"),
    "loopback address": (service("s", ["127.0.0.1"], PORT), "default/s", "spec.clusterIPs[0]"),
}


def test_policy_with_a_slip_in_its_group_is_a_fault_and_stays_in_force(good):
    good.policy("DENY", [{"to": [{"operation": {"paths": ["/closed"]}}]}], name="p")
    with good.agent.rises(FAULTS):
        good.lab.apply("policy-p.yaml", {**policy("p", "DENY", [{}]), "apiVersion": "security.istio/v1"})
        good.fault("policy-p.yaml")
    assert good.get(path="/closed").status == 403
    good.lab.remove("policy-p.yaml")
    good.agent.sync()


@pytest.mark.parametrize("name", OBJECTS)
def test_object_with_a_fault_is_refused_whole_with_its_field(good, name):
    made, who, field = OBJECTS[name]
    with good.agent.rises(REFUSED):
        good.lab.apply("bad.yaml", made, namespace("beside-the-bad-one"))
        good.fault(who, field)
    assert good.agent.ctl("sync", "--strict", check=False).returncode == 1
    assert good.get().status == 200


def test_object_that_turns_bad_keeps_its_last_good_version(good):
    good.policy("DENY", [{"to": [{"operation": {"paths": ["/closed"]}}]}], name="p")
    assert good.get(path="/closed").status == 403
    good.lab.apply("policy-p.yaml", policy("p", "DENY", [{"to": [{"operation": {"path": ["/other"]}}]}]))
    good.fault("default/p", "path")
    assert (good.get(path="/closed").status, good.get(path="/other").status) == (403, 200)
    good.lab.remove("policy-p.yaml")
    good.agent.sync()
    assert good.get(path="/closed").status == 200


def test_duplicate_object_is_reported_and_one_of_them_stays(good):
    good.policy("DENY", [{"to": [{"operation": {"paths": ["/first"]}}]}], name="twice")
    good.lab.apply("z-again.yaml", policy("twice", "DENY", [{"to": [{"operation": {"paths": ["/second"]}}]}]))
    good.fault("default/twice", "z-again.yaml")
    assert good.get(path="/first").status == 403
    assert good.get(path="/second").status == 200


def test_route_to_a_missing_service_answers_500_and_says_so(good):
    good.route(to("no-such"), name="lost", parents=[service_parent("b")])
    assert good.get("b").status == 500
    assert good.conditions("HTTPRoute", "lost")["ResolvedRefs"] == ("False", "BackendNotFound")
    good.clear()
    good.route(to("a"))


def test_route_for_a_missing_parent_says_so(good):
    good.route(to("a"), name="orphan", parents=[service_parent("no-such-parent")])
    assert good.conditions("HTTPRoute", "orphan")["Accepted"][0] == "False"


def test_policy_for_a_missing_target_says_so_and_governs_nobody(good):
    good.policy("DENY", [{}], name="lost", targets=[service_target("no-such-target")])
    assert good.conditions("AuthorizationPolicy", "lost") == {"WaypointAccepted": ("False", "TargetNotFound")}
    assert good.get().status == 200


def test_pod_whose_namespace_comes_later_is_captured_then(good):
    late = type(good.client)(good.lab, "late", 150, "default", {}, "default")
    with good.agent.rises("weft_agent_capture_failures_total"):
        good.lab.apply("late.yaml", late.manifest())
        good.fault("default/late", late.netns)
    assert good.get().status == 200
    good.lab.pods[late.netns] = late
    late.create()
    wait_until(lambda: good.agent.metrics().total("weft_agent_pods_missing") == 0, "the pod is captured", 15)
    assert request(late, good.ip("web"), PORT, host="web").status == 200
    late.delete()


@pytest.mark.parametrize("address,port", [("127.0.0.1", 15006), ("0.0.0.0", 15001)])
def test_pod_that_has_our_port_is_enforced_and_reported_and_served_when_it_lets_go(good, address, port):
    good.policy("ALLOW", [{}], name="open")
    squatter = good.lab.pod(f"squatter-{port}", labels={"app": "squatter"})
    squatter.serve(PORT)
    thief = squatter.socket()
    thief.bind((address, port))
    thief.listen()
    good.lab.apply("squatter.yaml", squatter.manifest(),
                   service("squatter", ["10.96.0.60"], PORT, {"app": "squatter"}, "waypoint"))
    done = good.agent.ctl("--timeout", 1, "sync", check=False)
    assert done.returncode == 1 and f"default/{squatter.name}" in done.stderr and f":{port}" in done.stderr, done
    assert good.agent.http("/readyz")[0] == 200  # the others are served
    if port == 15006:
        with good.agent.rises("weft_datapath_inbound_refused_no_listener_total"), pytest.raises(ConnectionError):
            request(good.stranger, squatter.ip4, PORT)
        with pytest.raises(TimeoutError):
            thief.settimeout(0.2)
            thief.accept()
    else:
        good.lab.apply("policy-closed.yaml", policy("closed", "DENY", [
            {"to": [{"operation": {"paths": ["/closed"]}}]}]))
        wait_until(lambda: request(good.stranger, squatter.ip4, PORT, path="/closed").status == 403, "it is judged")
        assert request(good.stranger, squatter.ip4, PORT).status == 200
    thief.close()
    good.agent.sync()
    assert request(good.stranger, squatter.ip4, PORT).status == 200
    assert request(squatter, good.ip("web"), PORT, host="web").status == 200
    good.agent.remove("squatter.yaml")
    squatter.delete()


def test_two_pods_with_one_address_are_reported_and_neither_gets_the_others_identity(good):
    twin = good.lab.pod("twin", namespace="other")
    good.lab.apply("twin.yaml", twin.manifest(ips=[good.client.ip4]))
    good.fault("other/twin", good.client.ip4)
    good.policy("ALLOW", [{"from": [{"source": {"namespaces": ["other"]}}]}], name="other")
    assert good.get().status == 403  # the client did not become a pod of `other`
    good.agent.remove("policy-other.yaml")
    # What the client asks comes from its address all the same.
    good.policy("DENY", [{"from": [{"source": {"ipBlocks": [good.client.ip4]}}]}], name="address")
    assert good.get().status == 403
    good.agent.remove("policy-address.yaml")
    assert good.get().status == 200
    good.lab.remove("twin.yaml")
    good.agent.sync()
    twin.delete()


def test_full_kernel_map_is_reported_and_only_the_newcomer_waits(own_lab):
    """The room that is left is taken by entries of the test: the kernel itself refuses the pod's."""
    world = World(own_lab)
    world.policy("DENY", [{"to": [{"operation": {"paths": ["/closed"]}}]}])
    path, room = world.agent.pin_dir / "pod_addresses", 4096

    def fill(command, value=""):
        lines = [f"map {command} pinned {path} key hex fe 80 {'00 ' * 12}{n >> 8:02x} {n & 255:02x} {value}"
                 for n in range(room - entries)]
        run("bpftool", "batch", "file", "-", stdin="\n".join(lines) + "\n")
    entries = int(world.agent.metrics().total("weft_datapath_map_entries", map="pod_addresses"))
    fill("update", f"value hex {'00 ' * 8}")
    guest = own_lab.pod("guest", labels={"app": "guest"})
    guest.serve(PORT)
    with world.agent.rises("weft_agent_apply_failures_total", reason="map_full"):
        own_lab.apply("guest.yaml", guest.manifest())
        done = world.agent.ctl("--timeout", 1, "sync", check=False)
    assert done.returncode == 1 and "pod_addresses" in done.stderr, done
    assert len(done.stderr.strip().splitlines()) == 1
    assert any("pod_addresses" in fault for fault in world.agent.status()["datapath"]["faults"])
    for way in (lambda where: world.get(path=where), lambda where: request(world.stranger, world.a.ip4, PORT,
                                                                            path=where)):
        assert (way("/").status, way("/closed").status) == (200, 403)
    fill("delete")
    world.agent.sync()
    assert request(guest, world.ip("web"), PORT, host="web").status == 200
    assert request(world.stranger, guest.ip4, PORT, path="/closed").status == 200  # of no service: not governed


def test_more_guarded_ports_than_the_kernel_holds_guard_every_port(own_lab):
    world = World(own_lab)
    names = [f"wide{number}" for number in range(16)]
    wide = [service(name, [f"10.96.7.{number + 1}"], PORT, {"only": "b"}, "waypoint")
            for number, name in enumerate(names)]
    for number, made in enumerate(wide):
        made["spec"]["ports"] = [{"name": f"p{port}", "port": port, "protocol": "TCP", "appProtocol": "http"}
                                 for port in range(20000 + 1024 * number, 20000 + 1024 * (number + 1))]
    world.policy("DENY", [{"to": [{"operation": {"paths": ["/closed"]}}]}])
    world.agent.apply("wide.yaml", *wide)
    world.fault("default/b", "too many guarded ports")
    assert request(world.stranger, world.b.ip4, PORT, path="/closed").status == 403
    assert request(world.stranger, world.a.ip4, PORT, path="/closed").status == 403
    assert world.get(path="/closed").status == 403
    # A port of no service takes the way through the engine too, which knows that no policy governs it.
    with world.agent.rises("weft_datapath_inbound_steered_total"):
        assert request(world.stranger, world.b.ip4, OTHER_PORT).status == 200
    world.agent.remove("wide.yaml")
    assert request(world.stranger, world.b.ip4, OTHER_PORT).status == 200


def test_directory_that_vanishes_changes_nothing_and_is_found_again(own_lab):
    world = World(own_lab)
    world.policy("DENY", [{"to": [{"operation": {"paths": ["/closed"]}}]}])
    hidden = own_lab.source.with_name("hidden")
    with world.agent.rises(FAULTS):
        own_lab.source.rename(hidden)
        wait_until(lambda: any(str(own_lab.source) in text for text in world.diagnostics()), "the loss is reported")
    assert (world.get().status, world.get(path="/closed").status) == (200, 403)
    done = world.agent.ctl("sync", check=False)
    assert done.returncode == 1 and str(own_lab.source) in done.stderr.splitlines()[-1], done
    hidden.rename(own_lab.source)
    wait_until(lambda: not any(str(own_lab.source) in text for text in world.diagnostics()), "the directory is back")
    world.agent.remove("policy-policy.yaml")
    assert world.get(path="/closed").status == 200
    shutil.rmtree(hidden, ignore_errors=True)


def test_sync_gives_up_with_a_reason_when_the_engine_is_silent(own_lab):
    import signal
    world = World(own_lab)
    engine = world.agent.engine_pid()
    os.kill(engine, signal.SIGSTOP)
    try:
        world.lab.apply("more.yaml", policy("more", "DENY", [{}]))
        done = world.agent.ctl("--timeout", 2, "sync", check=False)
        assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    finally:
        os.kill(engine, signal.SIGCONT)
    world.agent.sync()
    assert world.get().status == 403


@pytest.mark.parametrize("name,text", [("empty", ""), ("comments", "# nothing\n---\n# here\n"),
                                       ("foreign", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")])
def test_files_without_our_objects_are_no_fault(good, name, text):
    before = good.agent.metrics().total(FAULTS), good.diagnostics()
    good.agent.apply("odd.yaml", text)
    assert (good.agent.metrics().total(FAULTS), good.diagnostics()) == before
    assert good.agent.status()["source"]["ignored"] == (1 if name == "foreign" else 0)
