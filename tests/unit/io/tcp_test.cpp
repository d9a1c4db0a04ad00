// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/tcp.hpp"

#include <iostream>

#include "l7engine/io/tcp_socket.hpp"
#include "tests/unit/io/streams.hpp"

namespace weft::l7 {
namespace {

TEST(tcp, sizes_are_bounded) {
    EXPECT_LE(sizeof(TcpSocket), 400U) << "bytes of one idle connection's socket state";
    std::cout << "TcpSocket " << sizeof(TcpSocket) << " bytes, Read " << sizeof(ByteStream::Read) << ", Write "
              << sizeof(ByteStream::Write) << "\n";
    EXPECT_LE(sizeof(ByteStream::Read) + sizeof(ByteStream::Write), 160U) << "these sit in coroutine frames";
}

TEST(tcp, ten_megabytes_with_a_slow_reader_stay_within_the_watermark) {
    auto worker = make_worker({.entries = 64, .buffers = 256, .buffer_bytes = 4096});
    Pair pair(*worker, small_window);
    const std::vector<std::byte> source = pattern_bytes(10 * 1024 * 1024);
    Received received;
    Result<void> written;
    worker->tasks().spawn(read_pattern(*worker, *pair.far, 16, never, received));
    worker->tasks().spawn(write_bytes(*pair.near, as_text(source), true, written));
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_TRUE(written.has_value());
    EXPECT_TRUE(received.end.has_value());
    EXPECT_EQ(received.bytes, source.size());
    EXPECT_EQ(received.wrong, 0U);
    // What one round of the ring can deliver before the cancellation counts on top: at most all its buffers.
    EXPECT_LE(received.buffered_max, small_window.receive_high_bytes + 256 * 4096);
    EXPECT_TRUE(pair.far->peer_closed());
    EXPECT_FALSE(pair.near->peer_closed());
}

TEST(tcp, an_unread_stream_stops_receiving) {
    auto worker = make_worker({.entries = 64, .buffers = 64, .buffer_bytes = 4096});
    Pair pair(*worker, small_window);
    const std::string source(64 * 1024 * 1024, 'z');
    Result<Slice> first;
    bool done = false;
    Result<void> written;
    worker->tasks().spawn(read_once(*pair.far, never, first, done));
    worker->tasks().spawn(write_bytes(*pair.near, source, false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return pair.far->buffered() > small_window.receive_high_bytes; }));
    const size_t before = buffered_at_last(*worker, *pair.far);
    EXPECT_LE(before, small_window.receive_high_bytes + 64 * 4096);
    EXPECT_EQ(worker->tasks().size(), 1U) << "the writer is held back";
    pair.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(finish_tasks(*worker));
    ASSERT_FALSE(written.has_value());
    EXPECT_EQ(written.error().code, Code::canceled);
}

TEST(tcp, half_close_leaves_the_other_direction_open) {
    auto worker = make_worker();
    Pair pair(*worker);
    Result<void> written;
    Received received;
    worker->tasks().spawn(write_bytes(*pair.near, "", true, written));
    worker->tasks().spawn(read_pattern(*worker, *pair.far, 0, never, received));
    ASSERT_TRUE(turn_until(*worker, [&] { return received.done; }));
    EXPECT_TRUE(received.end.has_value());
    EXPECT_TRUE(pair.far->peer_closed());

    const std::vector<std::byte> source = pattern_bytes(100'000);
    Received back;
    worker->tasks().spawn(write_bytes(*pair.far, as_text(source), true, written));
    worker->tasks().spawn(read_pattern(*worker, *pair.near, 0, never, back));
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_EQ(back.bytes, source.size());
    EXPECT_EQ(back.wrong, 0U);
    Result<size_t> late;
    const std::array slices{Slice::of_static("x")};
    worker->tasks().spawn(write_once(*pair.near, slices, never, late));
    ASSERT_TRUE(finish_tasks(*worker));
    ASSERT_FALSE(late.has_value());
    EXPECT_EQ(late.error().code, Code::invalid);
}

TEST(tcp, fin_and_errors_stay) {
    auto worker = make_worker();
    Pair pair(*worker);
    pair.near.reset();
    for (int i = 0; i < 3; ++i) {
        Result<Slice> out = fail(Code::invalid, "unset");
        bool done = false;
        worker->tasks().spawn(read_once(*pair.far, never, out, done));
        ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
        ASSERT_TRUE(out.has_value());
        EXPECT_TRUE(out->empty());
    }
}

TEST(tcp, a_reset_is_an_error_for_reader_and_writer) {
    auto worker = make_worker();
    Pair pair(*worker);
    Received received;
    worker->tasks().spawn(read_pattern(*worker, *pair.far, 0, never, received));
    worker->turn(0);
    pair.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(turn_until(*worker, [&] { return received.done; }));
    ASSERT_FALSE(received.end.has_value());
    EXPECT_EQ(received.end.error().code, Code::reset);
    EXPECT_TRUE(pair.far->peer_closed());
    Result<size_t> written = 0;
    const std::array slices{Slice::of_static("hello")};
    for (int i = 0; i < 2; ++i) {
        worker->tasks().spawn(write_once(*pair.far, slices, never, written));
        ASSERT_TRUE(finish_tasks(*worker));
        ASSERT_FALSE(written.has_value());
        EXPECT_EQ(written.error().code, Code::reset);
    }
}

TEST(tcp, bytes_before_a_reset_are_still_read) {
    auto worker = make_worker();
    auto [client, server] = tcp_pair();
    const auto stream = make_tcp_stream(*worker, std::move(server), {});
    Result<Slice> first;
    bool done = false;
    worker->tasks().spawn(read_once(*stream, never, first, done));
    ASSERT_EQ(send(client.get(), "abc", 3, 0), 3);
    ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
    EXPECT_EQ(first->text(), "abc");
    ASSERT_EQ(send(client.get(), "def", 3, 0), 3);
    ASSERT_TRUE(turn_until(*worker, [&] { return stream->buffered() == 3; }));
    const linger hard{.l_onoff = 1, .l_linger = 0};
    setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client.reset();
    ASSERT_TRUE(turn_until(*worker, [&] { return stream->peer_closed(); }));
    done = false;
    worker->tasks().spawn(read_once(*stream, never, first, done));
    ASSERT_TRUE(done) << "buffered bytes need no wait";
    EXPECT_EQ(first->text(), "def");
    done = false;
    worker->tasks().spawn(read_once(*stream, never, first, done));
    ASSERT_TRUE(done);
    ASSERT_FALSE(first.has_value());
    EXPECT_EQ(first.error().code, Code::reset);
}

TEST(tcp, a_reset_that_came_together_with_bytes_is_seen) {
    auto worker = make_worker();
    auto [client, server] = tcp_pair();
    ASSERT_EQ(send(client.get(), "abc", 3, 0), 3);
    const linger hard{.l_onoff = 1, .l_linger = 0};
    setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client.reset();
    const auto stream = make_tcp_stream(*worker, std::move(server), {});
    Result<Slice> read;
    bool done = false;
    worker->tasks().spawn(read_once(*stream, never, read, done));
    ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
    EXPECT_EQ(read->text(), "abc");
    done = false;
    worker->tasks().spawn(read_once(*stream, never, read, done));
    ASSERT_TRUE(turn_until(*worker, [&] { return done; })) << "the multishot receive has missed it (ResetChecks)";
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code, Code::reset);
}

/// The kernel tells an error once: whoever writes first has it, and a receive sees a FIN.
TEST(tcp, a_reset_that_a_write_was_told_is_no_clean_end_for_the_reader) {
    for (const bool said_fin : {false, true}) {
        auto worker = make_worker();
        auto [client, server] = tcp_pair();
        const auto stream = make_tcp_stream(*worker, std::move(server), {});
        if (said_fin) { // then the end was clean, whatever came behind it
            ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
        }
        const linger hard{.l_onoff = 1, .l_linger = 0};
        setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        client.reset();
        Result<size_t> written = 0;
        const std::array slices{Slice::of_static("hello")};
        worker->tasks().spawn(write_once(*stream, slices, never, written));
        ASSERT_TRUE(finish_tasks(*worker));
        ASSERT_FALSE(written.has_value());
        Result<Slice> read;
        bool done = false;
        worker->tasks().spawn(read_once(*stream, never, read, done));
        ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
        EXPECT_EQ(read.has_value(), said_fin);
        if (!said_fin) {
            EXPECT_EQ(read.error().code, Code::reset);
        }
    }
}

TEST(tcp, a_read_deadline_loses_nothing) {
    auto worker = make_worker();
    Pair pair(*worker);
    Result<Slice> out;
    bool done = false;
    worker->tasks().spawn(read_once(*pair.far, worker->in_ms(15), out, done));
    ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
    ASSERT_FALSE(out.has_value());
    EXPECT_EQ(out.error().code, Code::timeout);
    EXPECT_FALSE(pair.far->peer_closed());
    Result<void> written;
    done = false;
    worker->tasks().spawn(read_once(*pair.far, worker->in_ms(10'000), out, done));
    worker->tasks().spawn(write_bytes(*pair.near, "later", false, written));
    ASSERT_TRUE(finish_tasks(*worker));
    ASSERT_TRUE(out.has_value());
    EXPECT_EQ(out->text(), "later");
    EXPECT_TRUE(turn_until(*worker, [&] { return worker->timers().size() == 0; })) << "but for the check for a reset";
}

TEST(tcp, a_write_deadline_ends_the_stream) {
    auto worker = make_worker();
    Pair pair(*worker);
    const std::string source(64 * 1024 * 1024, 'z'); // more than any socket buffer
    const std::array slices{Slice::of_static(source)};
    Result<size_t> written = 0;
    worker->tasks().spawn(write_once(*pair.near, slices, worker->in_ms(20), written));
    ASSERT_TRUE(finish_tasks(*worker));
    ASSERT_FALSE(written.has_value());
    EXPECT_EQ(written.error().code, Code::timeout);
    worker->tasks().spawn(write_once(*pair.near, slices, never, written));
    EXPECT_EQ(worker->tasks().size(), 0U);
    ASSERT_FALSE(written.has_value());
    EXPECT_EQ(written.error().code, Code::timeout);
}

TEST(tcp, a_deadline_ends_with_its_write) {
    auto worker = make_worker();
    Pair pair(*worker);
    const std::array slices{Slice::of_static("quick")};
    Result<size_t> written = 0;
    worker->tasks().spawn(write_once(*pair.near, slices, worker->in_ms(60'000), written));
    ASSERT_TRUE(finish_tasks(*worker));
    ASSERT_TRUE(written.has_value());
    EXPECT_EQ(*written, 5U);
    EXPECT_EQ(worker->timers().size(), 0U) << "it must not cancel a later write";
}

TEST(tcp, receiving_goes_on_below_the_low_watermark_while_bytes_are_still_unread) {
    auto worker = make_worker({.entries = 64, .buffers = 64, .buffer_bytes = 4096});
    Pair pair(*worker, small_window);
    const std::string source(4 * 1024 * 1024, 'z');
    Result<Slice> out;
    bool done = false;
    Result<void> written;
    worker->tasks().spawn(read_once(*pair.far, never, out, done));
    worker->tasks().spawn(write_bytes(*pair.near, source, false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return pair.far->buffered() > small_window.receive_high_bytes; }));
    while (pair.far->buffered() > small_window.receive_low_bytes) {
        done = false;
        worker->tasks().spawn(read_once(*pair.far, never, out, done));
        ASSERT_TRUE(done) << "bytes are there";
    }
    ASSERT_GT(pair.far->buffered(), 0U);
    ASSERT_TRUE(turn_until(*worker, [&] { return pair.far->buffered() > small_window.receive_low_bytes; }));
    pair.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(finish_tasks(*worker));
}

TEST(tcp, many_slices_go_in_order) {
    auto worker = make_worker();
    Pair pair(*worker);
    const std::vector<std::byte> source = pattern_bytes(50'000);
    std::vector<Slice> slices;
    for (size_t at = 0; at < source.size();) {
        const size_t size = std::min(source.size() - at, at % 777);
        slices.push_back(Slice::of_static(as_text(Bytes(source).subspan(at, size)))); // some are empty
        at += std::max<size_t>(size, 1);
        if (size == 0)
            slices.push_back(Slice::of_static(as_text(Bytes(source).subspan(at - 1, 1))));
    }
    Received received;
    worker->tasks().spawn(read_pattern(*worker, *pair.far, 0, never, received));
    size_t done = 0;
    std::span<Slice> rest = slices;
    while (done < source.size()) {
        Result<size_t> written = 0;
        worker->tasks().spawn(write_once(*pair.near, rest, never, written));
        ASSERT_TRUE(turn_until(*worker, [&] { return worker->tasks().size() == 1; }));
        ASSERT_TRUE(written.has_value());
        ASSERT_GT(*written, 0U);
        done += *written;
        for (size_t gone = *written; gone > 0 || (!rest.empty() && rest.front().empty());) {
            const size_t part = std::min(gone, rest.front().size());
            rest.front().remove_prefix(part);
            gone -= part;
            if (rest.front().empty())
                rest = rest.subspan(1);
        }
    }
    pair.near.reset();
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_EQ(received.bytes, source.size());
    EXPECT_EQ(received.wrong, 0U);
}

TEST(tcp, writing_nothing_is_done_at_once) {
    auto worker = make_worker();
    Pair pair(*worker);
    Result<size_t> written = 7U;
    const std::array<Slice, 2> slices{};
    worker->tasks().spawn(write_once(*pair.near, slices, never, written));
    EXPECT_EQ(worker->tasks().size(), 0U);
    ASSERT_TRUE(written.has_value());
    EXPECT_EQ(*written, 0U);
}

TEST(tcp, abort_with_both_directions_in_flight) {
    for (const bool hard : {false, true}) {
        auto worker = make_worker();
        Pair pair(*worker);
        const std::string source(64 * 1024 * 1024, 'z');
        const std::array slices{Slice::of_static(source)};
        Result<size_t> written = 0;
        Result<Slice> out;
        bool done = false;
        worker->tasks().spawn(read_once(*pair.near, worker->in_ms(60'000), out, done));
        worker->tasks().spawn(write_once(*pair.near, slices, worker->in_ms(60'000), written));
        worker->turn(0);
        worker->turn(0);
        pair.near->abort(Error{.code = Code::denied, .during = "policy"}, hard);
        ASSERT_TRUE(finish_tasks(*worker));
        ASSERT_FALSE(written.has_value());
        EXPECT_EQ(written.error().code, Code::denied);
        ASSERT_FALSE(out.has_value());
        EXPECT_EQ(out.error().code, Code::denied);
        EXPECT_EQ(worker->timers().size(), 0U);
        Received received;
        worker->tasks().spawn(read_pattern(*worker, *pair.far, 0, never, received));
        ASSERT_TRUE(finish_tasks(*worker));
        EXPECT_EQ(received.end.has_value(), !hard) << "a FIN, or a reset";
    }
}

TEST(tcp, destroyed_while_the_receive_is_in_flight) {
    auto worker = make_worker();
    for (int i = 0; i < 50; ++i) {
        Pair pair(*worker);
        Result<Slice> out;
        bool done = false;
        worker->tasks().spawn(read_once(*pair.near, worker->now_ms(), out, done));
        if (i % 2 == 0)
            worker->turn(0);
        ASSERT_TRUE(finish_tasks(*worker));
    }
    ASSERT_TRUE(turn_until(*worker, [&] { return worker->ring().in_flight() == 1; })) << "only the mailbox is left";
    EXPECT_EQ(worker->ring().counts().close_failures, 0U);
}

TEST(tcp, tiny_pools_recover_from_enobufs) {
    for (const uint32_t buffers : {1U, 2U, 4U}) {
        auto worker = make_worker({.entries = 8, .buffers = buffers, .buffer_bytes = 256});
        constexpr size_t connections = 12;
        std::vector<std::unique_ptr<Pair>> pairs;
        std::vector<Received> received(connections);
        std::vector<Result<void>> written(connections);
        const std::vector<std::byte> source = pattern_bytes(60'000);
        for (size_t i = 0; i < connections; ++i) {
            pairs.push_back(std::make_unique<Pair>(*worker, small_window));
            worker->tasks().spawn(write_bytes(*pairs[i]->near, as_text(source), true, written[i]));
            worker->tasks().spawn(read_pattern(*worker, *pairs[i]->far, i % 3, never, received[i]));
        }
        ASSERT_TRUE(finish_tasks(*worker));
        for (const Received& one : received) {
            EXPECT_EQ(one.bytes, source.size());
            EXPECT_EQ(one.wrong, 0U);
        }
        EXPECT_GT(worker->ring().counts().buffer_shortages, 0U) << buffers;
        EXPECT_EQ(worker->ring().free_buffers(), buffers);
    }
}

/// Reads one slice and keeps it.
Task<void> hold(ByteStream& stream, std::vector<Slice>& held) {
    Result<Slice> read = co_await stream.read();
    if (read)
        held.push_back(std::move(*read));
}

TEST(tcp, slices_held_for_ever_do_not_starve_others) {
    constexpr uint32_t buffers = 16;
    auto worker = make_worker({.entries = 64, .buffers = buffers, .buffer_bytes = 1024});
    std::vector<std::unique_ptr<Pair>> pairs;
    std::vector<Slice> held;
    std::array<Result<void>, 40> written;
    for (size_t i = 0; i < written.size(); ++i) {
        pairs.push_back(std::make_unique<Pair>(*worker));
        worker->tasks().spawn(hold(*pairs[i]->far, held));
        worker->tasks().spawn(write_bytes(*pairs[i]->near, "held", false, written[i]));
    }
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_EQ(held.size(), written.size());
    EXPECT_GE(worker->ring().free_buffers(), buffers / 4);
    EXPECT_GT(worker->ring().counts().buffer_copies, 0U);
    Pair other(*worker);
    Received received;
    Result<void> done;
    const std::vector<std::byte> source = pattern_bytes(500'000);
    worker->tasks().spawn(read_pattern(*worker, *other.far, 0, never, received));
    worker->tasks().spawn(write_bytes(*other.near, as_text(source), true, done));
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_EQ(received.bytes, source.size());
    EXPECT_EQ(received.wrong, 0U);
    for (const Slice& slice : held)
        EXPECT_EQ(slice.text(), "held");
}

TEST(tcp, a_full_submission_queue_drops_nothing) {
    auto worker = make_worker({.entries = 2, .buffers = 64, .buffer_bytes = 512});
    constexpr size_t connections = 100;
    std::vector<std::unique_ptr<Pair>> pairs;
    std::vector<Received> received(connections);
    std::vector<Result<void>> written(connections);
    const std::vector<std::byte> source = pattern_bytes(3000);
    for (size_t i = 0; i < connections; ++i)
        pairs.push_back(std::make_unique<Pair>(*worker));
    for (size_t i = 0; i < connections; ++i) { // 200 submissions before the first turn
        worker->tasks().spawn(write_bytes(*pairs[i]->near, as_text(source), true, written[i]));
        worker->tasks().spawn(read_pattern(*worker, *pairs[i]->far, 0, never, received[i]));
    }
    ASSERT_TRUE(finish_tasks(*worker));
    for (const Received& one : received) {
        EXPECT_EQ(one.bytes, source.size());
        EXPECT_EQ(one.wrong, 0U);
    }
}

TEST(tcp_death, a_frame_that_reads_is_not_destroyed) {
    EXPECT_DEATH(
        {
            auto worker = make_worker();
            Pair pair(*worker);
            ByteStream::Read read = pair.near->read();
            if (!read.await_ready())
                read.await_suspend(std::noop_coroutine());
        },
        "frame was destroyed while it read");
}

TEST(tcp_death, a_stream_that_is_read_is_not_destroyed) {
    EXPECT_DEATH(
        {
            auto worker = make_worker();
            Pair pair(*worker);
            ByteStream::Read read = pair.near->read();
            if (!read.await_ready())
                read.await_suspend(std::noop_coroutine());
            pair.near.reset();
        },
        "a stream dies after its reads");
}

} // namespace
} // namespace weft::l7
