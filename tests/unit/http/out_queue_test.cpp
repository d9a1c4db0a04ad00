// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/out_queue.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/allocated.hpp"

namespace weft::l7 {
namespace {

using test::allocated_bytes;

std::string text_of(const OutQueue& queue) {
    std::string text;
    for (const Slice& slice : queue.pending())
        text.append(slice.text());
    return text;
}

TEST(OutQueue, AdjacentPiecesAreOneSlice) {
    OutQueue queue;
    queue.append("ab");
    queue.append("cd");
    ASSERT_EQ(queue.pending().size(), 1U);
    queue.append(Slice::of_static("body"));
    queue.append("ef");
    EXPECT_EQ(queue.pending().size(), 3U);
    EXPECT_EQ(text_of(queue), "abcdbodyef");
}

TEST(OutQueue, EmptyPiecesAreNotQueued) {
    OutQueue queue;
    queue.append("");
    queue.append(Slice{});
    EXPECT_TRUE(queue.empty());
    EXPECT_TRUE(queue.pending().empty());
}

TEST(OutQueue, SentInAnyPortionsLeavesTheRest) {
    std::string all;
    for (size_t step = 1; step < 40; ++step) {
        OutQueue queue;
        all.clear();
        for (int i = 0; i < 50; ++i) {
            const std::string piece = "piece" + std::to_string(i);
            queue.append(piece);
            queue.append(Slice::copy_of("<" + piece + ">"));
            all += piece + "<" + piece + ">";
        }
        for (size_t sent = 0; sent < all.size(); sent += step) {
            ASSERT_EQ(text_of(queue), all.substr(sent));
            queue.sent(std::min(step, all.size() - sent));
        }
        EXPECT_TRUE(queue.empty());
    }
}

TEST(OutQueue, BytesStayInPlaceUntilSent) {
    OutQueue queue;
    queue.append("first");
    const std::byte* first = queue.pending()[0].data();
    for (int i = 0; i < 100; ++i)
        queue.append(std::string(500, 'x'));
    EXPECT_EQ(queue.pending()[0].data(), first);
    queue.sent(2);
    EXPECT_EQ(queue.pending()[0].data(), first + 2);
}

TEST(OutQueue, SharedSlicesOutliveTheQueue) {
    Slice kept;
    {
        OutQueue queue;
        queue.append("in flight");
        kept = queue.pending()[0].share(0, queue.pending()[0].size());
        queue.sent(3);
        queue.append(std::string(5000, 'x'));
    }
    EXPECT_EQ(kept.text(), "in flight");
}

TEST(OutQueue, TheRoomOfABurstIsGivenBack) {
    OutQueue queue;
    queue.append(Slice::of_static("x"));
    queue.sent(1);
    const size_t before = allocated_bytes();
    for (int i = 0; i < 10'000; ++i)
        queue.append(Slice::of_static("x"));
    EXPECT_GT(allocated_bytes(), before + 10'000 * sizeof(Slice) - 1);
    queue.sent(10'000);
    EXPECT_LE(allocated_bytes(), before + 4096);
}

TEST(ClearSlices, KeepsTheRoomOfAFewOnly) {
    SliceList slices(50);
    clear_slices(slices);
    EXPECT_TRUE(slices.empty());
    EXPECT_GE(slices.capacity(), 50U);
    slices.resize(1000);
    clear_slices(slices);
    EXPECT_TRUE(slices.empty());
    EXPECT_LE(slices.capacity(), 64U);
}

TEST(OutQueue, SlowReaderDoesNotGrowTheListOfSentSlices) {
    OutQueue queue;
    queue.append(Slice::of_static("0123456789"));
    for (int i = 0; i < 10'000; ++i) {
        queue.append(Slice::of_static("0123456789"));
        queue.sent(10);
        ASSERT_LE(queue.pending().size(), 2U);
    }
    EXPECT_EQ(text_of(queue), "0123456789");
}

} // namespace
} // namespace weft::l7
