// SPDX-License-Identifier: Apache-2.0
// What a client sees of policies: who is judged, by which set, and what is counted.
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

TEST(ProxyPolicy, refuses_what_the_service_policy_forbids_and_keeps_the_connection) {
    Stage stage(4);
    stage.snapshot.policies = {policy_of(config::Policy::Action::allow, "GET")};
    stage.snapshot.policy_sets = {{.deny = {}, .allow = {0}}};
    stage.snapshot.frontends[0].policies = 0;
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server(echo));
    const sim::Peer client = stage.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; }));
    const Replies replies = parse_replies(client.received());
    EXPECT_EQ(replies.whole[0].status, 403);
    EXPECT_EQ(replies.whole[0].body, "RBAC: access denied");
    EXPECT_EQ(replies.whole[1].status, 200);
    EXPECT_EQ(counted(stage, Counter::denied_frontend), 1U);
}

TEST(ProxyPolicy, judges_a_pod_of_this_node_unless_the_dialled_services_policies_are_among_its_guards) {
    Stage stage(5);
    stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "GET")};
    stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    stage.snapshot.pods[1].inbound = {{.port = 8080, .guards = {{.policies = 0, .destination_port = 80}}}};
    stage.snapshot.clusters.push_back(
        {.ns = "default",
         .service = "other",
         .host = "other",
         .port = 80,
         .endpoints = {{.address = address_of("10.0.0.2:8080"), .workload = 1, .local_pod = Stage::server_pod}}});
    stage.snapshot.route_tables = {
        {.entries = {{}}, .rules = {{.route = "default/r", .name = {}, .backends = {{.cluster = 1, .weight = 1}}}}}};
    stage.snapshot.frontends[0].routes = 0;
    stage.apply();
    stage.world.serve(address_of("10.0.0.2:8080"), http_server(echo));
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 403);
    // The same endpoint as one of the service's own: a service without policies is no way around the pod's.
    stage.snapshot.clusters[0].endpoints = stage.snapshot.clusters[1].endpoints;
    stage.apply();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; }));
    EXPECT_EQ(status_of(client), 403);
    // Policies of the service itself, which are one of the pod's guards: judged by name, and by nothing else.
    stage.snapshot.policies.push_back(policy_of(config::Policy::Action::allow, "GET"));
    stage.snapshot.policy_sets.push_back({.deny = {}, .allow = {1}});
    stage.snapshot.frontends[0].policies = 1;
    stage.snapshot.pods[1].inbound[0].guards.push_back({.policies = 1, .destination_port = 80, .frontend = 0});
    stage.apply();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 3; }));
    EXPECT_EQ(status_of(client), 200);
    EXPECT_EQ(counted(stage, Counter::denied_pod), 2U);
}

TEST(ProxyPolicy, judges_inbound_requests_by_every_guard_and_dials_through_a_slot) {
    Stage stage(6);
    stage.snapshot.policies = {policy_of(config::Policy::Action::allow, "GET")};
    stage.snapshot.policy_sets = {{.deny = {}, .allow = {0}}, {.deny = {}, .allow = {}}};
    stage.snapshot.pods[1].inbound = {
        {.port = 8080, .guards = {{.policies = 1, .destination_port = 80}, {.policies = 0, .destination_port = 80}}}};
    stage.apply();
    abi::weft_dial_slot seen{};
    // The slot that is used first: what the kernel's hook would see at connect.
    stage.world.serve(address_of("240.0.0.0:1"), [&](sim::Peer peer) {
        seen = stage.slots[0];
        http_server(echo)(peer);
    });
    const sim::Peer client = stage.inbound_client("10.0.9.9:5555", 8080);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 403);
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; }));
    EXPECT_EQ(status_of(client), 200);
    EXPECT_EQ(seen.destination.bytes[15], 2);
    EXPECT_EQ(ntohs(seen.destination_port), 8080);
    EXPECT_EQ(seen.client.bytes[15], 9);
    EXPECT_EQ(ntohs(seen.client_port), 5555);
    EXPECT_NE(seen.socket_cookie, 0U);
    EXPECT_EQ(stage.slots[0].used, 0U) << "free again";
    const std::vector<StatsSeries> series = stage.proxy->stats().collect();
    for (const StatsSeries& one : series)
        EXPECT_EQ(one.labels[0], "destination");
}

TEST(ProxyPolicy, counts_the_refusal_of_a_second_endpoint) {
    Stage stage(7);
    stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "GET")};
    stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    stage.snapshot.pods[1].inbound = {{.port = 8080, .guards = {{.policies = 0, .destination_port = 80}}}};
    stage.add_endpoint("10.0.1.1:8080"); // refuses, so that the governed pod is the second choice
    stage.add_endpoint("10.0.0.2:8080", Stage::server_pod);
    const sim::Peer client = stage.client();
    for (size_t sent = 1; counted(stage, Counter::retries_connect) + counted(stage, Counter::connects_refused) == 0;
         ++sent) {
        const uint64_t denied = counted(stage, Counter::denied_pod);
        client.send(get);
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == sent; }));
        EXPECT_EQ(status_of(client), 403);
        EXPECT_EQ(counted(stage, Counter::denied_pod), denied + 1);
        ASSERT_LT(sent, 100U);
    }
    EXPECT_EQ(counted(stage, Counter::connects_refused), 1U);
}

TEST(ProxyPolicy, inbound_refusals_name_the_pod_and_its_service) {
    Stage stage(8);
    stage.snapshot.policies = {policy_of(config::Policy::Action::allow, "GET")};
    stage.snapshot.policy_sets = {{.deny = {}, .allow = {0}}};
    stage.snapshot.pods[1].inbound = {
        {.port = 8080, .guards = {{.policies = 0, .destination_port = 80, .frontend = 0}}}};
    stage.apply();
    struct Case {
        std::string_view request;
        int status;
    };
    const Case cases[] = {{"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 403}, // by policy
                          {get, 503},                                                       // nobody listens
                          {"GET / HTTP/1.1\r\nhost: a\r\n no\r\n\r\n", 400}};               // by the codec
    for (const Case& one : cases) {
        const sim::Peer client = stage.inbound_client("10.0.0.1:5555", 8080);
        client.send(one.request);
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
        EXPECT_EQ(status_of(client), one.status);
        const std::vector<StatsSeries> series = stage.proxy->stats().collect();
        ASSERT_EQ(series.size(), 1U);
        const std::vector<std::string>& labels = series[0].labels;
        EXPECT_EQ(labels[1], "client") << one.status;
        EXPECT_EQ(labels[9], "server") << one.status;
        EXPECT_EQ(labels[14], "plain.default.svc.cluster.local") << one.status;
        EXPECT_EQ(labels[21], std::to_string(one.status));
    }
}

TEST(ProxyPolicy, sees_the_upgrade_that_a_client_asks_for) {
    Stage stage(9);
    config::PolicyCondition condition{.key = config::PolicyCondition::Key::request_header,
                                      .header = "upgrade",
                                      .strings = {},
                                      .namespaces = {},
                                      .service_accounts = {},
                                      .blocks = {},
                                      .ports = {}};
    condition.strings.values = {{.kind = config::StringPattern::Kind::exact, .value = "websocket"}};
    stage.snapshot.policies = {{.ns = "default",
                                .name = "p",
                                .action = config::Policy::Action::deny,
                                .rules = {{.from = {}, .to = {}, .when = {condition}}}}};
    stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    stage.snapshot.frontends[0].policies = 0;
    stage.add_endpoint("10.0.1.1:8080");
    std::string seen;
    stage.world.serve(address_of("10.0.1.1:8080"), http_server([&](std::string_view request, sim::Peer) {
                          seen = request;
                          return reply("");
                      }));
    const sim::Peer client = stage.client();
    const auto ask = [&](std::string_view protocol, size_t count) {
        client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: " + std::string(protocol) +
                    "\r\n\r\n");
        EXPECT_TRUE(stage.until([&] { return replies_of(client) == count; }));
        return status_of(client);
    };
    EXPECT_EQ(ask("websocket", 1), 403);
    EXPECT_EQ(ask("other", 2), 200);
    EXPECT_EQ(seen.find("pgrade"), std::string::npos) << seen;
}

} // namespace
} // namespace weft::l7::test
