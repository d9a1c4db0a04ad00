// SPDX-License-Identifier: Apache-2.0
// Connections to backends: which are shared, what is repeated, what another endpoint may answer.
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

/// What the backend does with the second request on a connection; the first one gets a whole reply.
struct Farewell {
    std::string_view name;
    std::string_view request;
    std::string_view bytes;
    bool closes;
    int status;
    size_t requests; ///< that backends saw, the first included
};

constexpr std::string_view get_2 = "GET /2 HTTP/1.1\r\nhost: a\r\n\r\n";
constexpr std::string_view delete_2 = "DELETE /2 HTTP/1.1\r\nhost: a\r\n\r\n";
constexpr std::string_view post_2 = "POST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
constexpr std::string_view put_2 = "PUT /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
constexpr std::string_view late = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlate";

TEST(ProxyUpstream, repeats_only_what_no_byte_came_back_for_or_what_a_server_gave_up_waiting_for) {
    const Farewell cases[] = {
        {"closed without a byte", get_2, "", true, 200, 3},
        {"closed inside the status line", delete_2, "HTTP/1.1 500 Inter", true, 503, 2},
        {"one byte", get_2, "H", true, 503, 2},
        {"closed behind 103", get_2, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", true, 503, 2},
        {"closed behind 100", get_2, "HTTP/1.1 100 Continue\r\n\r\n", true, 503, 2},
        {"closed inside the head", get_2, "HTTP/1.1 200 OK\r\ncontent-", true, 503, 2},
        {"408, then closed", get_2, late, true, 200, 3},
        {"408, left open", get_2, late, false, 200, 3},
        {"408 for what must not be repeated", post_2, late, true, 408, 2},
        {"408 behind 103", get_2,
         "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 408 Slow\r\ncontent-length: 0\r\n\r\n", true, 408, 2},
        {"408 for a body", put_2, late, true, 408, 2},
    };
    for (const Farewell& one : cases) {
        for (uint64_t seed = 0; seed < 20; ++seed) {
            Stage stage(seed);
            stage.add_endpoint("10.0.1.1:8080");
            size_t requests = 0;
            stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) {
                auto served = std::make_shared<int>(0);
                http_server([&, served](std::string_view request, sim::Peer end) -> std::string {
                    ++requests;
                    if (++*served == 1)
                        return reply(request);
                    if (!one.bytes.empty())
                        end.send(one.bytes);
                    if (one.closes)
                        end.shutdown();
                    return "";
                })(peer);
            });
            const sim::Peer client = stage.client();
            client.send(get);
            ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
            client.send(one.request);
            ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; })) << one.name;
            EXPECT_EQ(status_of(client), one.status) << one.name << ", seed " << seed;
            EXPECT_EQ(requests, one.requests) << one.name << ", seed " << seed;
        }
    }
}

TEST(ProxyUpstream, passes_a_408_of_a_fresh_connection) {
    Stage stage(1);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"),
                      http_server([](std::string_view, sim::Peer) { return std::string(late); }));
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(status_of(client), 408);
}

TEST(ProxyUpstream, tries_another_endpoint_when_the_first_cannot_be_reached_and_says_UF_when_none_can) {
    Stage stage(2);
    stage.add_endpoint("10.0.1.1:8080");
    stage.add_endpoint("10.0.1.2:8080");
    stage.world.unreachable(address_of("10.0.1.1:8080"));
    stage.world.serve(address_of("10.0.1.2:8080"), http_server(echo));
    const sim::Peer client = stage.client();
    for (size_t sent = 0; sent < 20; ++sent) {
        client.send(get);
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == sent + 1; }));
        EXPECT_EQ(status_of(client), 200);
    }
    EXPECT_GT(counted(stage, Counter::retries_connect), 0U);
    (void)stage.proxy->stats().collect();
    stage.world.unreachable(address_of("10.0.1.2:8080"));
    stage.proxy->pool().clear();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 21; }));
    EXPECT_EQ(status_of(client), 503);
    EXPECT_EQ(stage.proxy->stats().collect().at(0).labels[23], "UF");
}

TEST(ProxyUpstream, gives_no_inbound_client_the_connection_of_another_and_closes_it_with_its_client) {
    Stage stage(3);
    std::vector<sim::Peer> taken;
    std::vector<uint16_t> ports;
    stage.world.serve(address_of("240.0.0.0:1"), [&](sim::Peer peer) {
        taken.push_back(peer);
        ports.push_back(ntohs(stage.slots[0].client_port));
        http_server(echo)(peer);
    });
    const sim::Peer first = stage.inbound_client("10.0.9.9:5555", 8080);
    for (size_t sent = 1; sent <= 2; ++sent) {
        first.send(get);
        ASSERT_TRUE(stage.until([&] { return replies_of(first) == sent; }));
    }
    ASSERT_EQ(taken.size(), 1U) << "its own is used again";
    const sim::Peer second = stage.inbound_client("10.0.9.9:6666", 8080); // the same host, another user of it
    second.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(second) == 1; }));
    EXPECT_THAT(ports, testing::ElementsAre(5555, 6666));
    EXPECT_EQ(stage.proxy->pool().size(), 2U);
    first.close();
    ASSERT_TRUE(stage.until([&] { return taken[0].over(); }, 1'000)) << "the application learns that its client left";
    EXPECT_FALSE(taken[1].over());
    EXPECT_EQ(stage.proxy->pool().size(), 1U);
}

TEST(ProxyUpstream, a_body_whose_first_backend_connection_was_stale_arrives_whole_or_not_at_all) {
    size_t whole = 0, asked_again = 0;
    for (uint64_t seed = 0; seed < 200; ++seed) {
        Stage stage(seed);
        std::optional<sim::Peer> warm;
        std::vector<std::string> bodies;
        stage.world.serve(address_of("10.0.1.1:8080"), http_server([&](std::string_view request, sim::Peer peer) {
                              if (request.starts_with("PUT"))
                                  bodies.emplace_back(request.substr(request.find("\r\n\r\n") + 4));
                              else
                                  warm = peer;
                              return reply("");
                          }));
        stage.add_endpoint("10.0.1.1:8080");
        const sim::Peer client = stage.client();
        client.send(get);
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
        const std::string body(1 + stage.world.random(60'000), 'b');
        stage.world.after(stage.world.random(30), [&] { warm->reset(); });
        stage.world.after(stage.world.random(30), [&] {
            client.send("PUT / HTTP/1.1\r\nhost: plain\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n");
            client.send(body);
        });
        ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2 || client.over(); }, 60'000)) << "seed " << seed;
        for (const std::string& got : bodies)
            EXPECT_EQ(got.size(), body.size()) << "seed " << seed;
        whole += status_of(client) == 200 ? 1 : 0;
        asked_again += counted(stage, Counter::retries_stale);
        stage.end();
    }
    EXPECT_GT(whole, 100U);
    EXPECT_GT(asked_again, 0U);
}

} // namespace
} // namespace weft::l7::test
