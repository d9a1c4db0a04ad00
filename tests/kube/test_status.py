# SPDX-License-Identifier: Apache-2.0
"""What Weft writes to the API: conditions, Events, the annotation of captured pods."""
import json

import pytest
import settings
import weft
from kubectl import kubectl, objects
from pods import apply, delete, echo_pod, service, wait_for
from waypoint import GATEWAY_GROUP, gateway, methods, policy, route

CONTROLLER = "weftmesh.io/gateway-controller"
REDIRECTION = "ambient.istio.io/redirection"
SECONDS = 20


@pytest.fixture(scope="module")
def mesh(installed, namespace):
    kubectl("label", "namespace", namespace, "istio.io/dataplane-mode=ambient")
    apply(gateway(namespace), service("web", namespace, labels={"istio.io/use-waypoint": "waypoint"}),
          echo_pod("web", namespace, "node2"))
    wait_for("condition=Ready", "pod", "--all", namespace=namespace)
    return namespace


def conditions(status):
    """{type: (status, reason)} of a list of conditions."""
    return {each["type"]: (each["status"], each["reason"]) for each in status.get("conditions", [])}


def status(kind, name, namespace):
    return objects(kind, name, "--namespace", namespace).get("status", {})


def becomes(read, wanted, seconds=SECONDS):
    """The conditions that are named have these values; others may be there."""
    def holds():
        now = read()
        return all(now.get(name) == value for name, value in wanted.items())

    weft.wait_until(holds, seconds, lambda: f"wanted {wanted}, there is {read()}")


def of_route(name, namespace):
    """The conditions of our entry for a route's one parent."""
    def read():
        entries = [each for each in status("httproute", name, namespace).get("parents", [])
                   if each["controllerName"] == CONTROLLER]
        return conditions(entries[0]) if len(entries) == 1 else {}
    return read


def of(kind, name, namespace):
    return lambda: conditions(status(kind, name, namespace))


def test_class_gateway_and_service_say_that_they_are_served(mesh):
    becomes(lambda: conditions(objects("gatewayclass", "weft-waypoint").get("status", {})),
            {"Accepted": ("True", "Accepted")})
    becomes(of("gateway", "waypoint", mesh), {"Accepted": ("True", "Accepted"), "Programmed": ("True", "Programmed")})
    becomes(of("service", "web", mesh), {"istio.io/WaypointBound": ("True", "WaypointAccepted")})


def test_a_route_and_a_policy_are_accepted_and_programmed_on_every_node(mesh):
    objects_ = [route(mesh, "good", "web", 80, {"web": 1}), policy(mesh, "good", methods("GET"))]
    apply(*objects_)
    becomes(of_route("good", mesh), {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs"),
                                     "weftmesh.io/Programmed": ("True", "Programmed")})
    becomes(of("authorizationpolicy", "good", mesh), {"WaypointAccepted": ("True", "Accepted")})
    entry = status("httproute", "good", mesh)["parents"][0]
    generation = objects("httproute", "good", "--namespace", mesh)["metadata"]["generation"]
    assert {each["observedGeneration"] for each in entry["conditions"]} == {generation}
    delete(*objects_)


def test_a_route_to_a_missing_service_says_so(mesh):
    wanted = route(mesh, "lost", "web", 80, {"nobody": 1})
    apply(wanted)
    becomes(of_route("lost", mesh), {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")})
    messages = [each["message"] for each in status("httproute", "lost", mesh)["parents"][0]["conditions"]]
    assert any("nobody" in message for message in messages), messages
    delete(wanted)


def test_a_policy_that_cannot_be_served_says_which_field(mesh):
    """A field that the CRD has and Weft does not serve: the API server lets it through."""
    wanted = policy(mesh, "dry", methods("GET"))
    wanted["spec"]["action"] = "AUDIT"
    apply(wanted)
    becomes(of("authorizationpolicy", "dry", mesh), {"WaypointAccepted": ("False", "UnsupportedValue")})
    message = [each["message"] for each in status("authorizationpolicy", "dry", mesh)["conditions"]
               if each["type"] == "WaypointAccepted"][0]
    assert "spec.action" in message, message

    def told():
        return [each for each in objects("events", "--namespace", mesh)
                if each["involvedObject"]["name"] == "dry" and each["type"] == "Warning"]

    weft.wait_until(told, SECONDS, "no Event about the refused policy")
    assert "spec.action" in told()[0]["message"]
    delete(wanted)


@pytest.mark.parametrize("kind, group, spec", [
    ("GRPCRoute", GATEWAY_GROUP, {"parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80}],
                                  "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}),
])
def test_a_kind_that_is_not_served_yet_says_so(mesh, kind, group, spec):
    wanted = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "later", "namespace": mesh}, "spec": spec}
    apply(wanted)

    def read():
        entries = [each for each in status(kind.lower(), "later", mesh).get("parents", [])
                   if each["controllerName"] == CONTROLLER]
        return conditions(entries[0]) if entries else {}

    becomes(read, {"Accepted": ("False", "UnsupportedValue")})
    delete(wanted)


def test_another_controllers_entry_stays(mesh):
    wanted = route(mesh, "shared", "web", 80, {"web": 1})
    apply(wanted)
    becomes(of_route("shared", mesh), {"Accepted": ("True", "Accepted")})
    foreign = {"controllerName": "example.com/other", "parentRef": {"group": GATEWAY_GROUP, "kind": "Gateway", "name": "elsewhere"},
               "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                               "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    ours = status("httproute", "shared", mesh)["parents"]
    kubectl("patch", "httproute", "shared", "--namespace", mesh, "--subresource=status", "--type=merge", "--patch",
            json.dumps({"status": {"parents": [*ours, foreign]}}))
    changed = route(mesh, "shared", "web", 80, {"web": 2})
    apply(changed)
    generation = objects("httproute", "shared", "--namespace", mesh)["metadata"]["generation"]

    def seen():
        parents = status("httproute", "shared", mesh)["parents"]
        mine = [each for each in parents if each["controllerName"] == CONTROLLER]
        return mine and {each["observedGeneration"] for each in mine[0]["conditions"]} == {generation}

    weft.wait_until(seen, SECONDS, "the new generation is not acknowledged")
    assert foreign in status("httproute", "shared", mesh)["parents"]
    delete(wanted)


def test_a_captured_pod_is_annotated_until_it_is_not_enrolled(mesh):
    def annotation():
        return objects("pod", "web", "--namespace", mesh)["metadata"].get("annotations", {}).get(REDIRECTION)

    weft.wait_until(lambda: annotation() == "enabled", SECONDS, "the pod is not annotated")
    kubectl("label", "pod", "web", "--namespace", mesh, "istio.io/dataplane-mode=none")
    weft.wait_until(lambda: annotation() is None, SECONDS, "the annotation stays")
    kubectl("label", "pod", "web", "--namespace", mesh, "istio.io/dataplane-mode-")
    weft.wait_until(lambda: annotation() == "enabled", SECONDS, "the pod is not annotated again")


def test_one_node_writes_and_both_know_which(mesh):
    writers = {node: weft.status(node)["writer"] for node in settings.NODES}
    leaders = {writer["leader"] for writer in writers.values()}
    assert len(leaders) == 1 and leaders <= set(settings.NODES), writers
    assert [node for node, writer in writers.items() if writer["leads"]] == list(leaders), writers
