// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/io/streams.hpp"

namespace weft::l7 {
namespace {

TEST(watch_peer, tells_a_loss_once_while_nobody_reads) {
    auto worker = make_worker();
    Pair pair(*worker);
    Watched watched;
    pair.far->watch_peer(&watched);
    Result<Slice> read;
    bool done = false;
    Result<void> written;
    worker->tasks().spawn(read_once(*pair.far, never, read, done));
    worker->tasks().spawn(write_bytes(*pair.near, "abc", false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
    worker->tasks().spawn(write_bytes(*pair.near, "def", false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return pair.far->buffered() == 3; }));
    EXPECT_EQ(watched.told, 0U);
    pair.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(turn_until(*worker, [&] { return watched.told > 0; }));
    EXPECT_EQ(watched.why.code, Code::reset);
    done = false;
    worker->tasks().spawn(read_once(*pair.far, never, read, done));
    ASSERT_TRUE(done);
    EXPECT_EQ(read->text(), "def") << "the unread bytes are still read";
    worker->tasks().spawn(read_once(*pair.far, never, read, done));
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code, Code::reset);
    EXPECT_EQ(watched.told, 1U);
}

TEST(watch_peer, tells_a_loss_behind_a_full_buffer_too) {
    auto worker = make_worker({.entries = 64, .buffers = 64, .buffer_bytes = 4096});
    Pair pair(*worker, small_window);
    Watched watched;
    pair.far->watch_peer(&watched);
    const std::string source(64 * 1024 * 1024, 'z');
    Result<Slice> first;
    bool done = false;
    Result<void> written;
    worker->tasks().spawn(read_once(*pair.far, never, first, done));
    worker->tasks().spawn(write_bytes(*pair.near, source, false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return pair.far->buffered() > small_window.receive_high_bytes; }));
    static_cast<void>(buffered_at_last(*worker, *pair.far));
    EXPECT_EQ(watched.told, 0U);
    pair.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(turn_until(*worker, [&] { return watched.told > 0; }));
    EXPECT_EQ(watched.why.code, Code::reset);
    // Everything that was unread, then what the kernel still had, then the error.
    Received received;
    worker->tasks().spawn(read_pattern(*worker, *pair.far, 0, never, received));
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_GT(received.bytes, small_window.receive_high_bytes);
    ASSERT_FALSE(received.end.has_value());
    EXPECT_EQ(received.end.error().code, Code::reset);
    EXPECT_EQ(watched.told, 1U);
}

TEST(watch_peer, tells_neither_what_a_reader_got_nor_a_fin_nor_our_own_abort) {
    auto worker = make_worker();
    Watched watched;
    {
        Pair pair(*worker);
        pair.far->watch_peer(&watched);
        Received received;
        worker->tasks().spawn(read_pattern(*worker, *pair.far, 0, never, received));
        worker->turn(0);
        pair.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
        ASSERT_TRUE(turn_until(*worker, [&] { return received.done; }));
        EXPECT_FALSE(received.end.has_value());
    }
    {
        Pair pair(*worker);
        pair.far->watch_peer(&watched);
        Result<Slice> read;
        bool done = false;
        Result<void> written;
        worker->tasks().spawn(read_once(*pair.far, never, read, done));
        worker->tasks().spawn(write_bytes(*pair.near, "abc", true, written));
        ASSERT_TRUE(turn_until(*worker, [&] { return pair.far->peer_closed(); }));
        pair.far->abort(Error{.code = Code::canceled, .during = "test"}, true);
    }
    ASSERT_TRUE(turn_until(*worker, [&] { return worker->ring().in_flight() == 1; }));
    EXPECT_EQ(watched.told, 0U);
}

TEST(watch_peer, a_watcher_may_destroy_the_stream) {
    struct Destroyer final : PeerWatcher {
        void peer_lost(const Error&) override { stream.reset(); }
        std::unique_ptr<ByteStream> stream;
    };
    auto worker = make_worker();
    Pair pair(*worker);
    Destroyer destroyer;
    destroyer.stream = std::move(pair.far);
    destroyer.stream->watch_peer(&destroyer);
    Result<Slice> read;
    bool done = false;
    Result<void> written;
    worker->tasks().spawn(read_once(*destroyer.stream, never, read, done));
    worker->tasks().spawn(write_bytes(*pair.near, "abc", false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
    pair.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(turn_until(*worker, [&] { return destroyer.stream == nullptr; }));
    ASSERT_TRUE(turn_until(*worker, [&] { return worker->ring().in_flight() == 1; }));
}

} // namespace
} // namespace weft::l7
