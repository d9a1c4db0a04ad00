// SPDX-License-Identifier: Apache-2.0
#include "agent/status/lease.hpp"

#include <gtest/gtest.h>

#include "agent/status/acks.hpp"
#include "agent/status/json_members.hpp"

namespace weft::agent::status {
namespace {

TEST(Lease, is_written_and_read_as_the_api_has_it) {
    const LeaseRecord record{"n1", 15, "2026-01-02T03:04:05.000006Z", "2026-01-02T03:04:07.000000Z", 3};
    const Json body = lease_body("weft-status", "weft-system", record, "42");
    EXPECT_EQ(body["metadata"]["resourceVersion"], "42");
    EXPECT_EQ(body["spec"]["holderIdentity"], "n1");
    EXPECT_FALSE(lease_body("a", "b", record, "")["metadata"].contains("resourceVersion"));
    const auto read = read_lease(body);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->name, "weft-status");
    EXPECT_EQ(read->resource_version, "42");
    EXPECT_EQ(read->record, record);
}

TEST(Lease, of_anything_else_is_none_and_nothing_throws) {
    for (const char* body : {"", "[]", "7", "{}", R"({"metadata":7})", R"({"metadata":{"name":7}})", "{\"metadata\""})
        EXPECT_FALSE(read_lease(parse(body))) << body;
    const auto odd = read_lease(parse(R"({"metadata":{"name":"x","annotations":[1]},"spec":{"holderIdentity":{},
        "leaseDurationSeconds":"x","leaseTransitions":1.5}})"));
    ASSERT_TRUE(odd);
    EXPECT_EQ(odd->record, LeaseRecord());
}

TEST(Lease, times_are_those_of_kubernetes) {
    EXPECT_EQ(micro_time(0), "1970-01-01T00:00:00.000000Z");
    EXPECT_EQ(micro_time(1'767'323'045'000'007), "2026-01-02T03:04:05.000007Z");
    EXPECT_EQ(time_text(951'782'400), "2000-02-29T00:00:00Z");
}

// ------------------------------------------------------------------ what the nodes have in force

Lease beat(const std::string& node, const std::string& renewed, const Versions& versions) {
    return {.name = node_lease_name(node),
            .resource_version = "1",
            .record = {.holder = node, .duration_s = 40, .acquired = {}, .renewed = renewed, .transitions = 0},
            .in_force = versions_text(versions)};
}
using Nodes = std::vector<std::string>;

TEST(NodeAcks, versions_survive_their_text) {
    const Versions versions{{"Gateway", 7}, {"HTTPRoute", 18'446'744'073'709'551'615U}};
    EXPECT_EQ(parse_versions(versions_text(versions)), versions);
    for (const char* bad :
         {"", "{", "[]", "7", R"({"Gateway":7})", R"({"Gateway":"-7"})", R"({"Gateway":"x"})", R"({"Nonsense":"7"})"})
        EXPECT_EQ(parse_versions(bad), Versions()) << bad;
}

TEST(NodeAcks, only_kinds_whose_conditions_wait_are_told) {
    std::vector<uint64_t> versions(kinds_read().size(), 9);
    versions[kind_info("Gateway").index] = 0;
    EXPECT_EQ(acknowledged_versions(versions), (Versions{{"AuthorizationPolicy", 9}, {"HTTPRoute", 9}}));
    EXPECT_EQ(acknowledged_versions({}), Versions());
}

TEST(NodeAcks, a_version_is_awaited_until_every_node_has_it_or_a_later_one) {
    NodeAcks acks("a");
    EXPECT_EQ(acks.awaited("HTTPRoute", 5), Nodes{"a"}) << "nobody knows of anybody yet";
    acks.observe({beat("a", "1", {{"HTTPRoute", 5}}), beat("b", "1", {{"HTTPRoute", 4}}), beat("c", "1", {}),
                  beat("d", "1", {{"HTTPRoute", 12}, {"Gateway", 1}})},
                 1'000);
    EXPECT_EQ(acks.awaited("HTTPRoute", 5), (Nodes{"b", "c"}));
    EXPECT_EQ(acks.awaited("HTTPRoute", 4), Nodes{"c"});
    EXPECT_EQ(acks.awaited("Gateway", 1), (Nodes{"a", "b", "c"}));
    EXPECT_EQ(acks.awaited("HTTPRoute", 0), (Nodes{"a", "b", "c", "d"})) << "cannot be compared";
    acks.observe({beat("a", "2", {{"HTTPRoute", 5}}), beat("b", "2", {{"HTTPRoute", 5}})}, 2'000);
    EXPECT_EQ(acks.awaited("HTTPRoute", 5), Nodes()) << "nodes without a Lease are gone";
    EXPECT_EQ(acks.nodes(), 2U);
    acks.observe({beat("b", "3", {{"HTTPRoute", 5}})}, 3'000);
    EXPECT_EQ(acks.awaited("HTTPRoute", 5), Nodes{"a"}) << "the leader itself";
}

TEST(NodeAcks, a_silent_node_is_waited_for_no_longer_by_our_clock) {
    NodeAcks acks("a");
    const std::vector<Lease> leases = {beat("a", "1", {{"HTTPRoute", 9}}), beat("b", "2099-01-01", {})};
    constexpr uint64_t first_ms = 100'000;
    for (uint64_t now = first_ms; now < first_ms + node_stale_ms; now += 10'000) {
        acks.observe(leases, now); // read, not renewed
        EXPECT_EQ(acks.awaited("HTTPRoute", 9), Nodes{"b"});
    }
    acks.observe(leases, first_ms + node_stale_ms);
    EXPECT_EQ(acks.awaited("HTTPRoute", 9), Nodes());
    EXPECT_EQ(acks.awaited("HTTPRoute", 10), Nodes{"a"}) << "this node cannot be silent to itself";
    EXPECT_EQ(acks.silent(), 2U);
    acks.observe({leases[0], beat("b", "1990-01-01", {})}, 150'000); // any other text is a renewal
    EXPECT_EQ(acks.awaited("HTTPRoute", 9), Nodes{"b"});
}

/// While the API server was away nobody could renew.
TEST(NodeAcks, after_a_time_without_looking_every_node_is_waited_for_again) {
    NodeAcks acks("a");
    const std::vector<Lease> leases = {beat("a", "1", {{"HTTPRoute", 9}}), beat("b", "1", {{"HTTPRoute", 8}})};
    acks.observe(leases, 100'000);
    acks.observe(leases, 100'000 + looks_apart_max_ms + node_stale_ms);
    EXPECT_EQ(acks.awaited("HTTPRoute", 9), Nodes{"b"});
    EXPECT_EQ(acks.silent(), 0U);
}

TEST(NodeAcks, the_message_names_some) {
    EXPECT_EQ(awaited_message({"a"}), "waiting for the node a");
    EXPECT_EQ(awaited_message({"a", "b"}), "waiting for the nodes a, b");
    EXPECT_EQ(awaited_message({"a", "b", "c", "d", "e", "f", "g"}), "waiting for the nodes a, b, c, d, e and 2 more");
}

TEST(NodeAcks, a_lease_of_another_name_is_no_node) {
    EXPECT_EQ(node_of_lease(node_lease_name("n.example.com")), "n.example.com");
    EXPECT_EQ(node_of_lease("weft-status"), "");
    EXPECT_EQ(node_of_lease("weft-node-"), "");
    NodeAcks acks("a");
    Lease odd = beat("a", "1", {});
    odd.name = "weft-status";
    acks.observe({odd}, 1);
    EXPECT_EQ(acks.nodes(), 0U);
}

} // namespace
} // namespace weft::agent::status
