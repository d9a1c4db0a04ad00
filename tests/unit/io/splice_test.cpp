// SPDX-License-Identifier: Apache-2.0
// Splices over real sockets: what the kernel promises, and what it does not.
#include "l7engine/io/splice.hpp"

#include <unistd.h>

#include <csignal>

#include "tests/unit/io/streams.hpp"

namespace weft::l7 {
namespace {

// ---- pipes

TEST(pipe_pool, lends_no_more_than_allowed_and_what_came_back_first) {
    auto worker = make_worker();
    PipePool pool(*worker, {.pipes_max = 2});
    Result<Pipe> one = pool.take();
    Result<Pipe> two = pool.take();
    ASSERT_TRUE(one && two);
    const Result<Pipe> three = pool.take();
    ASSERT_FALSE(three);
    EXPECT_EQ(three.error().code, Code::too_large);
    const int descriptor = two->read_end.get();
    pool.give_back(std::move(*two), true);
    EXPECT_EQ(pool.in_use(), 1U);
    EXPECT_EQ(pool.unused(), 1U);
    two = pool.take();
    ASSERT_TRUE(two);
    EXPECT_EQ(two->read_end.get(), descriptor);
    pool.give_back(std::move(*two), false);
    EXPECT_EQ(pool.unused(), 0U) << "it was not empty";
    pool.give_back(std::move(*one), true);
}

TEST(pipe_pool, closes_what_nobody_needs) {
    auto worker = make_worker();
    PipePool pool(*worker, {.unused_ms = 30});
    Result<Pipe> one = pool.take();
    Result<Pipe> two = pool.take();
    ASSERT_TRUE(one && two);
    pool.give_back(std::move(*one), true);
    pool.give_back(std::move(*two), true);
    EXPECT_EQ(pool.unused(), 2U);
    ASSERT_TRUE(turn_until(*worker, [&] { return pool.unused() == 0; }));
}

// ---- bytes

/// A relay's one direction: near1 says it, far1 and far2 are between, near2 hears it.
struct Line {
    explicit Line(Worker& worker) : pool(worker, {}), first(worker), second(worker) {
        static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
    }
    void begin() {
        Result<Pipe> pipe = pool.take();
        ASSERT_TRUE(pipe);
        splice.emplace(*first.far, *second.near, pool, std::move(*pipe));
    }
    PipePool pool;
    Pair first;
    Pair second;
    std::optional<Splice> splice;
};

struct Moved {
    size_t bytes = 0;
    size_t held_max = 0;
    Splice::Outcome end = Splice::Outcome::moved;
    Result<void> wait;
    bool done = false;
};

/// Until the source has ended, or a wait has.
Task<void> move(Splice& splice, Deadline deadline, Moved& out) {
    co_await splice.quiet();
    while (out.end == Splice::Outcome::moved && out.wait) {
        out.wait = co_await splice.readable(deadline);
        if (!out.wait)
            break;
        Splice::Step step = splice.fill();
        out.end = step.outcome;
        out.held_max = std::max(out.held_max, splice.held());
        while (splice.held() > 0 && out.wait && out.end == Splice::Outcome::moved) {
            step = splice.drain();
            out.bytes += step.bytes;
            if (step.outcome == Splice::Outcome::lost)
                out.end = Splice::Outcome::lost;
            if (step.outcome == Splice::Outcome::not_now)
                out.wait = co_await splice.writable();
        }
    }
    out.done = true;
}

Task<void> read_then_move(Splice& splice, ByteStream& from, Result<Slice>& first, Moved& out) {
    co_await splice.quiet();
    first = co_await from.read();
    co_await move(splice, never, out);
}

TEST(splice, moves_a_stream_byte_for_byte_and_tells_the_fin) {
    auto worker = make_worker();
    Line line(*worker);
    line.begin();
    const std::vector<std::byte> source = pattern_bytes(16 * 1024 * 1024);
    const std::string_view text(reinterpret_cast<const char*>(source.data()), source.size());
    Moved moved;
    Result<void> written;
    Received received;
    worker->tasks().spawn(move(*line.splice, never, moved));
    worker->tasks().spawn(write_bytes(*line.first.near, text, true, written));
    worker->tasks().spawn(read_pattern(*worker, *line.second.far, 16, never, received)); // slow: the pipe fills
    ASSERT_TRUE(turn_until(*worker, [&] { return moved.done; }));
    EXPECT_EQ(moved.end, Splice::Outcome::fin);
    EXPECT_EQ(moved.bytes, source.size());
    EXPECT_TRUE(line.first.far->peer_closed());
    line.second.near->shutdown_write();
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_TRUE(received.end.has_value());
    EXPECT_EQ(received.bytes, source.size());
    EXPECT_EQ(received.wrong, 0U);
    line.splice.reset();
    EXPECT_EQ(line.pool.unused(), 1U);
}

TEST(splice, leaves_what_was_received_before_to_the_stream_and_gives_the_stream_back) {
    auto worker = make_worker();
    Line line(*worker);
    Result<Slice> read;
    bool done = false;
    Result<void> written;
    worker->tasks().spawn(read_once(*line.first.far, never, read, done)); // arms
    worker->tasks().spawn(write_bytes(*line.first.near, "one", false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
    EXPECT_EQ(read->text(), "one");
    worker->tasks().spawn(write_bytes(*line.first.near, "two", false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return line.first.far->buffered() == 3; }));
    line.begin();
    Moved moved;
    worker->tasks().spawn(read_then_move(*line.splice, *line.first.far, read, moved));
    worker->tasks().spawn(write_bytes(*line.first.near, "three", false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return moved.bytes == 5; }));
    EXPECT_EQ(read->text(), "two");
    // The sink goes, and the source is read as before.
    ASSERT_FALSE(moved.done);
    line.second.near->abort(Error{.code = Code::canceled, .during = "test"}, false);
    worker->tasks().spawn(write_bytes(*line.first.near, "four", false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return moved.done; }));
    EXPECT_EQ(moved.end, Splice::Outcome::lost);
    line.splice.reset();
    EXPECT_EQ(line.pool.unused(), 0U) << "four is in it";
    done = false;
    worker->tasks().spawn(read_once(*line.first.far, never, read, done));
    worker->tasks().spawn(write_bytes(*line.first.near, "five", false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
    EXPECT_EQ(read->text(), "five");
}

TEST(splice, a_wait_for_bytes_ends_at_its_deadline_and_loses_nothing) {
    auto worker = make_worker();
    Line line(*worker);
    line.begin();
    Moved moved;
    worker->tasks().spawn(move(*line.splice, worker->in_ms(30), moved));
    ASSERT_TRUE(turn_until(*worker, [&] { return moved.done; }));
    ASSERT_FALSE(moved.wait);
    EXPECT_EQ(moved.wait.error().code, Code::timeout);
    line.splice.reset();
    EXPECT_EQ(line.pool.unused(), 1U);
    Result<Slice> read;
    bool done = false;
    Result<void> written;
    worker->tasks().spawn(read_once(*line.first.far, never, read, done));
    worker->tasks().spawn(write_bytes(*line.first.near, "later", false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
    EXPECT_EQ(read->text(), "later");
}

TEST(splice, stops_at_urgent_data_which_a_receive_passes) {
    auto worker = make_worker();
    auto [said, taken] = tcp_pair();
    auto from = make_tcp_stream(*worker, std::move(taken), {});
    Pair to(*worker);
    PipePool pool(*worker, {});
    std::optional<Splice> splice(std::in_place, *from, *to.near, pool, *pool.take());
    ASSERT_EQ(send(said.get(), "before", 6, 0), 6);
    ASSERT_EQ(send(said.get(), "!", 1, MSG_OOB), 1);
    ASSERT_EQ(send(said.get(), "after", 5, 0), 5);
    Moved moved;
    worker->tasks().spawn(move(*splice, never, moved));
    ASSERT_TRUE(turn_until(*worker, [&] { return moved.done; }));
    EXPECT_EQ(moved.end, Splice::Outcome::not_now) << "although it is readable";
    EXPECT_EQ(moved.bytes, 6U);
    splice.reset();
    Result<Slice> read;
    bool done = false;
    worker->tasks().spawn(read_once(*from, never, read, done));
    ASSERT_TRUE(turn_until(*worker, [&] { return done; }));
    EXPECT_EQ(read->text(), "after");
}

TEST(splice, a_reset_is_told_behind_the_last_byte) {
    auto worker = make_worker();
    Line line(*worker);
    Result<void> written;
    worker->tasks().spawn(write_bytes(*line.first.near, "last words", false, written));
    ASSERT_TRUE(finish_tasks(*worker));
    line.first.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    line.begin();
    Moved moved;
    worker->tasks().spawn(move(*line.splice, never, moved));
    ASSERT_TRUE(turn_until(*worker, [&] { return moved.done; }));
    EXPECT_EQ(moved.end, Splice::Outcome::lost);
    EXPECT_EQ(moved.bytes, 10U);
    line.splice.reset();
    Result<Slice> read;
    bool done = false;
    worker->tasks().spawn(read_once(*line.first.far, never, read, done));
    ASSERT_TRUE(done);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Code::reset);
}

TEST(splice, a_sink_that_takes_nothing_holds_a_pipe_and_a_loss_of_the_source_is_told_meanwhile) {
    auto worker = make_worker();
    Line line(*worker);
    line.begin();
    Watched watched;
    line.first.far->watch_peer(&watched);
    const std::string source(64 * 1024 * 1024, 'z');
    Moved moved;
    Result<void> written;
    worker->tasks().spawn(move(*line.splice, never, moved));
    worker->tasks().spawn(write_bytes(*line.first.near, source, false, written));
    size_t before = 0;
    do { // until nothing moves any more
        before = moved.bytes;
        for (int i = 0; i < 20; ++i)
            worker->turn(5);
    } while (moved.bytes != before);
    EXPECT_GT(line.splice->held(), 0U);
    EXPECT_LT(moved.bytes, source.size());
    EXPECT_EQ(watched.told, 0U);
    line.first.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(turn_until(*worker, [&] { return watched.told > 0; }));
    EXPECT_EQ(watched.why.code, Code::reset);
    ASSERT_FALSE(moved.done);
    line.second.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(finish_tasks(*worker));
    ASSERT_FALSE(moved.wait);
    EXPECT_EQ(moved.wait.error().code, Code::canceled);
    line.splice.reset();
    EXPECT_EQ(line.pool.unused(), 0U);
}

TEST(splice, operations_of_the_ring_still_wait_on_sockets_that_were_spliced) {
    auto worker = make_worker();
    Line line(*worker);
    line.begin();
    line.splice.reset();
    const std::vector<std::byte> source = pattern_bytes(16 * 1024 * 1024);
    const std::string_view text(reinterpret_cast<const char*>(source.data()), source.size());
    Received received;
    Result<void> written;
    worker->tasks().spawn(read_pattern(*worker, *line.first.far, 0, never, received));
    for (int i = 0; i < 20; ++i)
        worker->turn(1);
    EXPECT_LT(worker->ring().counts().completions, 20U)
        << "a receive that does not wait would be armed again and again";
    worker->tasks().spawn(write_bytes(*line.first.near, text, true, written));
    worker->tasks().spawn(write_bytes(*line.second.near, text, true, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return received.done; }));
    EXPECT_EQ(received.bytes, source.size());
    EXPECT_EQ(received.wrong, 0U);
    Received late;
    worker->tasks().spawn(read_pattern(*worker, *line.second.far, 4, never, late));
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_TRUE(written.has_value());
    EXPECT_EQ(late.bytes, source.size());
    EXPECT_EQ(late.wrong, 0U);
}

} // namespace
} // namespace weft::l7
