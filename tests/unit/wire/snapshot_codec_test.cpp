// SPDX-License-Identifier: Apache-2.0
#include "config/wire/snapshot_codec.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "bpf/abi.h"
#include "config/model/limits.hpp"
#include "config/model/pattern.hpp"
#include "config/wire/message.hpp"

namespace weft::wire {
namespace {

static_assert(config::limits::service_id_min == WEFT_SERVICE_ID_MIN);
static_assert(config::limits::service_id_max == WEFT_SERVICE_IDS_MAX);
static_assert(config::limits::pods_max == WEFT_PODS_MAX);
static_assert(config::limits::frontends_max == WEFT_SERVICES_MAX);

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}
config::StringPattern pattern(std::string_view text) {
    return config::parse_string_pattern(text);
}

config::Policy rich_policy(config::Policy::Action action) {
    config::Policy policy{.ns = "default", .name = "rich", .action = action, .rules = {}};
    auto& rule = policy.rules.emplace_back();
    auto& source = rule.from.emplace_back();
    source.principals = {{pattern("*"), pattern("td/*")}, {pattern("*/sa/x")}};
    source.namespaces = {{"a*"}, {"ab"}};
    source.service_accounts = {{{"ns", "sa"}}, {{"ns", "other"}}};
    source.ip_blocks = {{*Cidr::parse("10.0.0.0/8"), *Cidr::parse("2001:db8::/32")}, {*Cidr::parse("10.1.0.0/16")}};
    source.remote_ip_blocks = {{*Cidr::parse("0.0.0.0/0")}, {*Cidr::parse("::/0")}};
    auto& operation = rule.to.emplace_back();
    operation.hosts = {{pattern("h:*")}, {pattern("*.x")}};
    operation.ports = {{80, 65535}, {443}};
    operation.methods = {{pattern("GET")}, {pattern("P*")}};
    operation.paths = {{config::parse_path_pattern("/a/{*}/b"), config::parse_path_pattern("/c*")},
                       {config::parse_path_pattern("/a/{**}")}};
    using enum config::PolicyCondition::Key;
    const auto condition = [&](config::PolicyCondition::Key key) -> config::PolicyCondition& {
        auto& out = rule.when.emplace_back();
        out.key = key;
        return out;
    };
    auto& header = condition(request_header);
    header.header = "x-env";
    header.strings = {{pattern("dev")}, {pattern("*")}};
    condition(source_ip).blocks = {{}, {*Cidr::parse("10.0.0.1")}};
    condition(remote_ip).blocks = {{*Cidr::parse("fd00::/8")}, {}};
    condition(source_namespace).namespaces = {{"*"}, {}};
    condition(source_principal).strings = {{pattern("x")}, {}};
    condition(source_service_account).service_accounts = {{{"n", "s"}}, {}};
    condition(destination_ip).blocks = {{*Cidr::parse("10.96.0.1")}, {}};
    condition(destination_port).ports = {{}, {8080}};
    condition(connection_sni).strings = {{pattern("*.sni")}, {}};
    policy.rules.emplace_back(); // the rule that matches everything
    return policy;
}

config::RouteTable rich_table() {
    config::RouteTable table;
    table.rules = {{.route = "default/reviews",
                    .name = "named",
                    .backends = {{.cluster = 1, .weight = 90}, {.cluster = 0, .weight = 10}}},
                   {.route = "default/bad", .name = "", .backends = {{.cluster = config::none, .weight = 0}}},
                   {.route = "default/empty", .name = "", .backends = {}}};
    auto& exact = table.entries.emplace_back();
    exact.match.path_kind = config::RouteMatch::Path::exact;
    exact.match.path = "/exact/";
    exact.match.method = "PATCH";
    exact.match.headers = {{"version", "one"}, {"empty", ""}};
    exact.match.queries = {{"animal", "whale"}};
    exact.match.hostnames = {"*.example.com", "one.org"};
    exact.rule = 2;
    table.entries.emplace_back(); // the default match
    return table;
}

config::Snapshot rich() {
    config::Snapshot snapshot;
    snapshot.generation = 0x1'0000'0000;
    snapshot.trust_domain = "td.example";
    snapshot.cluster_id = "c1";
    snapshot.workloads = {{.ns = "default",
                           .pod = "reviews-v1-abc",
                           .service_account = "reviews",
                           .name = "reviews-v1",
                           .canonical_service = "reviews",
                           .canonical_revision = "v1",
                           .app = "reviews",
                           .version = "v1",
                           .principal = "spiffe://td.example/ns/default/sa/reviews",
                           .addresses = {ip("10.0.0.1"), ip("2001:db8::1")}},
                          {}};
    snapshot.clusters.resize(2);
    auto& cluster = snapshot.clusters[1];
    cluster = {.ns = "default",
               .service = "reviews-v1",
               .host = "reviews-v1.default.svc.cluster.local",
               .port = 9080,
               .protocol = config::Protocol::tcp,
               .endpoints = {{.address = {ip("10.0.0.1"), 9080}, .workload = 0, .local_pod = 3},
                             {.address = {ip("2001:db8::9"), 65535}}}};
    auto& frontend = snapshot.frontends.emplace_back();
    frontend = {.id = WEFT_SERVICE_ID_MIN,
                .addresses = {ip("10.96.0.1"), ip("fd00::1")},
                .port = 9080,
                .ns = "default",
                .service = "reviews",
                .host = "reviews.default.svc.cluster.local",
                .protocol = config::Protocol::grpc,
                .l7 = true,
                .cluster = 1,
                .routes = 0,
                .policies = 0,
                .consumer_routes = {{.client_namespace = "consumer", .table = 1}}};
    auto& plain = snapshot.frontends.emplace_back();
    plain.id = WEFT_SERVICE_IDS_MAX;
    snapshot.route_tables = {rich_table(), {}};
    snapshot.policies = {rich_policy(config::Policy::Action::allow), rich_policy(config::Policy::Action::deny)};
    snapshot.policy_sets = {{.deny = {1}, .allow = {0}}, {}};
    snapshot.pods = {{.id = 3,
                      .workload = 0,
                      .inbound = {{.port = 0, .guards = {}},
                                  {.port = 9080,
                                   .protocol = config::Protocol::http2,
                                   .guards = {{.policies = 0, .destination_port = 9080, .frontend = 0},
                                              {.policies = 1, .destination_port = 80, .frontend = config::none},
                                              {}}}}},
                     {.id = 4, .workload = config::none, .inbound = {}}};
    return snapshot;
}

TEST(SnapshotCodec, round_trip) {
    for (const auto& snapshot : {rich(), config::Snapshot{}}) {
        const std::string bytes = serialize_message(to_proto(snapshot));
        proto::Snapshot message;
        ASSERT_TRUE(parse_message(as_bytes(bytes), message));
        const auto back = from_proto(message);
        ASSERT_TRUE(back.has_value()) << back.error();
        EXPECT_EQ(*back, snapshot);
    }
}

TEST(SnapshotCodec, to_proto_replaces_what_was_there) {
    proto::Snapshot message = to_proto(rich());
    to_proto(config::Snapshot{}, message);
    EXPECT_EQ(message.workloads_size(), 0);
    EXPECT_EQ(message.generation(), 0U);
}

struct Corruption {
    std::function<void(proto::Snapshot&)> apply;
    std::string_view fault;
};

void expect_faults(const std::vector<Corruption>& corruptions) {
    for (const auto& corruption : corruptions) {
        proto::Snapshot message = to_proto(rich());
        corruption.apply(message);
        const auto result = from_proto(message);
        ASSERT_FALSE(result.has_value()) << corruption.fault;
        EXPECT_EQ(result.error(), corruption.fault);
    }
}

TEST(SnapshotCodec, names_the_bad_field_of_services) {
    expect_faults({
        {[](auto& m) { m.mutable_workloads(0)->set_addresses(1, "abcd"); },
         "workloads[0].addresses[1]: an address of 4 bytes, not 16"},
        {[](auto& m) { m.mutable_workloads(1)->set_principal(std::string(9000, 'x')); },
         "workloads[1].principal: 9000 bytes, the limit is 8192"},
        {[](auto& m) { m.mutable_clusters(1)->set_port(65536); }, "clusters[1].port: no port: 65536"},
        {[](auto& m) { m.mutable_clusters(1)->mutable_endpoints(1)->mutable_address()->set_port(70000); },
         "clusters[1].endpoints[1].address.port: no port: 70000"},
        {[](auto& m) { m.mutable_clusters(1)->mutable_endpoints(1)->clear_address(); },
         "clusters[1].endpoints[1].address.ip: an address of 0 bytes, not 16"},
        {[](auto& m) { m.mutable_clusters(1)->mutable_endpoints(0)->set_workload(3); },
         "clusters[1].endpoints[0].workload: index 2 of 2"},
        {[](auto& m) { m.mutable_clusters(1)->mutable_endpoints(0)->set_local_pod(99); },
         "clusters[1].endpoints[0].local_pod: no pod 99"},
        {[](auto& m) { m.mutable_frontends(0)->set_id(WEFT_SERVICE_ID_MIN - 1); },
         "frontends[0].id: no service id: 65535"},
        {[](auto& m) { m.mutable_frontends(0)->set_id(WEFT_SERVICE_IDS_MAX + 1); },
         "frontends[0].id: no service id: 16777216"},
        {[](auto& m) { m.mutable_frontends(1)->set_id(WEFT_SERVICE_ID_MIN); },
         "frontends[1].id: 65536 is the id of frontends[0] too"},
        {[](auto& m) {
             m.mutable_frontends(1)->add_addresses(m.frontends(0).addresses(1));
             m.mutable_frontends(1)->set_port(9080);
         },
         "frontends[1].addresses[0]: [fd00::1]:9080 is an address of frontends[0] too"},
        {[](auto& m) { m.mutable_frontends(0)->set_port(1U << 31); }, "frontends[0].port: no port: 2147483648"},
        {[](auto& m) { m.mutable_frontends(0)->set_cluster(10); }, "frontends[0].cluster: index 9 of 2"},
        {[](auto& m) { m.mutable_frontends(0)->set_routes(3); }, "frontends[0].routes: index 2 of 2"},
        {[](auto& m) { m.mutable_frontends(0)->set_policies(UINT32_MAX); },
         "frontends[0].policies: index 4294967294 of 2"},
        {[](auto& m) { m.mutable_frontends(0)->mutable_consumer_routes(0)->set_table(3); },
         "frontends[0].consumer_routes[0].table: index 2 of 2"},
        {[](auto& m) { m.mutable_frontends(0)->mutable_consumer_routes(0)->set_table(0); },
         "frontends[0].consumer_routes[0].table: is missing"},
        {[](auto& m) { m.mutable_frontends(0)->mutable_consumer_routes(0)->clear_client_namespace(); },
         "frontends[0].consumer_routes[0].client_namespace: is empty"},
        {[](auto& m) { m.mutable_clusters(1)->set_protocol(6); }, "clusters[1].protocol: no such value: 6"},
        {[](auto& m) { m.mutable_frontends(0)->set_protocol(256); }, "frontends[0].protocol: no such value: 256"},
        {[](auto& m) { m.mutable_pods(0)->mutable_inbound(1)->set_protocol(6); },
         "pods[0].inbound[1].protocol: no such value: 6"},
        {[](auto& m) { m.mutable_pods(0)->set_id(0); }, "pods[0].id: is 0"},
        {[](auto& m) { m.mutable_pods(1)->set_id(3); }, "pods[1].id: 3 is the id of pods[0] too"},
        {[](auto& m) { m.mutable_pods(1)->set_workload(5); }, "pods[1].workload: index 4 of 2"},
        {[](auto& m) { m.mutable_pods(0)->mutable_inbound(0)->set_port(9080); },
         "pods[0].inbound[1]: ports are not in ascending order"},
        {[](auto& m) { m.mutable_pods(0)->mutable_inbound(1)->set_port(100'000); },
         "pods[0].inbound[1].port: no port: 100000"},
        {[](auto& m) { m.mutable_pods(0)->mutable_inbound(1)->mutable_guards(1)->set_policies(3); },
         "pods[0].inbound[1].guards[1].policies: index 2 of 2"},
        {[](auto& m) { m.mutable_pods(0)->mutable_inbound(1)->mutable_guards(0)->set_frontend(3); },
         "pods[0].inbound[1].guards[0].frontend: index 2 of 2"},
        {[](auto& m) { m.mutable_pods(0)->mutable_inbound(1)->mutable_guards(0)->set_destination_port(65536); },
         "pods[0].inbound[1].guards[0].destination_port: no port: 65536"},
        {[](auto& m) { m.set_trust_domain(std::string(8193, 'x')); }, "trust_domain: 8193 bytes, the limit is 8192"},
        {[](auto& m) {
             for (uint32_t id = 10; m.pods_size() <= WEFT_PODS_MAX; ++id)
                 m.add_pods()->set_id(id);
         },
         "pods: 1025 items, the limit is 1024"},
    });
}

TEST(SnapshotCodec, names_the_bad_field_of_routes) {
    expect_faults({
        {[](auto& m) { m.mutable_route_tables(0)->mutable_entries(0)->set_rule(3); },
         "route_tables[0].entries[0].rule: index 3 of 3"},
        {[](auto& m) { m.mutable_route_tables(0)->mutable_entries(1)->set_path("x"); },
         "route_tables[0].entries[1].path: does not start with /"},
        {[](auto& m) { m.mutable_route_tables(0)->mutable_entries(1)->set_path(""); },
         "route_tables[0].entries[1].path: does not start with /"},
        {[](auto& m) { m.mutable_route_tables(0)->mutable_entries(1)->set_path("/a/"); },
         "route_tables[0].entries[1].path: a prefix that ends in /"},
        {[](auto& m) { m.mutable_route_tables(0)->mutable_entries(1)->set_path("/" + std::string(1024, 'a')); },
         "route_tables[0].entries[1].path: 1025 bytes, the limit is 1024"},
        {[](auto& m) { m.mutable_route_tables(0)->mutable_entries(0)->mutable_headers(1)->clear_name(); },
         "route_tables[0].entries[0].headers[1].name: is empty"},
        {[](auto& m) { m.mutable_route_tables(0)->mutable_entries(0)->mutable_queries(0)->clear_name(); },
         "route_tables[0].entries[0].queries[0].name: is empty"},
        {[](auto& m) { m.mutable_route_tables(0)->mutable_entries(0)->set_hostnames(1, ""); },
         "route_tables[0].entries[0].hostnames[1]: is empty"},
        {[](auto& m) { m.mutable_route_tables(0)->mutable_rules(0)->mutable_backends(1)->set_cluster(3); },
         "route_tables[0].rules[0].backends[1].cluster: index 2 of 2"},
        {[](auto& m) { m.mutable_route_tables(0)->mutable_rules(0)->mutable_backends(0)->set_weight(1'000'001); },
         "route_tables[0].rules[0].backends[0].weight: 1000001, the limit is 1000000"},
        {[](auto& m) {
             for (int i = 0; i < 64; ++i)
                 m.mutable_route_tables(0)->mutable_entries(0)->add_headers()->set_name("h");
         },
         "route_tables[0].entries[0].headers: 66 items, the limit is 64"},
    });
}

TEST(SnapshotCodec, names_the_bad_field_of_policies) {
    const auto source = [](proto::Snapshot& m) { return m.mutable_policies(0)->mutable_rules(0)->mutable_from(0); };
    const auto operation = [](proto::Snapshot& m) { return m.mutable_policies(1)->mutable_rules(0)->mutable_to(0); };
    const auto when = [](proto::Snapshot& m, int i) {
        return m.mutable_policies(0)->mutable_rules(0)->mutable_when(i);
    };
    expect_faults({
        {[](auto& m) { m.mutable_policy_sets(0)->set_deny(0, 2); }, "policy_sets[0].deny[0]: index 2 of 2"},
        {[](auto& m) { m.mutable_policy_sets(0)->set_deny(0, 0); },
         "policy_sets[0].deny[0]: policy 0 has the other action"},
        {[](auto& m) { m.mutable_policy_sets(0)->set_allow(0, 1); },
         "policy_sets[0].allow[0]: policy 1 has the other action"},
        {[&](auto& m) { source(m)->mutable_principals()->mutable_values(1)->set_kind(4); },
         "policies[0].rules[0].from[0].principals.values[1].kind: no such value: 4"},
        {[&](auto& m) { source(m)->mutable_principals()->mutable_values(1)->clear_value(); },
         "policies[0].rules[0].from[0].principals.values[1].value: is empty"},
        {[&](auto& m) { source(m)->mutable_principals()->mutable_values(0)->set_value("x"); },
         "policies[0].rules[0].from[0].principals.values[0].value: must be empty for kind present"},
        {[&](auto& m) { source(m)->mutable_namespaces()->set_not_values(0, ""); },
         "policies[0].rules[0].from[0].namespaces.not_values[0]: is empty"},
        {[&](auto& m) { source(m)->mutable_service_accounts()->mutable_values(0)->clear_ns(); },
         "policies[0].rules[0].from[0].service_accounts.values[0].ns: is empty"},
        {[&](auto& m) { source(m)->mutable_ip_blocks()->mutable_values(1)->set_bits(129); },
         "policies[0].rules[0].from[0].ip_blocks.values[1].bits: 129 of 128"},
        {[&](auto& m) { source(m)->mutable_remote_ip_blocks()->mutable_not_values(0)->set_ip("x"); },
         "policies[0].rules[0].from[0].remote_ip_blocks.not_values[0].ip: an address of 1 bytes, not 16"},
        {[&](auto& m) { operation(m)->mutable_ports()->set_values(1, 65536); },
         "policies[1].rules[0].to[0].ports.values[1]: no port: 65536"},
        {[&](auto& m) { operation(m)->mutable_paths()->mutable_values(0)->set_pattern("/a/{*}.txt"); },
         "policies[1].rules[0].to[0].paths.values[0].pattern: an operator {*} or {**} must fill its whole segment, and "
         "* "
         "cannot stand beside it"},
        {[&](auto& m) { operation(m)->mutable_paths()->mutable_values(0)->set_pattern("/plain"); },
         "policies[1].rules[0].to[0].paths.values[0].pattern: holds no {*} or {**}"},
        {[&](auto& m) { operation(m)->mutable_paths()->mutable_values(1)->clear_text(); },
         "policies[1].rules[0].to[0].paths.values[1].text.value: is empty"},
        {[&](auto& m) { when(m, 0)->set_key(9); }, "policies[0].rules[0].when[0].key: no such value: 9"},
        {[&](auto& m) { when(m, 0)->clear_header(); }, "policies[0].rules[0].when[0].header: is empty"},
        // A condition whose values were written for another key would hold always.
        {[&](auto& m) { when(m, 1)->set_key(3); }, "policies[0].rules[0].when[1]: no values for its key"},
        {[&](auto& m) { when(m, 0)->clear_strings(); }, "policies[0].rules[0].when[0]: no values for its key"},
        {[](auto& m) {
             while (m.policies(0).rules_size() <= 512)
                 m.mutable_policies(0)->add_rules();
         },
         "policies[0].rules: 513 items, the limit is 512"},
    });
}

TEST(Message, parses_whole_messages_only) {
    const std::string bytes = serialize_message(to_proto(rich()));
    proto::Snapshot message;
    EXPECT_TRUE(parse_message(as_bytes(bytes), message));
    EXPECT_EQ(message.trust_domain(), "td.example");
    EXPECT_TRUE(parse_message({}, message)); // nothing but defaults is a message too
    const auto half = parse_message(as_bytes(std::string_view(bytes).substr(0, bytes.size() - 1)), message);
    ASSERT_FALSE(half.has_value());
    EXPECT_EQ(half.error().code, Code::malformed);
    proto::Pair pair;
    EXPECT_FALSE(parse_message(as_bytes("\x0a\x01\xff"), pair)); // not UTF-8
}

/// Bytes that a broken or hostile agent could send: whatever parses must be refused or be safe to use.
TEST(SnapshotCodec, flipped_bytes_never_give_an_index_out_of_range) {
    const std::string bytes = to_proto(rich()).SerializeAsString();
    std::mt19937 random(20260101);
    size_t parsed = 0;
    size_t refused = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string broken = bytes;
        for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips)
            broken[random() % broken.size()] = static_cast<char>(random());
        proto::Snapshot message;
        if (!parse_message(as_bytes(broken), message))
            continue;
        ++parsed;
        const auto snapshot = from_proto(message);
        if (!snapshot) {
            ++refused;
            ASSERT_NE(snapshot.error().find(": "), std::string::npos);
            continue;
        }
        for (const auto& frontend : snapshot->frontends) {
            ASSERT_TRUE(frontend.cluster == config::none || frontend.cluster < snapshot->clusters.size());
            ASSERT_TRUE(frontend.routes == config::none || frontend.routes < snapshot->route_tables.size());
            ASSERT_TRUE(frontend.policies == config::none || frontend.policies < snapshot->policy_sets.size());
        }
        for (const auto& table : snapshot->route_tables) {
            for (const auto& entry : table.entries)
                ASSERT_LT(entry.rule, table.rules.size());
        }
        for (const auto& set : snapshot->policy_sets) {
            for (const uint32_t index : set.deny)
                ASSERT_LT(index, snapshot->policies.size());
        }
    }
    EXPECT_GT(parsed, 1000U);
    EXPECT_GT(refused, 100U);
}

} // namespace
} // namespace weft::wire
