// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/timer.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace weft::l7 {
namespace {

struct Probe final : Timer {
    void expired() override {
        ++fired;
        if (then)
            then();
    }
    std::function<void()> then;
    int fired = 0;
};

TEST(timer, fires_at_its_deadline_and_not_before) {
    TimerWheel wheel(1000);
    Probe probe;
    wheel.arm(probe, 1500);
    EXPECT_TRUE(probe.armed());
    EXPECT_EQ(wheel.advance(1499), 0U);
    EXPECT_EQ(wheel.advance(1500), 1U);
    EXPECT_EQ(probe.fired, 1);
    EXPECT_FALSE(probe.armed());
    EXPECT_EQ(wheel.size(), 0U);
    EXPECT_EQ(wheel.next_in_ms(), UINT64_MAX);
}

TEST(timer, never_disarms) {
    TimerWheel wheel(0);
    Probe probe;
    wheel.arm(probe, 10);
    wheel.arm(probe, never);
    EXPECT_FALSE(probe.armed());
    EXPECT_EQ(wheel.advance(1'000'000), 0U);
}

TEST(timer, destruction_disarms) {
    TimerWheel wheel(0);
    {
        Probe probe;
        wheel.arm(probe, 10);
        EXPECT_EQ(wheel.size(), 1U);
    }
    EXPECT_EQ(wheel.size(), 0U);
    EXPECT_EQ(wheel.advance(100), 0U);
}

TEST(timer, the_wheel_may_die_first) {
    Probe near;
    Probe far;
    Probe past;
    {
        TimerWheel wheel(100);
        wheel.arm(near, 110);
        wheel.arm(far, uint64_t{1} << 40U);
        wheel.arm(past, 5);
    }
    EXPECT_FALSE(near.armed());
    EXPECT_FALSE(far.armed());
    EXPECT_FALSE(past.armed());
}

TEST(timer, armed_for_the_past_runs_in_the_next_call_once) {
    TimerWheel wheel(1000);
    Probe probe;
    probe.then = [&] {
        if (probe.fired < 3)
            wheel.arm(probe, 0);
    };
    wheel.arm(probe, 10);
    EXPECT_EQ(wheel.next_in_ms(), 0U);
    EXPECT_EQ(wheel.advance(1000), 1U);
    EXPECT_EQ(wheel.advance(1000), 1U);
    EXPECT_EQ(wheel.advance(2000), 1U);
    EXPECT_EQ(wheel.advance(3000), 0U);
}

TEST(timer, one_callback_may_disarm_another_that_is_due) {
    TimerWheel wheel(0);
    auto first = std::make_unique<Probe>();
    auto second = std::make_unique<Probe>();
    first->then = [&] { second.reset(); };
    wheel.arm(*first, 5);
    wheel.arm(*second, 6);
    EXPECT_EQ(wheel.advance(10), 1U);
    EXPECT_EQ(wheel.size(), 0U);
}

TEST(timer, callbacks_see_the_final_time) {
    TimerWheel wheel(0);
    Probe probe;
    uint64_t seen = 0;
    probe.then = [&] { seen = wheel.now_ms(); };
    wheel.arm(probe, 5);
    wheel.advance(70'000);
    EXPECT_EQ(seen, 70'000U);
}

TEST(timer, beyond_the_last_level) {
    TimerWheel wheel(12345);
    Probe probe;
    const Deadline deadline = 12345 + (uint64_t{3} << 33U) + 77;
    wheel.arm(probe, deadline);
    EXPECT_EQ(wheel.advance(deadline - 1), 0U);
    EXPECT_LE(wheel.next_in_ms(), 1U);
    EXPECT_EQ(wheel.advance(deadline), 1U);
}

/// Random arming, disarming and steps of any length against a plain map; the seed is printed when it differs.
void compare_with_naive_list(uint64_t seed) {
    std::mt19937_64 random(seed);
    constexpr size_t timers = 60;
    uint64_t now = random() % (uint64_t{1} << (random() % 44));
    TimerWheel wheel(now);
    std::vector<Probe> probes(timers);
    std::map<size_t, Deadline> expected;
    for (int step = 0; step < 400; ++step) {
        for (size_t change = random() % 8; change > 0; --change) {
            const size_t index = random() % timers;
            if (random() % 4 == 0) {
                wheel.disarm(probes[index]);
                expected.erase(index);
                continue;
            }
            // Past deadlines, and every magnitude up to beyond the last level.
            const Deadline deadline =
                random() % 16 == 0 ? now - now % 50 : now + random() % (uint64_t{1} << (1 + random() % 36));
            wheel.arm(probes[index], deadline);
            expected[index] = deadline;
        }
        ASSERT_EQ(wheel.size(), expected.size()) << "seed " << seed;
        uint64_t earliest = UINT64_MAX;
        for (const auto& [index, deadline] : expected)
            earliest = std::min(earliest, deadline <= now ? 0 : deadline - now);
        ASSERT_LE(wheel.next_in_ms(), earliest) << "late, seed " << seed;
        if (expected.empty()) {
            ASSERT_EQ(wheel.next_in_ms(), UINT64_MAX) << "seed " << seed;
        }
        now += random() % 3 == 0 && earliest != UINT64_MAX ? earliest : random() % (uint64_t{1} << (random() % 34));
        const size_t ran = wheel.advance(now);
        size_t due = 0;
        for (size_t index = 0; index < timers; ++index) {
            const auto found = expected.find(index);
            const bool fires = found != expected.end() && found->second <= now;
            ASSERT_EQ(probes[index].fired, fires ? 1 : 0) << "seed " << seed << " step " << step;
            probes[index].fired = 0;
            if (fires) {
                expected.erase(found);
                ++due;
            }
        }
        ASSERT_EQ(ran, due) << "seed " << seed;
    }
}

TEST(timer, equals_a_naive_list) {
    for (uint64_t seed = 1; seed <= 300 && !testing::Test::HasFatalFailure(); ++seed)
        compare_with_naive_list(seed);
}

TEST(timer, waits_end_after_few_early_wakes) {
    for (const uint64_t delay : {1ULL, 255ULL, 256ULL, 65'535ULL, 10'000'000ULL, 5'000'000'000ULL}) {
        TimerWheel wheel(987'654'321);
        Probe probe;
        wheel.arm(probe, wheel.now_ms() + delay);
        int wakes = 0;
        while (probe.fired == 0 && wakes < 10) {
            wheel.advance(wheel.now_ms() + wheel.next_in_ms());
            ++wakes;
        }
        EXPECT_EQ(wheel.now_ms(), 987'654'321 + delay);
        EXPECT_LE(wakes, 6) << delay;
    }
}

} // namespace
} // namespace weft::l7
