// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/body_queue.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weft::l7 {
namespace {

std::string text_of(const BodyQueue& queue) {
    std::string text;
    for (const Slice& piece : queue.waiting())
        text += piece.text();
    return text;
}

TEST(BodyQueue, a_body_of_tiny_pieces_takes_no_slice_for_each) {
    BodyQueue queue;
    std::string all;
    for (int round = 0; round < 100'000; ++round) {
        const std::string piece(static_cast<size_t>(1 + round % 3), static_cast<char>('a' + round % 26));
        all += piece;
        queue.push(Slice::copy_of(piece), false);
        ASSERT_LT(queue.waiting().size(), all.size() / 256 + 100) << all.size();
    }
    EXPECT_EQ(queue.bytes(), all.size());
    EXPECT_TRUE(text_of(queue) == all);
}

TEST(BodyQueue, large_pieces_stay_as_they_came_and_small_ones_between_them_keep_their_order) {
    BodyQueue queue;
    const std::string large(16 * 1024, 'L');
    const Slice whole = Slice::copy_of(large);
    std::string all;
    for (int round = 0; round < 200; ++round) {
        const bool is_large = round % 50 == 49;
        queue.push(is_large ? whole.share(0, large.size()) : Slice::copy_of(std::to_string(round)), false);
        all += is_large ? large : std::to_string(round);
    }
    EXPECT_TRUE(text_of(queue) == all);
    int shared = 0;
    for (const Slice& piece : queue.waiting())
        shared += piece.bytes().data() == whole.bytes().data() ? 1 : 0;
    EXPECT_EQ(shared, 4);
}

} // namespace
} // namespace weft::l7
