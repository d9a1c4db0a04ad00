# SPDX-License-Identifier: Apache-2.0
"""HTTPRoute on the wire: matches and their precedence, weights, missing backends, parents."""
import collections

import pytest
from http1 import Session, request
from manifests import (backend, gateway_target, http_route, namespace, service_parent)
from world import PORT, split, to


def match(path=None, exact=None, method=None, headers=None, queries=None):
    made = {}
    if path or exact:
        made["path"] = {"type": "Exact" if exact else "PathPrefix", "value": exact or path}
    if method:
        made["method"] = method
    if headers:
        made["headers"] = [{"name": name, "value": value} for name, value in headers.items()]
    if queries:
        made["queryParams"] = [{"name": name, "value": value} for name, value in queries.items()]
    return made


def rule(name, *matches):
    return {"matches": list(matches), **to(name)}


@pytest.mark.smoke
def test_weights_are_exact_over_one_connection(world):
    world.route(split(a=90, b=10))
    with world.session() as session:
        pods = collections.Counter(session.request().pod for _ in range(1000))
    assert pods == {"a": 900, "b": 100}


def test_weight_zero_gets_nothing(world):
    world.route(split(a=1, b=0))
    with world.session() as session:
        assert {session.request().pod for _ in range(100)} == {"a"}


def test_service_without_a_route_is_balanced_over_its_endpoints(world):
    world.policy("ALLOW", [{}])
    with world.session() as session:
        assert {session.request().pod for _ in range(100)} == {"a", "b"}


@pytest.mark.parametrize("path,pod", [("/a", "a"), ("/a/", "a"), ("/a/b?c", "a"), ("/ab", "b"), ("/", "b")])
def test_path_prefix_matches_whole_segments(world, path, pod):
    world.route(rule("a", match(path="/a")), rule("b", match(path="/")))
    assert world.get(path=path).pod == pod


@pytest.mark.parametrize("path,pod", [("/x", "a"), ("/x?q=1", "a"), ("/x/", "b"), ("/X", "b"), ("/x/y", "b")])
def test_exact_path_matches_without_the_query(world, path, pod):
    world.route(rule("a", match(exact="/x")), rule("b", match(path="/")))
    assert world.get(path=path).pod == pod


# Each row: two rules, the weaker one first in the list, and a request that matches both.
@pytest.mark.parametrize("weak,strong,path,method,headers", [
    (match(path="/long/prefix"), match(exact="/long/prefix"), "/long/prefix", "GET", {}),
    (match(path="/a"), match(path="/a/b"), "/a/b/c", "GET", {}),
    (match(path="/a", headers={"x": "1"}), match(path="/a", method="POST"), "/a", "POST", {"X": "1"}),
    (match(path="/a", headers={"x": "1"}), match(path="/a", headers={"x": "1", "y": "2"}), "/a", "GET",
     {"X": "1", "Y": "2"}),
    (match(path="/a", queries={"p": "1"}), match(path="/a", headers={"x": "1"}), "/a?p=1", "GET", {"X": "1"}),
    (match(path="/a", queries={"p": "1"}), match(path="/a", queries={"p": "1", "q": "2"}), "/a?q=2&p=1", "GET", {}),
    (match(path="/a", method="GET", headers={"x": "1"}), match(path="/a/b"), "/a/b", "GET", {"X": "1"}),
], ids=["exact-over-prefix", "longer-prefix", "method-over-headers", "more-headers", "headers-over-queries",
        "more-queries", "path-length-over-all-else"])
def test_more_specific_match_wins_whatever_the_order(world, weak, strong, path, method, headers):
    world.route(rule("b", weak), rule("a", strong))
    assert world.get(path=path, method=method, headers=headers).pod == "a"


def test_first_rule_wins_among_equals(world):
    world.route(rule("a", match(path="/same")), rule("b", match(path="/same")))
    assert world.get(path="/same").pod == "a"


def test_older_route_wins_among_equal_routes(world):
    young = http_route("aaa", [service_parent("web")], [rule("b", match(path="/t"))])
    old = http_route("zzz", [service_parent("web")], [rule("a", match(path="/t"))])
    young["metadata"]["creationTimestamp"] = "2024-02-01T00:00:00Z"
    old["metadata"]["creationTimestamp"] = "2024-01-01T00:00:00Z"
    world.agent.apply("two.yaml", young, old)
    assert world.get(path="/t").pod == "a"


def test_header_names_ignore_case_and_values_do_not(world):
    world.route(rule("a", match(headers={"X-Version": "One"})), rule("b", match(path="/")))
    assert world.get(headers={"x-vERSION": "One"}).pod == "a"
    assert world.get(headers={"x-version": "one"}).pod == "b"


@pytest.mark.smoke
def test_no_matching_rule_answers_404(world):
    world.route(rule("a", match(path="/only")))
    assert world.get(path="/only").status == 200
    assert world.get(path="/other").status == 404


def test_missing_backend_answers_500_for_its_share_only(world):
    world.route({"backendRefs": [backend("a", PORT, 1), backend("no-such-service", PORT, 1)]})
    with world.session() as session:
        codes = collections.Counter(session.request().status for _ in range(100))
    assert codes == {200: 50, 500: 50}


def test_rule_without_backends_answers_500(world):
    world.route({"matches": [match(path="/")]})
    assert world.get().status == 500


def test_service_without_endpoints_answers_503(world):
    world.route(to("nobody"))
    assert world.get().status == 503


def test_route_with_a_port_leaves_other_ports_alone(world):
    world.route(to("b"), parents=[service_parent("a", PORT + 1)])
    assert world.get("a").pod == "a"
    world.route(to("b"), parents=[service_parent("a", PORT)])
    assert world.get("a").pod == "b"


def test_route_on_the_gateway_means_every_service_that_uses_it(world):
    world.route(rule("b", match(path="/gw")), parents=[gateway_target()])
    assert world.get("a", path="/gw").pod == "b"
    assert world.get("web", path="/gw").pod == "b"


def test_consumer_route_applies_to_clients_of_its_namespace_only(world):
    world.agent.apply("consumer.yaml", http_route("consumer", [service_parent("a", ns="default")], [
        {"backendRefs": [{**backend("a", PORT), "namespace": "default"}], "matches": [match(path="/from-other")]}],
        ns="other"))
    assert world.get("a", path="/x", pod=world.client).status == 200
    assert world.get("a", path="/x", pod=world.outsider).status == 404
    assert world.get("a", path="/from-other", pod=world.outsider).status == 200


def test_path_is_normalised_once_for_route_and_backend(world):
    world.route(rule("a", match(path="/deep")), rule("b", match(path="/")))
    saw = world.get(path="/x/../deep/%7Euser").saw
    assert (saw["pod"], saw["path"]) == ("a", "/deep/~user")


def test_requests_of_one_connection_are_routed_each_for_itself(world):
    world.route(rule("a", match(path="/a")), rule("b", match(path="/b")))
    with world.session() as session:
        assert [session.request(path=path).pod for path in ("/a", "/b", "/a", "/b", "/b")] == ["a", "b", "a", "b", "b"]


def test_upstream_connections_are_reused(world):
    world.route(to("a"))
    with world.session() as session:
        first = session.request().saw
        last = [session.request().saw for _ in range(20)][-1]
    assert last["accept"] == first["accept"] and last["request"] == first["request"] + 20


def test_application_that_closes_idle_connections_costs_no_request(world):
    world.route(to("a"))
    with world.session() as session:
        for _ in range(50):
            assert session.request(path="/?close=1").status == 200


@pytest.mark.parametrize("mode,ambient,reached", [("ambient", True, "redirected"), ("none", False, "untouched")])
def test_enrolment_of_a_pod_by_its_label(world, mode, ambient, reached):
    pod = world.lab.pod(f"labelled-{mode}", namespace="labelled", labels={"istio.io/dataplane-mode": mode})
    world.agent.apply("labelled.yaml", namespace("labelled", ambient=not ambient), pod.manifest())
    world.route(to("a"))
    if reached == "redirected":
        assert request(pod, world.ip("web"), PORT, host="web").pod == "a"
    else:
        with pytest.raises(OSError):  # nobody translates service addresses for it here
            Session(pod, world.ip("web"), PORT)
    pod.delete()
