// SPDX-License-Identifier: Apache-2.0
// The engine's end of the contract, with a real ring, real sockets and an agent played by the test.
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <future>

#include "config/base/clock.hpp"
#include "tests/unit/server/fake_agent.hpp"

namespace weft::l7::test {
namespace {

const SocketAddress code_address = *SocketAddress::parse("127.1.0.1:15001");
constexpr std::string_view request = "GET / HTTP/1.1\r\nhost: plain\r\nconnection: close\r\n\r\n";

/// Answers each connection once with 200 and "hello".
class Backend {
public:
    Backend()
        : listener_(tcp_listener(*SocketAddress::parse("127.0.0.1:0"))), thread_([this](std::stop_token stop) {
              while (!stop.stop_requested()) {
                  pollfd polled{.fd = listener_.get(), .events = POLLIN, .revents = 0};
                  if (poll(&polled, 1, 20) != 1)
                      continue;
                  const UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
                  char buffer[4096];
                  std::string got;
                  while (got.find("\r\n\r\n") == std::string::npos) {
                      const ssize_t count = recv(client.get(), buffer, sizeof buffer, 0);
                      if (count <= 0)
                          break;
                      got.append(buffer, static_cast<size_t>(count));
                  }
                  constexpr std::string_view answer =
                      "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
                  (void)send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
              }
          }) {}
    SocketAddress address() const { return bound_to(listener_); }

private:
    UniqueFd listener_;
    std::jthread thread_;
};

class ControlTest : public testing::Test {
protected:
    /// Hello, welcome, snapshot, one outbound listener.
    void bring_up() {
        agent.start_engine();
        agent.accept_engine();
        agent.welcome();
        agent.apply(snapshot_with(backend.address()));
        listener = tcp_listener({.address = *IpAddress::parse("0.0.0.0"), .port = 15001});
        agent.give_listener(1, abi::WEFT_LISTENER_OUTBOUND4, listener.get());
        EXPECT_EQ(agent.receive(proto::ToAgent::kListenersAdopted).listeners_adopted().pod_id(), 1U);
    }
    /// A client's request while the agent answers wishes.
    std::string ask(const SocketAddress& address = code_address, std::string_view text = request) {
        std::string answer;
        std::atomic<bool> done = false;
        std::jthread client([&] { answer = talk(address, text), done = true; });
        while (!done)
            ask_report();
        return answer;
    }
    void ask_report() {
        proto::ToEngine wanted;
        wanted.mutable_stats_wanted()->set_request_id(++stats_id);
        agent.send(wanted);
        last_report = agent.receive(proto::ToAgent::kReport).report();
    }
    uint64_t counted(std::string_view name, std::string_view reason) const {
        for (const proto::Counter& counter : last_report.counters()) {
            if (counter.name() == name && counter.reason() == reason)
                return counter.value();
        }
        return UINT64_MAX;
    }

    struct Network {
        Network() { enter_own_network(); }
    } network; ///< before the sockets
    Backend backend;
    FakeAgent agent;
    UniqueFd listener;
    uint64_t stats_id = 0;
    proto::EngineReport last_report;
};

TEST_F(ControlTest, serves_a_redirected_connection_with_sockets_of_the_agent) {
    bring_up();
    const std::string answer = ask();
    EXPECT_THAT(answer, testing::StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, testing::EndsWith("\r\n\r\nhello"));
    ask(); // its report comes after the first exchange has ended
    EXPECT_GE(counted("weft_l7_connections_total", "outbound"), 1U);
    ASSERT_GE(last_report.requests_size(), 1);
    const proto::RequestSeries& series = last_report.requests(0);
    ASSERT_EQ(static_cast<size_t>(series.labels_size()), label_names.size());
    EXPECT_EQ(series.labels(0), "waypoint");
    EXPECT_EQ(series.labels(1), "client");
    EXPECT_EQ(series.labels(21), "200");
    EXPECT_GE(series.requests_total(), 1U);
}

TEST_F(ControlTest, refuses_connections_that_were_not_redirected) {
    bring_up();
    EXPECT_EQ(ask(*SocketAddress::parse("127.0.0.1:15001")), "");
    EXPECT_EQ(ask(*SocketAddress::parse("127.1.0.2:15001")), "");
    ask();
    EXPECT_EQ(counted("weft_l7_refused_connections_total", "not_redirected"), 1U);
    EXPECT_EQ(counted("weft_l7_refused_connections_total", "unknown_service"), 1U);
}

TEST_F(ControlTest, beats_only_with_a_snapshot) {
    agent.start_engine();
    agent.accept_engine();
    agent.welcome();
    proto::ToEngine wanted;
    wanted.mutable_stats_wanted()->set_request_id(1);
    agent.send(wanted);
    agent.receive(proto::ToAgent::kReport);
    EXPECT_EQ(agent.heartbeat(), 0U);
    agent.apply(snapshot_with(backend.address()));
    const uint64_t until = monotonic_ms() + 5'000;
    while (agent.heartbeat() == 0 && monotonic_ms() < until)
        std::this_thread::yield();
    EXPECT_NE(agent.heartbeat(), 0U);
}

TEST_F(ControlTest, keeps_the_last_good_snapshot_when_one_is_bad) {
    bring_up();
    config::Snapshot bad = snapshot_with(backend.address(), 2);
    bad.frontends[0].cluster = 77;
    proto::ToEngine message;
    wire::to_proto(bad, *message.mutable_snapshot());
    agent.send(message);
    const proto::ToAgent answer = agent.receive(proto::ToAgent::kSnapshotApplied);
    EXPECT_EQ(answer.snapshot_applied().generation(), 2U);
    EXPECT_THAT(answer.snapshot_applied().error(), testing::HasSubstr("cluster"));
    EXPECT_THAT(ask(), testing::StartsWith("HTTP/1.1 200"));
}

TEST_F(ControlTest, survives_whatever_the_agent_says_and_comes_back_with_its_listeners) {
    bring_up();
    const auto garbage = [&](auto speak) {
        speak();
        EXPECT_TRUE(agent.engine_hung_up());
        const proto::EngineHello hello = agent.accept_engine();
        EXPECT_EQ(hello.applied_generation(), 1U);
        ASSERT_EQ(hello.listeners_size(), 1);
        EXPECT_EQ(hello.listeners(0).pod_id(), 1U);
        EXPECT_EQ(agent.hello_fds.size(), 1U);
        agent.welcome();
        EXPECT_THAT(ask(), testing::StartsWith("HTTP/1.1 200"));
    };
    garbage([&] { agent.send_bytes(std::string("\x05\0\0\0\xff\xff\xff\xff\xff", 9)); });
    garbage([&] { agent.send_bytes("\xff\xff\xff\xff"); }); // a length beyond the limit
    garbage([&] {
        agent.send_bytes(std::string("\x64\0\0\0half", 8)), agent.hang_up(), agent.accept_engine(), agent.hang_up(),
            agent.accept_engine(), agent.send_bytes(std::string("\x05\0\0\0\xff\xff\xff\xff\xff", 9));
    });
    garbage([&] { agent.send({}); }); // no message at all
    garbage([&] {                     // descriptors that are no listeners
        proto::ToEngine message;
        message.mutable_give_listeners()->set_pod_id(1);
        message.mutable_give_listeners()->add_kinds(0);
        agent.send(message, {agent.engine_state.get()});
    });
    garbage([&] { // fewer descriptors than named
        proto::ToEngine message;
        message.mutable_give_sockets()->set_pod_id(1);
        message.mutable_give_sockets()->set_count(3);
        agent.send(message);
    });
    garbage([&] { // a worker that does not exist
        proto::ToEngine message;
        message.mutable_give_sockets()->set_worker(99);
        agent.send(message);
    });
    garbage([&] { // the wrong direction
        proto::ToEngine message;
        message.mutable_ctl()->set_ok(true);
        agent.send(message);
    });
}

TEST_F(ControlTest, wants_a_welcome_of_its_contract_first) {
    agent.start_engine();
    EXPECT_EQ(agent.accept_engine().contract(), static_cast<uint32_t>(proto::CONTRACT_VERSION));
    proto::ToEngine message;
    message.mutable_drain();
    agent.send(message);
    EXPECT_TRUE(agent.engine_hung_up());
    agent.accept_engine();
    message.mutable_welcome()->set_contract(99);
    agent.send(message, {agent.engine_state.get(), agent.dial_slots.get()});
    EXPECT_TRUE(agent.engine_hung_up());
    agent.accept_engine();
    message.mutable_welcome()->set_contract(proto::CONTRACT_VERSION);
    message.mutable_welcome()->set_dial_slots(WEFT_DIAL_SLOTS_MAX + 1);
    agent.send(message, {agent.engine_state.get(), agent.dial_slots.get()});
    EXPECT_TRUE(agent.engine_hung_up());
}

TEST_F(ControlTest, serves_on_while_the_agent_is_away) {
    bring_up();
    EXPECT_THAT(ask(), testing::StartsWith("HTTP/1.1 200"));
    agent.hang_up();
    EXPECT_THAT(talk(code_address, request), testing::StartsWith("HTTP/1.1 200")) << "from the stock";
    EXPECT_EQ(agent.accept_engine().applied_generation(), 1U);
}

TEST_F(ControlTest, answers_the_next_agent_though_a_worker_was_silent_for_the_last) {
    bring_up();
    std::promise<void> go_on;
    agent.engine().post(0, [held = go_on.get_future().share()](Proxy&) { held.wait(); });
    proto::ToEngine wanted;
    for (uint64_t id = 1; id <= 40; ++id) {
        wanted.mutable_stats_wanted()->set_request_id(id);
        agent.send(wanted);
    }
    agent.hang_up();
    agent.accept_engine();
    agent.welcome();
    wanted.mutable_stats_wanted()->set_request_id(100);
    agent.send(wanted);
    go_on.set_value();
    last_report = agent.receive(proto::ToAgent::kReport).report();
    EXPECT_EQ(last_report.request_id(), 100U) << "those of the last agent are nobody's";
    EXPECT_EQ(counted("weft_l7_reports_refused_total", ""), 24U) << "counted, and no reason to hang up";
    EXPECT_EQ(counted("weft_l7_agent_disconnects_total", "message"), UINT64_MAX);
}

TEST_F(ControlTest, takes_old_snapshots_apart_itself) {
    bring_up();
    for (uint64_t generation = 2; generation < 10; ++generation)
        agent.apply(snapshot_with(backend.address(), generation));
    const auto held = [&] {
        (void)ask();
        for (const proto::Gauge& gauge : last_report.gauges()) {
            if (gauge.name() == "weft_l7_snapshots")
                return gauge.value();
        }
        return -1.0;
    };
    double last = held();
    for (int tries = 0; tries < 50 && last != 1; ++tries)
        last = held();
    EXPECT_EQ(last, 1);
}

TEST(EngineDeathTest, a_worker_that_takes_no_work_ends_the_process) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(
        {
            auto engine = *Engine::start({.workers = 1, .shard = 1, .ring = {}, .proxy = {}}, [](uint32_t, auto) {});
            std::promise<void> never_set;
            engine->post(0, [held = never_set.get_future().share()](Proxy&) { held.wait(); });
            for (int count = 0; count < 100'000; ++count)
                engine->post(0, [](Proxy&) {});
        },
        "worker 0 takes no more work");
}

TEST_F(ControlTest, releases_a_pod_and_closes_its_listener) {
    bring_up();
    proto::ToEngine message;
    message.mutable_release_pod()->set_pod_id(1);
    agent.send(message);
    EXPECT_EQ(agent.receive(proto::ToAgent::kPodReleased).pod_released().pod_id(), 1U);
    listener.reset();
    EXPECT_EQ(talk(code_address, request), "not connected") << "the engine still holds a duplicate";
}

TEST_F(ControlTest, a_pod_that_comes_back_while_it_is_released_is_served_again) {
    bring_up();
    sockaddr_storage storage{};
    const socklen_t size = code_address.to_sockaddr(storage);
    const UniqueFd idle(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); // the release waits for it
    ASSERT_EQ(connect(idle.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
    do
        ask_report();
    while (counted("weft_l7_connections_total", "outbound") != 1);
    proto::ToEngine message;
    message.mutable_release_pod()->set_pod_id(1);
    for (int twice = 0; twice < 2; ++twice)
        agent.send(message);
    agent.give_listener(1, abi::WEFT_LISTENER_OUTBOUND4, listener.get());
    for (int twice = 0; twice < 2; ++twice)
        EXPECT_EQ(agent.receive(proto::ToAgent::kPodReleased).pod_released().pod_id(), 1U);
    EXPECT_THAT(ask(), testing::StartsWith("HTTP/1.1 200"));
}

TEST_F(ControlTest, hands_back_more_listeners_than_one_frame_carries) {
    bring_up();
    std::vector<UniqueFd> listeners;
    for (uint32_t pod_id = 2; pod_id < 272; ++pod_id) {
        listeners.push_back(tcp_listener(*SocketAddress::parse("127.0.0.1:0")));
        agent.give_listener(pod_id, abi::WEFT_LISTENER_INBOUND4, listeners.back().get());
        EXPECT_EQ(agent.receive(proto::ToAgent::kListenersAdopted).listeners_adopted().pod_id(), pod_id);
    }
    for (int restarts = 0; restarts < 2; ++restarts) {
        agent.hang_up();
        const proto::EngineHello hello = agent.accept_engine();
        ASSERT_EQ(hello.listeners_size(), 271);
        ASSERT_EQ(agent.hello_fds.size(), 271U);
        for (int index = 1; index < 271; ++index) {
            EXPECT_EQ(hello.listeners(index).pod_id(), static_cast<uint32_t>(index) + 1);
            EXPECT_EQ(bound_to(agent.hello_fds[static_cast<size_t>(index)]),
                      bound_to(listeners[static_cast<size_t>(index) - 1]));
        }
        agent.welcome();
        EXPECT_THAT(ask(), testing::StartsWith("HTTP/1.1 200"));
    }
}

TEST_F(ControlTest, drops_the_oldest_listener_of_a_kind_and_not_the_connection) {
    bring_up(); // one outbound listener
    std::vector<UniqueFd> listeners;
    std::vector<SocketAddress> addresses;
    for (int made = 0; made < 3; ++made) {
        listeners.push_back(tcp_listener(*SocketAddress::parse("127.0.0.1:0")));
        addresses.push_back(bound_to(listeners.back()));
        agent.give_listener(1, abi::WEFT_LISTENER_OUTBOUND4, listeners.back().get());
        EXPECT_EQ(agent.receive(proto::ToAgent::kListenersAdopted).listeners_adopted().pod_id(), 1U);
    }
    listeners.clear();
    listener.reset();
    // The engine alone holds them now: what it dropped refuses, what it kept accepts (and closes: not redirected).
    const uint64_t until = monotonic_ms() + 5'000;
    while (talk(addresses[0], "") != "not connected" && monotonic_ms() < until)
        std::this_thread::yield();
    EXPECT_EQ(talk(addresses[0], ""), "not connected");
    EXPECT_EQ(talk(code_address, ""), "not connected");
    EXPECT_EQ(talk(addresses[1], ""), "");
    EXPECT_EQ(talk(addresses[2], ""), "");
    agent.hang_up();
    EXPECT_EQ(agent.accept_engine().listeners_size(), 2);
}

TEST_F(ControlTest, hands_over_when_it_is_asked_to_end_and_tells_what_it_counted) {
    bring_up();
    std::jthread stopper([&] { agent.stop_engine(); });
    EXPECT_TRUE(agent.receive(proto::ToAgent::kDraining).has_draining());
    EXPECT_GT(agent.receive(proto::ToAgent::kReport).report().counters_size(), 0);
    stopper.join();
    // Nobody accepts, nobody refuses: the connection waits for the next engine.
    sockaddr_storage storage{};
    const socklen_t size = code_address.to_sockaddr(storage);
    const UniqueFd waiting(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(waiting.get(), reinterpret_cast<sockaddr*>(&storage), size), 0);
}

} // namespace
} // namespace weft::l7::test
