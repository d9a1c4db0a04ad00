// SPDX-License-Identifier: Apache-2.0
#include "agent/status/work_queue.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weft::agent::status {
namespace {

using Queue = WorkQueue<std::string>;
using Key = std::optional<std::string>;

TEST(WorkQueue, a_key_is_there_once_and_the_sooner_time_counts) {
    Queue queue(1);
    queue.put("a", 100);
    queue.put("b", 50);
    queue.put("a", 10);
    queue.put("a", 200);
    EXPECT_EQ(queue.size(), 2U);
    EXPECT_EQ(queue.due_ms(), 10U);
    EXPECT_EQ(queue.take(9), Key());
    EXPECT_EQ(queue.take(60), Key("a"));
    EXPECT_EQ(queue.take(60), Key("b"));
    EXPECT_EQ(queue.take(1'000), Key());
    EXPECT_EQ(queue.due_ms(), UINT64_MAX);
    queue.done("a");
    queue.done("b");
    EXPECT_EQ(queue.size(), 0U);
}

TEST(WorkQueue, what_is_wished_meanwhile_is_done_afterwards) {
    Queue queue(1);
    queue.put("a", 0);
    ASSERT_EQ(queue.take(0), Key("a"));
    queue.put("a", 0);
    EXPECT_EQ(queue.take(5), Key()) << "one at a time";
    EXPECT_EQ(queue.due_ms(), UINT64_MAX);
    queue.done("a");
    EXPECT_EQ(queue.due_ms(), 0U);
    EXPECT_EQ(queue.take(5), Key("a"));
    queue.done("a");
    EXPECT_EQ(queue.take(5), Key());
}

TEST(WorkQueue, failures_put_it_off_longer_and_longer_and_nothing_hurries_it) {
    Queue queue(7);
    queue.put("a", 0);
    uint64_t now = 0;
    uint64_t most = work_retry_min_ms;
    for (int i = 0; i < 12; ++i) {
        ASSERT_EQ(queue.take(now), Key("a"));
        queue.failed("a", now, 0);
        queue.put("a", now); // somebody wishes it at once
        const uint64_t wait = queue.due_ms() - now;
        EXPECT_GE(wait, most / 2) << i;
        EXPECT_LE(wait, most) << i;
        EXPECT_EQ(queue.take(queue.due_ms() - 1), Key());
        now = queue.due_ms();
        most = std::min(most * 2, work_retry_max_ms);
    }
    EXPECT_EQ(most, work_retry_max_ms);
    ASSERT_EQ(queue.take(now), Key("a"));
    queue.done("a");
    queue.put("a", now);
    ASSERT_EQ(queue.take(now), Key("a")) << "what was before is forgotten";
    queue.failed("a", now, 5'000);
    EXPECT_EQ(queue.due_ms(), now + 5'000) << "the server has asked for so much";
    EXPECT_EQ(queue.take(now + 5'000), Key("a"));
    queue.failed("a", now, 10 * work_retry_max_ms);
    EXPECT_EQ(queue.due_ms(), now + work_retry_max_ms) << "but not for more than that";
}

TEST(WorkQueue, others_go_on_beside_one_that_fails) {
    Queue queue(1);
    queue.put("a", 0);
    queue.put("b", 0);
    ASSERT_EQ(queue.take(0), Key("a"));
    queue.failed("a", 0, 0);
    EXPECT_EQ(queue.take(0), Key("b"));
}

TEST(WorkQueue, an_end_that_comes_after_clear_is_no_matter) {
    Queue queue(1);
    queue.put("a", 0);
    ASSERT_EQ(queue.take(0), Key("a"));
    queue.clear();
    queue.failed("a", 0, 0);
    queue.done("a");
    EXPECT_EQ(queue.size(), 0U);
    EXPECT_EQ(queue.take(100'000), Key());
}

} // namespace
} // namespace weft::agent::status
