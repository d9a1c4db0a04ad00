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

/// As the readers of connections do it; `order` has a letter for each piece.
Task<void> read_in_stretches(Worker& worker, ByteStream& stream, char letter, size_t bytes_max, std::string& order) {
    Stretch stretch;
    for (size_t bytes = 0; bytes < bytes_max;) {
        const Result<Slice> read = co_await stream.read();
        if (!read || read->empty())
            co_return;
        bytes += read->size();
        order += letter;
        if (stretch.takes(read->size()))
            co_await yield(worker);
    }
}

TEST(fairness, who_has_much_to_read_lets_others_go_first) {
    auto worker = make_worker({});
    const std::string source(2 * 1024 * 1024, 's');
    Pair greedy(*worker);
    Pair other(*worker);
    Result<Slice> first;
    bool done = false;
    Result<void> written;
    Result<void> greeted;
    std::string order;
    worker->tasks().spawn(read_once(*greedy.far, never, first, done));
    worker->tasks().spawn(write_bytes(*greedy.near, source, false, written));
    ASSERT_TRUE(turn_until(*worker, [&] { return greedy.far->buffered() > TcpSettings{}.receive_high_bytes; }));
    const size_t unread = greedy.far->buffered();
    worker->tasks().spawn(read_in_stretches(*worker, *other.far, 'o', 1, order));
    worker->tasks().spawn(write_bytes(*other.near, "x", false, greeted));
    worker->tasks().spawn(read_in_stretches(*worker, *greedy.far, 'g', unread, order));
    ASSERT_TRUE(turn_until(*worker, [&] { return order.find('o') != std::string::npos; }));
    // It has stopped after one stretch; one more runs in the turn in which the byte for the other comes.
    const size_t before_other = order.find('o');
    EXPECT_GE(before_other, 1U);
    EXPECT_LE(before_other * RingSettings{}.buffer_bytes, 3 * Stretch::stretch_bytes_max) << order;
    greedy.near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(finish_tasks(*worker));
}

TEST(fairness, an_account_knows_what_its_streams_hold_and_is_paid_back) {
    auto worker = make_worker({});
    BufferAccount account{.bytes_max = 64 * 1024};
    TcpSettings settings;
    settings.account = &account;
    const std::string source(1024 * 1024, 's');
    std::vector<std::unique_ptr<Pair>> pairs;
    std::vector<Result<Slice>> firsts(16);
    std::vector<Result<void>> written(16);
    bool done = false;
    for (size_t index = 0; index < firsts.size(); ++index) {
        pairs.push_back(std::make_unique<Pair>(*worker, settings));
        worker->tasks().spawn(read_once(*pairs.back()->far, never, firsts[index], done));
        worker->tasks().spawn(write_bytes(*pairs.back()->near, source, false, written[index]));
    }
    size_t held = 0;
    for (const auto& pair : pairs)
        held += buffered_at_last(*worker, *pair->far);
    held = 0;
    for (const auto& pair : pairs)
        held += pair->far->buffered();
    EXPECT_EQ(account.bytes, held);
    EXPECT_GT(held, account.bytes_max);
    for (const auto& pair : pairs)
        pair->near->abort(Error{.code = Code::canceled, .during = "test"}, true);
    pairs.front()->far->abort(Error{.code = Code::canceled, .during = "test"}, true);
    ASSERT_TRUE(finish_tasks(*worker));
    pairs.clear();
    EXPECT_EQ(account.bytes, 0U);
}

} // namespace
} // namespace weft::l7
