// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/receive_queue.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace weft::l7 {
namespace {

/// Counts what is held of it.
class CountingOwner final : public BufferOwner {
public:
    void retain(void*) noexcept override { ++held; }
    void release(void*) noexcept override { --held; }
    Slice slice(std::string_view text) {
        ++held;
        return {this, nullptr, as_bytes(text)};
    }
    int held = 0;
};

TEST(receive_queue, gives_what_came_in_order) {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
        std::mt19937_64 random(seed);
        std::string source(60'000, '\0');
        for (char& c : source)
            c = static_cast<char>(random());
        CountingOwner owner;
        ReceiveQueue queue;
        std::string got;
        size_t pushed = 0;
        std::vector<Slice> kept; // popped slices stay valid while the queue goes on
        while (got.size() < source.size()) {
            if (pushed < source.size() && random() % 3 != 0) {
                const size_t size = std::min(source.size() - pushed, 1 + random() % (random() % 4 == 0 ? 9000 : 40));
                queue.push(owner.slice(std::string_view(source).substr(pushed, size)), random() % 101);
                pushed += size;
            } else if (!queue.empty()) {
                kept.push_back(queue.pop());
                got += kept.back().text();
            }
            ASSERT_EQ(queue.bytes(), pushed - got.size()) << "seed " << seed;
        }
        EXPECT_EQ(got, source) << "seed " << seed;
        std::string again;
        for (const Slice& slice : kept)
            again += slice.text();
        EXPECT_EQ(again, source) << "seed " << seed;
        kept.clear();
        EXPECT_EQ(owner.held, 0);
    }
}

TEST(receive_queue, many_small_segments_hold_few_buffers) {
    CountingOwner owner;
    ReceiveQueue queue;
    for (int i = 0; i < 200'000; ++i)
        queue.push(owner.slice("x"), 100);
    EXPECT_EQ(queue.bytes(), 200'000U);
    EXPECT_LE(owner.held, 4);
    EXPECT_LE(queue.slices(), 4U + 200'000 / 16384 + 1);
    queue.clear();
    EXPECT_EQ(queue.bytes(), 0U);
    EXPECT_EQ(owner.held, 0);
}

TEST(receive_queue, large_slices_are_not_copied_up_to_a_limit) {
    CountingOwner owner;
    ReceiveQueue queue;
    const std::string block(8192, 'b');
    for (int i = 0; i < 32; ++i)
        queue.push(owner.slice(block), 100);
    EXPECT_EQ(owner.held, 32);
    for (int i = 0; i < 100; ++i)
        queue.push(owner.slice(block), 100);
    EXPECT_EQ(owner.held, 64);
    EXPECT_EQ(queue.bytes(), 132 * block.size());
}

TEST(receive_queue, holds_fewer_buffers_the_fewer_are_free) {
    constexpr std::pair<uint32_t, int> rows[] = {{100, 64}, {75, 64}, {74, 4}, {50, 4}, {49, 1}, {25, 1}, {0, 1}};
    const std::string block(8192, 'b');
    for (const auto& [free_percent, held] : rows) {
        CountingOwner owner;
        ReceiveQueue queue;
        for (int i = 0; i < 100; ++i)
            queue.push(owner.slice(block), free_percent);
        EXPECT_EQ(owner.held, held) << free_percent;
        EXPECT_EQ(queue.bytes(), 100 * block.size());
    }
}

} // namespace
} // namespace weft::l7
