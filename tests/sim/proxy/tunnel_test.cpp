// SPDX-License-Identifier: Apache-2.0
// Connections that are passed through: how they are told from HTTP, who is judged, what is counted, how they end.
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

using config::Protocol;

constexpr std::string_view backend_address = "10.0.1.1:8080";

/// A service of that protocol with one endpoint, which a test answers for by hand.
struct TcpStage : Stage {
    explicit TcpStage(uint64_t seed, Protocol protocol = Protocol::tcp, sim::Faults faults = calm(),
                      ProxySettings settings = {})
        : Stage(seed, faults, settings) {
        snapshot.frontends[0].protocol = protocol;
        add_endpoint(backend_address);
        world.serve(address_of(backend_address), [this](sim::Peer peer) {
            backend.peer = peer;
            if (!greeting.empty())
                peer.send(greeting);
        });
    }
    std::vector<TcpSeries> report() {
        std::vector<TcpSeries> series = proxy->report().tcp_series;
        return series;
    }
    Backend backend;
    std::string greeting;
};

/// Times that the simulated network's own delays do not blur.
ProxySettings patient() {
    ProxySettings settings;
    settings.sniff_timeout_ms = 2'000;
    return settings;
}

size_t label(std::string_view name) {
    return static_cast<size_t>(std::ranges::find(tcp_label_names, name) - tcp_label_names.begin());
}

/// A TLS record with a ClientHello that names a server.
std::string hello(std::string_view name) {
    const auto sized = [](size_t bytes, std::string text) {
        std::string out;
        for (size_t index = bytes; index-- > 0;)
            out += static_cast<char>(text.size() >> (8 * index));
        return out + text;
    };
    const std::string names = sized(2, std::string(1, '\0') + sized(2, std::string(name)));
    const std::string extensions = sized(2, std::string("\0\0", 2) + sized(2, names));
    std::string body = "\x03\x03" + std::string(32, 'r') + sized(1, "") + sized(2, "\x13\x01") +
                       sized(1, std::string(1, '\0')) + extensions;
    return "\x16\x03\x01" + sized(2, "\x01" + sized(3, body));
}

TEST(Tunnel, a_declared_tcp_port_lets_the_server_speak_first_at_once) {
    TcpStage stage(1, Protocol::tcp, Stage::calm(), patient());
    stage.greeting = "220 ready";
    const uint64_t start_ms = stage.world.now_ms();
    const sim::Peer client = stage.client();
    ASSERT_TRUE(stage.until([&] { return client.received() == "220 ready"; }));
    EXPECT_LT(stage.world.now_ms() - start_ms, stage.proxy->settings().sniff_timeout_ms);
    client.send("GET / HTTP/1.1\r\n\r\n"); // means nothing here
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "GET / HTTP/1.1\r\n\r\n"; }));
    EXPECT_EQ(counted(stage, Counter::tunnels_opened), 1U);
    client.shutdown();
    ASSERT_TRUE(stage.until([&] { return stage.backend.peer->saw_fin(); }));
    stage.backend.peer->send("bye");
    stage.backend.peer->shutdown();
    ASSERT_TRUE(stage.until([&] { return client.saw_fin(); }));
    EXPECT_EQ(client.received(), "220 readybye");
    ASSERT_TRUE(stage.until([&] { return stage.proxy->connections() == 0; }));
    EXPECT_EQ(counted(stage, Counter::tunnels_finished), 1U);
}

TEST(Tunnel, a_silent_client_of_an_undeclared_port_waits_no_longer_than_the_sniff_timeout) {
    TcpStage stage(2, Protocol::undeclared, Stage::calm(), patient());
    stage.greeting = "220 ready";
    const uint64_t start_ms = stage.world.now_ms();
    const sim::Peer client = stage.client();
    ASSERT_TRUE(stage.until([&] { return client.received() == "220 ready"; }));
    EXPECT_GE(stage.world.now_ms() - start_ms, stage.proxy->settings().sniff_timeout_ms);
    EXPECT_LT(stage.world.now_ms() - start_ms, stage.proxy->settings().sniff_timeout_ms + 500);
    EXPECT_EQ(counted(stage, Counter::sniffed_silence), 1U);
}

TEST(Tunnel, what_an_undeclared_port_speaks_is_told_by_the_first_bytes_however_they_come) {
    struct Row {
        std::string first;
        Counter counter;
        bool opaque;
    };
    const Row rows[] = {
        {std::string(get), Counter::sniffed_http, false},
        {"get key\r\n", Counter::sniffed_tcp, true},
        {"GET key\r\n", Counter::sniffed_tcp, true},
        {hello("db.example"), Counter::sniffed_tls, true},
        {std::string("\0\0\0\x08\x04\xd2\x16\x2f", 8), Counter::sniffed_tcp, true},
    };
    uint64_t seed = 10;
    for (const Row& row : rows) {
        for (size_t pieces = 0; pieces < 3; ++pieces) { // whole, at a random byte, byte by byte with pauses
            TcpStage stage(++seed, Protocol::undeclared);
            const sim::Peer client = stage.client();
            if (pieces == 0) {
                client.send(row.first);
            } else if (pieces == 1) {
                const size_t cut = 1 + stage.world.random(row.first.size() - 1);
                client.send(row.first.substr(0, cut));
                stage.world.after(90, [&, cut] { client.send(row.first.substr(cut)); });
            } else {
                for (size_t index = 0; index < row.first.size(); ++index)
                    stage.world.after(index * 7, [&, index] { client.send(row.first.substr(index, 1)); });
            }
            ASSERT_TRUE(stage.until([&] { return stage.backend.received().size() >= row.first.size(); })) << row.first;
            EXPECT_EQ(counted(stage, row.counter), 1U) << row.first;
            EXPECT_EQ(counted(stage, Counter::tunnels_opened), row.opaque ? 1U : 0U);
            EXPECT_EQ(stage.backend.received() == row.first, row.opaque) << row.first;
        }
    }
}

TEST(Tunnel, a_malformed_hello_is_passed_through_without_a_name) {
    TcpStage stage(3, Protocol::tls);
    const sim::Peer client = stage.client();
    client.send("no hello at all");
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "no hello at all"; }));
    EXPECT_EQ(counted(stage, Counter::hellos_malformed), 1U);
    const sim::Peer slow = stage.client();
    slow.send(hello("a.example").substr(0, 20));
    ASSERT_TRUE(stage.until([&] { return stage.backend.received().size() == 20; }, 20'000));
    EXPECT_EQ(counted(stage, Counter::hellos_incomplete), 1U);
}

// ------------------------------------------------------------------ policies

config::Policy sni_policy(config::Policy::Action action, std::string name) {
    config::PolicyCondition condition{.key = config::PolicyCondition::Key::connection_sni,
                                      .header = {},
                                      .strings = {},
                                      .namespaces = {},
                                      .service_accounts = {},
                                      .blocks = {},
                                      .ports = {}};
    condition.strings.values = {{.kind = config::StringPattern::Kind::exact, .value = std::move(name)}};
    return {.ns = "default", .name = "sni", .action = action, .rules = {{.from = {}, .to = {}, .when = {condition}}}};
}

TEST(Tunnel, the_server_name_of_the_hello_is_judged) {
    for (const bool allowed : {true, false}) {
        TcpStage stage(4, Protocol::tls);
        stage.snapshot.policies = {sni_policy(config::Policy::Action::allow, "good.example")};
        stage.snapshot.policy_sets = {{.deny = {}, .allow = {0}}};
        stage.snapshot.frontends[0].policies = 0;
        stage.apply();
        const sim::Peer client = stage.client();
        const std::string said = hello(allowed ? "good.example" : "bad.example");
        client.send(said);
        ASSERT_TRUE(stage.until([&] { return client.over() || stage.backend.received() == said; }));
        EXPECT_EQ(client.saw_reset(), !allowed);
        EXPECT_EQ(counted(stage, Counter::tunnels_denied_frontend), allowed ? 0U : 1U);
        EXPECT_EQ(stage.backend.peer.has_value(), allowed);
    }
}

TEST(Tunnel, a_name_that_cannot_be_read_may_be_any) {
    using enum config::Policy::Action;
    std::string malformed = hello("good.example");
    malformed[6] = '\xff'; // the message claims 16 MiB
    struct Row {
        const char* what;
        Protocol protocol;
        std::string said; // empty: nothing
        config::Policy::Action action;
        bool passes;
    };
    const std::string fragment = std::string("\x16\x03\x01\0\x02\x01\0", 7);
    const std::string alert_first = std::string("\x15\x03\x01\0\x02\x01\0", 7) + hello("bad.example");
    const Row rows[] = {
        {"malformed", Protocol::tls, malformed, deny, false},
        {"malformed", Protocol::tls, malformed, allow, false},
        {"a part", Protocol::tls, hello("bad.example").substr(0, 30), deny, false},
        {"a short fragment", Protocol::undeclared, fragment, deny, false},
        {"an alert before it", Protocol::undeclared, alert_first, deny, false},
        {"silence", Protocol::undeclared, "", deny, false},
        {"no TLS", Protocol::undeclared, "get key\r\n", deny, true},
        {"no TLS", Protocol::undeclared, "get key\r\n", allow, false},
        {"declared TCP: nobody looks", Protocol::tcp, "", deny, true},
        {"another name", Protocol::undeclared, hello("good.example"), deny, true},
        {"the name", Protocol::undeclared, hello("bad.example"), deny, false},
        {"the name", Protocol::undeclared, hello("bad.example"), allow, true},
    };
    uint64_t seed = 40;
    for (const Row& row : rows) {
        TcpStage stage(++seed, row.protocol);
        stage.snapshot.policies = {sni_policy(row.action, "bad.example")};
        stage.snapshot.policy_sets = {row.action == allow ? config::PolicySet{.deny = {}, .allow = {0}}
                                                          : config::PolicySet{.deny = {0}, .allow = {}}};
        stage.snapshot.frontends[0].policies = 0;
        stage.apply();
        const sim::Peer client = stage.client();
        if (!row.said.empty())
            client.send(row.said);
        ASSERT_TRUE(stage.until([&] { return client.over() || stage.backend.peer; }, 30'000)) << row.what;
        EXPECT_EQ(stage.backend.peer.has_value(), row.passes) << row.what;
        EXPECT_EQ(client.saw_reset(), !row.passes) << row.what;
    }
}

TEST(Tunnel, a_rule_about_requests_never_allows_a_connection_and_a_denial_is_a_reset_without_a_byte) {
    for (const auto action : {config::Policy::Action::allow, config::Policy::Action::deny}) {
        TcpStage stage(5);
        stage.greeting = "secret";
        stage.snapshot.policies = {policy_of(action, "GET")};
        stage.snapshot.policy_sets = {action == config::Policy::Action::allow
                                          ? config::PolicySet{.deny = {}, .allow = {0}}
                                          : config::PolicySet{.deny = {0}, .allow = {}}};
        stage.snapshot.frontends[0].policies = 0;
        stage.apply();
        const sim::Peer client = stage.client();
        ASSERT_TRUE(stage.until([&] { return client.over(); }));
        EXPECT_TRUE(client.saw_reset());
        EXPECT_EQ(client.received(), "");
        EXPECT_FALSE(stage.backend.peer);
        EXPECT_EQ(counted(stage, Counter::tunnels_denied_frontend), 1U);
        EXPECT_TRUE(stage.report().empty());
    }
}

TEST(Tunnel, a_local_endpoint_and_a_dialled_pod_are_judged_by_their_guards) {
    TcpStage stage(6);
    stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "GET")};
    stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    stage.snapshot.pods[1].inbound = {
        {.port = 8080, .protocol = Protocol::tcp, .guards = {{.policies = 0, .destination_port = 80}}},
        {.port = 9090, .protocol = Protocol::tcp, .guards = {}}};
    stage.snapshot.clusters[0].endpoints = {
        {.address = address_of("10.0.0.2:8080"), .workload = 1, .local_pod = Stage::server_pod}};
    stage.apply();
    const sim::Peer client = stage.client();
    const sim::Peer direct = stage.inbound_client("10.0.9.9:5555", 8080);
    ASSERT_TRUE(stage.until([&] { return client.over() && direct.over(); }));
    EXPECT_TRUE(client.saw_reset() && direct.saw_reset());
    EXPECT_EQ(counted(stage, Counter::tunnels_denied_pod), 2U);
    stage.world.serve(address_of("240.0.0.0:1"), [&](sim::Peer peer) { peer.send("hello"); });
    const sim::Peer open = stage.inbound_client("10.0.9.9:5556", 9090);
    ASSERT_TRUE(stage.until([&] { return open.received() == "hello"; }));
}

TEST(Tunnel, a_new_snapshot_judges_open_tunnels_again) {
    TcpStage stage(7);
    const sim::Peer client = stage.client();
    client.send("x");
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "x"; }));
    stage.snapshot.workloads.push_back(stage.snapshot.workloads[0]); // a change that means nothing to it
    stage.apply();
    client.send("y");
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "xy"; }));
    stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "GET")};
    stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    stage.snapshot.frontends[0].policies = 0;
    stage.apply();
    ASSERT_TRUE(stage.until([&] { return client.over() && stage.backend.peer->over(); }));
    EXPECT_TRUE(client.saw_reset());
    EXPECT_TRUE(stage.backend.peer->saw_reset());
    EXPECT_EQ(counted(stage, Counter::policy_cut), 1U);
}

TEST(Tunnel, a_pod_that_is_enrolled_later_judges_what_is_open_to_it) {
    TcpStage stage(24);
    const config::LocalPod server = stage.snapshot.pods[1];
    stage.snapshot.pods.pop_back();
    stage.snapshot.clusters[0].endpoints = {{.address = address_of("10.0.0.2:8080"), .workload = 1, .local_pod = 0}};
    stage.world.serve(address_of("10.0.0.2:8080"), [&](sim::Peer peer) { stage.backend.peer = peer; });
    stage.apply();
    const sim::Peer client = stage.client();
    client.send("x");
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "x"; }));
    stage.snapshot.pods.push_back(server);
    stage.snapshot.clusters[0].endpoints[0].local_pod = Stage::server_pod;
    stage.apply();
    client.send("y");
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "xy"; }));
    stage.snapshot.pods[1].id = 9; // it left Weft and came back
    stage.snapshot.clusters[0].endpoints[0].local_pod = 9;
    stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "GET")};
    stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    stage.snapshot.pods[1].inbound = {
        {.port = 8080, .protocol = Protocol::tcp, .guards = {{.policies = 0, .destination_port = 80}}}};
    stage.apply();
    ASSERT_TRUE(stage.until([&] { return client.over() && stage.backend.peer->over(); }));
    EXPECT_TRUE(client.saw_reset() && stage.backend.peer->saw_reset());
    EXPECT_EQ(counted(stage, Counter::policy_cut), 1U);
}

// ------------------------------------------------------------------ backends

TEST(Tunnel, another_try_goes_by_the_snapshot_of_its_own_time) {
    for (const bool denied : {false, true}) {
        TcpStage stage(25);
        stage.world.ignore(address_of(backend_address));
        const sim::Peer client = stage.client();
        stage.until([] { return false; }, 50); // it dials
        stage.snapshot.clusters[0].endpoints.insert(
            stage.snapshot.clusters[0].endpoints.begin(),
            {.address = address_of("10.0.0.2:8080"), .workload = 1, .local_pod = Stage::server_pod});
        if (denied) {
            stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "GET")};
            stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
            stage.snapshot.pods[1].inbound = {
                {.port = 8080, .protocol = Protocol::tcp, .guards = {{.policies = 0, .destination_port = 80}}}};
        }
        stage.world.serve(address_of("10.0.0.2:8080"), [&](sim::Peer peer) { peer.send("other"); });
        stage.apply();
        ASSERT_TRUE(stage.until([&] { return client.over() || client.received() == "other"; }));
        EXPECT_EQ(client.saw_reset(), denied);
        EXPECT_EQ(counted(stage, Counter::tunnels_denied_pod), denied ? 1U : 0U);
    }
}

TEST(Tunnel, an_endpoint_that_does_not_answer_is_left_alone_for_a_while) {
    TcpStage stage(26);
    stage.world.stop_serving(address_of(backend_address));
    stage.add_endpoint("10.0.1.2:8080");
    stage.world.serve(address_of("10.0.1.2:8080"), [](sim::Peer peer) { peer.send("second"); });
    for (int round = 0; round < 40; ++round) {
        const sim::Peer client = stage.client();
        ASSERT_TRUE(stage.until([&] { return client.received() == "second"; }));
        client.reset();
    }
    EXPECT_GT(counted(stage, Counter::retries_connect), 0U);
    EXPECT_LT(counted(stage, Counter::retries_connect), 10U);
    // ... and comes back.
    bool back = false;
    stage.world.serve(address_of(backend_address), [&](sim::Peer peer) {
        back = true;
        peer.send("second");
    });
    stage.until([] { return false; }, 400'000);
    for (int round = 0; round < 40 && !back; ++round) {
        const sim::Peer client = stage.client();
        ASSERT_TRUE(stage.until([&] { return client.received() == "second"; }));
        client.reset();
    }
    EXPECT_TRUE(back);
}

TEST(Tunnel, another_endpoint_is_tried_and_without_any_the_client_is_reset) {
    TcpStage stage(8);
    stage.world.stop_serving(address_of(backend_address));
    stage.add_endpoint("10.0.1.2:8080");
    stage.world.serve(address_of("10.0.1.2:8080"), [](sim::Peer peer) { peer.send("second"); });
    for (int round = 0; round < 8; ++round) {
        const sim::Peer client = stage.client();
        ASSERT_TRUE(stage.until([&] { return client.received() == "second"; }));
        client.reset();
    }
    EXPECT_GT(counted(stage, Counter::retries_connect), 0U);
    stage.world.stop_serving(address_of("10.0.1.2:8080"));
    const sim::Peer lost = stage.client();
    ASSERT_TRUE(stage.until([&] { return lost.over(); }));
    EXPECT_TRUE(lost.saw_reset());
    EXPECT_EQ(counted(stage, Counter::tunnels_unconnected), 1U);
    ASSERT_TRUE(stage.until([&] { return stage.proxy->connections() == 0; }));
    const std::vector<TcpSeries> series = stage.report();
    const auto failed =
        std::ranges::find(series, "UF", [](const TcpSeries& one) { return one.labels[label("response_flags")]; });
    ASSERT_NE(failed, series.end());
    EXPECT_EQ(failed->counts, (TcpCounts{.opened = 1, .closed = 1, .sent_bytes = 0, .received_bytes = 0}));
}

TEST(Tunnel, a_cut_while_it_connects_ends_it_at_once) {
    TcpStage stage(9);
    stage.world.ignore(address_of(backend_address));
    const sim::Peer client = stage.client();
    stage.until([] { return false; }, 50);
    stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "GET")};
    stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    stage.snapshot.frontends[0].policies = 0;
    stage.apply();
    ASSERT_TRUE(stage.until([&] { return client.saw_reset() && stage.proxy->connections() == 0; }, 1'000));
}

// ------------------------------------------------------------------ life

TEST(Tunnel, a_drain_leaves_it_alone_until_the_time_is_up) {
    TcpStage stage(20);
    const sim::Peer client = stage.client();
    client.send("x");
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "x"; }));
    const uint64_t start_ms = stage.world.now_ms();
    bool drained = false;
    stage.proxy->drain(3'000, [&] { drained = true; });
    stage.world.after(2'000, [&] { client.send("y"); });
    ASSERT_TRUE(stage.until([&] { return client.over(); }));
    EXPECT_EQ(stage.backend.received(), "xy");
    EXPECT_GE(stage.world.now_ms() - start_ms, 3'000U);
    EXPECT_EQ(counted(stage, Counter::drain_cut), 1U);
    ASSERT_TRUE(stage.until([&] { return drained; }));
}

TEST(Tunnel, a_drain_gives_a_silent_client_of_an_undeclared_port_the_server_that_speaks_first) {
    TcpStage stage(27, Protocol::undeclared, Stage::calm(), patient());
    stage.greeting = "220 ready";
    const sim::Peer client = stage.client();
    ASSERT_TRUE(stage.until([&] { return stage.proxy->connections() == 1; }));
    bool drained = false;
    stage.proxy->drain(10'000, [&] { drained = true; });
    ASSERT_TRUE(stage.until([&] { return client.over() || client.received() == "220 ready"; }));
    EXPECT_FALSE(client.over());
    ASSERT_TRUE(stage.until([&] { return drained; }));
    EXPECT_TRUE(client.saw_reset()); // no end that looks like one of the server's
}

TEST(Tunnel, a_series_without_news_is_reported_as_long_as_a_connection_is_open) {
    TcpStage stage(28);
    const sim::Peer client = stage.client();
    client.send("x");
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "x"; }));
    EXPECT_EQ(stage.report().size(), 1U);
    const std::vector<TcpSeries> again = stage.report();
    ASSERT_EQ(again.size(), 1U); // else the totals would be forgotten, and more closed than were ever opened
    EXPECT_EQ(again[0].counts, TcpCounts());
}

TEST(Tunnel, an_idle_one_is_reset) {
    ProxySettings settings;
    settings.tunnel_idle_timeout_ms = 5'000;
    TcpStage stage(21, Protocol::tcp, Stage::calm(), settings);
    const sim::Peer client = stage.client();
    ASSERT_TRUE(stage.until([&] { return client.over(); }));
    EXPECT_TRUE(client.saw_reset());
    EXPECT_EQ(counted(stage, Counter::tunnel_timeouts), 1U);
}

TEST(Tunnel, its_metrics_grow_while_it_is_open_and_keep_their_labels) {
    TcpStage stage(22);
    const sim::Peer client = stage.client();
    client.send("12345");
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "12345"; }));
    std::vector<TcpSeries> series = stage.report();
    ASSERT_EQ(series.size(), 1U);
    EXPECT_EQ(series[0].counts, (TcpCounts{.opened = 1, .closed = 0, .sent_bytes = 0, .received_bytes = 5}));
    const std::vector<std::string> labels = series[0].labels;
    EXPECT_EQ(labels[label("reporter")], "waypoint");
    EXPECT_EQ(labels[label("source_workload")], "client");
    EXPECT_EQ(labels[label("destination_workload")], "server");
    EXPECT_EQ(labels[label("destination_service_name")], "plain");
    EXPECT_EQ(labels[label("request_protocol")], "tcp");
    EXPECT_EQ(labels[label("response_flags")], "-");
    stage.snapshot.clusters[0].endpoints.clear(); // the endpoint is not ready any more: the tunnel goes on
    stage.apply();
    stage.backend.peer->send("123");
    ASSERT_TRUE(stage.until([&] { return client.received() == "123"; }));
    client.shutdown();
    stage.backend.peer->shutdown();
    ASSERT_TRUE(stage.until([&] { return stage.proxy->connections() == 0; }));
    series = stage.report();
    ASSERT_EQ(series.size(), 1U);
    EXPECT_EQ(series[0].labels, labels);
    EXPECT_EQ(series[0].counts, (TcpCounts{.opened = 0, .closed = 1, .sent_bytes = 3, .received_bytes = 0}));
    EXPECT_TRUE(stage.report().empty());
}

TEST(Tunnel, an_idle_one_is_small) {
    TcpStage stage(23);
    const size_t before = FramePool::live_bytes();
    const sim::Peer client = stage.client();
    client.send("x");
    ASSERT_TRUE(stage.until([&] { return stage.backend.received() == "x"; }));
    EXPECT_LE(FramePool::live_bytes() - before, 2'048U);
}

TEST(Tunnel, thousands_of_seeds_of_clients_that_say_anything_at_any_time) {
    for (uint64_t seed = 0; seed < 1'000; ++seed) {
        sim::Faults faults;
        faults.connect_refused = seed % 5 == 0 ? 200 : 0;
        const Protocol protocols[] = {Protocol::tcp, Protocol::tls, Protocol::undeclared};
        TcpStage stage(seed, protocols[seed % 3], faults);
        std::string answer(stage.world.random(3'000), 'A');
        stage.greeting = "hi";
        const sim::Peer client = stage.client();
        std::string said(stage.world.chance(500) ? "get " : hello("a.example"));
        said += std::string(stage.world.random(stage.world.chance(100) ? 200'000 : 200), 'q');
        for (size_t at = 0; at < said.size();) {
            const size_t size = 1 + stage.world.random(said.size() - at);
            stage.world.after(at / 10, [client, text = said.substr(at, size)] {
                if (!client.saw_reset())
                    client.send(text);
            });
            at += size;
        }
        const bool hard = stage.world.chance(200);
        stage.world.after(said.size() / 10 + stage.world.random(300), [&, hard] {
            if (!client.over())
                hard ? client.reset() : client.shutdown();
            else if (!client.saw_reset())
                client.close();
        });
        bool answered = false;
        ASSERT_TRUE(stage.until([&] {
            if (!answered && stage.backend.peer && stage.backend.peer->saw_fin()) {
                answered = true;
                stage.backend.peer->send(answer);
                stage.backend.peer->shutdown();
            }
            return stage.proxy->connections() == 0 && (stage.backend.peer || client.over());
        })) << "hangs, seed "
            << seed;
        stage.until([] { return false; }, 100);
        EXPECT_TRUE(std::string_view(said).starts_with(stage.backend.received())) << "seed " << seed;
        if (answered && !hard && !client.saw_reset()) {
            EXPECT_EQ(stage.backend.received(), said) << "seed " << seed;
            EXPECT_EQ(client.received(), "hi" + answer) << "seed " << seed;
        }
        stage.end();
    }
}

} // namespace
} // namespace weft::l7::test
