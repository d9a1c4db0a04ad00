// SPDX-License-Identifier: Apache-2.0
// One sentence per test: what a client sees of the proxy, over a simulated ring.
#include "config/base/slab.hpp"
#include "l7engine/proxy/connection.hpp"
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

TEST(Proxy, relays_a_request_and_adds_the_waypoint_fields) {
    Stage stage(1);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server(echo));
    const sim::Peer client = stage.client();
    client.send("GET /a?b=c HTTP/1.1\r\nHost: plain\r\nX-Envoy-Retry-On: 5xx\r\nx-istio-attributes: forged\r\n"
                "X-Forwarded-Client-Cert: By=me\r\nX-Mine: kept\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    const Replies::One got = parse_replies(client.received()).whole[0];
    EXPECT_EQ(got.status, 200);
    EXPECT_NE(got.head.find("server: istio-envoy"), std::string::npos) << got.head;
    EXPECT_NE(got.head.find("x-envoy-upstream-service-time: "), std::string::npos) << got.head;
    EXPECT_TRUE(got.body.starts_with("GET /a?b=c HTTP/1.1\r\n")) << got.body;
    EXPECT_NE(got.body.find("X-Mine: kept"), std::string::npos);
    EXPECT_NE(got.body.find("x-request-id: "), std::string::npos);
    EXPECT_NE(got.body.find("x-forwarded-proto: http"), std::string::npos);
    for (const std::string_view forged : {"Retry-On", "x-istio-attributes", "Client-Cert"})
        EXPECT_EQ(got.body.find(forged), std::string::npos) << forged;
}

TEST(Proxy, keeps_both_connections_for_the_next_request_and_serves_pipelined_ones_in_order) {
    Stage stage(2);
    stage.add_endpoint("10.0.1.1:8080");
    size_t connections = 0;
    const auto server = http_server(echo);
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { ++connections, server(peer); });
    const sim::Peer client = stage.client();
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
                "GET /3 HTTP/1.1\r\nhost: a\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 3; }));
    const Replies replies = parse_replies(client.received());
    for (size_t index = 0; index < 3; ++index)
        EXPECT_NE(replies.whole[index].body.find("/" + std::to_string(index + 1) + " "), std::string::npos);
    EXPECT_TRUE(replies.whole[1].body.ends_with("abc"));
    EXPECT_EQ(connections, 1U);
    EXPECT_FALSE(client.saw_fin());
    EXPECT_EQ(counted(stage, Counter::pool_hits), 2U);
}

TEST(Proxy, answers_404_without_a_route_and_500_for_a_bad_backend_and_503_without_endpoints) {
    Stage stage(3);
    stage.snapshot.route_tables = {
        {.entries = {{.match = {.path_kind = config::RouteMatch::Path::exact,
                                .path = "/bad",
                                .method = {},
                                .headers = {},
                                .queries = {},
                                .hostnames = {}},
                      .rule = 0},
                     {.match = {.path_kind = config::RouteMatch::Path::exact,
                                .path = "/none",
                                .method = {},
                                .headers = {},
                                .queries = {},
                                .hostnames = {}},
                      .rule = 1},
                     {.match = {.path_kind = config::RouteMatch::Path::exact,
                                .path = "/empty",
                                .method = {},
                                .headers = {},
                                .queries = {},
                                .hostnames = {}},
                      .rule = 2}},
         .rules = {{.route = "default/r", .name = {}, .backends = {{}}},
                   {.route = "default/r", .name = {}, .backends = {{.cluster = 0, .weight = 0}}},
                   {.route = "default/r", .name = {}, .backends = {{.cluster = 0, .weight = 1}}}}}};
    stage.snapshot.frontends[0].routes = 0;
    stage.apply();
    const sim::Peer client = stage.client();
    const std::pair<std::string, int> cases[] = {{"/other", 404}, {"/bad", 500}, {"/none", 500}, {"/empty", 503}};
    size_t sent = 0;
    for (const auto& [path, status] : cases) {
        client.send("GET " + path + " HTTP/1.1\r\nhost: a\r\n\r\n");
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == sent + 1; })) << path;
        EXPECT_EQ(status_of(client), status) << path;
        ++sent;
    }
    EXPECT_FALSE(client.saw_fin()) << "an error of ours leaves the connection usable";
    const std::vector<StatsSeries> series = stage.proxy->stats().collect();
    std::vector<std::string> flags;
    for (const StatsSeries& one : series)
        flags.push_back(one.labels[21] + one.labels[23]);
    EXPECT_THAT(flags, testing::UnorderedElementsAre("404NR", "500-", "503UH"));
}

TEST(Proxy, tries_another_endpoint_when_the_first_refuses) {
    Stage stage(7);
    stage.add_endpoint("10.0.1.1:8080");
    stage.add_endpoint("10.0.1.2:8080");
    stage.world.serve(address_of("10.0.1.2:8080"), http_server(echo));
    const sim::Peer client = stage.client();
    for (size_t sent = 0; sent < 20; ++sent) {
        client.send(get);
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == sent + 1; }));
        EXPECT_EQ(status_of(client), 200);
    }
    EXPECT_GT(counted(stage, Counter::retries_connect), 0U);
}

TEST(Proxy, answers_503_when_the_only_endpoint_refuses_and_when_it_never_answers) {
    Stage stage(8);
    stage.add_endpoint("10.0.1.1:8080");
    sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 503);
    stage.world.ignore(address_of("10.0.1.1:8080"));
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; }));
    EXPECT_EQ(status_of(client), 503);
    for (const StatsSeries& one : stage.proxy->stats().collect())
        EXPECT_EQ(one.labels[23], "UF");
}

TEST(Proxy, repeats_a_get_once_on_a_stale_connection_but_never_a_post) {
    Stage stage(9);
    stage.add_endpoint("10.0.1.1:8080");
    size_t requests = 0;
    // The second request on a connection finds it closed: the FIN is on its way while the request leaves.
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) {
        auto served = std::make_shared<int>(0);
        http_server([&requests, served](std::string_view request, sim::Peer end) -> std::string {
            ++requests;
            if (++*served == 1)
                return reply(request);
            end.close();
            return "";
        })(peer);
    });
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; }));
    EXPECT_EQ(status_of(client), 200);
    EXPECT_EQ(counted(stage, Counter::retries_stale), 1U);
    EXPECT_EQ(requests, 3U);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 3; }));
    EXPECT_EQ(status_of(client), 503);
    EXPECT_EQ(requests, 4U);
}

TEST(Proxy, answers_502_to_a_reply_that_is_no_http) {
    Stage stage(10);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"),
                      http_server([](std::string_view, sim::Peer) { return std::string("SMTP ready\r\n\r\n"); }));
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 502);
    EXPECT_EQ(stage.proxy->stats().collect().at(0).labels[23], "UPE");
}

TEST(Proxy, cuts_the_client_when_the_backend_is_lost_inside_a_body) {
    for (uint64_t seed = 0; seed < 40; ++seed) {
        Stage stage(seed);
        stage.add_endpoint("10.0.1.1:8080");
        const bool chunked = seed % 2 == 0;
        stage.world.serve(
            address_of("10.0.1.1:8080"), http_server([&](std::string_view, sim::Peer end) {
                stage.world.after(50, [end, seed] { seed % 4 < 2 ? end.reset() : end.close(); });
                return chunked ? std::string("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
                               : std::string("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
            }));
        const sim::Peer client = stage.client();
        client.send(get);
        ASSERT_TRUE(stage.until([&] { return client.over(); })) << seed;
        EXPECT_TRUE(client.saw_reset()) << "never a clean end, seed " << seed;
        EXPECT_EQ(replies_of(client), 0U) << seed;
        EXPECT_EQ(counted(stage, Counter::backend_cut), 1U);
    }
}

TEST(Proxy, passes_chunks_and_trailers_both_ways_and_head_without_body) {
    Stage stage(11);
    stage.add_endpoint("10.0.1.1:8080");
    std::string request_seen;
    stage.world.serve(address_of("10.0.1.1:8080"), http_server([&](std::string_view request, sim::Peer) {
                          request_seen = request;
                          if (request.starts_with("HEAD"))
                              return std::string("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n");
                          return std::string(
                              "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
                              "0\r\nx-sum: 7\r\n\r\n");
                      }));
    const sim::Peer client = stage.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: "
                "chunked\r\n\r\n4\r\nwxyz\r\n0\r\nX-Forwarded-Client-Cert: By=me\r\nx-trail: 1\r\n"
                "x-envoy-original-path: /admin\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(parse_replies(client.received()).whole[0].body, "abcde");
    EXPECT_NE(client.received().find("x-sum: 7\r\n\r\n"), std::string::npos);
    EXPECT_TRUE(request_seen.ends_with("0\r\nx-trail: 1\r\n\r\n")) << request_seen;
    const size_t before = client.received().size();
    client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
    ASSERT_TRUE(
        stage.until([&] { return client.received().ends_with("\r\n\r\n") && client.received().size() > before; }));
    EXPECT_NE(client.received().find("ength: 12345", before), std::string::npos);
    const size_t after_head = client.received().size();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    EXPECT_TRUE(stage.until([&] { return parse_replies(client.received().substr(after_head)).whole.size() == 1; }));
    EXPECT_FALSE(client.over());
}

TEST(Proxy, sends_100_continue_only_to_who_waits_for_it) {
    Stage stage(12);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server(echo));
    const sim::Peer client = stage.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return parse_replies(client.received()).informational == 1; }));
    client.send("hello");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_TRUE(parse_replies(client.received()).whole[0].body.ends_with("hello"));
    EXPECT_EQ(parse_replies(client.received()).whole[0].body.find("xpect"), std::string::npos);
}

TEST(Proxy, does_not_ask_for_a_body_that_it_refuses) {
    Stage stage(13);
    stage.snapshot.policies = {policy_of(config::Policy::Action::deny, "POST")};
    stage.snapshot.policy_sets = {{.deny = {0}, .allow = {}}};
    stage.snapshot.frontends[0].policies = 0;
    stage.apply();
    const sim::Peer client = stage.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(parse_replies(client.received()).informational, 0U);
    EXPECT_EQ(status_of(client), 403);
    ASSERT_TRUE(stage.until([&] { return client.saw_fin(); })) << "the unread body ends the connection";
}

TEST(Proxy, gives_an_early_reply_to_a_client_that_is_still_sending) {
    Stage stage(14);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), [](sim::Peer peer) {
        peer.on_event([answered = std::make_shared<bool>(false)](sim::Peer end) {
            if (!*answered && end.received().find("\r\n\r\n") != std::string::npos) {
                *answered = true;
                end.send(reply("too big", "connection: close\r\n", "413 Content Too Large"));
                end.shutdown();
            }
        });
    });
    const sim::Peer client = stage.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n" + std::string(1000, 'x'));
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 413);
    client.send(std::string(1000, 'y'));
    ASSERT_TRUE(stage.until([&] { return client.saw_fin(); }));
    EXPECT_FALSE(client.saw_reset()) << "lingers, so that the reply is not lost";
}

TEST(Proxy, drops_the_backend_at_once_when_the_client_is_gone) {
    for (const bool reset : {true, false}) {
        Stage stage(15);
        stage.add_endpoint("10.0.1.1:8080");
        Backend backend;
        stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { backend.peer = peer; });
        const sim::Peer client = stage.client();
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf");
        ASSERT_TRUE(stage.until([&] { return backend.received().ends_with("half"); }));
        reset ? client.reset() : client.close();
        const uint64_t left_at = stage.world.now_ms();
        ASSERT_TRUE(stage.until([&] { return backend.peer->over(); }));
        EXPECT_LT(stage.world.now_ms() - left_at, 1000U);
        EXPECT_EQ(counted(stage, Counter::clients_gone), 1U);
        const std::vector<StatsSeries> series = stage.proxy->stats().collect();
        ASSERT_EQ(series.size(), 1U);
        EXPECT_EQ(series[0].labels[21], "0");
        EXPECT_EQ(series[0].labels[23], "DC");
    }
}

TEST(Proxy, answers_a_client_that_half_closes_after_its_request) {
    Stage stage(16);
    stage.add_endpoint("10.0.1.1:8080");
    Backend backend;
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { backend.peer = peer; });
    const sim::Peer client = stage.client();
    client.send(get);
    client.shutdown();
    ASSERT_TRUE(stage.until([&] { return whole_request(backend.received()) > 0; }));
    stage.until([] { return false; }, 2'000);
    EXPECT_FALSE(backend.peer->over());
    backend.peer->send(reply("late"));
    ASSERT_TRUE(stage.until([&] { return client.saw_fin(); }));
    EXPECT_EQ(parse_replies(client.received()).whole.at(0).body, "late");
}

TEST(Proxy, reads_no_faster_than_the_client_does) {
    Stage stage(17);
    stage.add_endpoint("10.0.1.1:8080");
    const std::string body(4'000'000, 'b');
    stage.world.serve(address_of("10.0.1.1:8080"),
                      http_server([&](std::string_view, sim::Peer) { return reply(body); }));
    const sim::Peer client = stage.client();
    client.pause();
    client.send(get);
    stage.until([] { return false; }, 5'000);
    // What the proxy holds is in slices of the ring's buffers: a few of them, not the body.
    EXPECT_LT(client.received().size(), body.size() / 4);
    client.resume();
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(parse_replies(client.received()).whole[0].body, body);
}

TEST(Proxy, refuses_bad_requests_and_slow_heads_and_closes) {
    struct Case {
        std::string_view name, bytes;
        int status;
    };
    const Case cases[] = {
        {"bad request line", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400},
        {"two lengths", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400},
        {"half a head", "GET / HTTP/1.1\r\nhost: a\r\nx-slow: ", 408},
        {"bad chunk", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400}};
    for (const Case& one : cases) {
        Stage stage(18);
        stage.add_endpoint("10.0.1.1:8080");
        stage.world.serve(address_of("10.0.1.1:8080"), http_server(echo));
        const sim::Peer client = stage.client();
        client.send(one.bytes);
        ASSERT_TRUE(stage.until([&] { return client.over(); })) << one.name;
        EXPECT_EQ(status_of(client), one.status) << one.name << ": " << client.received();
        EXPECT_EQ(replies_of(client), 1U) << one.name;
    }
}

TEST(Proxy, waits_for_sockets_while_the_agent_is_away) {
    Stage stage(19);
    stage.agent_gives = false;
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server(echo));
    const sim::Peer client = stage.client();
    client.send(get);
    stage.until([] { return false; }, 3'000);
    EXPECT_EQ(replies_of(client), 0U);
    stage.agent_gives = true; // back: the wish is repeated
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 200);
}

TEST(Proxy, an_exchange_that_times_out_while_it_connects_is_answered_504) {
    ProxySettings settings;
    settings.exchange_idle_timeout_ms = 2'000;
    settings.connect_timeout_ms = 10'000;
    Stage stage(1, Stage::calm(), settings);
    stage.world.ignore(address_of("10.0.1.1:8080"));
    stage.add_endpoint("10.0.1.1:8080");
    stage.apply();
    sim::Peer client = stage.client();
    client.send("GET / HTTP/1.1\r\nHost: plain\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return !parse_replies(client.received()).whole.empty(); }, 5'000));
    EXPECT_EQ(status_of(client), 504);
}

TEST(Proxy, times_out_an_exchange_without_progress_with_504) {
    ProxySettings settings;
    settings.exchange_idle_timeout_ms = 300'000;
    Stage stage(20, Stage::calm(), settings);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"),
                      http_server([](std::string_view, sim::Peer) { return std::string(); }));
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 504);
}

TEST(Proxy, lets_exchanges_end_when_it_drains_and_says_close) {
    Stage stage(21);
    stage.add_endpoint("10.0.1.1:8080");
    Backend backend;
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { backend.peer = peer; });
    const sim::Peer busy = stage.client();
    const sim::Peer idle = stage.client();
    busy.send(get);
    ASSERT_TRUE(stage.until([&] { return whole_request(backend.received()) > 0; }));
    bool drained = false;
    stage.proxy->drain(30'000, [&] { drained = true; });
    stage.until([] { return false; }, 3'000);
    EXPECT_TRUE(idle.over());
    EXPECT_FALSE(drained);
    backend.peer->send(reply("done"));
    ASSERT_TRUE(stage.until([&] { return drained; }));
    EXPECT_EQ(parse_replies(busy.received()).whole.at(0).body, "done");
    EXPECT_NE(busy.received().find("onnection: close"), std::string::npos) << busy.received();
    EXPECT_EQ(counted(stage, Counter::drain_cut), 0U);
}

TEST(Proxy, closes_everything_of_a_released_pod_and_nothing_else) {
    Stage stage(22);
    stage.snapshot.pods[1].inbound = {{.port = 8080, .protocol = config::Protocol::http1, .guards = {}}};
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"),
                      http_server([](std::string_view, sim::Peer) { return std::string(); }));
    const sim::Peer client = stage.client();
    const sim::Peer other = stage.inbound_client("10.0.9.9:5555", 8080);
    client.send(get);
    stage.until([] { return false; }, 1'000);
    bool released = false;
    stage.proxy->release_pod(Stage::client_pod, [&] { released = true; });
    ASSERT_TRUE(stage.until([&] { return released; }, 5'000));
    EXPECT_TRUE(client.over());
    EXPECT_FALSE(other.over());
    // Sockets that come too late are closed, not kept.
    std::vector<UniqueFd> late;
    late.push_back(stage.world.socket());
    stage.proxy->stock().give(Stage::client_pod, false, std::move(late));
    EXPECT_EQ(counted(stage, Counter::stock_unwanted), 1U);
}

/// Both orders, at once and after the first has settled: whoever waits for an end hears of it.
TEST(Proxy, answers_every_drain_and_every_release_whatever_came_before) {
    enum class Step : uint8_t { drain, release };
    using enum Step;
    const std::vector<Step> orders[] = {{drain, release},          {release, drain},          {release, release},
                                        {release, release, drain}, {drain, release, release}, {drain, drain, release}};
    for (const uint64_t pause_ms : {0U, 1U, 100U, 5000U}) {
        for (const std::vector<Step>& order : orders) {
            Stage stage(26);
            stage.proxy->add_listener(Stage::client_pod, abi::WEFT_LISTENER_OUTBOUND4,
                                      stage.world.listen(address_of("127.0.0.1:15001")));
            const sim::Peer client = stage.client();
            stage.until([] { return false; }, 50);
            size_t answered = 0;
            for (const Step step : order) {
                if (step == drain)
                    stage.proxy->drain(1'000, [&] { ++answered; });
                else
                    stage.proxy->release_pod(Stage::client_pod, [&] { ++answered; });
                stage.until([] { return false; }, pause_ms);
            }
            ASSERT_TRUE(stage.until([&] { return answered == order.size(); }, 60'000)) << pause_ms;
            stage.until([] { return false; }, 1'000);
            EXPECT_EQ(answered, order.size()) << "each once";
            EXPECT_TRUE(client.over());
        }
    }
}

TEST(Proxy, keeps_its_frames_small) {
    Stage stage(24);
    stage.add_endpoint("10.0.1.1:8080");
    Backend backend;
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { backend.peer = peer; });
    const size_t before = FramePool::live_bytes();
    const sim::Peer client = stage.client();
    stage.until([] { return false; }, 100);
    const size_t idle = FramePool::live_bytes() - before;
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return whole_request(backend.received()) > 0; }));
    const size_t busy = FramePool::live_bytes() - before - idle;
    RecordProperty("idle_frame_bytes", static_cast<int>(idle));
    RecordProperty("exchange_frame_bytes", static_cast<int>(busy));
    RecordProperty("connection_bytes", static_cast<int>(sizeof(Connection)));
    printf("frames: idle connection %zu, exchange %zu; Connection %zu bytes\n", idle, busy, sizeof(Connection));
    EXPECT_LE(idle, 512U);
    EXPECT_LE(busy, 4096U);
    EXPECT_LE(sizeof(Connection), 320U);
}

TEST(Proxy, keeps_little_of_a_connection_that_had_its_request) {
    constexpr size_t count = 500;
    Stage stage(25);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server(echo));
    const auto request = [&](const sim::Peer& client) {
        client.send(get);
        return stage.until([&] { return replies_of(client) == 1; });
    };
    ASSERT_TRUE(request(stage.client())); // what the first one brings stays
    const size_t before = SlabPool::mapped_bytes();
    std::vector<sim::Peer> clients;
    for (size_t index = 0; index < count; ++index)
        ASSERT_TRUE(request(clients.emplace_back(stage.client())));
    ASSERT_EQ(stage.proxy->connections(), count + 1);
    EXPECT_LE((SlabPool::mapped_bytes() - before) / count, 1'024U);
    for (const sim::Peer& client : clients)
        client.shutdown();
    ASSERT_TRUE(stage.until([&] { return stage.proxy->connections() <= 1; }));
    EXPECT_LE(SlabPool::mapped_bytes(), before + (SlabPool::slabs_kept_max + 8) * SlabPool::slab_bytes);
}

TEST(Proxy, uses_the_new_snapshot_from_the_next_request_on) {
    Stage stage(23);
    stage.add_endpoint("10.0.1.1:8080");
    Backend backend;
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { backend.peer = peer; });
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return whole_request(backend.received()) > 0; }));
    stage.snapshot.frontends.clear();
    stage.apply();
    backend.peer->send(reply("old"));
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 200);
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; }));
    EXPECT_EQ(status_of(client), 404);
    // A pod that the snapshot does not know cannot be judged: refused, not passed.
    stage.snapshot.pods.clear();
    stage.apply();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 3; }));
    EXPECT_EQ(status_of(client), 503);
}

/// Else each change of the configuration would stay in memory for the longest stream that began before it.
TEST(Proxy, what_lasts_lets_go_of_old_snapshots_and_keeps_its_labels) {
    for (const bool answered : {false, true}) {
        Stage stage(77);
        stage.add_endpoint("10.0.1.1:8080");
        std::vector<sim::Peer> servers;
        stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) {
            servers.push_back(peer);
            peer.on_event([answered](sim::Peer end) {
                if (answered && whole_request(end.received()) > 0 && end.received().size() < 1'000'000) {
                    end.on_event([](sim::Peer) {});
                    end.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nbegun");
                }
            });
        });
        std::vector<sim::Peer> clients;
        std::vector<std::weak_ptr<const SnapshotView>> old;
        for (int round = 0; round < 20; ++round) {
            clients.push_back(stage.client());
            clients.back().send(get);
            ASSERT_TRUE(stage.until([&] { return servers.size() == clients.size(); }));
            stage.until([] { return false; }, 200);
            old.emplace_back(stage.proxy->view());
            stage.apply();
        }
        EXPECT_EQ(stage.proxy->exchanges(), 20U);
        const auto alive = [&] { return std::ranges::count_if(old, [](const auto& one) { return !one.expired(); }); };
        EXPECT_GT(alive(), 10);
        stage.snapshot.workloads[0].name = "renamed";
        stage.apply();
        ASSERT_TRUE(stage.until([&] { return alive() == 0; }, 30'000));
        EXPECT_EQ(stage.proxy->exchanges(), 20U);
        for (const sim::Peer& server : servers)
            server.send(answered ? "-last" : "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nbegun-last");
        ASSERT_TRUE(stage.until([&] { return stage.proxy->exchanges() == 0; }));
        for (const sim::Peer& client : clients)
            EXPECT_TRUE(client.received().ends_with("begun-last"));
        const std::vector<StatsSeries> series = stage.proxy->report().series;
        ASSERT_EQ(series.size(), 1U);
        EXPECT_EQ(series[0].counts.requests, 20U);
        const auto label = [&](std::string_view name) {
            return series[0].labels[static_cast<size_t>(std::ranges::find(label_names, name) - label_names.begin())];
        };
        EXPECT_EQ(label("source_workload"), "client");
        EXPECT_EQ(label("destination_workload"), "server");
        EXPECT_EQ(label("destination_service_name"), "plain");
    }
}

} // namespace
} // namespace weft::l7::test
