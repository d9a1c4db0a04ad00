// SPDX-License-Identifier: Apache-2.0
// A peer that is lost while nobody reads is told, under every fault: with unread bytes, above the watermark, below it.
#include <gtest/gtest.h>

#include "l7engine/io/tcp.hpp"
#include "l7engine/io/worker.hpp"
#include "tests/support/sim_world.hpp"

namespace weft::l7 {
namespace {

constexpr uint64_t turns_max = 50'000;
constexpr uint64_t told_within_ms = 1000;

struct Watched final : PeerWatcher {
    void peer_lost(const Error& error) override {
        ++told;
        code = error.code;
    }
    size_t told = 0;
    Code code = Code::invalid;
};

/// Reads a few times, then is busy with something else until the peer is lost, then reads to the end.
struct Reader {
    Worker& worker;
    ByteStream& stream;
    Watched& watched;
    size_t reads_first;
    bool busy = false;
    bool over = false;
    Result<Slice> last = Slice();
};

Task<void> read_now_and_then(Reader& reader) {
    for (size_t reads = 0; reads < reader.reads_first; ++reads) {
        reader.last = co_await reader.stream.read();
        if (!reader.last)
            break;
    }
    reader.busy = reader.last.has_value();
    while (reader.busy && reader.watched.told == 0)
        co_await sleep(reader.worker, 5);
    while (reader.last)
        reader.last = co_await reader.stream.read();
    reader.over = true;
}

TEST(sim_watch_peer, tells_a_loss_to_whoever_does_not_read) {
    size_t behind_full_buffers = 0;
    size_t busy = 0;
    for (uint64_t seed = 1; seed <= 600 && !HasFailure(); ++seed) {
        sim::World world(seed);
        auto worker = std::move(*Worker::create(0, {.entries = 16, .buffers = 8, .buffer_bytes = 512}));
        auto connected = world.connected();
        const sim::Peer peer = connected.second;
        auto stream = make_tcp_stream(*worker, std::move(connected.first),
                                      {.receive_high_bytes = 1000, .receive_low_bytes = 500});
        Watched watched;
        stream->watch_peer(&watched);
        Reader reader{.worker = *worker, .stream = *stream, .watched = watched, .reads_first = 1 + world.random(4)};
        worker->tasks().spawn(read_now_and_then(reader));
        for (int part = 0; part < 4; ++part)
            world.after(world.random(40), [&, peer] { peer.send(std::string(1 + world.random(800), 'x')); });
        uint64_t reset_ms = 0;
        world.after(40 + world.random(40), [&, peer] {
            reset_ms = world.now_ms();
            behind_full_buffers += stream->buffered() > 1000 ? 1 : 0;
            peer.reset();
        });
        while (!reader.over && worker->turns() < turns_max) {
            worker->turn(10);
            ASSERT_TRUE(reset_ms == 0 || world.now_ms() < reset_ms + told_within_ms) << "never told, seed " << seed;
        }
        ASSERT_TRUE(reader.over) << seed;
        EXPECT_EQ(reader.last.error().code, Code::reset) << seed;
        EXPECT_EQ(watched.told, reader.busy ? 1U : 0U) << seed;
        EXPECT_TRUE(watched.told == 0 || watched.code == Code::reset) << seed;
        busy += reader.busy ? 1 : 0;
        stream.reset();
        while (world.open_descriptors() > 0 && worker->turns() < turns_max)
            worker->turn(10);
        EXPECT_TRUE(world.misuses().empty()) << seed << ": " << world.misuses().front();
    }
    EXPECT_GT(busy, 200U);
    EXPECT_GT(behind_full_buffers, 20U) << "the receive was paused when the reset came";
}

} // namespace
} // namespace weft::l7
