// SPDX-License-Identifier: Apache-2.0
#include "agent/source/parse.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/source/limits.hpp"
#include "agent/source/yaml.hpp"

namespace weft::agent {
namespace {

template <class T>
std::shared_ptr<const T> only(const std::string& text) {
    const auto file = parse_manifests(text);
    EXPECT_TRUE(file.faults.empty()) << file.faults.front().message;
    if (file.objects.size() != 1)
        return nullptr;
    for (const auto& fault : file.objects[0].faults)
        ADD_FAILURE() << fault.field << ": " << fault.message;
    const auto* object = std::get_if<std::shared_ptr<const T>>(&file.objects[0].object);
    return object == nullptr ? nullptr : *object;
}

const std::string route_head =
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n";
const std::string policy_head =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec:\n";
const std::string policy_bound = policy_head + "  targetRefs: [{group: \"\", kind: Service, name: s}]\n";
const std::string gateway_head =
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec:\n  gatewayClassName: c\n";
const std::string service_head = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n";
const std::string pod_head = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";

std::string rule(const std::string& flow) {
    return route_head + "  rules: [" + flow + "]\n";
}
std::string match(const std::string& flow) {
    return rule("{matches: [" + flow + "]}");
}
std::string policy_rule(const std::string& flow) {
    return policy_bound + "  rules: [" + flow + "]\n";
}
std::string source(const std::string& flow) {
    return policy_rule("{from: [{source: " + flow + "}]}");
}
std::string operation(const std::string& flow) {
    return policy_rule("{to: [{operation: " + flow + "}]}");
}
std::string repeat(const std::string& item, size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i)
        out += item + ", ";
    return out;
}
std::string numbered(const std::string& before, const std::string& after, size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i)
        out += before + std::to_string(i) + after + ", ";
    return out;
}

struct FaultCase {
    const char* name;
    std::string text;
    const char* field;
    const char* message; ///< part of it
    bool unsupported = false;
};

class ParseFault : public testing::TestWithParam<FaultCase> {};

TEST_P(ParseFault, refuses_the_object_whole_and_names_the_field) {
    const auto& param = GetParam();
    const auto file = parse_manifests(param.text);
    ASSERT_EQ(file.objects.size(), 1U) << (file.faults.empty() ? "" : file.faults[0].message);
    const auto& object = file.objects[0];
    EXPECT_TRUE(std::visit([](const auto& value) { return value == nullptr; }, object.object));
    ASSERT_FALSE(object.faults.empty());
    EXPECT_EQ(object.faults[0].field, param.field) << object.faults[0].message;
    EXPECT_NE(object.faults[0].message.find(param.message), std::string::npos) << object.faults[0].message;
    EXPECT_EQ(object.faults[0].unsupported, param.unsupported);
}

const FaultCase route_faults[] = {
    {"unknown_field", route_head + "  parentRef: []\n", "spec.parentRef", "not a known field"},
    {"unknown_field_deep", match("{path: {typ: Exact}}"), "spec.rules[0].matches[0].path.typ", "not a known field"},
    {"unknown_top", route_head + "  rules: [{}]\nspecs: {}\n", "specs", "not a known field"},
    {"no_spec", "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n", "spec", "required"},
    {"version", "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: HTTPRoute\nmetadata: {name: r}\n", "apiVersion",
     "use gateway.networking.k8s.io/v1", true},
    {"rules_no_list", route_head + "  rules: {}\n", "spec.rules", "must be a list"},
    {"rules_empty", route_head + "  rules: []\n", "spec.rules", "at least one"},
    {"rules_many", rule(repeat("{}", 17)), "spec.rules", "at most 16"},
    {"matches_many", match(repeat("{}", 65)), "spec.rules[0].matches", "at most 64"},
    {"matches_together",
     rule("{matches: [" + repeat("{}", 64) + "]}, {matches: [" + repeat("{}", 64) + "]}, {matches: [{}]}"),
     "spec.rules", "more than 128"},
    {"rule_name_twice", rule("{name: a}, {name: a}"), "spec.rules[1].name", "another rule"},
    {"path_relative", match("{path: {value: abc}}"), "spec.rules[0].matches[0].path.value", "begin with /"},
    {"path_double", rule("{matches: [{}, {path: {value: /a//b}}]}"), "spec.rules[0].matches[1].path.value",
     "must not contain"},
    {"path_dots", match("{path: {value: /a/../b}}"), "spec.rules[0].matches[0].path.value", "must not contain"},
    {"path_dot_end", match("{path: {value: /a/.}}"), "spec.rules[0].matches[0].path.value", "must not end"},
    {"path_encoded_slash", match("{path: {value: /a%2Fb}}"), "spec.rules[0].matches[0].path.value", "must not contain"},
    {"path_fragment", match("{path: {value: '/a#b'}}"), "spec.rules[0].matches[0].path.value", "must not contain"},
    {"path_char", match("{path: {value: '/a b'}}"), "spec.rules[0].matches[0].path.value", "character"},
    {"path_percent", match("{path: {value: '/a%4'}}"), "spec.rules[0].matches[0].path.value", "character"},
    {"path_long", match("{path: {value: /" + std::string(1024, 'a') + "}}"), "spec.rules[0].matches[0].path.value",
     "1024"},
    {"path_type", match("{path: {type: Regex}}"), "spec.rules[0].matches[0].path.type", "not one of"},
    {"path_regex", match("{path: {type: RegularExpression, value: /a}}"), "spec.rules[0].matches[0].path.type",
     "not served", true},
    {"method", match("{method: get}"), "spec.rules[0].matches[0].method", "not one of"},
    {"header_name", match("{headers: [{name: 'a b', value: x}]}"), "spec.rules[0].matches[0].headers[0].name",
     "header"},
    {"header_value", match("{headers: [{name: a, value: ''}]}"), "spec.rules[0].matches[0].headers[0].value",
     "required"},
    {"header_value_number", match("{headers: [{name: a, value: 1}]}"), "spec.rules[0].matches[0].headers[0].value",
     "quotes"},
    {"header_value_yes", match("{headers: [{name: a, value: yes}]}"), "spec.rules[0].matches[0].headers[0].value",
     "boolean"},
    {"header_twice", match("{headers: [{name: a, value: x}, {name: a, value: z}]}"),
     "spec.rules[0].matches[0].headers[1].name", "twice"},
    {"header_regex", match("{headers: [{type: RegularExpression, name: a, value: x}]}"),
     "spec.rules[0].matches[0].headers[0].type", "not served", true},
    {"headers_many", match("{headers: [" + numbered("{name: h", ", value: x}", 17) + "]}"),
     "spec.rules[0].matches[0].headers", "at most 16"},
    {"query_long", match("{queryParams: [{name: a, value: " + std::string(1025, 'x') + "}]}"),
     "spec.rules[0].matches[0].queryParams[0].value", "1024"},
    {"query_twice", match("{queryParams: [{name: a, value: x}, {name: a, value: z}]}"),
     "spec.rules[0].matches[0].queryParams[1].name", "twice"},
    {"backend_port", rule("{backendRefs: [{name: a}]}"), "spec.rules[0].backendRefs[0].port", "required"},
    {"backend_port_range", rule("{backendRefs: [{name: a, port: 65536}]}"), "spec.rules[0].backendRefs[0].port",
     "outside 1..65535"},
    {"backend_port_text", rule("{backendRefs: [{name: a, port: '80'}]}"), "spec.rules[0].backendRefs[0].port",
     "integer"},
    {"weight_negative", rule("{backendRefs: [{name: a, port: 1, weight: -1}]}"), "spec.rules[0].backendRefs[0].weight",
     "outside"},
    {"weight_large", rule("{backendRefs: [{name: a, port: 1, weight: 1000001}]}"),
     "spec.rules[0].backendRefs[0].weight", "outside"},
    {"backends_many", rule("{backendRefs: [" + repeat("{name: a, port: 1}", 17) + "]}"), "spec.rules[0].backendRefs",
     "at most 16"},
    {"backend_namespace", rule("{backendRefs: [{name: a, port: 1, namespace: A_b}]}"),
     "spec.rules[0].backendRefs[0].namespace", "DNS label"},
    {"backend_filters", rule("{backendRefs: [{name: a, port: 1, filters: [{type: X}]}]}"),
     "spec.rules[0].backendRefs[0].filters", "not served", true},
    {"filters", rule("{filters: [{type: RequestRedirect}]}"), "spec.rules[0].filters", "not served", true},
    {"timeouts", rule("{timeouts: {request: 1s}}"), "spec.rules[0].timeouts", "not served", true},
    {"retry", rule("{retry: {attempts: 1}}"), "spec.rules[0].retry", "not served", true},
    {"session", rule("{sessionPersistence: {type: Cookie}}"), "spec.rules[0].sessionPersistence", "not served", true},
    {"parent_name", route_head + "  parentRefs: [{group: '', kind: Service}]\n", "spec.parentRefs[0].name", "required"},
    {"parent_port", route_head + "  parentRefs: [{name: a, port: 0}]\n", "spec.parentRefs[0].port", "outside"},
    {"parent_twice", route_head + "  parentRefs: [{name: a}, {name: a}]\n", "spec.parentRefs[1]", "same parent"},
    {"parent_half", route_head + "  parentRefs: [{name: a, port: 1}, {name: a}]\n", "spec.parentRefs[1]", "alike"},
    {"parents_many", route_head + "  parentRefs: [" + numbered("{name: p", "}", 33) + "]\n", "spec.parentRefs",
     "at most 32"},
    {"hostname_ip", route_head + "  hostnames: ['1.2.3.4']\n", "spec.hostnames[0]", "host name"},
    {"hostname_upper", route_head + "  hostnames: [A.com]\n", "spec.hostnames[0]", "host name"},
    {"hostname_star", route_head + "  hostnames: ['a.*.com']\n", "spec.hostnames[0]", "host name"},
    {"hostnames_many", route_head + "  hostnames: [" + numbered("h", ".com", 17) + "]\n", "spec.hostnames",
     "at most 16"},
    {"key_twice", route_head + "  rules: [{}]\n  rules: [{}]\n", "spec.rules", "given twice"},
};

const FaultCase policy_faults[] = {
    {"selector", policy_head + "  selector: {matchLabels: {a: b}}\n", "spec.selector", "not served", true},
    {"no_target", policy_head + "  rules: [{}]\n", "spec.targetRefs", "name a Gateway or Service", true},
    {"two_targets", policy_bound + "  selector: {}\n", "spec.targetRefs", "only one of"},
    {"target_kind", policy_head + "  targetRefs: [{group: apps, kind: Deployment, name: d}]\n",
     "spec.targetRefs[0].kind", "not one of"},
    {"target_entry", policy_head + "  targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: d}]\n",
     "spec.targetRefs[0].kind", "not served", true},
    {"target_namespace", policy_head + "  targetRefs: [{group: '', kind: Service, name: s, namespace: other}]\n",
     "spec.targetRefs[0].namespace", "own namespace"},
    {"targets_many", policy_head + "  targetRefs: [" + repeat("{group: '', kind: Service, name: s}", 17) + "]\n",
     "spec.targetRefs", "at most 16"},
    {"action", policy_bound + "  action: allow\n", "spec.action", "not one of"},
    {"audit", policy_bound + "  action: AUDIT\n  rules: [{}]\n", "spec.action", "not served", true},
    {"custom", policy_bound + "  action: CUSTOM\n  rules: [{}]\n  provider: {name: x}\n", "spec.action", "not served",
     true},
    {"provider", policy_bound + "  provider: {name: x}\n", "spec.provider", "only allowed with"},
    {"deny_nothing", policy_bound + "  action: DENY\n", "spec.rules", "never match"},
    {"from_empty", policy_rule("{from: []}"), "spec.rules[0].from", "empty list"},
    {"to_empty", policy_rule("{to: []}"), "spec.rules[0].to", "empty list"},
    {"from_null", policy_rule("{from: [{}]}"), "spec.rules[0].from[0].source", "required"},
    {"to_null", policy_rule("{to: [{}]}"), "spec.rules[0].to[0].operation", "required"},
    {"source_empty", source("{namespaces: []}"), "spec.rules[0].from[0].source", "at least one"},
    {"operation_empty", operation("{}"), "spec.rules[0].to[0].operation", "at least one"},
    {"rule_null", policy_bound + "  rules: [null]\n", "spec.rules[0]", "must not be empty"},
    {"value_empty", operation("{methods: [GET, '']}"), "spec.rules[0].to[0].operation.methods[1]", "must not be empty"},
    {"value_type", operation("{ports: [80]}"), "spec.rules[0].to[0].operation.ports[0]", "quotes"},
    {"port_range", operation("{ports: ['65536']}"), "spec.rules[0].to[0].operation.ports[0]", "not a port"},
    {"port_text", operation("{notPorts: ['http']}"), "spec.rules[0].to[0].operation.notPorts[0]", "not a port"},
    {"path_template", operation("{paths: ['/{**}/foo/{*}']}"), "spec.rules[0].to[0].operation.paths[0]",
     "last operator"},
    {"path_brace", operation("{notPaths: ['/a{b}']}"), "spec.rules[0].to[0].operation.notPaths[0]", "braces"},
    {"ip", source("{ipBlocks: ['10.0.0.0/8', '10.0.0/8']}"), "spec.rules[0].from[0].source.ipBlocks[1]", "CIDR"},
    {"account_star", source("{serviceAccounts: ['a/*']}"), "spec.rules[0].from[0].source.serviceAccounts[0]", "*"},
    {"account_form", source("{serviceAccounts: ['a/b/c']}"), "spec.rules[0].from[0].source.serviceAccounts[0]",
     "NAMESPACE/NAME"},
    {"account_long", source("{serviceAccounts: ['" + std::string(321, 'a') + "']}"),
     "spec.rules[0].from[0].source.serviceAccounts[0]", "320"},
    {"accounts_many", source("{serviceAccounts: [" + numbered("a", "", 17) + "]}"),
     "spec.rules[0].from[0].source.serviceAccounts", "at most 16"},
    {"account_beside", source("{serviceAccounts: [a], notNamespaces: [b]}"),
     "spec.rules[0].from[0].source.serviceAccounts", "beside"},
    {"request_principals", source("{requestPrincipals: ['*']}"), "spec.rules[0].from[0].source.requestPrincipals",
     "not served", true},
    {"trust_domains", source("{notTrustDomains: ['a']}"), "spec.rules[0].from[0].source.notTrustDomains", "not served",
     true},
    {"source_unknown", source("{namespace: [a]}"), "spec.rules[0].from[0].source", "at least one"},
    {"when_key", policy_rule("{when: [{key: 'destination.labels[a]', values: [b]}]}"), "spec.rules[0].when[0].key",
     "not a known attribute"},
    {"when_missing", policy_rule("{when: [{values: [b]}]}"), "spec.rules[0].when[0].key", "required"},
    {"when_auth", policy_rule("{when: [{key: 'request.auth.claims[a]', values: [b]}]}"), "spec.rules[0].when[0].key",
     "not served", true},
    {"when_header", policy_rule("{when: [{key: 'request.headers[]', values: [b]}]}"), "spec.rules[0].when[0].key",
     "header name"},
    {"when_values", policy_rule("{when: [{key: source.ip}]}"), "spec.rules[0].when[0].values", "required"},
    {"when_ip", policy_rule("{when: [{key: source.ip, notValues: [x]}]}"), "spec.rules[0].when[0].notValues[0]",
     "CIDR"},
    {"dry_run",
     "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, annotations: {istio.io/dry-run: "
     "'true'}}\n"
     "spec: {targetRefs: [{group: '', kind: Service, name: s}]}\n",
     "metadata.annotations[istio.io/dry-run]", "not served", true},
};

const FaultCase core_faults[] = {
    {"gateway_listeners", gateway_head, "spec.listeners", "at least one"},
    {"listener_port", gateway_head + "  listeners: [{name: a, port: 0, protocol: HTTP}]\n", "spec.listeners[0].port",
     "outside"},
    {"listener_name",
     gateway_head + "  listeners: [{name: a, port: 1, protocol: HTTP}, {name: a, port: 2, protocol: HTTP}]\n",
     "spec.listeners[1].name", "another listener"},
    {"listener_from",
     gateway_head + "  listeners: [{name: a, port: 1, protocol: HTTP, allowedRoutes: {namespaces: {from: Any}}}]\n",
     "spec.listeners[0].allowedRoutes.namespaces.from", "not one of"},
    {"listener_selector",
     gateway_head +
         "  listeners: [{name: a, port: 1, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector}}}]\n",
     "spec.listeners[0].allowedRoutes.namespaces.selector", "required"},
    {"waypoint_for",
     "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g, labels: {istio.io/waypoint-for: "
     "pods}}\n"
     "spec: {gatewayClassName: c, listeners: [{name: a, port: 1, protocol: HBONE}]}\n",
     "metadata.labels[istio.io/waypoint-for]", "not one of"},
    {"class_controller",
     "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: c}\nspec: {controllerName: x}\n",
     "spec.controllerName", "controller name"},
    {"cluster_scoped", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, namespace: x}\n", "metadata.namespace",
     "cluster-scoped"},
    {"service_field", service_head + "  port: 80\n", "spec.port", "not a known field"},
    {"service_ip", service_head + "  clusterIP: 10.0.0\n", "spec.clusterIP", "IP address"},
    {"service_loopback", service_head + "  clusterIP: 127.0.0.1\n", "spec.clusterIP", "cannot be"},
    {"service_names", service_head + "  ports: [{port: 1}, {name: a, port: 2}]\n", "spec.ports[0].name", "required"},
    {"service_port_twice", service_head + "  ports: [{name: a, port: 1}, {name: b, port: 1}]\n", "spec.ports[1].port",
     "twice"},
    {"service_target", service_head + "  ports: [{port: 1, targetPort: A_B}]\n", "spec.ports[0].targetPort",
     "port name"},
    {"service_protocol", service_head + "  ports: [{port: 1, protocol: tcp}]\n", "spec.ports[0].protocol",
     "not one of"},
    {"service_type", service_head + "  type: clusterip\n", "spec.type", "not one of"},
    {"service_selector", service_head + "  selector: {a: 1}\n", "spec.selector.a", "quotes"},
    {"label", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {a: 'b c'}}\n", "metadata.labels.a",
     "label value"},
    {"time", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, creationTimestamp: today}\n",
     "metadata.creationTimestamp", "RFC 3339"},
    {"pod_spec", pod_head, "spec", "required"},
    {"pod_field", pod_head + "spec: {hostnetwork: true}\n", "spec.hostnetwork", "not a known field"},
    {"pod_host_network", pod_head + "spec: {hostNetwork: 'true'}\n", "spec.hostNetwork", "true or false"},
    {"pod_ip", pod_head + "spec: {}\nstatus: {podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}]}\n", "status.podIPs[1].ip",
     "second address"},
    {"pod_container", pod_head + "spec: {containers: [{name: a, port: 1}]}\n", "spec.containers[0].port",
     "not a known field"},
    {"pod_port", pod_head + "spec: {containers: [{ports: [{containerPort: 70000}]}]}\n",
     "spec.containers[0].ports[0].containerPort", "outside"},
    {"slice_type", "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e}\n", "addressType",
     "required"},
    {"slice_addresses",
     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e}\naddressType: IPv4\nendpoints: "
     "[{addresses: []}]\n",
     "endpoints[0].addresses", "at least one"},
    {"slice_ready",
     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e}\naddressType: IPv4\n"
     "endpoints: [{addresses: [10.0.0.1], conditions: {ready: 'no'}}]\n",
     "endpoints[0].conditions.ready", "true or false"},
    {"tag", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {a: !secret b}}\n", "metadata.labels.a",
     "tag"},
};

std::string case_name(const testing::TestParamInfo<FaultCase>& param) {
    return param.param.name;
}
INSTANTIATE_TEST_SUITE_P(route, ParseFault, testing::ValuesIn(route_faults), case_name);
INSTANTIATE_TEST_SUITE_P(policy, ParseFault, testing::ValuesIn(policy_faults), case_name);
INSTANTIATE_TEST_SUITE_P(core, ParseFault, testing::ValuesIn(core_faults), case_name);

TEST(Parse, reads_a_route_with_all_kinds_of_matches) {
    const auto route = only<HttpRoute>(route_head + R"(
  parentRefs: [{group: "", kind: Service, name: a, port: 80}]
  hostnames: ["*.example.com"]
  rules:
  - matches:
    - path: {type: PathPrefix, value: /a/}
      method: GET
      headers: [{name: X-One, value: "1"}, {name: x-one, value: "2"}]
      queryParams: [{name: Q, value: v}]
    - path: {type: Exact, value: /b/}
    filters: []
    backendRefs: [{name: b, port: 80, weight: 0}, {name: c, namespace: other, port: 81}]
)");
    ASSERT_TRUE(route);
    EXPECT_EQ(route->meta.ns, "default");
    EXPECT_EQ(route->hostnames, std::vector<std::string>{"*.example.com"});
    ASSERT_EQ(route->rules.size(), 1U);
    const auto& first = route->rules[0].matches[0];
    EXPECT_EQ(first.path, "/a");
    EXPECT_EQ(first.method, "GET");
    ASSERT_EQ(first.headers.size(), 1U); // names that differ by case only: the first counts
    EXPECT_EQ(first.headers[0], (config::RouteMatch::Pair{"x-one", "1"}));
    EXPECT_EQ(first.queries[0].name, "Q");
    EXPECT_EQ(route->rules[0].matches[1].path, "/b/");
    EXPECT_EQ(route->rules[0].backends[0].weight, 0U);
    EXPECT_EQ(route->rules[0].backends[1].ns, "other");
}

TEST(Parse, gives_a_route_without_rules_the_default_rule) {
    const auto route = only<HttpRoute>(route_head + "  parentRefs: [{name: a}]\n");
    ASSERT_TRUE(route);
    ASSERT_EQ(route->rules.size(), 1U);
    EXPECT_EQ(route->rules[0].matches, std::vector{config::RouteMatch{}});
    EXPECT_EQ(route->parents[0].kind, "Gateway");
}

TEST(Parse, reads_a_policy_with_every_field) {
    const auto policy = only<AuthorizationPolicy>(policy_bound + R"(
  action: DENY
  rules:
  - from:
    - source: {principals: ["*"], notPrincipals: ["td/ns/a/*"], namespaces: ["a*b"], ipBlocks: ["10.0.0.0/8"], remoteIpBlocks: ["::1"]}
    - source: {serviceAccounts: ["sa", "other/sb"]}
    to:
    - operation: {hosts: ["*.a"], ports: ["80"], methods: ["GET"], notPaths: ["/x/{*}", "/y*"]}
    when:
    - {key: "request.headers[X-A]", values: ["*"]}
    - {key: destination.port, notValues: ["0"]}
    - {key: source.serviceAccount, values: ["sc"]}
)");
    ASSERT_TRUE(policy);
    const auto& rule_read = policy->rules.at(0);
    EXPECT_EQ(policy->action, config::Policy::Action::deny);
    EXPECT_EQ(rule_read.from[0].principals.values[0].kind, config::StringPattern::Kind::present);
    EXPECT_EQ(rule_read.from[0].principals.not_values[0].kind, config::StringPattern::Kind::prefix);
    EXPECT_EQ(rule_read.from[1].service_accounts.values[0], (config::ServiceAccountRef{"default", "sa"}));
    EXPECT_EQ(rule_read.from[1].service_accounts.values[1], (config::ServiceAccountRef{"other", "sb"}));
    EXPECT_TRUE(rule_read.to[0].paths.not_values[0].is_template);
    EXPECT_EQ(rule_read.when[0].header, "x-a");
    EXPECT_EQ(rule_read.when[1].ports.not_values, std::vector<uint16_t>{0});
    EXPECT_EQ(rule_read.when[2].service_accounts.values[0].ns, "default");
}

TEST(Parse, an_empty_list_beside_a_full_one_counts_as_absent) {
    const auto policy = only<AuthorizationPolicy>(source("{namespaces: [a], principals: []}"));
    ASSERT_TRUE(policy);
    EXPECT_TRUE(policy->rules[0].from[0].principals.empty());
}

TEST(Parse, keeps_the_difference_between_no_rules_and_a_rule_for_everything) {
    EXPECT_TRUE(only<AuthorizationPolicy>(policy_bound)->rules.empty());
    EXPECT_EQ(only<AuthorizationPolicy>(policy_rule("{}"))->rules.size(), 1U);
}

TEST(Parse, accepts_the_hidden_single_target) {
    const auto policy = only<AuthorizationPolicy>(
        policy_head + "  targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: g}\n");
    ASSERT_TRUE(policy);
    EXPECT_EQ(policy->targets,
              (std::vector{AuthorizationPolicy::Target{AuthorizationPolicy::Target::Kind::gateway, "g"}}));
}

TEST(Parse, ignores_and_counts_unknown_kinds) {
    const auto file =
        parse_manifests("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nsecrets: [{name: x}]\n"
                        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {x: 1}\n"
                        "---\n---\n# nothing\n");
    EXPECT_EQ(file.ignored, 2U);
    EXPECT_TRUE(file.objects.empty());
    EXPECT_TRUE(file.complete);
}

TEST(Parse, a_slip_in_the_group_or_kind_is_a_fault_and_not_another_programs_object) {
    const auto document = [](const std::string& version, const std::string& kind) {
        return parse_manifests("apiVersion: " + version + "\nkind: " + kind + "\nmetadata: {name: x}\nspec: {}\n");
    };
    for (const auto& [version, kind] :
         {std::pair{"security.istio.io", "AuthorizationPolicy"}, std::pair{"v1", "AuthorizationPolicy"},
          std::pair{"security.istio/v1", "AuthorizationPolicy"}, std::pair{"networking.istio.io/v1", "HTTPRoute"},
          std::pair{"discovery/v1", "EndpointSlice"}, std::pair{"networking.x-k8s.io/v1", "GatewayClass"},
          std::pair{"security.istio.io/v1", "AuthorisationPolicy"}}) {
        const auto file = document(version, kind);
        EXPECT_EQ(file.faults.size(), 1U) << version << " " << kind;
        EXPECT_FALSE(file.complete) << version << " " << kind; // what the file held before stays in force
        EXPECT_EQ(file.ignored, 0U) << version << " " << kind;
    }
    for (const auto& [version, kind] :
         {std::pair{"policy.linkerd.io/v1alpha1", "AuthorizationPolicy"},
          std::pair{"policy.linkerd.io/v1beta3", "HTTPRoute"}, std::pair{"networking.istio.io/v1", "Gateway"},
          std::pair{"serving.knative.dev/v1", "Service"}, std::pair{"security.istio.io/v1", "PeerAuthentication"},
          std::pair{"apps/v1", "Deployment"}}) {
        const auto file = document(version, kind);
        EXPECT_TRUE(file.faults.empty()) << version << " " << kind;
        EXPECT_EQ(file.ignored, 1U) << version << " " << kind;
    }
    EXPECT_EQ(document("security.istio/v1", "AuthorizationPolicy").faults.at(0).message,
              "line 1: apiVersion \"security.istio\" has no kind AuthorizationPolicy; use security.istio.io/v1");
}

TEST(Parse, reads_lists) {
    const auto file =
        parse_manifests("apiVersion: v1\nkind: List\nitems:\n"
                        "- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n"
                        "- {apiVersion: v1, kind: Namespace, metadata: {name: b}, x: 1}\n"
                        "---\napiVersion: v1\nkind: NamespaceList\nmetadata: {resourceVersion: '1'}\nitems:\n"
                        "- {metadata: {name: c}}\n");
    ASSERT_EQ(file.objects.size(), 3U);
    EXPECT_TRUE(file.objects[0].faults.empty());
    EXPECT_EQ(file.objects[1].faults.at(0).field, "x");
    EXPECT_EQ(file.objects[2].name.name, "c");
}

TEST(Parse, documents_that_name_no_object_are_faults_of_the_file) {
    for (const char* text :
         {"just text\n", "- a\n- b\n", "kind: Pod\n", "apiVersion: v1\nkind: Pod\n",
          "apiVersion: v1\nkind: Pod\nmetadata: {name: A_b}\n", "apiVersion: v1\nkind: Pod\nmetadata: {name: 1}\n",
          "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: B}\n", "apiVersion: v1\nkind: List\nitems: {}\n",
          "apiVersion: v1\nkind: List\nitems: [{}]\n"}) {
        const auto file = parse_manifests(text);
        EXPECT_EQ(file.faults.size(), 1U) << text;
        EXPECT_TRUE(file.objects.empty()) << text;
        EXPECT_FALSE(file.complete) << text;
    }
}

TEST(Parse, broken_yaml_is_a_fault_with_its_line) {
    const auto file = parse_manifests("apiVersion: v1\nkind: [\n");
    ASSERT_EQ(file.faults.size(), 1U);
    EXPECT_NE(file.faults[0].message.find("line "), std::string::npos);
    EXPECT_FALSE(file.complete);
}

TEST(Yaml, resolves_scalars_as_kubectl_does) {
    const auto documents = parse_yaml(
        "[1, 0x10, 010, '1', 1.5, true, no, ~, null, '', a, !!str 7, -3, 99999999999999999999, 2001-01-01, 1_000]");
    ASSERT_TRUE(documents);
    using enum Value::Type;
    const std::vector<Value::Type> expected = {integer, integer, integer, text, real,    boolean, boolean, null,
                                               null,    text,    text,    text, integer, real,    text,    integer};
    const auto& items = documents->at(0).root.items;
    ASSERT_EQ(items.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
        EXPECT_EQ(items[i].type, expected[i]) << i << " " << items[i].text;
    EXPECT_EQ(items[1].integer, 16);
    EXPECT_EQ(items[2].integer, 8);
    EXPECT_FALSE(items[6].boolean);
    EXPECT_EQ(items[12].integer, -3);
    EXPECT_EQ(items[15].integer, 1000);
}

TEST(Yaml, applies_anchors_and_merge_keys) {
    const auto documents = parse_yaml("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nagain: *b\n");
    ASSERT_TRUE(documents);
    const auto& root = documents->at(0).root;
    EXPECT_EQ(root.find("use")->find("x")->integer, 1);
    EXPECT_EQ(root.find("use")->find("y")->integer, 3);
    EXPECT_EQ(root.find("again")->find("y")->integer, 2);
    EXPECT_TRUE(documents->at(0).faults.empty());
}

TEST(Yaml, alias_bombs_are_refused) {
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 12; ++i) {
        const std::string before = "*a" + std::to_string(i - 1);
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + repeat(before, 10) + "]\n";
    }
    const auto documents = parse_yaml(bomb);
    ASSERT_FALSE(documents);
    EXPECT_NE(documents.error().message.find("aliases expanded"), std::string::npos);
}

TEST(Yaml, bombs_of_text_are_refused) {
    const std::string text = "a: &a '" + std::string(100'000, 'x') + "'\nb: [" + repeat("*a", 2000) + "]\n";
    const auto documents = parse_yaml(text);
    ASSERT_FALSE(documents);
    EXPECT_NE(documents.error().message.find("bytes of text"), std::string::npos);
}

TEST(Yaml, limits_and_hostile_shapes_are_faults) {
    EXPECT_FALSE(parse_yaml("a: &a [*a]\n"));
    EXPECT_FALSE(parse_yaml(std::string(100, '[') + std::string(100, ']')));
    EXPECT_FALSE(parse_yaml(std::string(100'000, '[')));
    EXPECT_FALSE(parse_yaml(std::string("a: b\0c", 6)));
    EXPECT_FALSE(parse_yaml(std::string(limits::file_bytes_max + 1, ' ')));
    std::string many;
    for (size_t i = 0; i <= limits::documents_per_file_max; ++i)
        many += "---\na\n";
    EXPECT_FALSE(parse_yaml(many));
    EXPECT_FALSE(parse_yaml("*nothing\n"));
}

TEST(Yaml, tokens_that_begin_nothing_are_faults) {
    for (const char* text :
         {",", ",\n", "{a: 1},", "{\"a\": 1},\n{\"b\": 2}", "- a\n, b", "[],", "a: b\n---\n,", ", ,"}) {
        const auto documents = parse_yaml(text);
        ASSERT_FALSE(documents) << text;
        EXPECT_NE(documents.error().message.find("no valid YAML"), std::string::npos) << text;
    }
}

TEST(Yaml, empty_documents_count) {
    std::string many;
    for (size_t i = 0; i <= limits::documents_per_file_max; ++i)
        many += "---\n";
    const auto documents = parse_yaml(many);
    ASSERT_FALSE(documents);
    EXPECT_NE(documents.error().message.find("documents"), std::string::npos);
}

TEST(Yaml, every_short_text_of_its_signs_ends) {
    const std::string signs = ",:-[]{}?&*!|>'\"#%@ \na";
    for (const char a : signs)
        for (const char b : signs)
            for (const char c : signs)
                static_cast<void>(parse_yaml(std::string{a, b, c}));
}

TEST(Yaml, bytes_that_are_not_utf8_are_refused_with_their_line) {
    const auto documents = parse_yaml("a: b\nc: caf\xe9\n");
    ASSERT_FALSE(documents);
    EXPECT_EQ(documents.error().message, "line 2: a byte that is not UTF-8");
    EXPECT_TRUE(parse_yaml("a: caf\xc3\xa9\n"));
    EXPECT_FALSE(parse_yaml("a: \"\\ud800\"\n")); // nor may an escape make one
    const auto escaped = parse_yaml("a: \"\\xe9\"\n");
    ASSERT_TRUE(escaped);
    EXPECT_EQ(escaped->at(0).root.find("a")->text, "\xc3\xa9");
}

TEST(Yaml, every_prefix_of_a_manifest_is_handled) {
    std::ifstream file("config/examples/service-policies.yaml");
    std::stringstream content;
    content << file.rdbuf();
    const std::string text = content.str();
    ASSERT_GT(text.size(), 500U);
    for (size_t size = 0; size < text.size(); ++size)
        static_cast<void>(parse_manifests(text.substr(0, size)));
    EXPECT_EQ(parse_manifests(text).objects.size(), 2U);
}

TEST(Examples, are_all_accepted) {
    size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator("config/examples")) {
        if (entry.path().extension() != ".yaml")
            continue;
        ++files;
        std::ifstream stream(entry.path());
        std::stringstream content;
        content << stream.rdbuf();
        const auto file = parse_manifests(content.str());
        EXPECT_TRUE(file.faults.empty()) << entry.path();
        EXPECT_FALSE(file.objects.empty()) << entry.path();
        for (const auto& object : file.objects) {
            EXPECT_TRUE(object.faults.empty()) << entry.path() << " " << object.name.name << " "
                                               << object.faults[0].field << " " << object.faults[0].message;
        }
    }
    EXPECT_GE(files, 6U);
}

TEST(Parse, no_annotation_refuses_its_object) {
    const std::string meta = "metadata: {name: n, labels: {istio.io/dataplane-mode: ambient}, annotations: {"
                             "Team.Example/owner: x, 'a b': c, '/': d, Istio.IO/rev: e, other.example/list: [1], "
                             "istio.io/rev: {a: b}, istio.io/flag: true, istio.io/number: 010, istio.io/none: null}}\n";
    const auto ns = only<Namespace>("apiVersion: v1\nkind: Namespace\n" + meta);
    ASSERT_TRUE(ns);
    EXPECT_EQ(ns->meta.labels.at("istio.io/dataplane-mode"), "ambient");
    EXPECT_EQ(ns->meta.annotations,
              (Labels{{"istio.io/flag", "true"}, {"istio.io/number", "010"}, {"istio.io/none", ""}}));
    EXPECT_TRUE(only<Namespace>("apiVersion: v1\nkind: Namespace\nmetadata: {name: n, annotations: [a]}\n"));
    // One that Weft reads is judged there.
    const auto policy = parse_manifests("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
                                        "metadata: {name: p, annotations: {istio.io/dry-run: true}}\n"
                                        "spec: {targetRefs: [{group: '', kind: Service, name: s}]}\n");
    EXPECT_EQ(policy.objects.at(0).faults.at(0).field, "metadata.annotations[istio.io/dry-run]");
}

TEST(Parse, an_owner_that_cannot_be_read_is_left_out) {
    const auto pod = only<Pod>("apiVersion: v1\nkind: Pod\nspec: {}\nmetadata:\n  name: p\n  ownerReferences:\n"
                               "  - {apiVersion: x/v1, kind: A.B, name: a, uid: u, controller: true}\n"
                               "  - {kind: ReplicaSet, name: 'b/c'}\n  - {kind: '', name: c}\n  - {name: d}\n"
                               "  - {kind: 1, name: e}\n  - text\n  - {kind: Job, name: f, new: {x: 1}}\n");
    ASSERT_TRUE(pod);
    EXPECT_EQ(pod->meta.owners, (std::vector<OwnerRef>{{.kind = "A.B", .name = "a", .controller = true},
                                                       {.kind = "Job", .name = "f", .controller = false}}));
}

TEST(Parse, ReadsUidAndNodeOfAPod) {
    const std::string head = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, uid: '";
    const auto pod = only<Pod>(head + "0a6bcf4b-5d6a-4f6e-9d2a-6b7f3c1f9e01'}\nspec: {nodeName: node-1.example}\n");
    ASSERT_TRUE(pod);
    EXPECT_EQ(pod->meta.uid, "0a6bcf4b-5d6a-4f6e-9d2a-6b7f3c1f9e01");
    EXPECT_EQ(pod->node_name, "node-1.example");
    const auto bare = only<Pod>("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {nodeName: ''}\n");
    ASSERT_TRUE(bare);
    EXPECT_TRUE(bare->meta.uid.empty() && bare->node_name.empty());
    const auto bad = parse_manifests(head + "../x'}\nspec: {nodeName: 'a/b'}\n");
    ASSERT_EQ(bad.objects.size(), 1U);
    ASSERT_EQ(bad.objects[0].faults.size(), 2U);
    EXPECT_EQ(bad.objects[0].faults[0].field, "metadata.uid");
    EXPECT_EQ(bad.objects[0].faults[1].field, "spec.nodeName");
}

} // namespace
} // namespace weft::agent
