// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "agent/reconcile/app_protocol.hpp"
#include "tests/unit/reconcile/fixture.hpp"

namespace weft::agent {
namespace {

using namespace yaml;
using enum KernelState::PortAction;
using Speaks = config::Protocol;

const std::string web = space("default", ambient) + pod({.name = "w1", .ip = "10.0.0.1"}) +
                        pod({.name = "w2", .ip = "10.0.0.2"}) + service("web", "10.96.0.1");
const std::string slice_head =
    "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, labels: "
    "{kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{name: http, port: 8080}]\n";

TEST_F(ReconcileTest, workloads_are_named_as_istio_names_them) {
    compile_text(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a-5d-x, labels: {pod-template-hash: 5d, app: one, version: "
        "v3}, "
        "ownerReferences: [{kind: ReplicaSet, name: a-5d, controller: true}]}\nspec: {serviceAccountName: sa}\n"
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: b-0, labels: {app.kubernetes.io/name: two, "
        "app.kubernetes.io/version: v9}, "
        "ownerReferences: [{kind: StatefulSet, name: b, controller: true}]}\nspec: {}\n"
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: c, labels: {service.istio.io/workload-name: w, "
        "service.istio.io/canonical-name: cn, service.istio.io/canonical-revision: cr}}\nspec: {}\n"
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: d}\nspec: {}\n");
    const auto& all = out_.snapshot.workloads;
    ASSERT_EQ(all.size(), 4U);
    EXPECT_EQ(all[0].name, "a");
    EXPECT_EQ(all[0].canonical_service, "one");
    EXPECT_EQ(all[0].canonical_revision, "v3");
    EXPECT_EQ(all[0].principal, "spiffe://cluster.local/ns/default/sa/sa");
    EXPECT_EQ(all[1].name, "b");
    EXPECT_EQ(all[1].canonical_service, "two");
    EXPECT_EQ(all[1].canonical_revision, "v9");
    EXPECT_EQ(all[1].app, "two");
    EXPECT_EQ(all[1].version, "");
    EXPECT_EQ(all[2].name, "w");
    EXPECT_EQ(all[2].canonical_service, "cn");
    EXPECT_EQ(all[2].canonical_revision, "cr");
    EXPECT_EQ(all[3].canonical_service, "d");
    EXPECT_EQ(all[3].canonical_revision, "latest");
    EXPECT_EQ(all[3].service_account, "default");
}

TEST_F(ReconcileTest, a_plain_service_is_translated_and_not_redirected) {
    compile_text(web);
    EXPECT_FALSE(frontend("web").l7);
    EXPECT_EQ(frontend("web").host, "web.default.svc.cluster.local");
    EXPECT_EQ(endpoints("web"), (Strings{"10.0.0.1:8080", "10.0.0.2:8080"}));
    const auto& service = out_.kernel.services.at(*SocketAddress::parse("10.96.0.1:80"));
    EXPECT_TRUE(service.translate);
    EXPECT_FALSE(service.l7);
    EXPECT_EQ(service.id, frontend("web").id);
    EXPECT_EQ(service.backends.size(), 2U);
    EXPECT_TRUE(out_.kernel.inbound_ports.empty());
    EXPECT_FALSE(kernel_pod("default/w1").fail_closed);
    EXPECT_TRUE(out_.diagnostics.empty());
    EXPECT_EQ(cluster("web").endpoints[0].local_pod, 1U);
}

TEST_F(ReconcileTest, endpoints_are_ready_pods_with_the_target_port) {
    compile_text(pod({.name = "ready", .ip = "10.0.0.1", .status = "conditions: [{type: Ready, status: 'True'}]"}) +
                 pod({.name = "not", .ip = "10.0.0.2", .status = "conditions: [{type: Ready, status: 'False'}]"}) +
                 pod({.name = "done", .ip = "10.0.0.3", .status = "phase: Succeeded"}) +
                 pod({.name = "portless", .ip = "10.0.0.4", .spec = "containers: []"}) +
                 pod({.name = "elsewhere", .ip = "10.0.0.5", .ns = "other"}) +
                 pod({.name = "another", .ip = "10.0.0.6", .labels = "app: db"}) + service("web", "10.96.0.1") +
                 service("direct", "10.96.0.2", "selector: {app: db}, ports: [{port: 81}]") +
                 service("early", "10.96.0.3",
                         "publishNotReadyAddresses: true, selector: {app: web}, ports: [{port: 80, targetPort: 9}]"));
    EXPECT_EQ(endpoints("web"), Strings{"10.0.0.1:8080"});
    EXPECT_EQ(endpoints("direct", 81), Strings{"10.0.0.6:81"});
    EXPECT_EQ(endpoints("early"), (Strings{"10.0.0.1:9", "10.0.0.2:9", "10.0.0.4:9"}));
}

TEST_F(ReconcileTest, endpoint_slices_replace_the_selector) {
    compile_text(web + slice_head +
                 "endpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.9], conditions: {ready: false}}, "
                 "{addresses: [10.0.0.8]}]\n");
    EXPECT_EQ(endpoints("web"), (Strings{"10.0.0.1:8080", "10.0.0.8:8080"}));
    EXPECT_EQ(cluster("web").endpoints[1].workload, config::none);
}

TEST_F(ReconcileTest, headless_and_external_services_have_a_cluster_and_no_frontend) {
    compile_text(web + service("headless", "None") +
                 "---\napiVersion: v1\nkind: Service\nmetadata: {name: ext}\nspec: {type: ExternalName, externalName: "
                 "a.b, ports: [{port: 80}]}\n" +
                 route("h", to_service("headless"), "{}") + route("e", to_service("ext"), "{}"));
    EXPECT_EQ(endpoints("headless").size(), 2U);
    EXPECT_TRUE(endpoints("ext").empty());
    EXPECT_EQ(out_.snapshot.frontends.size(), 1U);
    EXPECT_EQ(condition("HTTPRoute", "h", "Accepted", "Service default/headless"), "False UnsupportedValue");
    EXPECT_NE(message_.find("headless"), std::string::npos);
    EXPECT_EQ(condition("HTTPRoute", "e", "Accepted", "Service default/ext"), "False UnsupportedValue");
}

TEST_F(ReconcileTest, dual_stack_services_have_one_frontend_and_backends_by_family) {
    compile_text(
        space("default", ambient) +
        pod({.name = "a", .ip = "10.0.0.1", .status = "podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]"}) +
        service("web", "10.96.0.1", "clusterIPs: [10.96.0.1, 'fd00:1::1'], selector: {app: web}, ports: [{port: 80}]"));
    ASSERT_EQ(out_.snapshot.frontends.size(), 1U);
    const auto& four = out_.kernel.services.at(*SocketAddress::parse("10.96.0.1:80"));
    const auto& six = out_.kernel.services.at(*SocketAddress::parse("[fd00:1::1]:80"));
    EXPECT_EQ(frontend("web").id, four.id);
    EXPECT_NE(four.id, six.id);
    EXPECT_EQ(four.backends, std::vector{*SocketAddress::parse("10.0.0.1:80")});
    EXPECT_EQ(six.backends, std::vector{*SocketAddress::parse("[fd00::1]:80")});
}

TEST_F(ReconcileTest, service_ids_are_never_given_to_another_address) {
    compile_text(service("a", "10.96.0.1") + service("b", "10.96.0.2"));
    const uint32_t a = frontend("a").id;
    const uint32_t b = frontend("b").id;
    EXPECT_GE(a, 0x10000U);
    EXPECT_NE(a, b);
    compile_text(service("c", "10.96.0.3"));
    EXPECT_GT(frontend("c").id, b);
    compile_text(service("d", "10.96.0.1"));
    EXPECT_EQ(frontend("d").id, a);
}

TEST_F(ReconcileTest, of_two_services_with_one_address_the_older_answers) {
    const auto created = [](const std::string& name, const std::string& when) {
        return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", creationTimestamp: '" + when +
               "'}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";
    };
    compile_text(created("a", "2024-01-02T00:00:00Z") + created("b", "2024-01-01T00:00:00Z"));
    EXPECT_EQ(out_.snapshot.frontends.size(), 1U);
    EXPECT_EQ(frontend("b").port, 80);
    EXPECT_TRUE(diagnosed("Service default/a", "older Service default/b"));
}

TEST_F(ReconcileTest, without_timestamps_the_name_decides_whenever_it_was_first_seen) {
    compile_text(service("b", "10.96.0.1"));
    compile_text(service("b", "10.96.0.1") + service("a", "10.96.0.1"));
    const auto running = out_.snapshot;
    EXPECT_EQ(frontend("a").port, 80);
    EXPECT_EQ(running.frontends.size(), 1U);
    store_ = {}; // an agent that starts anew sees both for the first time
    compile_text(service("b", "10.96.0.1") + service("a", "10.96.0.1"));
    EXPECT_EQ(out_.snapshot, running);
}

TEST_F(ReconcileTest, an_address_that_two_pods_claim_is_of_both_so_that_it_proves_nobodys_identity) {
    const auto addresses = [&](const std::string& name) {
        for (const auto& workload : out_.snapshot.workloads)
            if (workload.pod == name)
                return workload.addresses;
        ADD_FAILURE() << "no workload " << name;
        return std::vector<IpAddress>{};
    };
    const std::vector one = {*IpAddress::parse("10.0.0.1")};
    compile_text(web + pod({.name = "twin", .ip = "10.0.0.1", .ns = "other"}));
    EXPECT_EQ(addresses("w1"), one); // what policies see of its own requests
    EXPECT_EQ(addresses("twin"), one);
    EXPECT_EQ(addresses("w2").size(), 1U);
    EXPECT_EQ(endpoints("web").size(), 2U); // its holder is reached all the same
    EXPECT_TRUE(std::ranges::none_of(out_.snapshot.pods, [&](const auto& each) {
        return out_.snapshot.workloads[each.workload].pod == "twin"; // not captured
    }));
    compile_text(web + pod({.name = "twin", .ip = "10.0.0.1", .ns = "other", .deleting = true}));
    EXPECT_EQ(addresses("w1"), one);
    EXPECT_TRUE(addresses("twin").empty());
}

TEST_F(ReconcileTest, policies_of_another_namespace_do_not_guard_a_pod) {
    const auto evil = [](const std::string& ns, const std::string& port_name) {
        return service("evil", "None", "ports: [{name: " + port_name + ", port: 80}]", "", ns) +
               "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: evil-1, namespace: " + ns +
               ", labels: {kubernetes.io/service-name: evil}}\naddressType: IPv4\nports: [{name: " + port_name +
               ", port: 8080}]\nendpoints: [{addresses: [10.0.0.1]}]\n" +
               policy("nothing", at_service("evil"), "rules: []", ns);
    };
    for (const char* port_name : {"http", "tcp"}) {
        compile_text(web + evil("other", port_name));
        EXPECT_TRUE(guards("default/w1").empty()) << port_name;
        EXPECT_TRUE(actions("default/w1").empty()) << port_name;
        compile_text(web + evil("default", port_name)); // who may write in the pod's namespace governs it
        EXPECT_EQ(actions("default/w1").size(), 1U) << port_name;
    }
}

TEST_F(ReconcileTest, waypoints_are_found_by_label_on_service_or_namespace) {
    const auto with = [](const std::string& labels) {
        return service("web", "10.96.0.1", "", labels) + gateway("w") + gateway("ours", "", "", "default", "custom");
    };
    const std::string uses = "istio.io/use-waypoint: ";
    compile_text(space("default", uses + "w") + with(""));
    EXPECT_TRUE(frontend("web").l7);
    EXPECT_EQ(condition("Service", "web", "istio.io/WaypointBound"), "True WaypointAccepted");
    compile_text(space("default", uses + "w") + with(uses + "none"));
    EXPECT_FALSE(frontend("web").l7);
    EXPECT_EQ(condition("Service", "web", "istio.io/WaypointBound"), "");
    compile_text(with(uses + "ours"));
    EXPECT_FALSE(frontend("web").l7);
    EXPECT_EQ(condition("Service", "web", "istio.io/WaypointBound"), "False WaypointIsNotReady");
    options_.gateway_classes = {"custom"};
    compile_text(with(uses + "ours"));
    EXPECT_TRUE(frontend("web").l7);
    compile_text(with(uses + "missing"));
    EXPECT_EQ(condition("Service", "web", "istio.io/WaypointBound"), "False WaypointIsNotReady");
}

TEST_F(ReconcileTest, waypoints_of_another_namespace_must_allow_it) {
    const auto with = [](const std::string& listener) {
        return space("default", "team: red") + space("infra") +
               service("web", "10.96.0.1", "", "istio.io/use-waypoint: w, istio.io/use-waypoint-namespace: infra") +
               gateway("w", "", listener, "infra");
    };
    compile_text(with(""));
    EXPECT_EQ(condition("Service", "web", "istio.io/WaypointBound"), "False AttachmentDenied");
    compile_text(with("allowedRoutes: {namespaces: {from: All}}"));
    EXPECT_TRUE(frontend("web").l7);
    compile_text(with("allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: red}}}}"));
    EXPECT_TRUE(frontend("web").l7);
    compile_text(with("allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: team, "
                      "operator: NotIn, values: [red]}]}}}"));
    EXPECT_FALSE(frontend("web").l7);
}

TEST_F(ReconcileTest, waypoint_for_says_what_is_attached) {
    for (const auto& [kind, services, pods] : {std::tuple("service", true, false), std::tuple("workload", false, true),
                                               std::tuple("all", true, true), std::tuple("none", false, false)}) {
        compile_text(space("default", std::string(ambient) + ", istio.io/use-waypoint: w") +
                     pod({.name = "w1", .ip = "10.0.0.1"}) + service("web", "10.96.0.1") +
                     gateway("w", std::string("istio.io/waypoint-for: ") + kind) + policy("p", at_gateway("w")));
        EXPECT_EQ(frontend("web").l7, services) << kind;
        EXPECT_EQ(guards("default/w1").contains(0), pods) << kind;
        EXPECT_EQ(actions("default/w1").contains(8080), services) << kind;
    }
}

TEST_F(ReconcileTest, policies_bind_to_gateway_service_and_class) {
    compile_text(web + service("marked", "10.96.0.2", "", "istio.io/use-waypoint: w") + gateway("w") +
                 gateway("alien", "", "", "default", "x") + policy("gw", at_gateway("w")) +
                 policy("svc", at_service("web"), "action: DENY, rules: [{}]") +
                 policy("both", at_gateway("w") + ", " + at_service("marked")) + policy("lost", at_service("gone")) +
                 policy("half", at_service("gone") + ", " + at_service("web")) + policy("other", at_gateway("alien")) +
                 policy("class", at_gateway("weft-waypoint", "GatewayClass"), "rules: [{}]", "istio-system") +
                 policy("wrong", at_gateway("weft-waypoint", "GatewayClass")));
    EXPECT_EQ(policies(frontend("web").policies), (Strings{"-svc", "half"}));
    EXPECT_EQ(policies(frontend("marked").policies), (Strings{"both", "class", "gw"}));
    EXPECT_TRUE(frontend("web").l7);
    EXPECT_EQ(condition("AuthorizationPolicy", "gw", "WaypointAccepted"), "True Accepted");
    EXPECT_EQ(condition("AuthorizationPolicy", "lost", "WaypointAccepted"), "False TargetNotFound");
    EXPECT_EQ(condition("AuthorizationPolicy", "half", "WaypointAccepted"), "True PartiallyInvalid");
    EXPECT_EQ(condition("AuthorizationPolicy", "other", "WaypointAccepted"), "False AncestorNotBound");
    EXPECT_EQ(condition("AuthorizationPolicy", "class", "WaypointAccepted", "", "istio-system"), "True Accepted");
    EXPECT_EQ(condition("AuthorizationPolicy", "wrong", "WaypointAccepted"), "False Invalid");
    EXPECT_TRUE(diagnosed("AuthorizationPolicy default/lost", "does not exist"));
}

TEST_F(ReconcileTest, principals_of_cluster_local_are_of_the_trust_domain) {
    options_.trust_domain = "corp.example";
    compile_text(
        web + policy("p", at_service("web"), "rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/b]}}]}]"));
    EXPECT_EQ(out_.snapshot.policies.at(0).rules[0].from[0].principals.values[0].value, "corp.example/ns/a/sa/b");
}

TEST_F(ReconcileTest, guards_cover_every_service_of_the_pod_and_port) {
    compile_text(web + service("alt", "10.96.0.2", "selector: {app: web}, ports: [{port: 90, targetPort: 8080}]") +
                 policy("a", at_service("web")) + policy("b", at_service("alt")));
    const auto found = guards("default/w1");
    ASSERT_EQ(found.size(), 1U);
    ASSERT_EQ(found.at(8080).size(), 2U);
    EXPECT_EQ(found.at(8080)[0].destination_port, 90); // alt comes first by name
    EXPECT_EQ(policies(found.at(8080)[0].policies), Strings{"b"});
    EXPECT_EQ(found.at(8080)[1].destination_port, 80);
    EXPECT_EQ(out_.snapshot.frontends.at(found.at(8080)[1].frontend).service, "web");
    EXPECT_EQ(actions("default/w1"), (std::map<uint16_t, KernelState::PortAction>{{8080, steer}}));
    EXPECT_TRUE(kernel_pod("default/w1").fail_closed);
}

TEST_F(ReconcileTest, a_service_fails_closed_if_a_policy_governs_it_whatever_else_it_has) {
    compile_text(web + service("alt", "10.96.0.2", "selector: {app: web}, ports: [{port: 90, targetPort: 8080}]") +
                 policy("a", at_service("web")) + route("r", to_service("alt"), "{}"));
    const auto& governed = out_.kernel.services.at(*SocketAddress::parse("10.96.0.1:80"));
    const auto& routed = out_.kernel.services.at(*SocketAddress::parse("10.96.0.2:90"));
    EXPECT_TRUE(governed.l7 && governed.fail_closed);
    EXPECT_TRUE(routed.l7);
    EXPECT_FALSE(routed.fail_closed);
}

TEST_F(ReconcileTest, a_pod_that_is_not_ready_keeps_its_guards) {
    compile_text(space("default", ambient) +
                 pod({.name = "w1", .ip = "10.0.0.1", .status = "conditions: [{type: Ready, status: 'False'}]"}) +
                 pod({.name = "w2", .ip = "10.0.0.2"}) + pod({.name = "w3", .ip = "10.0.0.3", .labels = "app: other"}) +
                 service("web", "10.96.0.1") + policy("a", at_service("web")) + slice_head +
                 "endpoints: [{addresses: [10.0.0.3], conditions: {ready: false}}]\n");
    EXPECT_TRUE(endpoints("web").empty());
    for (const char* uid : {"default/w1", "default/w2", "default/w3"})
        EXPECT_EQ(actions(uid), (std::map<uint16_t, KernelState::PortAction>{{8080, steer}})) << uid;
}

TEST_F(ReconcileTest, the_pods_own_waypoint_governs_all_its_ports) {
    compile_text(space("default", ambient) +
                 pod({.name = "w1", .ip = "10.0.0.1", .labels = "app: web, istio.io/use-waypoint: w"}) +
                 service("web", "10.96.0.1") +
                 service("db", "10.96.0.2", "selector: {app: web}, ports: [{name: tcp, port: 5432}]") +
                 gateway("w", "istio.io/waypoint-for: workload") + policy("gw", at_gateway("w")) +
                 policy("svc", at_service("web")));
    const auto found = guards("default/w1");
    EXPECT_EQ(found.at(0), (std::vector{config::Guard{found.at(0)[0].policies, 0, config::none}}));
    ASSERT_EQ(found.at(8080).size(), 2U);
    EXPECT_EQ(policies(found.at(8080)[0].policies), Strings{"svc"});
    EXPECT_EQ(policies(found.at(8080)[1].policies), Strings{"gw"});
    EXPECT_EQ(found.at(8080)[1].destination_port, 8080);
    EXPECT_EQ(actions("default/w1"), (std::map<uint16_t, KernelState::PortAction>{{0, steer}, {8080, steer}}));
    // The engine must know what ports of all others speak: by a service, or by their number.
    auto speaks = protocols("default/w1");
    EXPECT_EQ(speaks.at(0), Speaks::undeclared);
    EXPECT_EQ(speaks.at(8080), Speaks::http1);
    for (const uint16_t port : std::initializer_list<uint16_t>{5432, 22, 3306}) {
        EXPECT_EQ(speaks.at(port), Speaks::tcp);
        EXPECT_EQ(found.at(port), found.at(0));
    }
    EXPECT_EQ(found.size(), 3 + server_first_ports.size());
}

TEST_F(ReconcileTest, governed_ports_without_http_are_steered_and_have_no_routes) {
    for (const auto& [name, protocol] : {std::pair("mysql", Speaks::tcp), std::pair("tls", Speaks::tls)}) {
        compile_text(
            web +
            service("db", "10.96.0.2", std::string("selector: {app: web}, ports: [{port: 3306, name: ") + name + "}]") +
            policy("p", at_service("db")) + route("r", to_service("db"), "{}"));
        EXPECT_TRUE(frontend("db", 3306).l7);
        EXPECT_EQ(frontend("db", 3306).protocol, protocol);
        EXPECT_EQ(cluster("db", 3306).protocol, protocol);
        EXPECT_EQ(frontend("db", 3306).routes, config::none);
        EXPECT_EQ(policies(frontend("db", 3306).policies), Strings{"p"});
        EXPECT_EQ(protocols("default/w1"), (std::map<uint16_t, config::Protocol>{{3306, protocol}}));
        EXPECT_EQ(actions("default/w1"), (std::map<uint16_t, KernelState::PortAction>{{3306, steer}}));
        EXPECT_TRUE(kernel_pod("default/w1").fail_closed);
        EXPECT_EQ(condition("AuthorizationPolicy", "p", "WaypointAccepted"), "True Accepted");
        EXPECT_EQ(condition("HTTPRoute", "r", "Accepted", "Service default/db"), "False UnsupportedProtocol");
    }
}

TEST_F(ReconcileTest, a_waypoint_redirects_every_port_and_routes_those_with_http) {
    const std::tuple<const char*, Speaks, bool> cases[] = {
        {"port: 80", Speaks::undeclared, true},       {"port: 80, name: http", Speaks::http1, true},
        {"port: 80, name: grpc", Speaks::grpc, true}, {"port: 80, name: http2", Speaks::http2, true},
        {"port: 80, name: tcp", Speaks::tcp, false},  {"port: 80, name: https", Speaks::tls, false}};
    for (const auto& [port, protocol, routed] : cases) {
        compile_text(space("default", "istio.io/use-waypoint: w") + gateway("w") + route("g", "{name: w}", "{}") +
                     service("web", "10.96.0.1", std::string("ports: [{") + port + "}]"));
        EXPECT_TRUE(frontend("web").l7) << port;
        EXPECT_EQ(frontend("web").protocol, protocol) << port;
        EXPECT_EQ(cluster("web").protocol, protocol) << port;
        EXPECT_EQ(frontend("web").routes != config::none, routed) << port;
    }
    compile_text(service("web", "10.96.0.1", "ports: [{port: 80, name: tcp}]"));
    EXPECT_FALSE(frontend("web").l7);
}

TEST_F(ReconcileTest, ports_of_udp_stay_out) {
    compile_text(service("web", "10.96.0.1", "ports: [{port: 53, protocol: UDP}]") + policy("p", at_service("web")));
    EXPECT_TRUE(out_.snapshot.frontends.empty());
    EXPECT_TRUE(out_.snapshot.clusters.empty());
    EXPECT_TRUE(out_.kernel.inbound_ports.empty());
}

TEST_F(ReconcileTest, a_pod_port_speaks_what_all_services_that_lead_there_declare) {
    const auto other = [](const char* port) {
        return service("alt", "10.96.0.2",
                       std::string("selector: {app: web}, ports: [{port: 90, targetPort: 8080") + port + "}]");
    };
    const std::pair<const char*, Speaks> cases[] = {{", name: http", Speaks::http1},
                                                    {", appProtocol: http", Speaks::http1},
                                                    {"", Speaks::undeclared},
                                                    {", name: grpc", Speaks::undeclared},
                                                    {", name: tcp", Speaks::undeclared}};
    for (const auto& [port, protocol] : cases) {
        compile_text(web + other(port) + policy("a", at_service("web"))); // alt has no policies: it counts all the same
        EXPECT_EQ(protocols("default/w1"), (std::map<uint16_t, config::Protocol>{{8080, protocol}})) << port;
    }
}

TEST_F(ReconcileTest, policies_say_where_what_comes_may_not_be_http) {
    const std::string path = "rules: [{to: [{operation: {paths: [/a]}}]}]";
    compile_text(service("db", "10.96.0.2", "ports: [{name: any, port: 5000}, {name: http, port: 80}]") +
                 policy("p", at_service("db"), path));
    EXPECT_EQ(condition("AuthorizationPolicy", "p", "WaypointAccepted"), "True Accepted");
    EXPECT_NE(message_.find("Service default/db:5000, whose protocol is told"), std::string::npos) << message_;
    EXPECT_EQ(message_.find(":80"), std::string::npos) << message_;
    EXPECT_FALSE(diagnosed("AuthorizationPolicy default/p", "never match")); // it is nothing to warn of
}

TEST_F(ReconcileTest, policies_say_what_becomes_of_their_http_fields_where_there_is_no_http) {
    const std::string db = service("db", "10.96.0.2", "ports: [{name: tcp, port: 5432}, {name: http, port: 80}]");
    const auto bind = [&](const std::string& spec) {
        compile_text(db + policy("p", at_service("db"), spec));
        EXPECT_EQ(condition("AuthorizationPolicy", "p", "WaypointAccepted"), "True Accepted") << spec;
        return message_;
    };
    for (const char* field : {"to: [{operation: {paths: [/a]}}]", "to: [{operation: {notMethods: [GET]}}]",
                              "to: [{operation: {hosts: [a]}}]", "when: [{key: 'request.headers[x]', values: [a]}]"}) {
        const std::string rules = std::string("rules: [{}, {") + field + "}]";
        EXPECT_NE(bind(rules).find("Service default/db:5432"), std::string::npos) << field;
        EXPECT_NE(message_.find("never match"), std::string::npos) << field;
        EXPECT_EQ(message_.find(":80"), std::string::npos) << field;
        EXPECT_TRUE(diagnosed("AuthorizationPolicy default/p", "never match"));
        EXPECT_NE(bind("action: DENY, " + rules).find("deny more"), std::string::npos) << field;
    }
    EXPECT_EQ(bind("rules: [{to: [{operation: {ports: ['5432']}}], from: [{source: {namespaces: [a]}}]}]"),
              "bound to Service default/db");
    EXPECT_NE(
        bind("action: DENY, rules: [{when: [{key: connection.sni, values: [a]}]}]").find("connection.sni is empty"),
        std::string::npos)
        << message_;
    EXPECT_TRUE(diagnosed("AuthorizationPolicy default/p", "Service default/db:5432, which is declared TCP"));
}

TEST_F(ReconcileTest, consumer_routes_replace_producer_routes_which_replace_gateway_routes) {
    const std::string rest = space("default", "istio.io/use-waypoint: w") + service("web", "10.96.0.1") + gateway("w");
    const std::string by_gateway = route("g", "{name: w}", "{backendRefs: [{name: web, port: 80}]}");
    const std::string producer = route("p", to_service("web", "port: 80"), "{backendRefs: [{name: web, port: 80}]}");
    const std::string consumer = route("c", to_service("web", "namespace: default"),
                                       "{backendRefs: [{name: web, port: 80, namespace: default}]}", "other");
    compile_text(rest + by_gateway);
    EXPECT_EQ(routes(frontend("web").routes), Strings{"default/g /"});
    EXPECT_EQ(condition("HTTPRoute", "g", "Accepted", "Gateway default/w"), "True Accepted");
    compile_text(rest + by_gateway + producer + consumer);
    EXPECT_EQ(routes(frontend("web").routes), Strings{"default/p /"});
    ASSERT_EQ(frontend("web").consumer_routes.size(), 1U);
    EXPECT_EQ(frontend("web").consumer_routes[0].client_namespace, "other");
    const auto table = frontend("web").consumer_routes[0].table;
    EXPECT_EQ(routes(table), Strings{"other/c /"});
    EXPECT_EQ(out_.snapshot.route_tables[table].rules[0].backends[0].cluster, frontend("web").cluster);
    EXPECT_EQ(condition("HTTPRoute", "p", "Accepted", "Service default/web:80"), "True Accepted");
    EXPECT_EQ(condition("HTTPRoute", "c", "ResolvedRefs", "Service default/web", "other"), "True ResolvedRefs");
}

TEST_F(ReconcileTest, entries_are_in_order_of_precedence) {
    const auto to = to_service("web");
    compile_text(service("web", "10.96.0.1") +
                 route("b", to, "{matches: [{path: {value: /tie}}]}", "default", "2024-01-02T00:00:00Z") +
                 route("a", to, "{matches: [{path: {value: /tie}}]}", "default", "2024-01-02T00:00:00Z") +
                 route("z", to, "{matches: [{path: {value: /tie}}, {path: {value: /longer}}]}", "default",
                       "2024-01-01T00:00:00Z") +
                 route("m", to, "{}, {matches: [{path: {type: Exact, value: /x}}]}, {matches: [{method: GET}]}",
                       "default", "2020-01-01T00:00:00Z"));
    EXPECT_EQ(routes(frontend("web").routes),
              (Strings{"default/m /x", "default/z /longer", "default/z /tie", "default/a /tie", "default/b /tie",
                       "default/m /", "default/m /"}));
    EXPECT_EQ(out_.snapshot.route_tables[0].entries[5].match.method, "GET");
}

TEST_F(ReconcileTest, parents_choose_ports_by_number_and_name) {
    const std::string two = "ports: [{name: http, port: 80}, {name: http-b, port: 81}]";
    compile_text(service("web", "10.96.0.1", two) + route("n", to_service("web", "port: 81"), "{}") +
                 route("s", to_service("web", "sectionName: http"), "{}") +
                 route("x", to_service("web", "sectionName: http, port: 81"), "{}") +
                 route("y", to_service("web", "port: 82"), "{}") + route("gone", to_service("gone"), "{}") +
                 route("core", "{group: core, kind: Service, name: web}", "{}") +
                 route("kind", "{group: apps, kind: Thing, name: web}", "{}"));
    EXPECT_EQ(routes(frontend("web", 80).routes), Strings{"default/s /"});
    EXPECT_EQ(routes(frontend("web", 81).routes), Strings{"default/n /"});
    EXPECT_EQ(condition("HTTPRoute", "x", "Accepted", "Service default/web:81/http"), "False NoMatchingParent");
    EXPECT_EQ(condition("HTTPRoute", "y", "Accepted", "Service default/web:82"), "False NoMatchingParent");
    EXPECT_EQ(condition("HTTPRoute", "gone", "Accepted", "Service default/gone"), "False NoMatchingParent");
    EXPECT_EQ(condition("HTTPRoute", "core", "Accepted", "Service default/web"), "False InvalidKind");
    EXPECT_EQ(condition("HTTPRoute", "kind", "Accepted", "Thing default/web"), "False InvalidKind");
}

TEST_F(ReconcileTest, bad_backends_are_invalid_and_the_route_stays) {
    compile_text(
        service("web", "10.96.0.1") + service("db", "10.96.0.2", "ports: [{name: tcp, port: 5}]") +
        route("a", to_service("web"), "{backendRefs: [{name: web, port: 80, weight: 3}, {name: gone, port: 80}]}") +
        route("b", to_service("web"), "{backendRefs: [{name: web, port: 81}]}") +
        route("c", to_service("web"), "{backendRefs: [{group: x, kind: Thing, name: web}]}") +
        route("d", to_service("web"), "{backendRefs: [{name: db, port: 5}]}") +
        route("e", to_service("web"), "{backendRefs: []}"));
    const auto parent = "Service default/web";
    EXPECT_EQ(condition("HTTPRoute", "a", "Accepted", parent), "True Accepted");
    EXPECT_EQ(condition("HTTPRoute", "a", "ResolvedRefs", parent), "False BackendNotFound");
    EXPECT_NE(message_.find("spec.rules[0].backendRefs[1]"), std::string::npos);
    EXPECT_EQ(condition("HTTPRoute", "b", "ResolvedRefs", parent), "False BackendNotFound");
    EXPECT_EQ(condition("HTTPRoute", "c", "ResolvedRefs", parent), "False InvalidKind");
    EXPECT_EQ(condition("HTTPRoute", "d", "ResolvedRefs", parent), "False UnsupportedProtocol");
    EXPECT_EQ(condition("HTTPRoute", "e", "ResolvedRefs", parent), "True ResolvedRefs");
    const auto& rules = out_.snapshot.route_tables.at(0).rules;
    EXPECT_EQ(rules[0].backends,
              (std::vector<config::WeightedCluster>{{frontend("web").cluster, 3}, {config::none, 1}}));
    EXPECT_TRUE(rules[4].backends.empty());
}

TEST_F(ReconcileTest, gateway_parents_intersect_hostnames_and_ask_allowed_routes) {
    const std::string rest = space("default", "istio.io/use-waypoint: w") + service("web", "10.96.0.1");
    const auto with = [&](const std::string& listener, const std::string& hostnames,
                          const std::string& ns = "default") {
        compile_text(rest + gateway("w", "", listener) +
                     route("r", "{name: w, namespace: default}",
                           "{backendRefs: [{name: web, port: 80, namespace: default}]}", ns, "", hostnames));
        return condition("HTTPRoute", "r", "Accepted", "Gateway default/w", ns);
    };
    EXPECT_EQ(with("hostname: '*.a.com'", "x.a.com, y.b.com"), "True Accepted");
    ASSERT_NE(frontend("web").routes, config::none);
    EXPECT_EQ(out_.snapshot.route_tables[frontend("web").routes].entries.at(0).match.hostnames, Strings{"x.a.com"});
    EXPECT_EQ(with("hostname: x.a.com", "'*.a.com'"), "True Accepted");
    EXPECT_EQ(out_.snapshot.route_tables[frontend("web").routes].entries.at(0).match.hostnames, Strings{"x.a.com"});
    EXPECT_EQ(with("hostname: '*.a.com'", "a.com"), "False NoMatchingListenerHostname");
    EXPECT_EQ(frontend("web").routes, config::none);
    EXPECT_EQ(with("", ""), "True Accepted");
    EXPECT_EQ(with("", "", "other"), "False NotAllowedByListeners");
    EXPECT_EQ(with("allowedRoutes: {kinds: [{kind: GRPCRoute}]}", ""), "False NotAllowedByListeners");
    EXPECT_EQ(with("allowedRoutes: {namespaces: {from: All}}", "", "other"), "True Accepted");
    EXPECT_EQ(condition("HTTPRoute", "r", "ResolvedRefs", "Gateway default/w", "other"), "False RefNotPermitted");
}

TEST_F(ReconcileTest, hostnames_of_service_parents_are_ignored_aloud) {
    compile_text(service("web", "10.96.0.1") + route("r", to_service("web"), "{}", "default", "", "a.com"));
    EXPECT_TRUE(out_.snapshot.route_tables.at(0).entries[0].match.hostnames.empty());
    EXPECT_EQ(condition("HTTPRoute", "r", "Accepted", "Service default/web"), "True Accepted");
    EXPECT_NE(message_.find("hostnames are ignored"), std::string::npos);
}

TEST_F(ReconcileTest, a_refused_version_is_reported_and_the_last_good_one_works_on) {
    const auto with = [&](const std::string& rule_text, const std::string& policy_text) {
        compile_text(service("web", "10.96.0.1") + route("r", to_service("web"), rule_text) +
                     policy("p", at_service("web"), policy_text));
    };
    with("{backendRefs: [{name: web, port: 80}]}", "rules: [{}]");
    with("{filters: [{type: URLRewrite}]}", "action: AUDIT, rules: [{}]");
    EXPECT_EQ(routes(frontend("web").routes), Strings{"default/r /"});
    EXPECT_EQ(policies(frontend("web").policies), Strings{"p"});
    EXPECT_EQ(condition("HTTPRoute", "r", "Accepted", "Service default/web"), "False UnsupportedValue");
    EXPECT_NE(message_.find("spec.rules[0].filters"), std::string::npos);
    EXPECT_EQ(condition("AuthorizationPolicy", "p", "WaypointAccepted"), "False UnsupportedValue");
    const std::string of_all_nodes = message_;
    EXPECT_NE(of_all_nodes.find("stays in force where an agent had one"), std::string::npos);
    EXPECT_TRUE(diagnosed("AuthorizationPolicy default/p", "; the last good version stays in force"));
    store_ = {};
    with("{filters: [{type: URLRewrite}]}", "action: AUDIT, rules: [{}]");
    EXPECT_EQ(condition("AuthorizationPolicy", "p", "WaypointAccepted"), "False UnsupportedValue");
    EXPECT_EQ(message_, of_all_nodes) << "the same, whichever agent leads";
    EXPECT_TRUE(diagnosed("AuthorizationPolicy default/p", "; nothing of it is in force"));
    store_ = {};
    with("{filters: [{type: URLRewrite}]}", "rule: []");
    EXPECT_FALSE(frontend("web").l7);
    EXPECT_EQ(condition("HTTPRoute", "r", "Accepted", "Service default/web"), "False UnsupportedValue");
    EXPECT_EQ(condition("AuthorizationPolicy", "p", "WaypointAccepted"), "False Invalid");
}

TEST_F(ReconcileTest, a_refused_object_says_all_its_faults) {
    compile_text(service("web", "10.96.0.1") +
                 route("r", to_service("web"), "{filters: [{type: URLRewrite}], timeouts: {request: 1s}}"));
    EXPECT_EQ(condition("HTTPRoute", "r", "Accepted", "Service default/web"), "False UnsupportedValue");
    EXPECT_NE(message_.find("spec.rules[0].filters: "), std::string::npos);
    EXPECT_NE(message_.find("spec.rules[0].timeouts: "), std::string::npos);
    compile_text(service("web", "10.96.0.1") + route("r", to_service("web"), "{filters: [{type: URLRewrite}], x: 1}"));
    EXPECT_EQ(condition("HTTPRoute", "r", "Accepted", "Service default/web"), "False Invalid");
}

TEST_F(ReconcileTest, kinds_that_are_not_served_say_so_to_whom_they_name) {
    const auto of_kind = [](const std::string& kind, const std::string& version, const std::string& spec) {
        return "---\napiVersion: " + version + "\nkind: " + kind +
               "\nmetadata: {name: x, namespace: default}\nspec: {" + spec + "}\n";
    };
    const std::string group = "gateway.networking.k8s.io/v1";
    const std::string others = gateway("w") + gateway("theirs", "", "", "default", "nginx");
    for (const char* kind : {"GRPCRoute", "TCPRoute", "TLSRoute"}) {
        compile_text(others + of_kind(kind, group,
                                      "parentRefs: [" + to_service("web", "port: 80") +
                                          ", {name: theirs}, {name: w}], rules: [{anything: 1}]"));
        for (const char* parent : {"Service default/web:80", "Gateway default/w"}) {
            EXPECT_EQ(condition(kind, "x", "Accepted", parent), "False UnsupportedValue") << kind << parent;
            EXPECT_EQ(message_, std::string("kind: ") + kind + "s are not served by this release");
        }
        EXPECT_EQ(condition(kind, "x", "Accepted", "Gateway default/theirs"), "") << kind;
        EXPECT_TRUE(diagnosed(std::string(kind) + " default/x", "not served"));
    }
    const std::string security = "security.istio.io/v1";
    const auto is_foreign_now = [&](const std::string& spec) {
        compile_text(others + of_kind("RequestAuthentication", security, spec));
        EXPECT_EQ(condition("RequestAuthentication", "x", "WaypointAccepted"), "False UnsupportedValue") << spec;
        return std::ranges::any_of(out_.statuses, &ObjectStatus::foreign);
    };
    EXPECT_FALSE(is_foreign_now("jwtRules: [{issuer: a}]"));
    EXPECT_FALSE(is_foreign_now("targetRefs: [" + at_gateway("w") + "]"));
    EXPECT_FALSE(is_foreign_now("targetRefs: [" + at_gateway("w") + ", " + at_gateway("theirs") + "]"));
    EXPECT_TRUE(is_foreign_now("targetRefs: [" + at_gateway("theirs") + "]"));
}

TEST_F(ReconcileTest, what_another_controller_answers_for_is_marked) {
    const std::string others = gateway("w") + gateway("theirs", "", "", "default", "nginx");
    const auto foreign = [&](const std::string& text, const char* kind) {
        store_ = {};
        compile_text(others + text);
        for (const auto& status : out_.statuses)
            if (status.kind == kind)
                return status.foreign;
        ADD_FAILURE() << "no status of " << kind;
        return false;
    };
    EXPECT_TRUE(foreign(policy("p", at_gateway("theirs")), "AuthorizationPolicy"));
    EXPECT_TRUE(foreign(policy("p", at_gateway("theirs"), "action: AUDIT, rules: [{}]"), "AuthorizationPolicy"));
    EXPECT_FALSE(foreign(policy("p", at_gateway("theirs") + ", " + at_gateway("w")), "AuthorizationPolicy"));
    EXPECT_FALSE(foreign(policy("p", at_gateway("nobodys")), "AuthorizationPolicy"));
    EXPECT_TRUE(foreign(service("s", "10.96.0.1", "", "istio.io/use-waypoint: theirs"), "Service"));
    EXPECT_FALSE(foreign(service("s", "10.96.0.1", "", "istio.io/use-waypoint: w"), "Service"));
    EXPECT_FALSE(foreign(service("s", "10.96.0.1", "", "istio.io/use-waypoint: nobodys"), "Service"));
    EXPECT_TRUE(foreign(route("r", "{group: x.io, kind: Mesh, name: m}", "{}"), "HTTPRoute"));
    EXPECT_FALSE(foreign(route("r", "{name: w}", "{}"), "HTTPRoute"));
}

TEST_F(ReconcileTest, listeners_tell_their_routes_and_what_cannot_be_attached) {
    compile_text(gateway("w", "", "allowedRoutes: {namespaces: {from: All}}") +
                 gateway("g", "", "allowedRoutes: {kinds: [{kind: GRPCRoute}]}") + route("a", "{name: w}", "{}") +
                 route("b", "{name: w}, {name: w, sectionName: none}", "{}", "other") +
                 route("c", "{name: w}", "{filters: [{type: URLRewrite}]}"));
    const auto listener = [&](const char* name) -> ListenerStatus {
        for (const auto& status : out_.statuses)
            if (status.kind == "Gateway" && status.name == name && status.listeners.size() == 1)
                return status.listeners[0];
        ADD_FAILURE() << name;
        return {};
    };
    const auto reason = [](const ListenerStatus& of, const std::string& type) -> std::string {
        for (const auto& each : of.conditions)
            if (each.type == type)
                return (each.status ? "True " : "False ") + each.reason;
        return "";
    };
    EXPECT_EQ(listener("w").attached_routes, 1U) << "not the one of a namespace that is named wrongly, nor the refused";
    EXPECT_TRUE(listener("w").http_routes);
    EXPECT_EQ(reason(listener("w"), "Programmed"), "True Programmed");
    EXPECT_EQ(reason(listener("w"), "ResolvedRefs"), "True ResolvedRefs");
    EXPECT_EQ(reason(listener("w"), "Conflicted"), "False NoConflicts");
    EXPECT_FALSE(listener("g").http_routes);
    EXPECT_EQ(reason(listener("g"), "ResolvedRefs"), "False InvalidRouteKinds");
}

TEST_F(ReconcileTest, what_a_gateway_asks_for_in_vain_is_told) {
    const auto status_of = [&](const std::string& spec) {
        store_ = {};
        compile_text("---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: w, namespace: "
                     "default}\nspec: {gatewayClassName: weft-waypoint, " +
                     spec + "}\n" + route("all", "{name: w}", "{}") + route("s", "{name: w, sectionName: b}", "{}"));
        for (const auto& status : out_.statuses)
            if (status.kind == "Gateway")
                return status;
        ADD_FAILURE() << spec;
        return ObjectStatus{};
    };
    const auto told = [](const auto& of) {
        std::string all;
        for (const auto& each : of.conditions)
            all += each.type + (each.status ? "=True " : "=False ") + each.reason + ", ";
        return all;
    };
    const std::string hbone = "{name: a, port: 15008, protocol: HBONE}";
    ObjectStatus status = status_of("listeners: [" + hbone + ", {name: b, port: 443, protocol: HTTPS}]");
    EXPECT_EQ(told(status), "Accepted=True ListenersNotValid, Programmed=True Programmed, ");
    EXPECT_EQ(told(status.listeners.at(0)), "Accepted=True Accepted, Programmed=True Programmed, "
                                            "Conflicted=False NoConflicts, ResolvedRefs=True ResolvedRefs, ");
    EXPECT_EQ(told(status.listeners.at(1)), "Accepted=False UnsupportedProtocol, Programmed=False Invalid, "
                                            "Conflicted=False NoConflicts, ResolvedRefs=True ResolvedRefs, ");
    EXPECT_EQ(status.listeners.at(0).attached_routes, 1U);
    EXPECT_EQ(status.listeners.at(1).attached_routes, 0U);
    EXPECT_EQ(condition("HTTPRoute", "all", "Accepted", "Gateway default/w"), "True Accepted");
    EXPECT_EQ(condition("HTTPRoute", "s", "Accepted", "Gateway default/w/b"), "False NotAllowedByListeners");

    status = status_of("listeners: [{name: b, port: 53, protocol: UDP}]");
    EXPECT_EQ(told(status), "Accepted=False ListenersNotValid, Programmed=False Invalid, ");
    status = status_of("addresses: [{value: 10.0.0.1}], listeners: [" + hbone + "]");
    EXPECT_EQ(told(status), "Accepted=True Accepted, Programmed=False AddressNotAssigned, ");
    EXPECT_EQ(told(status_of("addresses: [], listeners: [" + hbone + "]")),
              "Accepted=True Accepted, Programmed=True Programmed, ");
    status = status_of("listeners: [" + hbone + ", {name: b, port: 15008, protocol: HTTP}]");
    EXPECT_NE(told(status.listeners.at(1)).find("Conflicted=True ProtocolConflict"), std::string::npos);
    status = status_of("listeners: [" + hbone + ", {name: b, port: 15008, protocol: HBONE}]");
    EXPECT_NE(told(status.listeners.at(0)).find("Conflicted=True HostnameConflict"), std::string::npos);
}

/// Else each controller of the cluster would write its own opinion of a Gateway that is to come.
TEST_F(ReconcileTest, a_route_to_a_gateway_that_is_not_there_is_nobodys) {
    compile_text(route("r", "{name: later}", "{}") + route("x", "{name: later}", "{filters: [{type: URLRewrite}]}"));
    for (const auto& status : out_.statuses)
        EXPECT_NE(status.kind, "HTTPRoute") << status.name;
    EXPECT_TRUE(diagnosed("HTTPRoute default/r", "Gateway default/later does not exist"));
    for (const auto& each : out_.diagnostics)
        EXPECT_EQ(each.severity, Diagnostic::Severity::warning) << each.message;
}

TEST_F(ReconcileTest, a_class_is_ours_by_its_controller_too) {
    const auto accepted = [&](const std::string& controller) {
        compile_text(gateway("x", "", "", "default", "mine") +
                     "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: mine}\n"
                     "spec: {controllerName: " +
                     controller + "}\n");
        return condition("Gateway", "x", "Accepted");
    };
    EXPECT_EQ(accepted("weftmesh.io/gateway-controller"), "True Accepted");
    EXPECT_EQ(accepted("example.com/gateway-controller"), "");
}

TEST_F(ReconcileTest, routes_of_other_controllers_may_use_what_we_do_not_serve) {
    const auto severity = [&](const std::string& parents) {
        store_ = {};
        compile_text(service("web", "10.96.0.1") + gateway("w") + gateway("theirs", "", "", "default", "nginx") +
                     route("r", parents, "{filters: [{type: URLRewrite}]}"));
        for (const auto& each : out_.diagnostics)
            if (each.object == "HTTPRoute default/r")
                return each.severity;
        return Diagnostic::Severity::error;
    };
    using enum Diagnostic::Severity;
    EXPECT_EQ(severity("{name: theirs}"), warning);
    EXPECT_EQ(condition("HTTPRoute", "r", "Accepted"), "");
    EXPECT_EQ(severity("{name: w}"), refused);
    EXPECT_EQ(severity("{name: nobodys}"), warning) << "it may be anybody's, once it is there";
    EXPECT_EQ(severity("{name: theirs}, " + to_service("web")), refused);
    EXPECT_EQ(severity("{name: theirs}, {name: w}"), refused);
    EXPECT_EQ(severity(""), refused);
}

TEST_F(ReconcileTest, errors_of_objects_in_force_are_no_refusals) {
    compile_text(service("web", "10.96.0.1") + route("r", to_service("web"), "{backendRefs: [{name: gone, port: 1}]}") +
                 policy("p", at_service("gone")) + policy("q", at_service("web"), "action: AUDIT, rules: [{}]"));
    std::map<std::string, Diagnostic::Severity> found;
    for (const auto& each : out_.diagnostics)
        found[each.object] = each.severity;
    using enum Diagnostic::Severity;
    EXPECT_EQ(found, (std::map<std::string, Diagnostic::Severity>{{"HTTPRoute default/r", error},
                                                                  {"AuthorizationPolicy default/p", error},
                                                                  {"AuthorizationPolicy default/q", refused}}));
}

TEST_F(ReconcileTest, our_gateways_and_classes_say_that_they_are_accepted) {
    compile_text(gateway("w") + gateway("x", "", "", "default", "nginx") +
                 "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: "
                 "weft-waypoint}\nspec: {controllerName: weftmesh.io/a}\n");
    EXPECT_EQ(condition("Gateway", "w", "Accepted"), "True Accepted");
    EXPECT_EQ(condition("Gateway", "w", "Programmed"), "True Programmed");
    EXPECT_EQ(condition("Gateway", "x", "Accepted"), "");
    EXPECT_EQ(condition("GatewayClass", "weft-waypoint", "Accepted", "", ""), "True Accepted");
}

TEST_F(ReconcileTest, a_pod_that_may_not_be_captured_any_more_leaves_the_kernel) {
    compile_text(web + policy("p", at_service("web")));
    ASSERT_EQ(out_.kernel.pods.size(), 2U);
    const auto store = store_of(space("default") + pod({.name = "w1", .ip = "10.0.0.1"}) + service("web", "10.96.0.1"));
    const auto out = compile(store, options_, captured_, {});
    EXPECT_TRUE(out.kernel.pods.empty());
    EXPECT_TRUE(out.snapshot.pods.empty());
}

TEST_F(ReconcileTest, the_order_of_documents_and_files_means_nothing) {
    std::vector<std::string> documents = {space("default", std::string(ambient) + ", istio.io/use-waypoint: w"),
                                          gateway("w", "istio.io/waypoint-for: all")};
    for (int i = 0; i < 12; ++i) {
        const auto n = std::to_string(i);
        documents.push_back(pod({.name = "p" + n, .ip = "10.0.0." + std::to_string(i / 2 + 1)})); // with clashes
        documents.push_back(service("s" + n, "10.96.0." + std::to_string(i % 7)));                // with clashes
        documents.push_back(route("r" + n, to_service("s" + std::to_string(i % 5)),
                                  "{matches: [{path: {value: /same}}]}", i % 3 == 0 ? "other" : "default"));
        documents.push_back(policy("a" + n, i % 2 == 0 ? at_gateway("w") : at_service("s" + n)));
    }
    std::mt19937 random(7);
    std::optional<Compiled> first;
    for (int round = 0; round < 20; ++round) {
        std::shuffle(documents.begin(), documents.end(), random);
        std::vector<SourceFile> files;
        for (size_t i = 0; i < documents.size(); ++i)
            files.push_back(
                {"f" + std::to_string(i), std::make_shared<const ParsedFile>(parse_manifests(documents[i])), ""});
        const auto store = merge({}, files).store;
        auto out = compile(store, options_, capture_all(store), {});
        if (!first)
            first = std::move(out);
        EXPECT_TRUE(out.snapshot == first->snapshot || round == 0);
        if (round == 0)
            continue;
        EXPECT_EQ(out.kernel, first->kernel);
        EXPECT_EQ(out.service_ids, first->service_ids);
        EXPECT_EQ(out.statuses, first->statuses);
        EXPECT_EQ(out.diagnostics, first->diagnostics);
    }
}

} // namespace
} // namespace weft::agent
