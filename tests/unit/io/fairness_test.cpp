// SPDX-License-Identifier: Apache-2.0
// Many slow readers on one worker: the one that keeps up must not notice.
#include "tests/unit/io/streams.hpp"

namespace weft::l7 {
namespace {

TEST(fairness, slow_readers_pay_for_their_copies_themselves) {
    constexpr RingSettings defaults;
    for (const size_t slow_streams : {24U, 96U}) {
        auto worker = make_worker(defaults);
        const std::string source(2 * 1024 * 1024, 's');
        struct Slow {
            explicit Slow(Worker& worker) : pair(worker) {}
            Pair pair;
            Result<Slice> first;
            bool done = false;
            Result<void> written;
        };
        std::vector<std::unique_ptr<Slow>> slow;
        for (size_t index = 0; index < slow_streams; ++index) {
            Slow& one = *slow.emplace_back(std::make_unique<Slow>(*worker));
            worker->tasks().spawn(read_once(*one.pair.far, never, one.first, one.done));
            worker->tasks().spawn(write_bytes(*one.pair.near, source, false, one.written));
        }
        ASSERT_TRUE(turn_until(*worker, [&] {
            return std::ranges::all_of(
                slow, [](const auto& one) { return one->pair.far->buffered() > TcpSettings{}.receive_high_bytes; });
        }));
        EXPECT_GT(worker->ring().free_buffers_percent(), 40U) << slow_streams;

        const uint64_t copies_before = worker->ring().counts().buffer_copies;
        Pair fast(*worker);
        const std::vector<std::byte> bytes = pattern_bytes(8 * 1024 * 1024);
        Received received;
        Result<void> written;
        worker->tasks().spawn(read_pattern(*worker, *fast.far, 0, never, received));
        worker->tasks().spawn(write_bytes(*fast.near, as_text(bytes), true, written));
        ASSERT_TRUE(turn_until(*worker, [&] { return received.done; }));
        EXPECT_EQ(received.bytes, bytes.size());
        EXPECT_EQ(received.wrong, 0U);
        EXPECT_EQ(worker->ring().counts().buffer_copies, copies_before) << slow_streams;
        for (const auto& one : slow)
            one->pair.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
        ASSERT_TRUE(finish_tasks(*worker));
    }
}

} // namespace
} // namespace weft::l7
