// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/flood.hpp"

#include <gtest/gtest.h>

namespace weft::l7 {
namespace {

constexpr FloodRules rules{.pause_ms = 100, .pause_max_factor = 4, .remembered_ms = 10'000};
constexpr uint32_t pod = 1;

TEST(FloodGuard, who_has_not_flooded_is_served_at_once) {
    FloodGuard guard(rules);
    EXPECT_EQ(guard.turn(pod, 50), 50U);
    guard.flooded(2, 50);
    EXPECT_EQ(guard.turn(pod, 50), 50U);
}

TEST(FloodGuard, connections_of_a_pod_that_floods_take_turns) {
    FloodGuard guard(rules);
    guard.flooded(pod, 1'000);
    EXPECT_EQ(guard.turn(pod, 1'000), 1'100U);
    EXPECT_EQ(guard.turn(pod, 1'000), 1'200U);
    EXPECT_EQ(guard.turn(pod, 1'150), 1'300U);
    EXPECT_EQ(guard.turn(pod, 5'000), 5'000U); // its turn came long ago
    EXPECT_EQ(guard.turn(pod, 5'000), 5'100U);
}

TEST(FloodGuard, each_flood_doubles_the_pause_up_to_a_limit) {
    FloodGuard guard(rules);
    uint64_t now_ms = 0;
    for (const uint64_t pause_ms : {100U, 200U, 400U, 400U}) {
        guard.flooded(pod, now_ms);
        EXPECT_EQ(guard.turn(pod, now_ms), now_ms + pause_ms);
        now_ms += 2'000;
    }
}

TEST(FloodGuard, who_would_wait_too_long_is_refused_and_takes_no_turn) {
    FloodGuard guard(rules);
    guard.flooded(pod, 0);
    ASSERT_EQ(rules.wait_ms_max(), 800U);
    for (uint64_t turn = 1; turn <= 8; ++turn)
        EXPECT_EQ(guard.turn(pod, 0), turn * 100);
    EXPECT_EQ(guard.turn(pod, 0), std::nullopt);
    EXPECT_EQ(guard.turn(pod, 99), std::nullopt);
    EXPECT_EQ(guard.turn(pod, 100), 900U);
}

TEST(FloodGuard, forgets_a_pod_that_is_quiet_and_a_pod_that_is_gone) {
    FloodGuard guard(rules);
    guard.flooded(pod, 0);
    guard.flooded(pod, 100);
    guard.forget_old(10'099);
    EXPECT_EQ(guard.size(), 1U);
    guard.forget_old(10'100);
    EXPECT_EQ(guard.size(), 0U);
    guard.flooded(pod, 20'000);
    EXPECT_EQ(guard.turn(pod, 20'000), 20'100U); // the first again
    guard.forget_pod(pod);
    EXPECT_EQ(guard.size(), 0U);
}

TEST(FloodGuard, a_long_pause_is_remembered_to_its_end) {
    FloodGuard guard({.pause_ms = 1'000, .pause_max_factor = 16, .remembered_ms = 10'000});
    for (int flood = 0; flood < 6; ++flood)
        guard.flooded(pod, 0);
    guard.forget_old(31'999);
    EXPECT_EQ(guard.size(), 1U);
    guard.forget_old(32'000);
    EXPECT_EQ(guard.size(), 0U);
}

TEST(FloodGuard, without_a_pause_nobody_waits) {
    FloodGuard guard({.pause_ms = 0});
    guard.flooded(pod, 0);
    EXPECT_EQ(guard.turn(pod, 0), 0U);
    EXPECT_EQ(guard.size(), 0U);
}

} // namespace
} // namespace weft::l7
