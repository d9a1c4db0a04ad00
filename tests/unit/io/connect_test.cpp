// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/resource.h>

#include <optional>
#include <thread>

#include "l7engine/io/frame_pool.hpp"
#include "tests/unit/io/streams.hpp"

namespace weft::l7 {
namespace {

struct Dialled {
    Result<std::unique_ptr<ByteStream>> stream = fail(Code::invalid, "not yet");
    bool done = false;
};
Task<void> dial(Worker& worker, UniqueFd socket, SocketAddress peer, Deadline deadline, Dialled& out) {
    out.stream = co_await connect_tcp(worker, std::move(socket), peer, deadline, {});
    out.done = true;
}

TEST(connect, accept_connect_and_echo) {
    auto worker = make_worker({.entries = 64, .buffers = 128});
    SocketAddress address;
    UniqueFd door = listener(address);
    size_t accepted = 0;
    Acceptor acceptor(*worker, std::move(door), [&](UniqueFd socket) {
        ++accepted;
        EXPECT_EQ(fcntl(socket.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        worker->tasks().spawn(echo(make_tcp_stream(*worker, std::move(socket), small_window)));
    });
    constexpr size_t clients = 8;
    std::array<Dialled, clients> dialled;
    for (Dialled& one : dialled)
        worker->tasks().spawn(dial(*worker, tcp_socket(), address, worker->in_ms(patience_ms), one));
    ASSERT_TRUE(turn_until(*worker, [&] { return std::ranges::all_of(dialled, &Dialled::done); }));
    const std::vector<std::byte> source = pattern_bytes(1024 * 1024);
    std::array<Received, clients> received;
    std::array<Result<void>, clients> written;
    for (size_t i = 0; i < clients; ++i) {
        ASSERT_TRUE(dialled[i].stream.has_value());
        worker->tasks().spawn(write_bytes(**dialled[i].stream, as_text(source), true, written[i]));
        worker->tasks().spawn(read_pattern(*worker, **dialled[i].stream, 0, never, received[i]));
    }
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_EQ(accepted, clients);
    for (const Received& one : received) {
        EXPECT_EQ(one.bytes, source.size());
        EXPECT_EQ(one.wrong, 0U);
    }
    bool stopped = false;
    acceptor.stop([&] { stopped = true; });
    EXPECT_FALSE(stopped) << "never on the caller's stack";
    ASSERT_TRUE(turn_until(*worker, [&] { return stopped; }));
    EXPECT_EQ(acceptor.listener(), -1);
}

/// Keeps what comes back.
struct Keeper final : SocketTaker {
    std::vector<std::pair<int, uint64_t>> came;
    std::vector<UniqueFd> sockets;
    void take_back(UniqueFd socket, uint64_t tag) override {
        came.emplace_back(socket.get(), tag);
        sockets.push_back(std::move(socket));
    }
};
Task<void> dial_from(Worker& worker, UniqueFd socket, SocketAddress peer, SocketHome home, Dialled& out) {
    out.stream = co_await connect_tcp(worker, std::move(socket), peer, worker.in_ms(patience_ms), {}, home);
    out.done = true;
}
Task<void> read_end(ByteStream& stream, std::optional<Result<Slice>>& out) {
    out = co_await stream.read();
}

TEST(connect, a_socket_comes_home_and_connects_again) {
    auto worker = make_worker();
    SocketAddress address;
    UniqueFd door = listener(address);
    std::vector<std::unique_ptr<ByteStream>> servers;
    Acceptor acceptor(*worker, std::move(door),
                      [&](UniqueFd socket) { servers.push_back(make_tcp_stream(*worker, std::move(socket), {})); });
    const auto keeper = std::make_shared<Keeper>();
    UniqueFd socket = tcp_socket();
    const int number = socket.get();
    for (uint64_t round = 1; round <= 3; ++round) {
        Dialled dialled;
        worker->tasks().spawn(dial_from(*worker, std::move(socket), address, {.taker = keeper, .tag = round}, dialled));
        ASSERT_TRUE(turn_until(*worker, [&] { return dialled.done && servers.size() == round; }));
        ASSERT_TRUE(dialled.stream.has_value()) << to_string(dialled.stream.error());
        std::optional<Result<Slice>> at_server;
        worker->tasks().spawn(read_end(*servers.back(), at_server));
        Result<void> written;
        worker->tasks().spawn(write_bytes(**dialled.stream, "hello", false, written));
        ASSERT_TRUE(turn_until(*worker, [&] { return at_server.has_value(); }));
        EXPECT_EQ((*at_server)->text(), "hello") << "round " << round;
        dialled.stream = fail(Code::invalid, "gone");
        ASSERT_TRUE(turn_until(*worker, [&] { return keeper->came.size() == round; }));
        EXPECT_EQ(keeper->came.back(), std::pair(number, round));
        bool done = false;
        disconnect_tcp(*worker, std::move(keeper->sockets.back()), [&](UniqueFd free) {
            socket = std::move(free);
            done = true;
        });
        EXPECT_FALSE(done) << "never on the caller's stack";
        ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
        ASSERT_TRUE(socket);
        at_server.reset();
        worker->tasks().spawn(read_end(*servers.back(), at_server));
        ASSERT_TRUE(turn_until(*worker, [&] { return at_server.has_value(); }));
        ASSERT_FALSE(at_server->has_value());
        EXPECT_EQ(at_server->error().code, Code::reset);
    }
}

TEST(connect, a_socket_that_reached_nobody_comes_home_too_and_an_aborted_one_does_not) {
    auto worker = make_worker();
    const auto keeper = std::make_shared<Keeper>();
    SocketAddress address;
    {
        UniqueFd door = listener(address);
    } // nobody listens any more
    Dialled dialled;
    worker->tasks().spawn(dial_from(*worker, tcp_socket(), address, {.taker = keeper, .tag = 7}, dialled));
    ASSERT_TRUE(turn_until(*worker, [&] { return dialled.done; }));
    EXPECT_FALSE(dialled.stream.has_value());
    EXPECT_EQ(keeper->came.size(), 1U);
    UniqueFd one = tcp_socket();
    const int number = one.get();
    auto stream = make_tcp_stream(*worker, std::move(one), {}, {.taker = keeper, .tag = 8});
    stream->abort({.code = Code::canceled}, true);
    stream.reset();
    ASSERT_TRUE(turn_until(*worker, [&] { return fcntl(number, F_GETFD) == -1; }));
    EXPECT_EQ(keeper->came.size(), 1U);
}

TEST(connect, refused) {
    auto worker = make_worker();
    SocketAddress address;
    listener(address).reset(); // a port that was free a moment ago
    Dialled dialled;
    worker->tasks().spawn(dial(*worker, tcp_socket(), address, worker->in_ms(patience_ms), dialled));
    ASSERT_TRUE(finish_tasks(*worker));
    ASSERT_FALSE(dialled.stream.has_value());
    EXPECT_EQ(dialled.stream.error().code, Code::refused);
    EXPECT_EQ(dialled.stream.error().side, Side::upstream);
    EXPECT_TRUE(dialled.stream.error().retryable);
    EXPECT_EQ(dialled.stream.error().detail, ECONNREFUSED);
}

TEST(connect, deadline) {
    auto worker = make_worker();
    SocketAddress address;
    const UniqueFd door = listener(address, 0); // the backlog takes one or two, nobody accepts
    std::array<Dialled, 4> dialled;
    for (Dialled& one : dialled)
        worker->tasks().spawn(dial(*worker, tcp_socket(), address, worker->in_ms(100), one));
    ASSERT_TRUE(finish_tasks(*worker));
    size_t late = 0;
    for (const Dialled& one : dialled) {
        if (one.stream)
            continue;
        EXPECT_EQ(one.stream.error().code, Code::timeout);
        EXPECT_TRUE(one.stream.error().retryable);
        ++late;
    }
    EXPECT_GE(late, 2U);
}

TEST(connect, on_a_descriptor_that_is_no_socket) {
    auto worker = make_worker();
    Dialled dialled;
    SocketAddress address;
    const UniqueFd door = listener(address);
    worker->tasks().spawn(dial(*worker, UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)), address, never, dialled));
    ASSERT_TRUE(finish_tasks(*worker));
    ASSERT_FALSE(dialled.stream.has_value());
    EXPECT_EQ(dialled.stream.error().code, Code::kernel);
}

TEST(acceptor, gives_the_rest_of_the_backlog_to_the_next) {
    auto worker = make_worker();
    SocketAddress address;
    UniqueFd door = listener(address);
    const UniqueFd duplicate(fcntl(door.get(), F_DUPFD_CLOEXEC, 0));
    int first = 0;
    int second = 0;
    {
        Acceptor acceptor(*worker, std::move(door), [&](UniqueFd) { ++first; });
        const UniqueFd client = plain_connect(address);
        ASSERT_TRUE(turn_until(*worker, [&] { return first == 1; }));
        bool stopped = false;
        acceptor.stop([&] { stopped = true; });
        ASSERT_TRUE(turn_until(*worker, [&] { return stopped; }));
    }
    const UniqueFd waiting = plain_connect(address); // nobody accepts now; the duplicate keeps the backlog
    worker->turn(0);
    EXPECT_EQ(first, 1);
    Acceptor next(*worker, UniqueFd(fcntl(duplicate.get(), F_DUPFD_CLOEXEC, 0)), [&](UniqueFd) { ++second; });
    ASSERT_TRUE(turn_until(*worker, [&] { return second == 1; }));
}

TEST(acceptor, a_pause_leaves_who_comes_in_the_backlog) {
    auto worker = make_worker();
    SocketAddress address;
    int accepted = 0;
    Acceptor acceptor(*worker, listener(address), [&](UniqueFd) { ++accepted; });
    const UniqueFd before = plain_connect(address);
    ASSERT_TRUE(turn_until(*worker, [&] { return accepted == 1; }));
    const Deadline until = worker->in_ms(150);
    acceptor.pause(until);
    acceptor.pause(until - 100); // the later one holds
    worker->turn(0);             // what is canceled ends
    const UniqueFd one = plain_connect(address);
    const UniqueFd two = plain_connect(address);
    ASSERT_TRUE(turn_until(*worker, [&] { return accepted == 3; }));
    EXPECT_GE(worker->now_ms(), until);

    acceptor.pause(worker->in_ms(60'000));
    acceptor.pause(worker->in_ms(70'000));
    bool stopped = false;
    acceptor.stop([&] { stopped = true; });
    ASSERT_TRUE(turn_until(*worker, [&] { return stopped; }));
}

TEST(acceptor, who_pauses_for_each_connection_gets_them_one_by_one) {
    auto worker = make_worker();
    SocketAddress address;
    std::vector<uint64_t> at_ms;
    std::unique_ptr<Acceptor> acceptor;
    constexpr uint64_t pause_ms = 60;
    acceptor = std::make_unique<Acceptor>(*worker, listener(address), [&](UniqueFd) {
        at_ms.push_back(worker->now_ms());
        acceptor->pause(worker->in_ms(pause_ms));
    });
    const UniqueFd before = plain_connect(address);
    ASSERT_TRUE(turn_until(*worker, [&] { return at_ms.size() == 1; }));
    worker->turn(0); // what is canceled ends
    const std::array clients{plain_connect(address), plain_connect(address), plain_connect(address)};
    ASSERT_TRUE(turn_until(*worker, [&] { return at_ms.size() == 4; }));
    for (size_t i = 1; i < at_ms.size(); ++i)
        EXPECT_GE(at_ms[i] - at_ms[i - 1], pause_ms - 1) << i;
}

TEST(acceptor, may_be_destroyed_by_its_handler) {
    auto worker = make_worker();
    SocketAddress address;
    UniqueFd door = listener(address);
    int accepted = 0;
    std::unique_ptr<Acceptor> acceptor;
    acceptor = std::make_unique<Acceptor>(*worker, std::move(door), [&](UniqueFd) {
        ++accepted;
        acceptor.reset();
    });
    const UniqueFd one = plain_connect(address);
    ASSERT_TRUE(turn_until(*worker, [&] { return accepted == 1; }));
    ASSERT_TRUE(turn_until(*worker, [&] { return worker->ring().in_flight() == 1; }));
    EXPECT_EQ(accepted, 1);
}

TEST(acceptor, every_stop_is_answered_once_in_order) {
    auto worker = make_worker();
    SocketAddress address;
    Acceptor acceptor(*worker, listener(address), [](UniqueFd) { ADD_FAILURE(); });
    std::string order;
    acceptor.stop([&] { order += 'a'; });
    acceptor.stop([&] {
        order += 'b';
        acceptor.stop([&] { order += 'c'; });
        EXPECT_EQ(order, "ab") << "never on the caller's stack";
    });
    ASSERT_TRUE(turn_until(*worker, [&] { return order == "abc"; }));
    EXPECT_EQ(acceptor.listener(), -1);
    acceptor.stop([&] { order += 'd'; }); // long after the end
    EXPECT_EQ(order, "abc");
    ASSERT_TRUE(turn_until(*worker, [&] { return order == "abcd"; }));
    worker->turn(0);
    EXPECT_EQ(order, "abcd");
}

TEST(acceptor, may_be_destroyed_by_one_of_those_who_stopped_it) {
    auto worker = make_worker();
    SocketAddress address;
    auto acceptor = std::make_unique<Acceptor>(*worker, listener(address), [](UniqueFd) { ADD_FAILURE(); });
    bool first = false;
    bool second = false;
    acceptor->stop([&] {
        first = true;
        acceptor.reset();
    });
    acceptor->stop([&] { second = true; });
    ASSERT_TRUE(turn_until(*worker, [&] { return first; }));
    worker->turn(0);
    EXPECT_FALSE(second) << "what it would refer to may be gone with the acceptor";
}

TEST(acceptor, a_listener_that_fails_is_counted_and_tried_slowly) {
    auto worker = make_worker();
    Acceptor acceptor(*worker, tcp_socket(), [](UniqueFd) { ADD_FAILURE(); }); // not listening: EINVAL
    ASSERT_TRUE(turn_until(*worker, [&] { return acceptor.shortages() == 2; }));
    EXPECT_LE(worker->turns(), 100U) << "no busy loop";
    bool stopped = false;
    acceptor.stop([&] { stopped = true; });
    ASSERT_TRUE(turn_until(*worker, [&] { return stopped; }));
}

TEST(worker, run_ends_when_acceptors_and_streams_have_gone) {
    auto worker = make_worker();
    SocketAddress address;
    auto acceptor = std::make_unique<Acceptor>(*worker, listener(address), [&](UniqueFd socket) {
        worker->tasks().spawn(echo(make_tcp_stream(*worker, std::move(socket), {})));
    });
    std::jthread client([&] {
        UniqueFd socket = plain_connect(address);
        EXPECT_EQ(send(socket.get(), "ping", 4, 0), 4);
        std::array<char, 4> back{};
        EXPECT_EQ(recv(socket.get(), back.data(), back.size(), MSG_WAITALL), 4);
        EXPECT_TRUE(worker->post([&] {
            acceptor.reset();
            worker->stop();
        }));
    });
    worker->run();
    EXPECT_EQ(worker->ring().in_flight(), 0U);
    EXPECT_EQ(worker->tasks().size(), 0U);
    EXPECT_EQ(FramePool::live_bytes(), 0U);
}

/// The soft limit of descriptors of this process, for one scope.
class DescriptorLimit {
public:
    explicit DescriptorLimit(rlim_t limit) {
        getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit now{.rlim_cur = limit, .rlim_max = before_.rlim_max};
        EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
    }
    DescriptorLimit(const DescriptorLimit&) = delete;
    DescriptorLimit& operator=(const DescriptorLimit&) = delete;
    ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

TEST(acceptor, a_shortage_of_descriptors_is_counted_and_ends) {
    auto worker = make_worker();
    SocketAddress address;
    int accepted = 0;
    UniqueFd door = listener(address);
    const UniqueFd client = plain_connect(address);
    Acceptor acceptor(*worker, std::move(door), [&](UniqueFd) { ++accepted; });
    {
        const UniqueFd lowest_free(fcntl(client.get(), F_DUPFD_CLOEXEC, 0));
        const DescriptorLimit none_left(static_cast<rlim_t>(lowest_free.get()));
        ASSERT_TRUE(turn_until(*worker, [&] { return acceptor.shortages() >= 2; }));
        EXPECT_EQ(accepted, 0);
    }
    ASSERT_TRUE(turn_until(*worker, [&] { return accepted == 1; }));
}

TEST(ring, says_which_step_failed) {
    const DescriptorLimit none_left(0);
    const auto ring = Ring::create({});
    ASSERT_FALSE(ring.has_value());
    EXPECT_STREQ(ring.error().during, "io_uring_setup");
    EXPECT_EQ(ring.error().detail, EMFILE);
    EXPECT_EQ(ring.error().code, Code::unavailable);
}

} // namespace
} // namespace weft::l7
