# SPDX-License-Identifier: Apache-2.0
"""AuthorizationPolicy on the wire: every field of from, to and when once, with its not-form; combination and targets.

Each row of the table is one rule and two requests: one that it must match and one that it must not. The rule is tried
as ALLOW (match = 200, else 403) and as DENY (the reverse), so that no row can pass by accident.
"""
import pytest
from http1 import Session, parse_replies, raw, request
from manifests import WAYPOINT, endpoint_slice, gateway_target, http_route, service, service_parent, service_target
from world import OTHER_PORT, PORT, to

DENIED = b"RBAC: access denied"


def source(**fields):
    return {"from": [{"source": fields}]}


def operation(**fields):
    return {"to": [{"operation": fields}]}


def when(key, **lists):
    return {"when": [{"key": key, **lists}]}


ALT_PORT = 9180  # of a service in front of the same pods, which test_rule adds

CLIENT = "cluster.local/ns/default/sa/client"
OUTSIDER = "cluster.local/ns/other/sa/default"

# name: (rule, the request that matches, the request that does not). A request is what ask() takes.
ROWS = {
    "principals": (source(principals=[CLIENT]), {}, {"pod": "outsider"}),
    "principals prefix": (source(principals=["cluster.local/ns/default/*"]), {}, {"pod": "outsider"}),
    "principals suffix": (source(principals=["*/sa/client"]), {}, {"pod": "outsider"}),
    "notPrincipals": (source(notPrincipals=[OUTSIDER]), {}, {"pod": "outsider"}),
    "namespaces": (source(namespaces=["default"]), {}, {"pod": "outsider"}),
    "namespaces with a star": (source(namespaces=["def*"]), {}, {"pod": "outsider"}),
    "notNamespaces": (source(notNamespaces=["other"]), {}, {"pod": "outsider"}),
    "serviceAccounts": (source(serviceAccounts=["default/client"]), {}, {"pod": "outsider"}),
    "serviceAccounts of the own namespace": (source(serviceAccounts=["client"]), {}, {"pod": "outsider"}),
    "notServiceAccounts": (source(notServiceAccounts=["other/default"]), {}, {"pod": "outsider"}),
    "ipBlocks": (source(ipBlocks=["CLIENT4/32", "CLIENT6"]), {}, {"pod": "outsider"}),
    "notIpBlocks": (source(notIpBlocks=["OUTSIDER4", "OUTSIDER6/128"]), {}, {"pod": "outsider"}),
    "remoteIpBlocks": (source(remoteIpBlocks=["192.0.2.0/24"]), {"headers": {"X-Forwarded-For": "192.0.2.7"}}, {}),
    "notRemoteIpBlocks": (source(notRemoteIpBlocks=["192.0.2.0/24"]), {},
                          {"headers": {"X-Forwarded-For": "192.0.2.7"}}),
    "hosts": (operation(hosts=["web.example"]), {"host": "WEB.example"}, {"host": "web.example:80"}),
    "hosts prefix": (operation(hosts=["web.*"]), {"host": "web.x"}, {"host": "x.web"}),
    "hosts suffix": (operation(hosts=["*.example"]), {"host": "a.EXAMPLE"}, {"host": "a.example.org"}),
    "notHosts": (operation(notHosts=["bad.example"]), {"host": "good.example"}, {"host": "bad.EXAMPLE"}),
    "ports": (operation(ports=[str(PORT)]), {}, {"port": ALT_PORT}),
    "notPorts": (operation(notPorts=[str(ALT_PORT)]), {}, {"port": ALT_PORT}),
    "methods": (operation(methods=["GET"]), {}, {"method": "POST"}),
    "notMethods": (operation(notMethods=["POST"]), {}, {"method": "POST"}),
    "paths exact": (operation(paths=["/x"]), {"path": "/x?q"}, {"path": "/x/"}),
    "paths prefix": (operation(paths=["/x*"]), {"path": "/xyz"}, {"path": "/y"}),
    "paths suffix": (operation(paths=["*.png"]), {"path": "/a.png"}, {"path": "/a.gif"}),
    "paths template": (operation(paths=["/a/{*}/c/{**}"]), {"path": "/a/b/c/d/e"}, {"path": "/a/b/x/c/d"}),
    "notPaths": (operation(notPaths=["/private*"]), {"path": "/public"}, {"path": "/private/x"}),
    "notPaths after normalisation": (operation(notPaths=["/private*"]), {"path": "/public"},
                                     {"path": "/public/../private"}),
    "request.headers": (when("request.headers[X-Role]", values=["admin"]), {"headers": {"x-role": "admin"}},
                        {"headers": {"x-role": "user"}}),
    "request.headers presence": (when("request.headers[X-Role]", values=["*"]), {"headers": {"x-role": "z"}}, {}),
    "request.headers notValues": (when("request.headers[X-Role]", notValues=["admin"]), {},
                                  {"headers": {"x-role": "admin"}}),
    "source.ip": (when("source.ip", values=["CLIENT4", "CLIENT6"]), {}, {"pod": "outsider"}),
    "source.ip notValues": (when("source.ip", notValues=["OUTSIDER4", "OUTSIDER6"]), {}, {"pod": "outsider"}),
    "remote.ip": (when("remote.ip", values=["192.0.2.1"]), {"headers": {"X-Forwarded-For": "192.0.2.1"}}, {}),
    "source.namespace": (when("source.namespace", values=["default"]), {}, {"pod": "outsider"}),
    "source.namespace notValues": (when("source.namespace", notValues=["other"]), {}, {"pod": "outsider"}),
    "source.principal": (when("source.principal", values=[CLIENT]), {}, {"pod": "outsider"}),
    "source.serviceAccount": (when("source.serviceAccount", values=["default/client"]), {}, {"pod": "outsider"}),
    "destination.port": (when("destination.port", values=[str(PORT)]), {}, {"port": ALT_PORT}),
    "destination.ip": (when("destination.ip", values=["10.96.0.1", "fd96::1"]), {}, {"name": "a"}),
    "two fields of one source": (source(namespaces=["default"], notPrincipals=[CLIENT + "-other"]), {},
                                 {"pod": "outsider"}),
    "from and to and when": ({**source(namespaces=["default"]), **operation(methods=["GET"]),
                              **when("request.headers[k]", values=["v"])}, {"headers": {"k": "v"}},
                             {"headers": {"k": "w"}}),
}


def fill_in(value, world):
    """CLIENT4 and the like become the lab's addresses."""
    if isinstance(value, dict):
        return {key: fill_in(item, world) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_in(item, world) for item in value]
    if isinstance(value, str):
        for name in ("client", "outsider"):
            pod = getattr(world, name)
            value = value.replace(name.upper() + "4", pod.ip4).replace(name.upper() + "6", pod.ip6)
    return value


def ask(world, family, pod="client", **options):
    return world.get(pod=getattr(world, pod), family=family, **options)


@pytest.mark.parametrize("name", ROWS)
def test_rule(world, name):
    rule, matching, other = ROWS[name]
    rule = fill_in(rule, world)
    if "port" in other:
        world.agent.apply("alt.yaml", service("alt", [world.ip("alt"), world.ip("alt", 6)], ALT_PORT, {"app": "web"},
                                              WAYPOINT, target_port=PORT))
        other = {**other, "name": "alt"}
    for action, if_match, if_not in (("ALLOW", 200, 403), ("DENY", 403, 200)):
        world.policy(action, [rule])
        for family in (4, 6):
            assert ask(world, family, **matching).status == if_match, (action, family)
            assert ask(world, family, **other).status == if_not, (action, family)


@pytest.mark.smoke
def test_denied_request_gets_403_with_the_documented_body_and_never_reaches_the_application(world):
    world.policy("ALLOW", [operation(methods=["GET"])])
    for app in world.apps.values():
        app.take()
    reply = world.get(method="POST", body=b"secret")
    assert (reply.status, reply.body, reply.header("content-type")) == (403, DENIED, "text/plain")
    assert all(b"secret" not in app.bytes_received() for app in world.apps.values())


def test_connection_stays_usable_after_a_denied_request(world):
    world.policy("ALLOW", [operation(methods=["GET"])])
    with world.session() as session:
        assert [session.request(method=method).status for method in ("GET", "DELETE", "GET")] == [200, 403, 200]


def test_body_of_a_denied_request_is_never_taken_for_the_next_request(world):
    world.policy("ALLOW", [operation(methods=["GET"])])
    body = b"GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n"
    for app in world.apps.values():
        app.take()
    received, _ = raw(world.client, world.ip("web"), PORT, b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n%s"
                      % (len(body), body), timeout=2.0)
    assert [status for status, _, _ in parse_replies(received)] == [403]
    assert all(app.bytes_received() == b"" for app in world.apps.values())


def test_allow_without_rules_denies_everything(world):
    world.policy("ALLOW", None)
    assert world.get().status == 403


def test_empty_rule_matches_everything(world):
    world.policy("DENY", [{}])
    assert world.get().status == 403


def test_deny_beats_allow(world):
    world.policy("ALLOW", [{}], name="everyone")
    world.policy("DENY", [operation(paths=["/no"])], name="not-there")
    assert (world.get(path="/yes").status, world.get(path="/no").status) == (200, 403)


def test_repeated_header_is_judged_joined(world):
    world.policy("DENY", [when("request.headers[x-role]", values=["user,admin"])])
    with world.session() as session:
        session.connection.putrequest("GET", "/", skip_host=True)
        for name, value in (("Host", "web"), ("x-role", "user"), ("x-role", "admin")):
            session.connection.putheader(name, value)
        session.connection.endheaders()
        assert session.connection.getresponse().status == 403


def test_policy_of_one_service_leaves_the_others_alone(world):
    world.policy("DENY", [{}], targets=[service_target("a")])
    assert (world.get("a").status, world.get("b").status) == (403, 200)


def test_policy_in_another_namespace_cannot_name_our_gateway(world):
    world.policy("DENY", [{}], ns="other", targets=[gateway_target()])
    assert world.get().status == 200
    assert world.fault("other/policy", "targetRefs")


# ---- the policy holds whatever way a client takes
@pytest.mark.smoke
@pytest.mark.parametrize("who", ["client", "outsider", "stranger"])
@pytest.mark.parametrize("family", ["ip4", "ip6"])
def test_dialling_the_pod_address_is_judged(world, who, family):
    world.policy("ALLOW", [operation(methods=["GET"])])
    pod, address = getattr(world, who), getattr(world.a, family)
    assert request(pod, address, PORT, "GET").pod == "a"
    reply = request(pod, address, PORT, "POST")
    assert (reply.status, reply.body) == (403, DENIED)


def test_client_that_is_not_enrolled_has_no_proven_identity_but_that_of_its_address(world):
    world.policy("ALLOW", [source(namespaces=["default"])])
    assert request(world.stranger, world.a.ip4, PORT).status == 403
    world.policy("ALLOW", [source(ipBlocks=[world.stranger.ip4])])
    assert request(world.stranger, world.a.ip4, PORT).status == 200
    assert request(world.client, world.a.ip4, PORT).status == 403


def test_client_with_an_unknown_address_matches_no_identity(world):
    nobody = world.lab.pod("nobody-knows", namespace="default")  # never written into the manifests
    world.policy("ALLOW", [source(principals=["*"])])
    assert request(nobody, world.a.ip4, PORT).status == 403
    world.policy("ALLOW", [source(notPrincipals=["*"])])
    assert request(nobody, world.a.ip4, PORT).status == 200
    nobody.delete()


def test_plain_service_in_front_of_a_governed_pod_is_no_way_around(world):
    world.policy("ALLOW", [operation(methods=["GET"])])
    assert world.get("direct").status == 200
    assert world.get("direct", method="POST").status == 403


def test_service_without_policies_is_no_way_around_when_the_engine_routes_it(world):
    world.policy("ALLOW", [operation(methods=["GET"])])
    world.route(to("direct"), parents=[service_parent("direct")])  # now this service, too, goes through the engine
    assert world.get("direct").status == 200
    assert world.get("direct", method="POST").status == 403


def test_service_of_another_namespace_is_no_way_around(world):
    world.policy("ALLOW", [operation(methods=["GET"])])
    world.agent.apply("route-other.yaml",
                      service("sideways", ["10.96.0.9", "fd96::9"], PORT, {}, ns="other"),
                      endpoint_slice("sideways", [world.a.ip4], PORT, ns="other"),
                      http_route("sideways", [service_parent("sideways")], [to("sideways")], ns="other"))
    assert request(world.client, "10.96.0.9", PORT).status == 200
    assert request(world.client, "10.96.0.9", PORT, "POST").status == 403


def test_every_service_of_a_pod_must_allow_a_request_that_names_none(world):
    world.policy("ALLOW", [operation(paths=["/web*", "/both"])], name="web", targets=[service_target("web")])
    world.policy("ALLOW", [operation(paths=["/a*", "/both"])], name="a", targets=[service_target("a")])
    assert world.get("web", "/web").status == 200
    assert world.get("a", "/a").status == 200
    assert [request(world.client, world.a.ip4, PORT, path=path).status for path in ("/web", "/a", "/both")] == \
        [403, 403, 200]


def test_port_of_no_service_is_not_proxied(world):
    world.policy("ALLOW", [operation(methods=["GET"])])
    with world.agent.rises("weft_datapath_inbound_passed_total"):
        assert request(world.client, world.a.ip4, OTHER_PORT, "POST").status == 200


def test_other_listeners_of_the_engine_are_closed_to_the_outside(world):
    for port in (15001, 15006):
        with world.agent.rises("weft_datapath_inbound_refused_own_port_total"), pytest.raises(ConnectionRefusedError):
            Session(world.stranger, world.a.ip4, port)


def test_pod_that_talks_to_itself_is_not_judged(world):
    world.policy("DENY", [{}])
    with world.agent.rises("weft_datapath_inbound_passed_self_total"):
        assert request(world.a, world.a.ip4, PORT).status == 200
    assert request(world.a, "127.0.0.1", PORT).status == 200


def test_same_node_flow_is_judged_once(world):
    world.policy("ALLOW", [{}])
    assert world.get("a", path="/?close=1").status == 200  # so that no pooled connection is used next
    with world.agent.rises("weft_datapath_inbound_passed_judged_total"):
        assert world.get("a").status == 200


def test_multipath_tcp_is_judged_like_tcp(world):
    multipath = 262  # IPPROTO_MPTCP
    world.policy("DENY", [{"to": [{"operation": {"paths": ["/closed"]}}]}])
    for pod, address in ((world.client, world.ip("web")), (world.client, world.a.ip4), (world.stranger, world.a.ip4)):
        for path, status in (("/", b"200"), ("/closed", b"403")):
            with pod.socket(protocol=multipath) as sock:
                sock.settimeout(10)
                sock.connect((address, PORT))
                sock.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n".encode())
                assert sock.recv(4096).split()[1] == status, (pod.name, address, path)
