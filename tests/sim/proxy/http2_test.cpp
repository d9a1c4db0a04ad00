// SPDX-License-Identifier: Apache-2.0
// HTTP/2 through the proxy, over a simulated ring: one sentence per test.
#include "tests/sim/proxy/http2_peer.hpp"
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

using Role = Http2Peer::Role;
using Message = Http2Peer::Message;

/// A backend that speaks HTTP/2; each connection is kept until the test ends.
class Backends {
public:
    using OnRequest = std::function<void(Http2Peer&, StreamId, const Message&)>;
    Backends(Stage& stage, std::string_view address, OnRequest on_request, H2Settings settings = {}) {
        stage.world.serve(address_of(address), [this, on_request, settings](sim::Peer peer) {
            connections.push_back(std::make_unique<Http2Peer>(peer, Role::server, settings));
            connections.back()->on_request = on_request;
        });
    }
    std::vector<std::unique_ptr<Http2Peer>> connections;
};

void echo_path(Http2Peer& peer, StreamId stream, const Message& request) {
    peer.reply(stream, request.head.method + " " + request.head.path + " " + request.body);
}

TEST(ProxyHttp2, relays_many_streams_of_one_client_over_one_upstream_connection) {
    for (uint64_t seed = 0; seed < 30; ++seed) {
        Stage stage(seed);
        Backends backends(stage, "10.0.1.1:8080", echo_path);
        stage.add_endpoint("10.0.1.1:8080");
        Http2Peer client(stage.client(), Role::client);
        std::vector<StreamId> streams;
        for (int index = 0; index < 40; ++index)
            streams.push_back(client.request(index % 2 == 0 ? "GET" : "POST", "/" + std::to_string(index),
                                             index % 2 == 0 ? "" : std::string(static_cast<size_t>(index) * 100, 'x')));
        ASSERT_TRUE(stage.until([&] { return client.ended() == 40; })) << "seed " << seed;
        for (size_t index = 0; index < streams.size(); ++index) {
            const Message& got = client.of(streams[index]);
            EXPECT_EQ(got.head.status, 200) << "seed " << seed;
            const std::string method = index % 2 == 0 ? "GET" : "POST";
            const std::string body = index % 2 == 0 ? "" : std::string(index * 100, 'x');
            EXPECT_EQ(got.body, method + " /" + std::to_string(index) + " " + body) << "seed " << seed;
            EXPECT_EQ(got.head.headers.find("server"), "istio-envoy");
        }
        EXPECT_EQ(backends.connections.size(), 1U);
        stage.end();
    }
}

TEST(ProxyHttp2, serves_a_declared_http1_backend_to_an_http2_client) {
    Stage stage(1);
    stage.snapshot.clusters[0].protocol = config::Protocol::http1;
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server(echo));
    Http2Peer client(stage.client(), Role::client);
    const StreamId get_it = client.request("GET", "/a");
    const StreamId post = client.request("POST", "/b", "hello");
    ASSERT_TRUE(stage.until([&] { return client.ended() == 2; }));
    EXPECT_TRUE(client.of(get_it).body.starts_with("GET /a HTTP/1.1\r\n")) << client.of(get_it).body;
    EXPECT_NE(client.of(post).body.find("hello"), std::string::npos) << client.of(post).body;
}

TEST(ProxyHttp2, serves_a_declared_http2_backend_to_an_http1_client) {
    Stage stage(2);
    stage.snapshot.clusters[0].protocol = config::Protocol::http2;
    Backends backends(stage, "10.0.1.1:8080", [](Http2Peer& peer, StreamId stream, const Message& request) {
        peer.reply(stream, request.head.path + "," + request.body, 200, false);
        Trailers trailers;
        trailers.add("x-end", "1");
        peer.send_trailers(stream, trailers);
    });
    stage.add_endpoint("10.0.1.1:8080");
    const sim::Peer client = stage.client();
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n0\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; }));
    const Replies replies = parse_replies(client.received());
    EXPECT_EQ(replies.whole[0].body, "/1,");
    EXPECT_EQ(replies.whole[1].body, "/2,abc");
    EXPECT_NE(client.received().find("x-end: 1"), std::string::npos);
}

TEST(ProxyHttp2, big_bodies_pass_both_ways_within_the_windows) {
    for (uint64_t seed = 0; seed < 10; ++seed) {
        Stage stage(seed);
        Backends backends(stage, "10.0.1.1:8080", [](Http2Peer& peer, StreamId stream, const Message& request) {
            peer.reply(stream, request.body);
        });
        stage.add_endpoint("10.0.1.1:8080");
        Http2Peer client(stage.client(), Role::client);
        std::string body(3'000'000, 'a');
        for (size_t index = 0; index < body.size(); index += 97)
            body[index] = static_cast<char>('b' + index % 23);
        const StreamId one = client.request("POST", "/", body);
        const StreamId other = client.request("POST", "/", body.substr(1000));
        ASSERT_TRUE(stage.until([&] { return client.ended() == 2; }))
            << "seed " << seed << ": " << client.of(one).body.size() << " and " << client.of(other).body.size()
            << " bytes came back, " << (backends.connections.empty() ? 0 : backends.connections[0]->received_bytes())
            << " reached the backend";
        EXPECT_EQ(client.of(one).body == body, true) << "seed " << seed;
        EXPECT_EQ(client.of(other).body == body.substr(1000), true) << "seed " << seed;
        stage.end();
    }
}

TEST(ProxyHttp2, a_stream_that_is_not_read_does_not_hold_up_the_others) {
    Stage stage(3);
    Backends backends(stage, "10.0.1.1:8080", [](Http2Peer& peer, StreamId stream, const Message& request) {
        peer.reply(stream, std::string(request.head.path == "/big" ? 1'000'000 : 10, 'x'));
    });
    stage.add_endpoint("10.0.1.1:8080");
    H2Settings small;
    small.stream_window_bytes = 65'536;
    Http2Peer client(stage.client(), Role::client, small);
    client.hold_window = true;
    const StreamId big = client.request("GET", "/big");
    ASSERT_TRUE(stage.until([&] { return client.of(big).body.size() == 65'536; }));
    for (int index = 0; index < 5; ++index) {
        const StreamId quick = client.request("GET", "/quick");
        ASSERT_TRUE(stage.until([&] { return client.of(quick).ended; })) << index;
    }
    EXPECT_FALSE(client.of(big).ended);
}

TEST(ProxyHttp2, a_client_that_resets_a_stream_resets_it_at_the_backend_and_nothing_else) {
    Stage stage(4);
    StreamId seen = 0;
    Backends backends(stage, "10.0.1.1:8080", [&](Http2Peer& peer, StreamId stream, const Message& request) {
        if (request.head.path == "/slow")
            seen = stream;
        else
            echo_path(peer, stream, request);
    });
    stage.add_endpoint("10.0.1.1:8080");
    Http2Peer client(stage.client(), Role::client);
    const StreamId slow = client.request("GET", "/slow");
    ASSERT_TRUE(stage.until([&] { return seen != 0; }));
    client.reset(slow);
    ASSERT_TRUE(stage.until([&] { return backends.connections[0]->of(seen).reset.has_value(); }));
    const StreamId next = client.request("GET", "/next");
    ASSERT_TRUE(stage.until([&] { return client.of(next).ended; }));
    EXPECT_EQ(counted(stage, Counter::clients_gone), 1U);
    EXPECT_EQ(backends.connections.size(), 1U);
}

TEST(ProxyHttp2, a_backend_that_dies_inside_a_reply_gives_a_reset_and_never_an_end) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
        Stage stage(seed);
        Backends backends(stage, "10.0.1.1:8080", [&](Http2Peer& peer, StreamId stream, const Message& request) {
            if (request.head.path == "/whole")
                return echo_path(peer, stream, request);
            peer.reply(stream, "part", 200, false);
            stage.world.after(10, [end = peer.peer(), hard = seed % 2 == 0] { hard ? end.reset() : end.shutdown(); });
        });
        stage.add_endpoint("10.0.1.1:8080");
        Http2Peer client(stage.client(), Role::client);
        const StreamId part = client.request("GET", "/part");
        ASSERT_TRUE(stage.until([&] { return client.ended() == 1; })) << "seed " << seed;
        if (client.of(part).has_head && client.of(part).head.status == 200) {
            EXPECT_TRUE(client.of(part).reset.has_value()) << "seed " << seed;
            EXPECT_FALSE(client.of(part).ended) << "seed " << seed;
        } else {
            EXPECT_EQ(client.of(part).head.status, 503) << "seed " << seed; // the reset overtook the head
        }
        const StreamId whole = client.request("GET", "/whole");
        ASSERT_TRUE(stage.until([&] { return client.of(whole).ended; })) << "seed " << seed;
        EXPECT_EQ(client.of(whole).head.status, 200) << "seed " << seed;
        stage.end();
    }
}

TEST(ProxyHttp2, tries_a_refused_stream_again_with_its_body) {
    Stage stage(5);
    int requests = 0;
    Backends backends(stage, "10.0.1.1:8080", [&](Http2Peer& peer, StreamId stream, const Message& request) {
        if (++requests == 1)
            peer.reset(stream, Code::refused, true);
        else
            echo_path(peer, stream, request);
    });
    stage.add_endpoint("10.0.1.1:8080");
    Http2Peer client(stage.client(), Role::client);
    const StreamId stream = client.request("POST", "/a", "payload");
    ASSERT_TRUE(stage.until([&] { return client.ended() == 1; }));
    EXPECT_EQ(client.of(stream).body, "POST /a payload");
    EXPECT_EQ(requests, 2);
    EXPECT_EQ(counted(stage, Counter::retries_refused), 1U);
}

TEST(ProxyHttp2, gives_up_on_a_backend_that_refuses_every_stream) {
    Stage stage(6);
    Backends backends(stage, "10.0.1.1:8080", [&](Http2Peer& peer, StreamId stream, const Message&) {
        peer.reset(stream, Code::refused, true);
    });
    stage.add_endpoint("10.0.1.1:8080");
    Http2Peer client(stage.client(), Role::client);
    const StreamId stream = client.request("POST", "/a", "payload");
    ASSERT_TRUE(stage.until([&] { return client.ended() == 1; }));
    EXPECT_EQ(client.of(stream).head.status, 503);
}

TEST(ProxyHttp2, waits_for_a_stream_where_the_backend_allows_few) {
    Stage stage(7);
    H2Settings one_stream;
    one_stream.streams_max = 1;
    Backends backends(
        stage, "10.0.1.1:8080",
        [&](Http2Peer& peer, StreamId stream, const Message& request) {
            stage.world.after(5, [&peer, stream, request] { echo_path(peer, stream, request); });
        },
        one_stream);
    stage.add_endpoint("10.0.1.1:8080");
    Http2Peer client(stage.client(), Role::client);
    for (int index = 0; index < 30; ++index)
        client.request("GET", "/" + std::to_string(index));
    ASSERT_TRUE(stage.until([&] { return client.ended() == 30; }));
    for (const auto& [stream, message] : client.messages())
        EXPECT_EQ(message.head.status, 200) << stream;
    EXPECT_LE(backends.connections.size(), ProxySettings().sessions_per_key_max);
}

TEST(ProxyHttp2, judges_each_stream) {
    Stage stage(8);
    Backends backends(stage, "10.0.1.1:8080", echo_path);
    stage.add_endpoint("10.0.1.1:8080");
    stage.snapshot.policies = {policy_of(config::Policy::Action::allow, "GET")};
    stage.snapshot.policy_sets = {{.deny = {}, .allow = {0}}};
    stage.snapshot.frontends[0].policies = 0;
    stage.apply();
    Http2Peer client(stage.client(), Role::client);
    const StreamId allowed = client.request("GET", "/");
    const StreamId denied = client.request("DELETE", "/");
    ASSERT_TRUE(stage.until([&] { return client.ended() == 2; }));
    EXPECT_EQ(client.of(allowed).head.status, 200);
    EXPECT_EQ(client.of(denied).head.status, 403);
}

TEST(ProxyHttp2, drains_with_goaway_and_lets_streams_end) {
    Stage stage(9);
    StreamId seen = 0;
    Backends backends(stage, "10.0.1.1:8080", [&](Http2Peer&, StreamId stream, const Message&) { seen = stream; });
    stage.add_endpoint("10.0.1.1:8080");
    Http2Peer client(stage.client(), Role::client);
    const StreamId stream = client.request("GET", "/");
    ASSERT_TRUE(stage.until([&] { return seen != 0; }));
    bool drained = false;
    stage.proxy->drain(60'000, [&] { drained = true; });
    ASSERT_TRUE(stage.until([&] { return client.saw_goaway(); }));
    EXPECT_FALSE(drained);
    backends.connections[0]->reply(seen, "late");
    ASSERT_TRUE(stage.until([&] { return client.of(stream).ended; }));
    EXPECT_EQ(client.of(stream).body, "late");
    EXPECT_TRUE(stage.until([&] { return drained; }, 30'000));
}

TEST(ProxyHttp2, ends_the_connection_of_who_breaks_the_protocol_and_resets_its_streams_at_the_backend) {
    Stage stage(10);
    StreamId seen = 0;
    Backends backends(stage, "10.0.1.1:8080", [&](Http2Peer&, StreamId stream, const Message&) { seen = stream; });
    stage.add_endpoint("10.0.1.1:8080");
    const sim::Peer raw = stage.client();
    Http2Peer client(raw, Role::client);
    client.request("GET", "/");
    ASSERT_TRUE(stage.until([&] { return seen != 0; }));
    raw.send(std::string("\0\0\4\x8\0\0\0\0\0\0\0\0\0", 13)); // WINDOW_UPDATE by zero on the connection
    ASSERT_TRUE(stage.until([&] { return client.saw_goaway() && raw.saw_fin(); }));
    EXPECT_TRUE(stage.until([&] { return backends.connections[0]->of(seen).reset.has_value(); }));
    EXPECT_EQ(counted(stage, Counter::http2_errors), 1U);
}

TEST(ProxyHttp2, an_idle_connection_ends_with_goaway) {
    Stage stage(11);
    Http2Peer client(stage.client(), Role::client);
    ASSERT_TRUE(stage.until([&] { return client.saw_goaway(); }, 400'000));
    EXPECT_TRUE(stage.until([&] { return client.peer().saw_fin(); }));
    EXPECT_EQ(counted(stage, Counter::idle_timeouts), 1U);
}

/// Everything at once: resets, slow ends, faults of the kernel; replies are right, or there is an error or a reset.
TEST(ProxyHttp2, chaos) {
    for (uint64_t seed = 0; seed < 3000; ++seed) {
        sim::Faults faults;
        faults.connect_refused = seed % 5 == 0 ? 100 : 0;
        Stage stage(seed, faults);
        sim::World& world = stage.world;
        const bool http1_backend = seed % 3 == 0;
        stage.snapshot.clusters[0].protocol = http1_backend ? config::Protocol::http1 : config::Protocol::undeclared;
        std::unique_ptr<Backends> backends;
        if (http1_backend) {
            stage.world.serve(address_of("10.0.1.1:80"), http_server([&](std::string_view request, sim::Peer peer) {
                                  const size_t begin = request.find(' ') + 1;
                                  const std::string path(request.substr(begin, request.find(' ', begin) - begin));
                                  if (world.chance(100)) {
                                      world.after(5, [peer] { peer.over() ? void() : peer.reset(); });
                                      return std::string("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart");
                                  }
                                  return reply(path);
                              }));
        } else {
            backends = std::make_unique<Backends>(stage, "10.0.1.1:80",
                                                  [&](Http2Peer& peer, StreamId stream, const Message& request) {
                                                      const uint64_t what = world.random(20);
                                                      if (what == 0)
                                                          peer.reset(stream, Code::refused, true);
                                                      else if (what == 1)
                                                          peer.reset(stream, Code::invalid);
                                                      else if (what == 2)
                                                          peer.peer().reset();
                                                      else if (what == 3)
                                                          peer.drain();
                                                      else
                                                          peer.reply(stream, request.head.path);
                                                  });
        }
        stage.add_endpoint("10.0.1.1:80");
        std::vector<std::unique_ptr<Http2Peer>> clients;
        for (uint64_t index = 0; index < 1 + world.random(3); ++index) {
            clients.push_back(std::make_unique<Http2Peer>(stage.client(), Role::client));
            Http2Peer& client = *clients.back();
            for (uint64_t one = 0; one < 1 + world.random(30); ++one) {
                world.after(world.random(100), [&world, &client, one] {
                    if (client.peer().over())
                        return;
                    const StreamId stream = client.request(one % 2 == 0 ? "GET" : "POST", "/" + std::to_string(one),
                                                           one % 2 == 0 ? "" : std::string(world.random(50'000), 'q'));
                    if (stream != 0 && world.chance(150))
                        world.after(world.random(50), [&client, stream] { client.reset(stream); });
                });
            }
            if (world.chance(200))
                world.after(world.random(150), [peer = client.peer(), hard = world.chance(500)] {
                    if (!peer.over())
                        hard ? peer.reset() : peer.close();
                });
        }
        stage.until([] { return false; }, 2'000);
        for (const auto& client : clients) {
            for (const auto& [stream, message] : client->messages()) {
                if (message.ended && message.head.status == 200 && !message.reset)
                    EXPECT_TRUE(message.body.starts_with("/")) << message.body << ", seed " << seed;
                if (!client->peer().over() && !message.reset)
                    EXPECT_TRUE(message.ended) << "hangs: stream " << stream << ", seed " << seed;
            }
        }
        stage.end();
        if (testing::Test::HasFailure())
            break;
    }
}

} // namespace
} // namespace weft::l7::test
