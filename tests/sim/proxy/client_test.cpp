// SPDX-License-Identifier: Apache-2.0
// Clients that do not read, leave, or take their time: nothing is held for them longer than is said.
#include "tests/sim/proxy/stage.hpp"

namespace weft::l7::test {
namespace {

void pass(Stage& stage, uint64_t ms) {
    stage.until([] { return false; }, ms);
}

TEST(ProxyClient, that_does_not_read_its_refusal_is_closed_in_time) {
    for (const std::string_view bad : {"GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\nx-slow: "}) {
        sim::Faults faults = Stage::calm();
        faults.window_bytes_max = 1; // nothing fits
        Stage stage(1, faults);
        const sim::Peer client = stage.client();
        client.pause();
        client.send(bad);
        pass(stage, 20'000);
        EXPECT_EQ(stage.proxy->connections(), 1U);
        EXPECT_TRUE(stage.until([&] { return stage.proxy->connections() == 0; }, 600'000));
    }
}

TEST(ProxyClient, that_does_not_read_100_continue_is_cut_by_the_second_time_limit) {
    sim::Faults faults = Stage::calm();
    faults.window_bytes_max = 1;
    ProxySettings settings;
    settings.exchange_idle_timeout_ms = 10'000;
    Stage stage(2, faults, settings);
    stage.add_endpoint("10.0.1.1:8080");
    Backend backend;
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { backend.peer = peer; });
    const sim::Peer client = stage.client();
    client.pause();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    EXPECT_TRUE(stage.until([&] { return counted(stage, Counter::exchange_timeouts) == 1; }, 20'000));
    EXPECT_TRUE(stage.until([&] { return stage.proxy->connections() == 0; }, 20'000));
    EXPECT_TRUE(stage.until([&] { return client.saw_reset(); }, 1'000));
}

TEST(ProxyClient, that_resets_while_nobody_reads_from_it_ends_the_talk_with_the_backend) {
    const std::string pipelined = std::string(get) + std::string(get);
    const std::string upload =
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n" + std::string(2'000'000, 'x');
    for (const std::string& bytes : {pipelined, upload}) {
        for (uint64_t seed = 0; seed < 20; ++seed) {
            Stage stage(seed);
            stage.add_endpoint("10.0.1.1:8080");
            Backend backend;
            stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) {
                backend.peer = peer;
                peer.pause(); // takes what fits, and stalls
            });
            const sim::Peer client = stage.client();
            client.send(bytes);
            pass(stage, 2'000);
            ASSERT_TRUE(backend.peer) << seed;
            client.reset();
            EXPECT_TRUE(stage.until([&] { return backend.peer->over(); }, 1'000)) << bytes.size() << ", seed " << seed;
            EXPECT_TRUE(stage.until([&] { return stage.proxy->connections() == 0; }, 1'000)) << seed;
            EXPECT_EQ(counted(stage, Counter::clients_gone), 1U) << seed;
        }
    }
}

TEST(ProxyClient, that_leaves_or_is_cut_takes_the_dial_for_it_along) {
    enum class End : uint8_t { client_reset, pod_released, drained };
    for (const End end : {End::client_reset, End::pod_released, End::drained}) {
        for (const bool has_socket : {true, false}) {
            Stage stage(3);
            stage.agent_gives = has_socket;
            stage.add_endpoint("10.0.1.1:8080");
            stage.world.ignore(address_of("10.0.1.1:8080"));
            const sim::Peer client = stage.client();
            client.send(get);
            pass(stage, 500);
            ASSERT_EQ(stage.proxy->exchanges(), 1U);
            bool released = false;
            switch (end) {
            case End::client_reset: client.reset(); break;
            case End::pod_released: stage.proxy->release_pod(Stage::client_pod, [&] { released = true; }); break;
            case End::drained: stage.proxy->drain(1'000, [&] { released = true; }); break;
            }
            EXPECT_TRUE(stage.until([&] { return stage.proxy->connections() == 0; }, 2'000));
            EXPECT_TRUE(end == End::client_reset || stage.until([&] { return released; }, 1'000));
            EXPECT_LE(counted(stage, Counter::release_cut) + counted(stage, Counter::drain_cut), 1U) << "each once";
            // A request of a released pod that waits for a socket is told that there will be none.
            const bool refused = !has_socket && end == End::pod_released;
            EXPECT_EQ(counted(stage, Counter::connects_canceled), refused ? 0U : 1U);
            EXPECT_EQ(counted(stage, Counter::connects_no_socket), refused ? 1U : 0U);
        }
    }
}

TEST(ProxyClient, is_told_503_when_no_socket_comes_in_time) {
    Stage stage(4);
    stage.agent_gives = false;
    stage.add_endpoint("10.0.1.1:8080");
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }, 20'000));
    EXPECT_EQ(status_of(client), 503);
    EXPECT_EQ(stage.proxy->stats().collect().at(0).labels[23], "UO");
}

TEST(ProxyClient, may_send_blank_lines_behind_a_body_but_not_half_a_head) {
    Stage stage(5);
    stage.add_endpoint("10.0.1.1:8080");
    stage.world.serve(address_of("10.0.1.1:8080"), http_server(echo));
    const sim::Peer client = stage.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    pass(stage, 60'000);
    EXPECT_FALSE(client.over());
    EXPECT_EQ(replies_of(client), 1U) << "no 408 that nobody asked for";
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 2; }));
    client.send("\r\nG");
    ASSERT_TRUE(stage.until([&] { return client.saw_fin(); }, 60'000));
    EXPECT_EQ(status_of(client), 408);
    EXPECT_FALSE(client.saw_reset());
}

TEST(ProxyClient, may_be_quiet_for_long_inside_an_event_stream_and_before_a_long_poll_is_answered) {
    Stage stage(6);
    stage.add_endpoint("10.0.1.1:8080");
    Backend backend;
    stage.world.serve(address_of("10.0.1.1:8080"), [&](sim::Peer peer) { backend.peer = peer; });
    const sim::Peer client = stage.client();
    client.send(get);
    ASSERT_TRUE(stage.until([&] { return whole_request(backend.received()) > 0; }));
    pass(stage, 900'000);
    backend.peer->send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
    pass(stage, 900'000);
    backend.peer->send("1\r\nb\r\n0\r\n\r\n");
    ASSERT_TRUE(stage.until([&] { return replies_of(client) == 1; }));
    EXPECT_EQ(parse_replies(client.received()).whole[0].body, "ab");
}

} // namespace
} // namespace weft::l7::test
