// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/view.hpp"

#include <gtest/gtest.h>

#include "tests/unit/policy/requests.hpp"

namespace weft::l7 {
namespace {

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}

config::SnapshotPtr example() {
    auto snapshot = std::make_shared<config::Snapshot>();
    snapshot->workloads.resize(4);
    snapshot->workloads[0].addresses = {ip("10.0.0.1"), ip("fd00::1")};
    snapshot->workloads[1].addresses = {ip("10.0.0.2"), ip("10.0.0.2")};
    snapshot->workloads[2].addresses = {ip("192.0.2.1")}; // two pods of the host network
    snapshot->workloads[3].addresses = {ip("192.0.2.1")};
    snapshot->clusters.resize(1);
    snapshot->route_tables.resize(2);
    snapshot->route_tables[0].rules.emplace_back().route = "default/r";
    snapshot->route_tables[0].entries.emplace_back();
    auto& frontend = snapshot->frontends.emplace_back();
    frontend.id = 0x10005;
    frontend.addresses = {ip("10.96.0.1"), ip("fd00:96::1")};
    frontend.port = 80;
    frontend.routes = 0;
    frontend.consumer_routes = {{.client_namespace = "consumer", .table = 1}};
    snapshot->frontends.emplace_back().id = 0xffffff;
    auto& pod = snapshot->pods.emplace_back();
    pod.id = 7;
    const config::Guard of_port{.policies = 0, .destination_port = 80, .frontend = 0};
    const config::Guard of_rest{.policies = 0, .destination_port = 1, .frontend = config::none};
    pod.inbound = {{.port = 0, .guards = {of_rest}}, {.port = 8080, .guards = {of_port}}, {.port = 9090, .guards = {}}};
    snapshot->pods.emplace_back().id = 9;
    snapshot->policies.resize(1); // an ALLOW without rules
    snapshot->policy_sets.push_back({.deny = {}, .allow = {0}});
    return snapshot;
}

TEST(SnapshotView, finds_by_every_key) {
    const auto snapshot = example();
    const SnapshotView view(snapshot);
    EXPECT_EQ(view.frontend(0x10005U), &snapshot->frontends[0]);
    EXPECT_EQ(view.frontend(0xffffffU), &snapshot->frontends[1]);
    EXPECT_EQ(view.frontend(0U), nullptr);
    EXPECT_EQ(view.frontend(SocketAddress{ip("10.96.0.1"), 80}), &snapshot->frontends[0]);
    EXPECT_EQ(view.frontend(SocketAddress{ip("fd00:96::1"), 80}), &snapshot->frontends[0]);
    EXPECT_EQ(view.frontend(SocketAddress{ip("10.96.0.1"), 81}), nullptr);
    EXPECT_EQ(view.pod(9), &snapshot->pods[1]);
    EXPECT_EQ(view.pod(8), nullptr);
    EXPECT_EQ(view.workload(ip("fd00::1")), &snapshot->workloads[0]);
    EXPECT_EQ(view.workload(ip("10.0.0.2")), &snapshot->workloads[1]);
    EXPECT_EQ(view.workload(ip("10.0.0.3")), nullptr);
    EXPECT_EQ(view.workload(1U), &snapshot->workloads[1]);
    EXPECT_EQ(view.workload(config::none), nullptr);
    EXPECT_EQ(view.cluster(0), &snapshot->clusters[0]);
    EXPECT_EQ(view.cluster(config::none), nullptr);
}

TEST(SnapshotView, an_address_of_two_workloads_proves_nothing) {
    EXPECT_EQ(SnapshotView(example()).workload(ip("192.0.2.1")), nullptr);
}

TEST(SnapshotView, consumer_routes_replace_for_their_namespace_only) {
    const auto snapshot = example();
    const SnapshotView view(snapshot);
    const auto& frontend = snapshot->frontends[0];
    EXPECT_EQ(view.route_table(frontend, "consumer"), 1U);
    EXPECT_EQ(view.route_table(frontend, "default"), 0U);
    EXPECT_EQ(view.route_table(frontend, ""), 0U);
    EXPECT_EQ(view.route_table(snapshot->frontends[1], "consumer"), config::none);
    auto many = std::make_shared<config::Snapshot>(*snapshot);
    many->route_tables.resize(3);
    many->frontends[1].consumer_routes = {{.client_namespace = "consumer", .table = 2},
                                          {.client_namespace = "consumer", .table = 0}};
    const SnapshotView other(many);
    EXPECT_EQ(other.route_table(many->frontends[0], "consumer"), 1U); // by frontend and namespace
    EXPECT_EQ(other.route_table(many->frontends[1], "consumer"), 2U); // the first of two
    EXPECT_EQ(other.route_table(many->frontends[1], "default"), config::none);
    const test::Request request("/any");
    const auto hit = view.router(0).route(request.view());
    ASSERT_TRUE(hit.has_value());
    EXPECT_EQ(view.rule(0, *hit).route, "default/r");
    EXPECT_FALSE(view.router(1).route(request.view()).has_value()); // never falls through to the producer's
}

TEST(SnapshotView, guards_of_a_port) {
    const auto snapshot = example();
    const SnapshotView view(snapshot);
    EXPECT_EQ(view.guards(snapshot->pods[0], 8080).front().destination_port, 80);
    EXPECT_EQ(view.guards(snapshot->pods[0], 1234).front().destination_port, 1); // by the entry for all others
    EXPECT_TRUE(view.guards(snapshot->pods[0], 9090).empty());                   // an entry of its own, without guards
    EXPECT_TRUE(view.guards(snapshot->pods[1], 8080).empty());
}

TEST(SnapshotView, a_port_speaks_what_its_entry_says_else_what_the_entry_of_all_others_says) {
    using enum config::Protocol;
    auto snapshot = std::make_shared<config::Snapshot>();
    snapshot->pods.resize(3);
    snapshot->pods[0].inbound = {{.port = 0, .protocol = tls, .guards = {}},
                                 {.port = 80, .protocol = grpc, .guards = {}},
                                 {.port = 81, .protocol = undeclared, .guards = {}}};
    snapshot->pods[1].inbound = {{.port = 80, .protocol = tcp, .guards = {}}};
    const SnapshotView view(snapshot);
    const struct {
        size_t pod;
        uint16_t port;
        config::Protocol expected;
    } cases[] = {{0, 80, grpc}, {0, 81, undeclared}, {0, 82, tls},       {0, 79, tls},
                 {1, 80, tcp},  {1, 81, undeclared}, {2, 80, undeclared}};
    for (const auto& each : cases)
        EXPECT_EQ(view.protocol(snapshot->pods[each.pod], each.port), each.expected) << each.pod << ":" << each.port;
}

TEST(SnapshotView, service_of_a_port_is_the_only_one_that_its_guards_name) {
    auto snapshot = std::make_shared<config::Snapshot>();
    snapshot->frontends.resize(2);
    const config::Guard own{.policies = 0}, first{.policies = 0, .frontend = 0}, second{.policies = 0, .frontend = 1};
    snapshot->pods = {{.id = 1,
                       .inbound = {{.port = 1, .guards = {first}},
                                   {.port = 2, .guards = {first, own}},
                                   {.port = 3, .guards = {first, second}},
                                   {.port = 4, .guards = {own}},
                                   {.port = 5, .guards = {first, first}}}}};
    const SnapshotView view(snapshot);
    const config::Frontend* only = &snapshot->frontends[0];
    const config::Frontend* const expected[] = {only, only, nullptr, nullptr, only, nullptr};
    for (uint16_t port = 1; port <= std::size(expected); ++port)
        EXPECT_EQ(view.service_of(snapshot->pods[0], port), expected[port - 1]) << port;
}

TEST(SnapshotView, authorizers_judge_and_the_view_keeps_the_snapshot_alive) {
    std::weak_ptr<const config::Snapshot> alive;
    {
        auto snapshot = example();
        alive = snapshot;
        const SnapshotView view(std::move(snapshot));
        const test::Request request("/");
        AuthzInput input;
        input.request = request.view();
        EXPECT_FALSE(view.authorizer(0).judge(input).allowed);
        EXPECT_FALSE(alive.expired());
    }
    EXPECT_TRUE(alive.expired());
}

TEST(SnapshotView, authorizers_know_whether_the_remote_address_counts) {
    auto snapshot = std::make_shared<config::Snapshot>();
    snapshot->policies.resize(5);
    snapshot->policies[1].rules.resize(2);
    snapshot->policies[1].rules[1].from.resize(1);
    snapshot->policies[1].rules[1].from[0].remote_ip_blocks.not_values = {*Cidr::parse("10.0.0.0/8")};
    snapshot->policies[2].rules.resize(1);
    snapshot->policies[2].rules[0].when.resize(1);
    snapshot->policies[2].rules[0].when[0].key = config::PolicyCondition::Key::remote_ip;
    snapshot->policies[3] = snapshot->policies[2];
    snapshot->policies[3].rules[0].when[0].key = config::PolicyCondition::Key::source_ip;
    snapshot->policies[4].rules.resize(1);
    snapshot->policies[4].rules[0].from.resize(1);
    snapshot->policies[4].rules[0].from[0].ip_blocks.values = {*Cidr::parse("10.0.0.0/8")};
    snapshot->policy_sets = {{.deny = {}, .allow = {}},
                             {.deny = {0, 3}, .allow = {4}},
                             {.deny = {1}, .allow = {0}},
                             {.deny = {0}, .allow = {3, 2}},
                             {.deny = {9}, .allow = {}}};
    const SnapshotView view(snapshot);
    const bool expected[] = {false, false, true, true, false};
    for (uint32_t set = 0; set < std::size(expected); ++set)
        EXPECT_EQ(view.authorizer(set).reads_remote(), expected[set]) << set;
}

TEST(SnapshotView, many_of_everything) {
    auto snapshot = std::make_shared<config::Snapshot>();
    for (uint32_t i = 0; i < 20'000; ++i) {
        auto& frontend = snapshot->frontends.emplace_back();
        frontend.id = 0x10000 + i;
        frontend.addresses = {IpAddress::v4(htonl(0x0a600000 + i))};
        frontend.port = 80;
        snapshot->workloads.emplace_back().addresses = {IpAddress::v4(htonl(0x0a000000 + i))};
    }
    const SnapshotView view(snapshot);
    for (uint32_t i = 0; i < 20'000; ++i) {
        ASSERT_EQ(view.frontend(0x10000 + i), &snapshot->frontends[i]);
        ASSERT_EQ(view.frontend(SocketAddress{IpAddress::v4(htonl(0x0a600000 + i)), 80}), &snapshot->frontends[i]);
        ASSERT_EQ(view.workload(IpAddress::v4(htonl(0x0a000000 + i))), &snapshot->workloads[i]);
    }
}

} // namespace
} // namespace weft::l7
