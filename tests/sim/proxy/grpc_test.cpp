// SPDX-License-Identifier: Apache-2.0
// gRPC through the proxy, and the deadlines of whole requests: what we answer ourselves, what is counted.
#include "tests/sim/proxy/http2_peer.hpp"
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

using Role = Http2Peer::Role;
using Message = Http2Peer::Message;

constexpr std::string_view backend_address = "10.0.1.1:8080";

Head call(std::string_view timeout = {}) {
    Head head;
    head.method = "POST";
    head.path = "/weft.Test/Call";
    head.authority = "plain";
    head.headers.add("content-type", "application/grpc+proto");
    head.headers.add("te", "trailers");
    if (!timeout.empty())
        head.headers.add("grpc-timeout", timeout);
    return head;
}

/// One message of a gRPC body: not compressed, its length, its bytes.
std::string message_of(std::string_view payload) {
    const auto size = static_cast<char>(payload.size());
    return std::string({'\0', '\0', '\0', '\0', size}).append(payload);
}

/// A backend that speaks HTTP/2 and is kept until the test ends.
void serve_http2(Stage& stage, std::unique_ptr<Http2Peer>& backend,
                 std::function<void(Http2Peer&, StreamId, const Message&)> on_request) {
    stage.snapshot.clusters[0].protocol = config::Protocol::http2;
    stage.world.serve(address_of(backend_address), [&backend, on_request](sim::Peer peer) {
        backend = std::make_unique<Http2Peer>(peer, Role::server);
        backend->on_request = on_request;
    });
    stage.add_endpoint(backend_address);
}

void say_nothing(Http2Peer&, StreamId, const Message&) {}

std::string_view field(const Headers& headers, std::string_view name) {
    return headers.find(name).value_or("(absent)");
}

TEST(ProxyGrpc, what_we_answer_ourselves_is_a_status_without_a_body) {
    struct Row {
        bool denied;
        std::string_view status, code;
    };
    for (const Row& row : {Row{false, "14", "503"}, Row{true, "7", "403"}}) {
        Stage stage(1);
        if (row.denied) {
            stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "POST")};
            stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
            stage.snapshot.frontends[0].policies = 0;
        }
        stage.apply();
        Http2Peer client(stage.client(), Role::client);
        const StreamId stream = client.request(call(), message_of("hello"));
        ASSERT_TRUE(stage.until([&] { return client.of(stream).ended; })) << row.code;
        EXPECT_EQ(client.of(stream).head.status, 200);
        EXPECT_EQ(field(client.of(stream).head.headers, "grpc-status"), row.status);
        EXPECT_EQ(field(client.of(stream).head.headers, "content-type"), "application/grpc");
        EXPECT_EQ(client.of(stream).body, "");
    }
}

TEST(ProxyGrpc, a_deadline_that_passes_ends_the_call_on_both_sides) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
        Stage stage(seed);
        std::unique_ptr<Http2Peer> backend;
        serve_http2(stage, backend, say_nothing);
        Http2Peer client(stage.client(), Role::client);
        const StreamId stream = client.request(call("300m"), message_of("hello"));
        ASSERT_TRUE(stage.until([&] { return backend != nullptr && !backend->messages().empty(); })) << seed;
        const uint64_t arrived = stage.world.now_ms();
        ASSERT_TRUE(stage.until([&] { return client.of(stream).ended; }, 10'000)) << "seed " << seed;
        EXPECT_EQ(field(client.of(stream).head.headers, "grpc-status"), "4");
        EXPECT_LE(stage.world.now_ms() - arrived, 1'000U);
        ASSERT_TRUE(stage.until([&] { return backend->messages().begin()->second.reset.has_value(); }, 10'000));
        EXPECT_EQ(field(backend->messages().begin()->second.head.headers, "grpc-timeout"), "300m");
        EXPECT_EQ(counted(stage, Counter::request_timeouts), 1U);
        stage.end();
        backend = nullptr;
    }
}

TEST(ProxyGrpc, the_shorter_of_two_deadlines_counts_and_a_malformed_one_is_none) {
    struct Row {
        std::string_view asked;
        uint64_t ours_ms;
        uint64_t at_least, at_most;
    };
    for (const Row& row : {Row{"60S", 500, 400, 2'000}, Row{"500m", 60'000, 400, 2'000}, Row{"soon", 500, 400, 2'000},
                           Row{"1H", 0, 3'500'000, 3'700'000}}) {
        ProxySettings settings;
        settings.request_timeout_ms = row.ours_ms;
        settings.exchange_idle_timeout_ms = never;
        Stage stage(2, Stage::calm(), settings);
        std::unique_ptr<Http2Peer> backend;
        serve_http2(stage, backend, say_nothing);
        Http2Peer client(stage.client(), Role::client);
        const uint64_t began = stage.world.now_ms();
        const StreamId stream = client.request(call(row.asked), message_of("hello"));
        ASSERT_TRUE(stage.until([&] { return client.of(stream).ended; }, 4'000'000)) << row.asked;
        EXPECT_GE(stage.world.now_ms() - began, row.at_least) << row.asked;
        EXPECT_LE(stage.world.now_ms() - began, row.at_most) << row.asked;
        EXPECT_EQ(field(client.of(stream).head.headers, "grpc-status"), "4");
    }
}

TEST(ProxyGrpc, messages_and_the_status_of_the_trailers_are_counted) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
        Stage stage(seed);
        std::unique_ptr<Http2Peer> backend;
        serve_http2(stage, backend, [](Http2Peer& peer, StreamId stream, const Message& request) {
            EXPECT_EQ(request.body, message_of("one") + message_of("") + message_of("three"));
            peer.reply(stream, message_of("four") + message_of("five"), 200, false);
            Trailers trailers;
            trailers.add("grpc-status", "9");
            peer.send_trailers(stream, trailers);
        });
        Http2Peer client(stage.client(), Role::client);
        const StreamId stream = client.request(call(), message_of("one") + message_of("") + message_of("three"));
        ASSERT_TRUE(stage.until([&] { return client.of(stream).ended; })) << "seed " << seed;
        EXPECT_EQ(field(client.of(stream).trailers, "grpc-status"), "9");
        std::vector<StatsSeries> series;
        ASSERT_TRUE(stage.until([&] { return !(series = stage.proxy->stats().collect()).empty(); }));
        ASSERT_EQ(series.size(), 1U);
        EXPECT_EQ(series[0].counts.requests, 1U);
        EXPECT_EQ(series[0].counts.request_messages, 3U);
        EXPECT_EQ(series[0].counts.response_messages, 2U);
        EXPECT_THAT(series[0].labels, testing::Contains("grpc"));
        EXPECT_THAT(series[0].labels, testing::Contains("9"));
        stage.end();
        backend = nullptr;
    }
}

TEST(ProxyDeadline, a_request_without_a_reply_in_time_is_504) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
        ProxySettings settings;
        settings.request_timeout_ms = 500;
        Stage stage(seed, Stage::calm(), settings);
        stage.add_endpoint(backend_address);
        stage.world.serve(address_of(backend_address), http_server([](std::string_view request, sim::Peer) {
                              return request.find("/never") != std::string_view::npos ? "" : reply("in time");
                          }));
        const sim::Peer client = stage.client();
        client.send(get);
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; })) << "seed " << seed;
        EXPECT_EQ(status_of(client), 200);
        client.send("GET /never HTTP/1.1\r\nhost: plain\r\n\r\n");
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; }, 10'000)) << "seed " << seed;
        EXPECT_EQ(status_of(client), 504);
        EXPECT_EQ(counted(stage, Counter::request_timeouts), 1U);
        client.send(get);
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == 3; })) << "the connection goes on";
        EXPECT_EQ(status_of(client), 200);
        stage.end();
    }
}

TEST(ProxyDeadline, a_reply_that_is_not_whole_in_time_is_cut) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
        ProxySettings settings;
        settings.request_timeout_ms = 500;
        Stage stage(seed, Stage::calm(), settings);
        stage.add_endpoint(backend_address);
        stage.world.serve(address_of(backend_address), http_server([](std::string_view, sim::Peer) {
                              return std::string("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
                          }));
        const sim::Peer client = stage.client();
        client.send(get);
        ASSERT_TRUE(stage.until([&] { return client.saw_fin() || client.saw_reset(); }, 10'000)) << "seed " << seed;
        EXPECT_EQ(replies_of(client), 0U) << client.received();
        EXPECT_EQ(counted(stage, Counter::request_timeouts), 1U);
        stage.end();
    }
}

} // namespace
} // namespace weft::l7::test
