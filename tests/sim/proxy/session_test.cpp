// SPDX-License-Identifier: Apache-2.0
// The life of a shared HTTP/2 connection to a backend: what is asked again, what waits, how it ends.
#include "tests/sim/proxy/http2_peer.hpp"
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

using Role = Http2Peer::Role;
using Message = Http2Peer::Message;
constexpr std::string_view endpoint = "10.0.1.1:8080";

/// A stage with one HTTP/2 endpoint.
class ProxySession : public testing::Test {
protected:
    void serve(std::function<void(Http2Peer&, StreamId, const Message&)> on_request, H2Settings settings = {}) {
        stage.world.serve(address_of(endpoint), [this, on_request, settings](sim::Peer peer) {
            connections.push_back(std::make_unique<Http2Peer>(peer, Role::server, settings));
            connections.back()->on_request = on_request;
        });
        stage.snapshot.clusters[0].protocol = config::Protocol::http2;
        stage.add_endpoint(endpoint);
    }
    /// A connection to the backend that has served one request.
    void warm(Http2Peer& client) {
        const StreamId first = client.request("GET", "/warm");
        ASSERT_TRUE(stage.until([&] { return client.of(first).ended; }));
    }

    Stage stage{1};
    std::vector<std::unique_ptr<Http2Peer>> connections;
    size_t asked = 0; ///< requests that are no warm-up
};

TEST_F(ProxySession, a_request_that_may_have_been_processed_is_asked_again_once_and_only_if_idempotent) {
    serve([&](Http2Peer& peer, StreamId stream, const Message& request) {
        if (request.head.path == "/warm")
            return peer.reply(stream, "");
        ++asked; // it breaks the backend, each time
        stage.world.after(1, [end = peer.peer()] { end.close(); });
    });
    Http2Peer client(stage.client(), Role::client);
    warm(client);
    const StreamId post = client.request("POST", "/pay", "payload");
    ASSERT_TRUE(stage.until([&] { return client.of(post).ended; }));
    EXPECT_EQ(client.of(post).head.status, 503);
    EXPECT_EQ(asked, 1U);
    warm(client);
    asked = 0;
    const StreamId get_it = client.request("GET", "/page");
    ASSERT_TRUE(stage.until([&] { return client.of(get_it).ended; }));
    EXPECT_EQ(client.of(get_it).head.status, 503);
    EXPECT_EQ(asked, 2U);
    EXPECT_EQ(counted(stage, Counter::retries_stale), 1U);
}

TEST_F(ProxySession, a_backend_that_does_not_read_cannot_keep_the_engine_from_its_end) {
    H2Settings wide;
    wide.stream_window_bytes = 1U << 30;
    wide.connection_window_bytes = 1U << 30;
    serve([](Http2Peer& peer, StreamId stream, const Message&) { peer.reply(stream, ""); }, wide);
    Http2Peer client(stage.client(), Role::client);
    warm(client);
    connections[0]->peer().pause();
    client.request("POST", "/upload", std::string(1'000'000, 'x'), false);
    stage.until([] { return false; }, 1'000);
    bool drained = false;
    stage.proxy->drain(500, [&] { drained = true; });
    EXPECT_TRUE(stage.until([&] { return drained; }, 10'000));
}

TEST_F(ProxySession, what_a_backend_does_not_read_is_bounded) {
    serve([](Http2Peer& peer, StreamId stream, const Message&) { peer.reply(stream, ""); });
    Http2Peer client(stage.client(), Role::client);
    warm(client);
    connections[0]->peer().pause();
    stage.world.serve(address_of(endpoint), [](sim::Peer peer) { peer.pause(); });
    for (int round = 0; round < 600; ++round) {
        const StreamId stream = client.request("GET", "/" + std::string(15'000, 'p'));
        stage.until([] { return false; }, 5);
        client.reset(stream);
    }
    // 600 times 15 kB; what each session holds is bounded, and so is their number.
    EXPECT_GT(stage.proxy->sessions().alive(), 1U) << "others are tried";
    EXPECT_LE(stage.proxy->sessions().alive(), ProxySettings().sessions_per_key_max);
}

TEST_F(ProxySession, a_stream_that_is_waited_for_in_vain_is_no_fault_of_the_endpoint) {
    H2Settings one_stream;
    one_stream.streams_max = 1;
    serve([](Http2Peer&, StreamId, const Message&) {}, one_stream); // never answers
    Http2Peer client(stage.client(), Role::client);
    const size_t sessions = ProxySettings().sessions_per_key_max;
    for (size_t index = 0; index < sessions; ++index) {
        client.request("GET", "/poll");
        stage.until([&] { return connections.size() > index; }, 1'000);
    }
    const StreamId more = client.request("GET", "/more");
    ASSERT_TRUE(stage.until([&] { return client.of(more).ended; }, 60'000));
    EXPECT_EQ(client.of(more).head.status, 503);
    EXPECT_EQ(client.of(more).body.find("connection timeout"), std::string::npos) << client.of(more).body;
    EXPECT_EQ(stage.proxy->picker().health().size(), 0U);
    EXPECT_EQ(counted(stage, Counter::sessions_overflow), 1U);
}

TEST_F(ProxySession, a_stream_that_a_backend_resets_is_no_fault_of_the_endpoint) {
    serve([](Http2Peer& peer, StreamId stream, const Message&) { peer.reset(stream, Code::invalid); });
    Http2Peer client(stage.client(), Role::client);
    for (int round = 0; round < 5; ++round) {
        const StreamId stream = client.request("GET", "/");
        ASSERT_TRUE(stage.until([&] { return client.of(stream).ended; }));
        EXPECT_EQ(client.of(stream).head.status, 503);
    }
    EXPECT_EQ(stage.proxy->picker().health().size(), 0U);
}

TEST_F(ProxySession, a_burst_waits_for_what_the_backend_allows_and_is_refused_nothing) {
    H2Settings few;
    few.streams_max = 2;
    serve(
        [&](Http2Peer& peer, StreamId stream, const Message& request) {
            stage.world.after(20, [&peer, stream, path = request.head.path] { peer.reply(stream, path); });
        },
        few);
    Http2Peer client(stage.client(), Role::client);
    for (int index = 0; index < 90; ++index)
        client.request("GET", "/" + std::to_string(index));
    ASSERT_TRUE(stage.until([&] { return client.ended() == 90; }, 20'000));
    for (const auto& [stream, message] : client.messages())
        EXPECT_EQ(message.head.status, 200) << stream;
    EXPECT_EQ(counted(stage, Counter::retries_refused), 0U);
}

TEST_F(ProxySession, a_websocket_does_not_wait_for_a_backend_that_never_says_what_it_takes) {
    stage.world.serve(address_of(endpoint), [](sim::Peer) {});
    stage.snapshot.clusters[0].protocol = config::Protocol::http2;
    stage.add_endpoint(endpoint);
    const sim::Peer client = stage.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }, 60'000));
    EXPECT_EQ(status_of(client), 503);
}

TEST_F(ProxySession, a_backend_without_extended_connect_is_the_reason_of_502) {
    stage.world.serve(address_of(endpoint), [](sim::Peer peer) { // SETTINGS without ENABLE_CONNECT_PROTOCOL
        peer.send(std::string("\0\0\0\4\0\0\0\0\0", 9));
    });
    stage.snapshot.clusters[0].protocol = config::Protocol::http2;
    stage.add_endpoint(endpoint);
    const sim::Peer client = stage.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }, 60'000));
    EXPECT_EQ(status_of(client), 502);
}

// ------------------------------------------------------------------ the client's side

TEST_F(ProxySession, one_refused_stream_does_not_make_the_connection_idle_for_the_others) {
    serve([](Http2Peer&, StreamId, const Message&) {});
    stage.snapshot.policies = {policy_of(config::Policy::Action::allow, "GET")};
    stage.snapshot.policy_sets = {{.deny = {}, .allow = {0}}};
    stage.snapshot.frontends[0].policies = 0;
    stage.apply();
    Http2Peer client(stage.client(), Role::client);
    const StreamId denied = client.request("DELETE", "/");
    const StreamId poll = client.request("GET", "/");
    ASSERT_TRUE(stage.until([&] { return client.of(denied).ended; }));
    stage.until([] { return false; }, 400'000); // longer than an idle connection's time
    EXPECT_FALSE(client.saw_goaway());
    EXPECT_FALSE(client.of(poll).ended);
    EXPECT_EQ(counted(stage, Counter::idle_timeouts), 0U);
}

TEST_F(ProxySession, pings_do_not_keep_an_idle_connection) {
    const sim::Peer raw = stage.client();
    Http2Peer client(raw, Role::client);
    bool over = false;
    std::function<void()> ping = [&] {
        if (over || raw.over())
            return;
        raw.send(std::string("\0\0\x8\x6\0\0\0\0\0abcdefgh", 17));
        stage.world.after(100'000, ping);
    };
    stage.world.after(1, ping);
    EXPECT_TRUE(stage.until([&] { return client.saw_goaway(); }, 700'000));
    over = true;
}

} // namespace
} // namespace weft::l7::test
