// SPDX-License-Identifier: Apache-2.0
// What one client, or one pod, can cost the others: every limit refuses, says why, and is lifted again.
#include "tests/sim/proxy/http2_peer.hpp"
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

using namespace std::string_literals;
using Role = Http2Peer::Role;

/// A client that speaks first and then reads nothing: so it acknowledges no SETTINGS.
void stop_reading(const sim::Peer& peer) {
    peer.on_event([](sim::Peer) {});
}

TEST(ProxyLimits, an_http2_client_that_never_acknowledges_settings_is_told_so_and_closed) {
    for (const bool with_request : {false, true}) {
        Stage stage(1);
        stage.add_endpoint("10.0.1.1:8080");
        stage.world.serve(address_of("10.0.1.1:8080"), [](sim::Peer) {}); // never answers
        const sim::Peer raw = stage.client();
        Http2Peer client(raw, Role::client);
        stop_reading(raw);
        if (with_request)
            client.request("GET", "/");
        stage.until([] { return false; }, ProxySettings{}.settings_timeout_ms - 1'000);
        EXPECT_FALSE(raw.saw_fin());
        ASSERT_TRUE(stage.until([&] { return raw.saw_fin() || raw.saw_reset(); }, 10'000)) << with_request;
        // GOAWAY, its last stream, SETTINGS_TIMEOUT.
        EXPECT_TRUE(
            raw.received().ends_with("\0\0\x8\x7\0\0\0\0\0\0\0\0"s + (with_request ? "\1" : "\0"s) + "\0\0\0\4"s));
        EXPECT_EQ(counted(stage, Counter::settings_timeouts), 1U);
        EXPECT_TRUE(stage.until([&] { return stage.proxy->connections() == 0; }, 10'000));
    }
}

TEST(ProxyLimits, an_http2_client_that_acknowledges_may_be_quiet) {
    Stage stage(2);
    const sim::Peer raw = stage.client();
    Http2Peer client(raw, Role::client);
    stage.until([] { return false; }, 60'000);
    EXPECT_FALSE(client.saw_goaway());
    EXPECT_EQ(counted(stage, Counter::settings_timeouts), 0U);
}

TEST(ProxyLimits, an_http2_backend_that_never_sends_settings_is_given_up_with_its_requests) {
    Stage stage(3);
    stage.snapshot.clusters[0].protocol = config::Protocol::http2;
    stage.add_endpoint("10.0.1.1:8080");
    Backend backend;
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { backend.peer = peer; });
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return status_of(client) != 0; }, 70'000));
    EXPECT_EQ(status_of(client), 504);
    EXPECT_EQ(counted(stage, Counter::session_settings_timeouts), 1U);
    EXPECT_TRUE(stage.until([&] { return backend.peer->over(); }));
}

TEST(ProxyLimits, pings_keep_no_idle_http2_connection) {
    Stage stage(4);
    const sim::Peer raw = stage.client();
    Http2Peer client(raw, Role::client);
    for (uint64_t at_s = 1; at_s < 400; at_s += 10) {
        stage.world.after(at_s * 1000, [raw] {
            if (!raw.over())
                raw.send("\0\0\x8\x6\0\0\0\0\0pingping"s);
        });
    }
    ASSERT_TRUE(stage.until([&] { return client.saw_goaway(); }, 320'000));
    EXPECT_EQ(counted(stage, Counter::idle_timeouts), 1U);
}

TEST(ProxyLimits, a_client_that_takes_nothing_of_its_reply_is_cut_long_before_a_quiet_exchange) {
    const std::string body(4'000'000, 'b');
    const auto big = http_server([&](std::string_view, sim::Peer) { return reply(body); });
    // HTTP/2: the window is never opened. HTTP/1: the socket is not read.
    for (const bool http2 : {true, false}) {
        Stage stage(5);
        stage.snapshot.clusters[0].protocol = config::Protocol::http1;
        stage.add_endpoint("10.0.1.1:8080");
        stage.world.serve(address_of("10.0.1.1:8080"), big);
        const sim::Peer raw = stage.client();
        std::optional<Http2Peer> client;
        if (http2) {
            client.emplace(raw, Role::client);
            client->hold_window = true;
            client->request("GET", "/");
        } else {
            raw.send(get);
            raw.pause();
        }
        const uint64_t stall_ms = ProxySettings{}.stall_timeout_ms;
        stage.until([] { return false; }, stall_ms - 10'000);
        EXPECT_EQ(stage.proxy->exchanges(), 1U) << http2;
        ASSERT_TRUE(stage.until([&] { return stage.proxy->exchanges() == 0; }, stall_ms)) << http2;
        EXPECT_EQ(counted(stage, Counter::stall_timeouts), 1U) << http2;
        EXPECT_EQ(counted(stage, Counter::exchange_timeouts), 0U) << http2;
    }
}

TEST(ProxyLimits, a_client_that_stops_reading_is_cut_though_its_reply_can_never_be_completed) {
    Stage stage(6);
    stage.snapshot.clusters[0].protocol = config::Protocol::http2;
    stage.add_endpoint("10.0.1.1:8080");
    std::unique_ptr<Http2Peer> backend;
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) {
        backend = std::make_unique<Http2Peer>(peer, Role::server);
        backend->on_request = [](Http2Peer& self, StreamId stream, const Http2Peer::Message&) {
            self.reply(stream, std::string(4'000'000, 'b'), 200, false);
        };
    });
    const sim::Peer client = stage.client();
    client.send(get);
    client.pause();
    stage.until([] { return false; }, 5'000); // all that fits is written
    ASSERT_EQ(stage.proxy->exchanges(), 1U);
    backend->peer().reset();
    stage.until([] { return false; }, 100);
    EXPECT_EQ(counted(stage, Counter::backend_cut), 1U);
    ASSERT_TRUE(stage.until([&] { return stage.proxy->connections() == 0; }, 3 * ProxySettings{}.stall_timeout_ms));
    backend = nullptr;
}

/// The answer to one GET on a connection of its own.
int ask(Stage& stage) {
    const sim::Peer client = stage.client();
    client.send(get);
    stage.until([&] { return replies_of(client) == 1 || client.over(); });
    const int status = status_of(client);
    client.close();
    return status;
}

// ------------------------------------------------------------------ floods

/// A client that opens streams and resets them until its connection is ended.
void flood(Stage& stage) {
    const sim::Peer raw = stage.client();
    Http2Peer client(raw, Role::client);
    for (int i = 0; i < 600; ++i) {
        if (const StreamId stream = client.request("GET", "/", "", false); stream != 0)
            client.reset(stream, Code::canceled);
    }
    ASSERT_TRUE(stage.until([&] { return client.saw_goaway() || raw.over(); }));
    ASSERT_EQ(counted(stage, Counter::http2_errors), 1U);
}

TEST(ProxyLimits, who_floods_waits_for_the_turn_of_its_next_connections) {
    Stage stage(7);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server([](auto, auto) { return reply("well"); }));
    flood(stage);
    const std::array clients{stage.client(), stage.client()};
    for (const sim::Peer& client : clients)
        client.send(get);
    const auto answered = [&] { return replies_of(clients[0]) + replies_of(clients[1]); };
    const uint64_t from_ms = stage.world.now_ms();
    for (size_t i = 0; i < clients.size(); ++i) {
        ASSERT_TRUE(stage.until([&] { return answered() > i; }, 3 * FloodRules{}.pause_ms));
        EXPECT_GE(stage.world.now_ms() - from_ms, FloodRules{}.pause_ms * (i + 1) * 9 / 10);
    }
    EXPECT_EQ(counted(stage, Counter::connections_held), 2U);

    stage.until([] { return false; }, FloodRules{}.remembered_ms);
    EXPECT_EQ(ask(stage), 200);
    EXPECT_EQ(counted(stage, Counter::connections_held), 2U);
}

TEST(ProxyLimits, more_connections_of_who_floods_than_can_wait_are_refused) {
    Stage stage(8);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server([](auto, auto) { return reply("well"); }));
    flood(stage);
    const uint64_t waiting = FloodRules{}.wait_ms_max() / FloodRules{}.pause_ms;
    std::vector<sim::Peer> clients;
    for (uint64_t i = 0; i < waiting + 10; ++i)
        clients.push_back(stage.client());
    ASSERT_TRUE(stage.until([&] { return counted(stage, Counter::refused_flooding) > 0; }, 50));
    EXPECT_EQ(counted(stage, Counter::refused_flooding) + counted(stage, Counter::connections_held), clients.size());
    EXPECT_LE(counted(stage, Counter::connections_held), waiting);
    EXPECT_TRUE(stage.until([&] { return clients.back().saw_reset(); }, 50));
}

TEST(ProxyLimits, a_connection_that_waits_for_its_turn_is_served_before_a_drain_and_reset_by_a_release) {
    for (const bool released : {false, true}) {
        Stage stage(9);
        stage.add_endpoint("10.0.1.1:8080");
        stage.world.serve(address_of("10.0.1.1:8080"), http_server([](auto, auto) { return reply("well"); }));
        flood(stage);
        const sim::Peer client = stage.client();
        client.send(get);
        ASSERT_TRUE(stage.until([&] { return counted(stage, Counter::connections_held) == 1; }, 50));
        bool done = false;
        if (released)
            stage.proxy->release_pod(1, [&] { done = true; });
        else
            stage.proxy->drain(30'000, [&] { done = true; });
        ASSERT_TRUE(stage.until([&] { return done; }, 10'000));
        EXPECT_EQ(client.saw_reset(), released);
        EXPECT_EQ(replies_of(client), released ? 0U : 1U);
    }
}

TEST(ProxyLimits, a_waiting_connection_whose_client_leaves_is_gone_and_one_is_shed_when_memory_runs_out) {
    for (const bool leaves : {false, true}) {
        Stage stage(12);
        stage.add_endpoint("10.0.1.1:8080");
        flood(stage);
        const sim::Peer client = stage.client();
        ASSERT_TRUE(stage.until([&] { return counted(stage, Counter::connections_held) == 1; }, 50));
        const uint64_t from_ms = stage.world.now_ms();
        if (leaves)
            client.reset();
        else
            stage.proxy->press(Pressure::idle);
        ASSERT_EQ(stage.proxy->connections(), 2U) << "and the flood's own, which lingers";
        ASSERT_TRUE(stage.until([&] { return stage.proxy->connections() == 1; }, 5'000)) << leaves;
        EXPECT_LE(stage.world.now_ms() - from_ms, ProxySettings{}.tick_ms + 50);
        EXPECT_TRUE(leaves || stage.until([&] { return client.saw_reset(); }, 100));
    }
}

TEST(ProxyLimits, a_client_from_elsewhere_that_floods_is_ended_and_its_address_is_not_held_up) {
    Stage stage(13);
    stage.world.serve(address_of("10.0.1.1:8080"), http_server([](auto, auto) { return reply("well"); }));
    const sim::Peer raw = stage.inbound_client("10.0.9.9:40000", 8080);
    Http2Peer client(raw, Role::client);
    for (int i = 0; i < 600; ++i) {
        if (const StreamId stream = client.request("GET", "/", "", false); stream != 0)
            client.reset(stream, Code::canceled);
    }
    ASSERT_TRUE(stage.until([&] { return client.saw_goaway() || raw.over(); }));
    ASSERT_EQ(counted(stage, Counter::http2_errors), 1U);
    stage.inbound_client("10.0.9.9:40001", 8080);
    stage.until([] { return false; }, 20);
    EXPECT_EQ(counted(stage, Counter::connections_held), 0U);
    EXPECT_EQ(counted(stage, Counter::connections_inbound), 2U);
}

// ------------------------------------------------------------------ memory

TEST(ProxyLimits, sheds_requests_then_connections_then_idle_ones_and_recovers) {
    Stage stage(10);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server(echo));
    const sim::Peer idle = stage.client();
    Http2Peer idle2(stage.client(), Role::client);
    idle.send(get);
    const StreamId stream = idle2.request("GET", "/");
    ASSERT_TRUE(stage.until([&] { return replies_of(idle) == 1 && idle2.of(stream).ended; }));
    ASSERT_GT(stage.proxy->pool().size(), 0U);

    stage.proxy->press(Pressure::requests);
    idle.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(idle) == 2; }));
    const Replies::One refused = parse_replies(idle.received()).whole.back();
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(refused.body, "overloaded: memory");
    EXPECT_NE(refused.head.find("server: istio-envoy"), std::string::npos) << "the ordinary way of a local reply";
    EXPECT_EQ(counted(stage, Counter::shed_memory), 1U);
    EXPECT_EQ(ask(stage), 503) << "connections are still taken";

    stage.proxy->press(Pressure::connections);
    EXPECT_EQ(ask(stage), 0);
    EXPECT_EQ(counted(stage, Counter::refused_memory), 1U);
    EXPECT_FALSE(idle.over());

    stage.proxy->press(Pressure::idle);
    ASSERT_TRUE(stage.until([&] { return idle.saw_fin() && idle2.saw_goaway() && idle2.peer().saw_fin(); }));
    EXPECT_EQ(counted(stage, Counter::shed_idle), 2U);
    EXPECT_EQ(counted(stage, Counter::idle_timeouts), 0U);
    EXPECT_EQ(stage.proxy->pool().size(), 0U);
    EXPECT_GT(counted(stage, Counter::shed_pooled), 0U);

    stage.proxy->press(Pressure::none);
    EXPECT_EQ(ask(stage), 200);
    // The metrics know why.
    size_t overloaded = 0;
    for (const StatsSeries& series : stage.proxy->report().series) {
        if (std::ranges::find(series.labels, "OM") != series.labels.end())
            overloaded += series.counts.requests;
    }
    EXPECT_EQ(overloaded, 2U);
}

TEST(ProxyLimits, what_is_under_way_ends_well_while_memory_runs_out) {
    Stage stage(11);
    stage.add_endpoint("10.0.1.1:8080");
    Backend backend;
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { backend.peer = peer; });
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return whole_request(backend.received()) > 0; }));
    stage.proxy->press(Pressure::idle);
    stage.until([] { return false; }, 5'000);
    backend.peer->send(reply("late"));
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 200);
}

TEST(ProxyLimits, a_grpc_client_hears_of_it_in_its_own_words) {
    Stage stage(12);
    stage.proxy->press(Pressure::requests);
    const sim::Peer client = stage.client();
    client.send("POST / HTTP/1.1\r\nhost: plain\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 200);
    EXPECT_NE(client.received().find("grpc-status: 14"), std::string::npos);
}

// ------------------------------------------------------------------ per pod

ProxySettings with_limits(UsageLimits limits) {
    ProxySettings settings;
    settings.limits = limits;
    return settings;
}

/// Pod 1 is at a limit; its other direction and the other pod must not notice.
class ProxyPodLimits : public testing::Test {
protected:
    explicit ProxyPodLimits(UsageLimits limits) : stage(20, Stage::calm(), with_limits(limits)) {
        stage.add_endpoint("10.0.1.1:8080");
        stage.world.serve(address_of("10.0.1.1:8080"), http_server([this](std::string_view request, sim::Peer peer) {
                              return answers ? echo(request, peer) : std::string();
                          }));
        stage.world.serve(address_of("240.0.0.0:1"), http_server(echo));
    }
    void expect_other_pod_is_served() {
        const sim::Peer other = stage.inbound_client("10.9.9.9:5000", 80);
        other.send(get);
        EXPECT_TRUE(stage.until([&] { return replies_of(other) == 1; }));
        EXPECT_EQ(status_of(other), 200);
        other.close();
    }
    Stage stage;
    bool answers = true;
};

struct TwoConnections : ProxyPodLimits {
    TwoConnections() : ProxyPodLimits({.connections_per_pod_max = 2}) {}
};
TEST_F(TwoConnections, the_third_of_a_pod_is_reset_and_counted) {
    const sim::Peer first = stage.client();
    const sim::Peer second = stage.client();
    const sim::Peer third = stage.client();
    ASSERT_TRUE(stage.until([&] { return third.saw_reset(); }));
    EXPECT_FALSE(first.over() || second.over());
    EXPECT_EQ(counted(stage, Counter::refused_pod_limit), 1U);
    expect_other_pod_is_served();
    first.close();
    ASSERT_TRUE(stage.until([&] { return stage.proxy->connections() == 1; }));
    EXPECT_EQ(ask(stage), 200);
}

struct OneRequest : ProxyPodLimits {
    OneRequest() : ProxyPodLimits({.requests_per_pod_max = 1}) {}
};
TEST_F(OneRequest, the_second_in_flight_of_a_pod_is_answered_503_and_counted) {
    answers = false;
    const sim::Peer busy = stage.client();
    busy.send(get);
    ASSERT_TRUE(stage.until([&] { return stage.proxy->exchanges() == 1; }));
    const sim::Peer second = stage.client();
    second.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(second) == 1; }));
    EXPECT_EQ(status_of(second), 503);
    EXPECT_EQ(parse_replies(second.received()).whole[0].body, "overflow: requests of the pod");
    EXPECT_EQ(counted(stage, Counter::shed_pod_requests), 1U);
    expect_other_pod_is_served();
    busy.reset();
    ASSERT_TRUE(stage.until([&] { return stage.proxy->exchanges() == 0; }));
    answers = true;
    second.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(second) == 2; }));
    EXPECT_EQ(status_of(second), 200) << "the refusal left its connection usable";
}
TEST_F(OneRequest, streams_of_one_connection_count_each) {
    answers = false;
    stage.snapshot.clusters[0].protocol = config::Protocol::http1;
    stage.apply();
    Http2Peer client(stage.client(), Role::client);
    client.request("GET", "/1");
    const StreamId second = client.request("GET", "/2");
    ASSERT_TRUE(stage.until([&] { return client.of(second).ended; }));
    EXPECT_EQ(client.of(second).head.status, 503);
    EXPECT_EQ(counted(stage, Counter::shed_pod_requests), 1U);
}

struct OneRequestInAll : ProxyPodLimits {
    OneRequestInAll() : ProxyPodLimits({.requests_max = 1}) {}
};
TEST_F(OneRequestInAll, the_workers_limit_has_a_name_of_its_own) {
    answers = false;
    const sim::Peer busy = stage.client();
    busy.send(get);
    ASSERT_TRUE(stage.until([&] { return stage.proxy->exchanges() == 1; }));
    EXPECT_EQ(ask(stage), 503);
    EXPECT_EQ(counted(stage, Counter::shed_worker_requests), 1U);
    EXPECT_EQ(counted(stage, Counter::shed_pod_requests), 0U);
}

TEST(ProxyLimits, what_a_pod_has_buffered_stays_near_its_limit_and_new_requests_wait_for_less) {
    constexpr size_t limit = 256 * 1024;
    constexpr size_t slow_clients = 32;
    sim::Faults faults = Stage::calm();
    faults.window_bytes_max = 1024 * 1024;
    Stage stage(21, faults, with_limits({.buffered_bytes_per_pod_max = limit}));
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"),
                      http_server([](std::string_view, sim::Peer) { return reply(std::string(2'000'000, 'b')); }));
    stage.world.serve(address_of("240.0.0.0:1"), http_server(echo));
    std::vector<sim::Peer> slow;
    for (size_t index = 0; index < slow_clients; ++index) {
        slow.push_back(stage.client());
        slow.back().send(get);
        slow.back().pause();
    }
    size_t most = 0;
    stage.until(
        [&] {
            most = std::max(most, stage.proxy->report().buffered_bytes);
            return false;
        },
        5'000);
    EXPECT_GT(most, limit);
    // Above it each stream has its piece under way (gathered, and one read behind it) and what the kernel had given.
    EXPECT_LT(most, limit + slow_clients * (TcpSettings{}.receive_scarce_bytes + 2 * ProxySettings{}.relay_bytes_max));
    const uint64_t refused = counted(stage, Counter::shed_pod_buffers); // of the last to come
    EXPECT_LT(refused, slow_clients / 2);
    EXPECT_EQ(ask(stage), 503);
    EXPECT_EQ(counted(stage, Counter::shed_pod_buffers), refused + 1);
    const sim::Peer other = stage.inbound_client("10.9.9.9:5000", 80);
    other.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(other) == 1; }));
    EXPECT_EQ(status_of(other), 200);
    for (const sim::Peer& client : slow)
        client.resume();
    ASSERT_TRUE(stage.until([&] { return stage.proxy->exchanges() == 0; }));
    for (const sim::Peer& client : slow)
        EXPECT_EQ(replies_of(client), 1U);
    EXPECT_EQ(stage.proxy->report().buffered_bytes, 0U);
    EXPECT_EQ(ask(stage), 200);
}

} // namespace
} // namespace weft::l7::test
