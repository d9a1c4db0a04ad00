// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/authz.hpp"

#include <gtest/gtest.h>

#include "config/model/pattern.hpp"
#include "tests/unit/policy/requests.hpp"

namespace weft::l7 {
namespace {

using config::Policy;
using config::PolicyCondition;
using config::PolicyOperation;
using config::PolicyRule;
using config::PolicySource;
using test::Fields;
using test::Request;
using Texts = std::vector<std::string>;

template <class T, class Make>
config::Matches<T> matches_of(const Texts& values, const Texts& not_values, Make&& make) {
    config::Matches<T> out;
    for (const auto& text : values)
        out.values.push_back(make(text));
    for (const auto& text : not_values)
        out.not_values.push_back(make(text));
    return out;
}
auto strings(const Texts& values, const Texts& not_values = {}) {
    return matches_of<config::StringPattern>(values, not_values, config::parse_string_pattern);
}
auto paths(const Texts& values, const Texts& not_values = {}) {
    return matches_of<config::PathPattern>(values, not_values, config::parse_path_pattern);
}
auto texts(const Texts& values, const Texts& not_values = {}) {
    return matches_of<std::string>(values, not_values, [](const std::string& text) { return text; });
}
auto blocks(const Texts& values, const Texts& not_values = {}) {
    return matches_of<Cidr>(values, not_values, [](const std::string& text) { return Cidr::parse(text).value(); });
}
config::Matches<uint16_t> ports(std::vector<uint16_t> values, std::vector<uint16_t> not_values = {}) {
    return {.values = std::move(values), .not_values = std::move(not_values)};
}
config::Matches<config::ServiceAccountRef> accounts(std::vector<config::ServiceAccountRef> values,
                                                    std::vector<config::ServiceAccountRef> not_values = {}) {
    return {.values = std::move(values), .not_values = std::move(not_values)};
}
PolicySource from(auto member, auto value) {
    PolicySource source;
    source.*member = std::move(value);
    return source;
}
PolicyOperation to(auto member, auto value) {
    PolicyOperation operation;
    operation.*member = std::move(value);
    return operation;
}
PolicyCondition when(PolicyCondition::Key key, auto member, auto value, std::string header = "") {
    PolicyCondition condition;
    condition.key = key;
    condition.header = std::move(header);
    condition.*member = std::move(value);
    return condition;
}
PolicyRule rule(std::vector<PolicySource> sources, std::vector<PolicyOperation> operations = {},
                std::vector<PolicyCondition> conditions = {}) {
    return {.from = std::move(sources), .to = std::move(operations), .when = std::move(conditions)};
}
Policy policy(Policy::Action action, std::string name, std::vector<PolicyRule> rules) {
    return {.ns = "default", .name = std::move(name), .action = action, .rules = std::move(rules)};
}

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}

config::Workload client(std::string ns = "default", std::string account = "productpage") {
    config::Workload workload;
    workload.ns = ns;
    workload.service_account = account;
    workload.principal = "spiffe://cluster.local/ns/" + ns + "/sa/" + account;
    return workload;
}

/// A request of default/productpage, with everything that an input can hold.
struct Input {
    Request request{"/info/one?secret=1", "GET", "Reviews.example:9080", {{"X-Env", "dev"}, {"x-empty", ""}}};
    config::Workload workload = client();
    AuthzInput input;
    Input() {
        input.request = request.view();
        input.identify(&workload);
        input.peer = ip("10.0.1.5");
        input.remote = ip("203.0.113.7");
        input.destination = ip("10.96.0.10");
        input.destination_port = 9080;
        input.sni = "reviews.sni";
    }
    Input(const Input&) = delete;
};

bool rule_matches(const PolicyRule& tested, const AuthzInput& input) {
    return matching_rule(policy(Policy::Action::allow, "p", {tested}), input) == 0;
}

TEST(Authz, every_field_and_its_not_form) {
    struct Row {
        const char* name;
        PolicyRule rule;
        bool expected;
    };
    const auto& principals = &PolicySource::principals;
    const auto& namespaces = &PolicySource::namespaces;
    const Row rows[] = {
        {"empty rule", {}, true},
        {"principal", rule({from(principals, strings({"cluster.local/ns/default/sa/productpage"}))}), true},
        {"principal other", rule({from(principals, strings({"cluster.local/ns/default/sa/other"}))}), false},
        {"principal prefix", rule({from(principals, strings({"cluster.local/ns/default/*"}))}), true},
        {"principal suffix", rule({from(principals, strings({"*/sa/productpage"}))}), true},
        {"principal any", rule({from(principals, strings({"*"}))}), true},
        {"principal with scheme", rule({from(principals, strings({"spiffe://cluster.local/*"}))}), false},
        {"principal case", rule({from(principals, strings({"cluster.local/ns/Default/*"}))}), false},
        {"not principal", rule({from(principals, strings({}, {"*/sa/productpage"}))}), false},
        {"not other principal", rule({from(principals, strings({}, {"*/sa/other"}))}), true},
        {"positive and negative", rule({from(principals, strings({"*"}, {"*/sa/productpage"}))}), false},
        {"namespace", rule({from(namespaces, texts({"istio-system", "default"}))}), true},
        {"namespace other", rule({from(namespaces, texts({"defaults", "efault", "Default"}))}), false},
        {"namespace star", rule({from(namespaces, texts({"d*t"}))}), true},
        {"not namespace", rule({from(namespaces, texts({}, {"def*"}))}), false},
        {"account", rule({from(&PolicySource::service_accounts, accounts({{"default", "productpage"}}))}), true},
        {"account ns", rule({from(&PolicySource::service_accounts, accounts({{"other", "productpage"}}))}), false},
        {"account name", rule({from(&PolicySource::service_accounts, accounts({{"default", "product"}}))}), false},
        {"not account", rule({from(&PolicySource::service_accounts, accounts({}, {{"default", "productpage"}}))}),
         false},
        {"ip", rule({from(&PolicySource::ip_blocks, blocks({"10.0.1.5"}))}), true},
        {"ip block", rule({from(&PolicySource::ip_blocks, blocks({"192.0.2.0/24", "10.0.0.0/8"}))}), true},
        {"ip other", rule({from(&PolicySource::ip_blocks, blocks({"10.0.2.0/24"}))}), false},
        {"ip is not remote", rule({from(&PolicySource::ip_blocks, blocks({"203.0.113.7"}))}), false},
        {"ip v6 any", rule({from(&PolicySource::ip_blocks, blocks({"::/0"}))}), false},
        {"not ip", rule({from(&PolicySource::ip_blocks, blocks({}, {"10.0.0.0/8"}))}), false},
        {"remote", rule({from(&PolicySource::remote_ip_blocks, blocks({"203.0.113.0/24"}))}), true},
        {"not remote", rule({from(&PolicySource::remote_ip_blocks, blocks({}, {"203.0.113.0/24"}))}), false},
        {"host", rule({}, {to(&PolicyOperation::hosts, strings({"reviews.EXAMPLE:9080"}))}), true},
        {"host without port", rule({}, {to(&PolicyOperation::hosts, strings({"reviews.example"}))}), false},
        {"host any port", rule({}, {to(&PolicyOperation::hosts, strings({"reviews.example:*"}))}), true},
        {"not host", rule({}, {to(&PolicyOperation::hosts, strings({}, {"REVIEWS.*"}))}), false},
        {"port", rule({}, {to(&PolicyOperation::ports, ports({80, 9080}))}), true},
        {"port other", rule({}, {to(&PolicyOperation::ports, ports({80}))}), false},
        {"not port", rule({}, {to(&PolicyOperation::ports, ports({}, {9080}))}), false},
        {"method", rule({}, {to(&PolicyOperation::methods, strings({"POST", "GET"}))}), true},
        {"method case", rule({}, {to(&PolicyOperation::methods, strings({"get"}))}), false},
        {"not method", rule({}, {to(&PolicyOperation::methods, strings({}, {"GET"}))}), false},
        {"path prefix", rule({}, {to(&PolicyOperation::paths, paths({"/info*"}))}), true},
        {"path has no query", rule({}, {to(&PolicyOperation::paths, paths({"/info/one"}))}), true},
        {"path template", rule({}, {to(&PolicyOperation::paths, paths({"/info/{*}"}))}), true},
        {"path other", rule({}, {to(&PolicyOperation::paths, paths({"/info/{*}/x", "/data*"}))}), false},
        {"not path", rule({}, {to(&PolicyOperation::paths, paths({}, {"/info/{**}"}))}), false},
    };
    const Input data;
    for (const auto& row : rows)
        EXPECT_EQ(rule_matches(row.rule, data.input), row.expected) << row.name;
}

TEST(Authz, every_condition) {
    using enum PolicyCondition::Key;
    using Condition = PolicyCondition;
    const auto header = [](std::string name, config::Matches<config::StringPattern> value) {
        return when(request_header, &Condition::strings, std::move(value), std::move(name));
    };
    struct Row {
        const char* name;
        PolicyCondition condition;
        bool expected;
    };
    const Row rows[] = {
        {"header", header("x-env", strings({"dev"})), true},
        {"header case of value", header("x-env", strings({"Dev"})), false},
        {"header prefix", header("x-env", strings({"de*"})), true},
        {"header suffix", header("x-env", strings({"*ev"})), true},
        {"header present", header("x-env", strings({"*"})), true},
        {"header not", header("x-env", strings({}, {"dev"})), false},
        {"header not other", header("x-env", strings({}, {"prod"})), true},
        {"header empty is present", header("x-empty", strings({"*"})), true},
        {"header empty not present", header("x-empty", strings({}, {"*"})), false},
        {"header absent", header("x-none", strings({"*"})), false},
        {"header absent, not-value", header("x-none", strings({}, {"dev"})), true},
        {"header absent, not present", header("x-none", strings({}, {"*"})), true},
        {"header host", header("host", strings({"Reviews.example:9080"})), true},
        {"header :path has the query", header(":path", strings({"/info/one?secret=1"})), true},
        {"source.ip", when(source_ip, &Condition::blocks, blocks({"10.0.1.0/24"})), true},
        {"source.ip not", when(source_ip, &Condition::blocks, blocks({}, {"10.0.1.0/24"})), false},
        {"remote.ip", when(remote_ip, &Condition::blocks, blocks({"203.0.113.7"})), true},
        {"remote.ip other", when(remote_ip, &Condition::blocks, blocks({"10.0.1.5"})), false},
        {"source.namespace", when(source_namespace, &Condition::namespaces, texts({"def*"})), true},
        {"source.namespace not", when(source_namespace, &Condition::namespaces, texts({}, {"default"})), false},
        {"source.principal", when(source_principal, &Condition::strings, strings({"*/productpage"})), true},
        {"source.principal other", when(source_principal, &Condition::strings, strings({"*/x"})), false},
        {"source.serviceAccount",
         when(source_service_account, &Condition::service_accounts, accounts({{"default", "productpage"}})), true},
        {"source.serviceAccount other",
         when(source_service_account, &Condition::service_accounts, accounts({{"default", "x"}})), false},
        {"destination.ip", when(destination_ip, &Condition::blocks, blocks({"10.96.0.0/16"})), true},
        {"destination.ip other", when(destination_ip, &Condition::blocks, blocks({"10.0.1.5"})), false},
        {"destination.port", when(destination_port, &Condition::ports, ports({9080})), true},
        {"destination.port not", when(destination_port, &Condition::ports, ports({}, {9080})), false},
        {"sni", when(connection_sni, &Condition::strings, strings({"*.sni"})), true},
        {"sni other", when(connection_sni, &Condition::strings, strings({"reviews"})), false},
    };
    const Input data;
    for (const auto& row : rows)
        EXPECT_EQ(rule_matches(rule({}, {}, {row.condition}), data.input), row.expected) << row.name;
}

TEST(Authz, a_missing_input_is_positive_false_and_negative_true) {
    Input data;
    data.input.identify(nullptr);
    data.input.sni = {};
    data.request.head.authority.clear();
    data.input.request = data.request.view();
    using enum PolicyCondition::Key;
    const auto pair = [&](auto make) { // {positive, negative}
        return std::pair(rule_matches(make(true), data.input), rule_matches(make(false), data.input));
    };
    const std::pair expected(false, true);
    const auto texts_of = [](bool positive, const std::string& value) {
        return positive ? texts({value}) : texts({}, {value});
    };
    const auto strings_of = [](bool positive) { return positive ? strings({"*"}) : strings({}, {"*"}); };
    EXPECT_EQ(pair([&](bool p) { return rule({from(&PolicySource::principals, strings_of(p))}); }), expected);
    EXPECT_EQ(pair([&](bool p) { return rule({from(&PolicySource::namespaces, texts_of(p, "*"))}); }), expected);
    EXPECT_EQ(pair([&](bool p) { return rule({from(&PolicySource::namespaces, texts_of(p, ""))}); }), expected);
    EXPECT_EQ(pair([&](bool p) {
                  return rule(
                      {from(&PolicySource::service_accounts, p ? accounts({{"", ""}}) : accounts({}, {{"", ""}}))});
              }),
              expected);
    EXPECT_EQ(pair([&](bool p) { return rule({}, {to(&PolicyOperation::hosts, strings_of(p))}); }), expected);
    EXPECT_EQ(
        pair([&](bool p) { return rule({}, {}, {when(connection_sni, &PolicyCondition::strings, strings_of(p))}); }),
        expected);
    EXPECT_EQ(
        pair([&](bool p) { return rule({}, {}, {when(source_principal, &PolicyCondition::strings, strings_of(p))}); }),
        expected);
    EXPECT_EQ(pair([&](bool p) {
                  return rule({}, {}, {when(source_namespace, &PolicyCondition::namespaces, texts_of(p, "*"))});
              }),
              expected);
}

TEST(Authz, a_repeated_header_is_compared_once_as_a_whole) {
    Input data;
    data.request.head.headers.add("X-ENV", "prod");
    const auto header = [&](const Texts& values, const Texts& not_values) {
        return rule_matches(rule({}, {},
                                 {when(PolicyCondition::Key::request_header, &PolicyCondition::strings,
                                       strings(values, not_values), "x-env")}),
                            data.input);
    };
    EXPECT_FALSE(header({"dev"}, {}));
    EXPECT_FALSE(header({"prod"}, {}));
    EXPECT_TRUE(header({"dev,prod"}, {}));
    EXPECT_TRUE(header({"dev*"}, {}));
    EXPECT_TRUE(header({}, {"dev"}));
}

TEST(Authz, and_or_nesting) {
    const Input data;
    const auto ns = [](std::string name) { return from(&PolicySource::namespaces, texts({std::move(name)})); };
    const auto method = [](std::string name) { return to(&PolicyOperation::methods, strings({std::move(name)})); };
    const auto port = [](uint16_t value) {
        return when(PolicyCondition::Key::destination_port, &PolicyCondition::ports, ports({value}));
    };
    EXPECT_TRUE(rule_matches(rule({ns("other"), ns("default")}), data.input));        // from: OR
    EXPECT_TRUE(rule_matches(rule({}, {method("POST"), method("GET")}), data.input)); // to: OR
    EXPECT_FALSE(rule_matches(rule({ns("default")}, {method("POST")}), data.input));  // from AND to
    EXPECT_FALSE(rule_matches(rule({ns("other")}, {method("GET")}), data.input));
    EXPECT_TRUE(rule_matches(rule({ns("default")}, {method("GET")}, {port(9080)}), data.input));
    EXPECT_FALSE(rule_matches(rule({}, {}, {port(9080), port(80)}), data.input)); // when: AND
    PolicySource both = ns("default");
    both.ip_blocks = blocks({"192.0.2.1"});
    EXPECT_FALSE(rule_matches(rule({both}), data.input)); // fields of one source: AND
    PolicyOperation two = method("GET");
    two.paths = paths({"/other"});
    EXPECT_FALSE(rule_matches(rule({}, {two}), data.input)); // fields of one operation: AND
    // rules: OR, and the first that matches is named
    EXPECT_EQ(matching_rule(policy(Policy::Action::allow, "p", {rule({ns("x")}), rule({ns("y")}), {}}), data.input),
              2U);
    EXPECT_EQ(matching_rule(policy(Policy::Action::allow, "p", {}), data.input), config::none);
}

/// A snapshot with one policy set over the policies, in the order given.
config::Snapshot snapshot_of(std::vector<Policy> policies) {
    config::Snapshot snapshot;
    snapshot.policies = std::move(policies);
    auto& set = snapshot.policy_sets.emplace_back();
    for (uint32_t i = 0; i < snapshot.policies.size(); ++i)
        (snapshot.policies[i].action == Policy::Action::deny ? set.deny : set.allow).push_back(i);
    return snapshot;
}

TEST(Authz, deny_before_allow) {
    const Input data;
    const auto match = std::vector<PolicyRule>{{}};
    const auto miss = std::vector<PolicyRule>{rule({from(&PolicySource::namespaces, texts({"other"}))})};
    using enum Policy::Action;
    struct Row {
        const char* name;
        std::vector<Policy> policies;
        AuthzVerdict expected;
    };
    const Row rows[] = {
        {"no policy", {}, {.allowed = true}},
        {"deny matches", {policy(deny, "d", match)}, {.allowed = false, .policy = 0, .rule = 0}},
        {"deny misses", {policy(deny, "d", miss)}, {.allowed = true}},
        {"allow matches", {policy(allow, "a", match)}, {.allowed = true, .policy = 0, .rule = 0}},
        {"allow misses", {policy(allow, "a", miss)}, {.allowed = false}},
        {"allow nothing", {policy(allow, "a", {})}, {.allowed = false}},
        {"allow nothing beside allow",
         {policy(allow, "a", {}), policy(allow, "b", match)},
         {.allowed = true, .policy = 1, .rule = 0}},
        {"deny beats allow",
         {policy(allow, "a", match), policy(deny, "d", match)},
         {.allowed = false, .policy = 1, .rule = 0}},
        {"deny misses, allow misses", {policy(deny, "d", miss), policy(allow, "a", miss)}, {.allowed = false}},
        {"second deny, second rule",
         {policy(deny, "d", miss), policy(deny, "e", {miss[0], match[0]})},
         {.allowed = false, .policy = 1, .rule = 1}},
        {"deny without rules never matches", {policy(deny, "d", {})}, {.allowed = true}},
    };
    for (const auto& row : rows)
        EXPECT_EQ(judge(snapshot_of(row.policies), 0, data.input), row.expected) << row.name;
    EXPECT_TRUE(judge(config::Snapshot{}, config::none, data.input).allowed);
}

TEST(Authz, the_viewer_policy_of_the_demo) {
    const auto snapshot =
        snapshot_of({policy(Policy::Action::allow, "viewer",
                            {rule({from(&PolicySource::namespaces, texts({"default", "istio-system"}))},
                                  {to(&PolicyOperation::methods, strings({"GET"}))})})});
    Input data;
    EXPECT_TRUE(judge(snapshot, 0, data.input).allowed);
    data.request.head.method = "POST";
    data.input.request = data.request.view();
    EXPECT_FALSE(judge(snapshot, 0, data.input).allowed);
    data.request.head.method = "GET";
    data.input.request = data.request.view();
    const config::Workload outsider = client("outside", "curl");
    data.input.identify(&outsider);
    EXPECT_FALSE(judge(snapshot, 0, data.input).allowed);
    data.input.identify(nullptr);
    EXPECT_FALSE(judge(snapshot, 0, data.input).allowed);
}

TEST(Authz, a_broken_index_refuses) {
    const Input data;
    auto snapshot = snapshot_of({});
    EXPECT_FALSE(judge(snapshot, 7, data.input).allowed);
    snapshot.policy_sets[0].deny = {3};
    EXPECT_FALSE(judge(snapshot, 0, data.input).allowed);
    snapshot.policy_sets[0] = {.deny = {}, .allow = {3}};
    EXPECT_FALSE(judge(snapshot, 0, data.input).allowed);
}

TEST(Authz, all_guards_must_allow_each_with_its_port) {
    const auto on_port = [](uint16_t port) { return rule({}, {to(&PolicyOperation::ports, ports({port}))}); };
    config::Snapshot snapshot;
    snapshot.policies = {policy(Policy::Action::allow, "first", {on_port(80)}),
                         policy(Policy::Action::deny, "second", {on_port(8080)})};
    snapshot.policy_sets = {{.deny = {}, .allow = {0}}, {.deny = {1}, .allow = {}}};
    Input data;
    data.input.destination_port = 1; // every guard brings its own
    const config::Guard service{.policies = 0, .destination_port = 80, .frontend = 0};
    const config::Guard pod{.policies = 1, .destination_port = 9080, .frontend = config::none};
    const config::Guard refused{.policies = 1, .destination_port = 8080, .frontend = config::none};
    const config::Guard open{.policies = config::none, .destination_port = 8080, .frontend = 0};
    const auto judged = [&](std::vector<config::Guard> guards) { return judge_guards(snapshot, guards, data.input); };
    EXPECT_TRUE(judged({}).allowed);
    EXPECT_TRUE(judged({open}).allowed);
    EXPECT_TRUE(judged({service, pod}).allowed);
    EXPECT_EQ(judged({service, pod, refused}), (AuthzVerdict{.allowed = false, .policy = 1, .rule = 0}));
    EXPECT_EQ(judged({refused, service}), (AuthzVerdict{.allowed = false, .policy = 1, .rule = 0}));
}

TEST(Authz, a_guard_of_all_other_ports_sees_the_port_that_was_dialled) {
    config::Snapshot snapshot;
    snapshot.policies = {
        policy(Policy::Action::deny, "admin", {rule({}, {to(&PolicyOperation::ports, ports({9901}))})})};
    snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    const config::Guard others{.policies = 0, .destination_port = 0, .frontend = config::none};
    Input data;
    data.input.destination_port = 9901;
    EXPECT_FALSE(judge_guards(snapshot, std::span(&others, 1), data.input).allowed);
    data.input.destination_port = 9902;
    EXPECT_TRUE(judge_guards(snapshot, std::span(&others, 1), data.input).allowed);
}

TEST(Authz, a_connection_is_never_allowed_and_more_widely_denied_by_what_only_a_request_has) {
    using enum PolicyCondition::Key;
    using Operation = PolicyOperation;
    const auto ns = [](std::string name) { return from(&PolicySource::namespaces, texts({std::move(name)})); };
    const auto on = [](std::vector<uint16_t> numbers) { return to(&Operation::ports, ports(std::move(numbers))); };
    const auto header = [](Texts values, Texts not_values = {}) {
        return when(request_header, &PolicyCondition::strings, strings(values, not_values), "x-env");
    };
    Operation both = on({9080});
    both.methods = strings({"POST"}); // not the request's, which nobody reads
    Operation elsewhere = both;
    elsewhere.ports = ports({80});
    const auto miss = strings({"none.example"});
    struct Row {
        const char* name;
        PolicyRule rule;
        bool allow; ///< does it match as a rule of ALLOW
        bool deny;
    };
    const Row rows[] = {
        {"empty rule", {}, true, true},
        {"from", rule({ns("default")}), true, true},
        {"other from", rule({ns("other")}), false, false},
        {"port", rule({}, {on({9080})}), true, true},
        {"other port", rule({}, {on({80})}), false, false},
        {"remote address is the peer", rule({from(&PolicySource::remote_ip_blocks, blocks({"10.0.1.5"}))}), true, true},
        {"server name", rule({}, {}, {when(connection_sni, &PolicyCondition::strings, strings({"*.sni"}))}), true,
         true},
        {"other server name", rule({}, {}, {when(connection_sni, &PolicyCondition::strings, miss)}), false, false},
        {"destination", rule({}, {}, {when(destination_ip, &PolicyCondition::blocks, blocks({"10.96.0.10"}))}), true,
         true},
        // one clause with both: the parts of a request are ignored
        {"port and method", rule({}, {both}), false, true},
        {"other port and method", rule({}, {elsewhere}), false, false},
        {"from, port and method", rule({ns("default")}, {both}), false, true},
        {"other from, port and method", rule({ns("other")}, {both}), false, false},
        // several entries, one of a request only: that one becomes ANY
        {"port or method", rule({}, {on({9080}), to(&Operation::methods, strings({"POST"}))}), false, true},
        {"other port or method", rule({}, {on({80}), to(&Operation::methods, strings({"POST"}))}), false, true},
        // a clause of nothing else: ANY
        {"method", rule({}, {to(&Operation::methods, strings({"POST"}))}), false, true},
        {"method of the request", rule({}, {to(&Operation::methods, strings({"GET"}))}), false, true},
        {"not method", rule({}, {to(&Operation::methods, strings({}, {"GET"}))}), false, true},
        {"path", rule({}, {to(&Operation::paths, paths({"/none"}))}), false, true},
        {"not path", rule({}, {to(&Operation::paths, paths({}, {"/*"}))}), false, true},
        {"host", rule({}, {to(&Operation::hosts, miss)}), false, true},
        {"not host", rule({}, {to(&Operation::hosts, strings({}, {"*"}))}), false, true},
        {"header", rule({}, {}, {header({"none"})}), false, true},
        {"not header", rule({}, {}, {header({}, {"dev"})}), false, true},
        {"from and header", rule({ns("default")}, {}, {header({"none"})}), false, true},
        {"other from and header", rule({ns("other")}, {}, {header({"none"})}), false, false},
    };
    Input data;
    data.input.judged = Judged::connection;
    data.input.remote = data.input.peer;
    for (const auto& row : rows) {
        EXPECT_EQ(matching_rule(policy(Policy::Action::allow, "p", {row.rule}), data.input) == 0, row.allow)
            << row.name;
        EXPECT_EQ(matching_rule(policy(Policy::Action::deny, "p", {row.rule}), data.input) == 0, row.deny) << row.name;
    }
    // The policy stays: without a rule that can match it allows nothing.
    const auto only_requests = snapshot_of({policy(Policy::Action::allow, "a", {rule({}, {both})})});
    EXPECT_FALSE(judge(only_requests, 0, data.input).allowed);
    data.input.sni = {};
    EXPECT_FALSE(
        rule_matches(rule({}, {}, {when(connection_sni, &PolicyCondition::strings, strings({"*"}))}), data.input));
}

TEST(RemoteAddress, x_forwarded_for) {
    struct Row {
        Fields fields;
        uint32_t hops;
        std::string_view expected;
    };
    const Row rows[] = {
        {{}, 0, "10.0.0.1"},
        {{{"x-forwarded-for", "192.0.2.10"}}, 0, "192.0.2.10"},
        {{{"X-Forwarded-For", "192.0.2.10, 192.0.2.1, 10.0.0.9"}}, 0, "10.0.0.9"},
        {{{"x-forwarded-for", "192.0.2.10, 192.0.2.1, 10.0.0.9"}}, 1, "192.0.2.1"},
        {{{"x-forwarded-for", "192.0.2.10, 192.0.2.1, 10.0.0.9"}}, 2, "192.0.2.10"},
        {{{"x-forwarded-for", "192.0.2.10, 192.0.2.1, 10.0.0.9"}}, 3, "10.0.0.1"},
        {{{"x-forwarded-for", "192.0.2.10"}, {"x-forwarded-for", "192.0.2.11"}}, 0, "192.0.2.11"},
        {{{"x-forwarded-for", "192.0.2.10"}, {"x-forwarded-for", "192.0.2.11"}}, 1, "192.0.2.10"},
        {{{"x-forwarded-for", " \t2001:db8::1\t "}}, 0, "2001:db8::1"},
        {{{"x-forwarded-for", "192.0.2.10,"}}, 0, "10.0.0.1"},
        {{{"x-forwarded-for", "192.0.2.10:80"}}, 0, "10.0.0.1"},
        {{{"x-forwarded-for", "unknown"}}, 0, "10.0.0.1"},
        {{{"x-forwarded-for", ""}}, 0, "10.0.0.1"},
        {{{"x-forwarded-for", "192.0.2.10, bad"}}, 0, "10.0.0.1"},
    };
    for (const auto& row : rows) {
        const Request request("/", "GET", "s", row.fields);
        EXPECT_EQ(remote_address(request.head.headers, ip("10.0.0.1"), row.hops).to_string(), row.expected);
    }
}

} // namespace
} // namespace weft::l7
