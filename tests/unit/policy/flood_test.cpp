// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/flood.hpp"

#include <gtest/gtest.h>

namespace weft::l7 {
namespace {

constexpr FloodRules rules{
    .pause_ms = 100, .pause_max_factor = 4, .remembered_ms = 10'000, .wait_ms_max = 1'000, .sources_max = 3};
const FloodSource pod{.pod_id = 1, .address = {}};

FloodSource from(const char* address) {
    return {.pod_id = 1, .address = *IpAddress::parse(address)};
}

TEST(FloodGuard, who_has_not_flooded_is_served_at_once) {
    FloodGuard guard(rules);
    EXPECT_EQ(guard.turn(pod, 50), 50U);
    guard.flooded({.pod_id = 2, .address = {}}, 50);
    guard.flooded(from("10.0.0.1"), 50);
    EXPECT_EQ(guard.turn(pod, 50), 50U);
    EXPECT_EQ(guard.turn(from("10.0.0.2"), 50), 50U);
}

TEST(FloodGuard, connections_of_a_source_that_floods_take_turns) {
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
    for (uint64_t turn = 1; turn <= 10; ++turn)
        EXPECT_EQ(guard.turn(pod, 0), turn * 100);
    EXPECT_EQ(guard.turn(pod, 0), std::nullopt);
    EXPECT_EQ(guard.turn(pod, 99), std::nullopt);
    EXPECT_EQ(guard.turn(pod, 100), 1'100U);
}

TEST(FloodGuard, forgets_a_source_that_is_quiet_and_a_pod_that_is_gone) {
    FloodGuard guard(rules);
    guard.flooded(pod, 0);
    guard.flooded(pod, 100);
    guard.forget_old(10'099);
    EXPECT_EQ(guard.size(), 1U);
    guard.forget_old(10'100);
    EXPECT_EQ(guard.size(), 0U);
    guard.flooded(pod, 20'000);
    EXPECT_EQ(guard.turn(pod, 20'000), 20'100U); // the first again
    guard.flooded(from("10.0.0.1"), 20'000);
    guard.forget_pod(1);
    EXPECT_EQ(guard.size(), 0U);
}

TEST(FloodGuard, remembers_a_bounded_number_of_sources_the_latest) {
    FloodGuard guard(rules);
    for (uint32_t id = 1; id <= 4; ++id)
        guard.flooded({.pod_id = id, .address = {}}, id);
    guard.flooded({.pod_id = 4, .address = {}}, 5); // known: takes nobody's place
    EXPECT_EQ(guard.size(), 3U);
    EXPECT_EQ(guard.turn({.pod_id = 1, .address = {}}, 5), 5U);
    EXPECT_GT(guard.turn({.pod_id = 2, .address = {}}, 5), 5U);
}

TEST(FloodGuard, without_a_pause_nobody_waits) {
    FloodGuard guard({.pause_ms = 0});
    guard.flooded(pod, 0);
    EXPECT_EQ(guard.turn(pod, 0), 0U);
    EXPECT_EQ(guard.size(), 0U);
}

} // namespace
} // namespace weft::l7
