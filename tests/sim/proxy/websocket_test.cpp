// SPDX-License-Identifier: Apache-2.0
// WebSocket through the proxy, in both versions on either side.
#include "l7engine/tls/websocket_key.hpp"
#include "tests/sim/proxy/http2_peer.hpp"
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

constexpr std::string_view key = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const std::string opening = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                            "sec-websocket-version: 13\r\nsec-websocket-key: " +
                            std::string(key) + "\r\n\r\n";

/// Accepts with the key that it was given, then sends back what comes in capitals.
sim::World::OnConnect shouting_server(std::string answer_with = {}) {
    return [answer_with](sim::Peer peer) {
        auto used = std::make_shared<size_t>(0);
        peer.on_event([answer_with, used](sim::Peer end) {
            const std::string& bytes = end.received();
            const size_t head_end = bytes.find("\r\n\r\n");
            if (head_end == std::string::npos)
                return;
            if (*used == 0) {
                *used = head_end + 4;
                if (!answer_with.empty())
                    return end.send(answer_with);
                std::string lower = bytes.substr(0, head_end);
                std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
                const size_t at = lower.find("sec-websocket-key: ") + 19;
                const std::string theirs = bytes.substr(at, 24);
                end.send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                         "sec-websocket-accept: " +
                         tls::websocket_accept(theirs) + "\r\n\r\nHI");
            }
            std::string fresh = bytes.substr(*used);
            *used = bytes.size();
            std::ranges::transform(fresh, fresh.begin(), [](unsigned char c) { return std::toupper(c); });
            if (!fresh.empty() && !end.saw_reset())
                end.send(fresh);
            if (end.saw_fin())
                end.close();
        });
    };
}

std::string behind_head(const sim::Peer& peer) {
    const size_t end = peer.received().find("\r\n\r\n");
    return end == std::string::npos ? "" : peer.received().substr(end + 4);
}

TEST(ProxyWebsocket, passes_between_http1_sides_and_holds_early_data) {
    for (uint64_t seed = 0; seed < 50; ++seed) {
        Stage stage(seed);
        stage.add_endpoint("10.0.1.1:80");
        stage.world.serve(address_of("10.0.1.1:80"), shouting_server());
        const sim::Peer client = stage.client();
        client.send(opening + "early,");
        ASSERT_TRUE(stage.until([&] { return behind_head(client) == "HIEARLY,"; })) << client.received();
        EXPECT_TRUE(client.received().starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
        EXPECT_NE(client.received().find("sec-websocket-accept: " + std::string(accept)), std::string::npos);
        client.send("GET / HTTP/1.1\r\n\r\n");
        ASSERT_TRUE(stage.until([&] { return behind_head(client) == "HIEARLY,GET / HTTP/1.1\r\n\r\n"; }));
        client.shutdown();
        ASSERT_TRUE(stage.until([&] { return client.saw_fin(); })) << "seed " << seed;
        stage.end();
    }
}

TEST(ProxyWebsocket, a_refusal_is_an_ordinary_answer_and_the_connection_goes_on) {
    Stage stage(2);
    stage.add_endpoint("10.0.1.1:80");
    stage.world.serve(address_of("10.0.1.1:80"), http_server([](std::string_view request, sim::Peer) {
                          return request.find("/chat") != std::string_view::npos ? reply("no", "", "403 Forbidden")
                                                                                 : reply("yes");
                      }));
    const sim::Peer client = stage.client();
    client.send(opening);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; })) << client.received();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; })) << client.received();
    const Replies replies = parse_replies(client.received());
    EXPECT_EQ(replies.whole[0].status, 403);
    EXPECT_EQ(replies.whole[1].body, "yes");
}

TEST(ProxyWebsocket, what_a_client_said_into_a_tunnel_that_does_not_open_is_no_request) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
        Stage stage(seed);
        stage.add_endpoint("10.0.1.1:80");
        int requests = 0;
        stage.world.serve(address_of("10.0.1.1:80"), http_server([&](std::string_view, sim::Peer) {
                              ++requests;
                              return reply("no", "", "403 Forbidden");
                          }));
        const sim::Peer client = stage.client();
        client.send(opening + std::string(get));
        ASSERT_TRUE(stage.until([&] { return client.saw_fin(); })) << client.received();
        const Replies replies = parse_replies(client.received());
        ASSERT_EQ(replies.whole.size(), 1U) << client.received();
        EXPECT_EQ(replies.whole[0].status, 403);
        EXPECT_NE(replies.whole[0].head.find("Connection: close"), std::string::npos) << replies.whole[0].head;
        EXPECT_EQ(requests, 1);
    }
}

/// A backend that says good-bye and ends its side; the client answers that.
TEST(ProxyWebsocket, each_side_ends_for_itself) {
    for (const int way : {0, 1, 2, 3, 4, 5, 6, 7}) {
        const bool http2 = (way & 1) != 0;
        const bool backend2 = (way & 2) != 0;
        const bool silent = (way & 4) != 0;
        Stage stage(12);
        stage.snapshot.clusters[0].protocol = backend2 ? config::Protocol::http2 : config::Protocol::http1;
        stage.add_endpoint("10.0.1.1:80");
        Backend backend;
        std::unique_ptr<Http2Peer> backend_h2;
        stage.world.serve(address_of("10.0.1.1:80"), [&](sim::Peer peer) {
            if (backend2)
                backend_h2 = std::make_unique<Http2Peer>(peer, Http2Peer::Role::server);
            else
                backend.peer = peer;
        });
        std::optional<sim::Peer> one;
        std::optional<Http2Peer> two;
        if (http2) {
            two.emplace(stage.client(), Http2Peer::Role::client);
            ASSERT_TRUE(stage.until([&] { return two->settled(); }));
            ASSERT_NE(two->websocket("/chat"), 0U);
        } else {
            one = stage.client();
            one->send(opening);
        }
        if (backend2) {
            ASSERT_TRUE(stage.until([&] { return backend_h2 != nullptr && !backend_h2->messages().empty(); }));
            backend_h2->reply(1, "bye", 101, true);
        } else {
            ASSERT_TRUE(stage.until([&] { return backend.received().ends_with("\r\n\r\n"); }));
            std::string lower(backend.received());
            std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
            const size_t at = lower.find("sec-websocket-key: ") + 19;
            backend.peer->send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                               "sec-websocket-accept: " +
                               tls::websocket_accept(std::string(backend.received().substr(at, 24))) + "\r\n\r\nbye");
            backend.peer->shutdown();
        }
        ASSERT_TRUE(stage.until([&] { return http2 ? two->of(1).ended : one->saw_fin(); })) << http2 << backend2;
        EXPECT_EQ(http2 ? two->of(1).body : behind_head(*one), "bye");
        stage.until([] { return false; }, 500);
        EXPECT_FALSE(http2 ? two->of(1).reset.has_value() : one->saw_reset()) << backend2;
        if (silent) { // it is not waited for as long as for an open one
            ASSERT_TRUE(stage.until([&] { return stage.proxy->exchanges() == 0; },
                                    3 * stage.proxy->settings().half_closed_timeout_ms));
            EXPECT_TRUE(stage.until([&] { return http2 ? two->of(1).reset.has_value() : one->saw_reset(); }));
            continue;
        }
        http2 ? two->send(1, "farewell", true) : one->send("farewell");
        if (!http2)
            one->shutdown();
        const auto heard = [&] { return backend2 ? backend_h2->of(1).body : backend.received(); };
        ASSERT_TRUE(stage.until([&] {
            return heard().ends_with("farewell") && (backend2 ? backend_h2->of(1).ended : backend.peer->saw_fin());
        })) << http2
            << backend2;
        ASSERT_TRUE(stage.until([&] { return stage.proxy->exchanges() == 0; }));
        if (two)
            two->drain();
        stage.end();
    }
}

TEST(ProxyWebsocket, is_policed_like_any_request) {
    Stage stage(3);
    stage.add_endpoint("10.0.1.1:80");
    stage.world.serve(address_of("10.0.1.1:80"), shouting_server());
    stage.snapshot.policies = {policy_of(config::Policy::Action::allow, "POST")};
    stage.snapshot.policy_sets = {{.deny = {}, .allow = {0}}};
    stage.snapshot.frontends[0].policies = 0;
    stage.apply();
    const sim::Peer client = stage.client();
    client.send(opening);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 403);
}

TEST(ProxyWebsocket, a_new_policy_judges_open_ones_again_by_the_request_that_opened_them) {
    for (const bool http2 : {false, true}) {
        Stage stage(8);
        stage.snapshot.clusters[0].protocol = config::Protocol::http1;
        stage.add_endpoint("10.0.1.1:80");
        stage.world.serve(address_of("10.0.1.1:80"), shouting_server());
        std::optional<sim::Peer> one;
        std::optional<Http2Peer> two;
        if (http2) {
            two.emplace(stage.client(), Http2Peer::Role::client);
            ASSERT_TRUE(stage.until([&] { return two->settled(); }));
            ASSERT_NE(two->websocket("/chat"), 0U);
        } else {
            one = stage.client();
            one->send(opening);
        }
        const auto heard = [&] { return http2 ? two->of(1).body : behind_head(*one); };
        const auto say = [&](const std::string& text) { http2 ? two->send(1, text, false) : one->send(text); };
        ASSERT_TRUE(stage.until([&] { return heard() == "HI"; }));
        // The key is what HTTP/1 alone has: a client of HTTP/2 sent none, whatever its backend got.
        config::Policy policy = policy_of(config::Policy::Action::deny, "GET");
        policy.rules[0].to.clear();
        config::PolicyCondition condition;
        condition.header = "sec-websocket-key";
        condition.strings.values = {{.kind = config::StringPattern::Kind::present, .value = {}}};
        policy.rules[0].when = {condition};
        stage.snapshot.policies = {policy};
        stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
        stage.snapshot.frontends[0].policies = 0;
        stage.apply();
        if (http2) {
            say("more");
            ASSERT_TRUE(stage.until([&] { return heard() == "HIMORE"; }));
            EXPECT_EQ(counted(stage, Counter::policy_cut), 0U);
            stage.snapshot.policies[0].rules[0].when.clear(); // everything
            stage.apply();
            ASSERT_TRUE(stage.until([&] { return two->of(1).reset.has_value(); }));
        } else {
            ASSERT_TRUE(stage.until([&] { return one->over(); }));
            EXPECT_TRUE(one->saw_reset());
        }
        EXPECT_EQ(counted(stage, Counter::policy_cut), 1U);
    }
}

TEST(ProxyWebsocket, a_policy_that_comes_before_the_backend_accepts_judges_it_as_it_opens) {
    for (const bool http2 : {false, true}) {
        Stage stage(10);
        stage.snapshot.clusters[0].protocol = config::Protocol::http1;
        stage.add_endpoint("10.0.1.1:80");
        Backend backend;
        stage.world.serve(address_of("10.0.1.1:80"), [&](sim::Peer peer) { backend.peer = peer; });
        std::optional<sim::Peer> one;
        std::optional<Http2Peer> two;
        if (http2) {
            two.emplace(stage.client(), Http2Peer::Role::client);
            ASSERT_TRUE(stage.until([&] { return two->settled(); }));
            ASSERT_NE(two->websocket("/chat"), 0U);
        } else {
            one = stage.client();
            one->send(opening);
        }
        ASSERT_TRUE(stage.until([&] { return backend.received().ends_with("\r\n\r\n"); }));
        stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "GET"),
                                   policy_of(config::Policy::Action::deny, "CONNECT")};
        stage.snapshot.policy_sets = {{.deny = {0, 1}, .allow = {}}};
        stage.snapshot.frontends[0].policies = 0;
        stage.apply();
        EXPECT_EQ(counted(stage, Counter::policy_cut), 0U);
        std::string lower(backend.received());
        std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
        const size_t at = lower.find("sec-websocket-key: ") + 19;
        backend.peer->send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                           "sec-websocket-accept: " +
                           tls::websocket_accept(std::string(backend.received().substr(at, 24))) + "\r\n\r\nsecret");
        if (http2) {
            ASSERT_TRUE(stage.until([&] { return two->of(1).reset.has_value(); }));
            EXPECT_EQ(two->of(1).body, "");
        } else {
            ASSERT_TRUE(stage.until([&] { return one->over(); }));
            EXPECT_EQ(behind_head(*one), "");
        }
        EXPECT_EQ(counted(stage, Counter::policy_cut), 1U);
    }
}

TEST(ProxyWebsocket, the_time_of_a_request_ends_when_it_is_open) {
    ProxySettings settings;
    settings.request_timeout_ms = 5'000;
    Stage stage(9, Stage::calm(), settings);
    stage.add_endpoint("10.0.1.1:80");
    stage.world.serve(address_of("10.0.1.1:80"), shouting_server());
    const sim::Peer client = stage.client();
    client.send(opening);
    ASSERT_TRUE(stage.until([&] { return behind_head(client) == "HI"; }));
    stage.until([] { return false; }, 20'000);
    client.send("more");
    ASSERT_TRUE(stage.until([&] { return behind_head(client) == "HIMORE"; }));
    EXPECT_EQ(counted(stage, Counter::request_timeouts), 0U);
}

TEST(ProxyWebsocket, a_backend_that_accepts_without_the_right_key_is_refused) {
    Stage stage(4);
    stage.add_endpoint("10.0.1.1:80");
    stage.world.serve(
        address_of("10.0.1.1:80"),
        shouting_server("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                        "sec-websocket-accept: x\r\n\r\n"));
    const sim::Peer client = stage.client();
    client.send(opening);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; })) << client.received();
    EXPECT_EQ(status_of(client), 502);
}

TEST(ProxyWebsocket, an_ordinary_answer_is_none_that_opens_a_stream) {
    Stage stage(11);
    stage.snapshot.clusters[0].protocol = config::Protocol::http1;
    stage.add_endpoint("10.0.1.1:80");
    stage.world.serve(address_of("10.0.1.1:80"), http_server([](std::string_view, sim::Peer) { return reply("hi"); }));
    Http2Peer client(stage.client(), Http2Peer::Role::client);
    ASSERT_TRUE(stage.until([&] { return client.settled(); }));
    const StreamId stream = client.websocket("/chat");
    ASSERT_NE(stream, 0U);
    ASSERT_TRUE(stage.until([&] { return client.of(stream).has_head; }));
    EXPECT_EQ(client.of(stream).head.status, 502);
}

TEST(ProxyWebsocket, an_http2_client_reaches_an_http1_backend) {
    Stage stage(5);
    stage.snapshot.clusters[0].protocol = config::Protocol::http1;
    stage.add_endpoint("10.0.1.1:80");
    stage.world.serve(address_of("10.0.1.1:80"), shouting_server());
    Http2Peer client(stage.client(), Http2Peer::Role::client);
    ASSERT_TRUE(stage.until([&] { return client.settled(); }));
    const StreamId stream = client.websocket("/chat");
    ASSERT_NE(stream, 0U);
    ASSERT_TRUE(stage.until([&] { return client.of(stream).body == "HI"; }));
    EXPECT_EQ(client.of(stream).head.status, 101);
    EXPECT_FALSE(client.of(stream).head.headers.contains("sec-websocket-accept"));
    client.send(stream, "hello", false);
    ASSERT_TRUE(stage.until([&] { return client.of(stream).body == "HIHELLO"; }));
    client.send(stream, "bye", true);
    ASSERT_TRUE(stage.until([&] { return client.of(stream).ended; }));
    EXPECT_EQ(client.of(stream).body, "HIHELLOBYE");
}

TEST(ProxyWebsocket, an_http1_client_reaches_an_http2_backend) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
        Stage stage(seed);
        stage.snapshot.clusters[0].protocol = config::Protocol::http2;
        std::unique_ptr<Http2Peer> backend;
        stage.world.serve(address_of("10.0.1.1:80"), [&](sim::Peer peer) {
            backend = std::make_unique<Http2Peer>(peer, Http2Peer::Role::server);
        });
        stage.add_endpoint("10.0.1.1:80");
        const sim::Peer client = stage.client();
        client.send(opening + "early");
        ASSERT_TRUE(stage.until([&] { return backend != nullptr && !backend->messages().empty(); })) << seed;
        const StreamId stream = backend->messages().begin()->first;
        EXPECT_EQ(backend->of(stream).head.upgrade, "websocket");
        EXPECT_FALSE(backend->of(stream).head.headers.contains("sec-websocket-key"));
        EXPECT_EQ(backend->of(stream).body, "") << "nothing before it is accepted";
        backend->reply(stream, "hi", 101, false);
        ASSERT_TRUE(stage.until([&] { return behind_head(client) == "hi"; }));
        EXPECT_NE(client.received().find(std::string(accept)), std::string::npos);
        ASSERT_TRUE(stage.until([&] { return backend->of(stream).body == "early"; }));
        backend->send(stream, "", true);
        ASSERT_TRUE(stage.until([&] { return client.saw_fin(); }));
        stage.end();
        backend = nullptr;
    }
}

} // namespace
} // namespace weft::l7::test
