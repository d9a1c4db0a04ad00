// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/plan.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/reconcile/random_state.hpp"

namespace weft::agent {
namespace {

using enum KernelState::PortAction;

bool guarded(const KernelState& state, uint32_t n, uint16_t port) {
    return action_at(state, address(n), port) != pass;
}

TEST(Plan, nothing_to_do_is_an_empty_plan) {
    std::mt19937 random(1);
    for (int i = 0; i < 100; ++i) {
        const auto state = random_state(random);
        EXPECT_TRUE(plan(state, state).empty());
    }
}

TEST(Plan, reaches_the_wanted_state_and_never_fails_open_in_between) {
    for (uint32_t seed = 0; seed < 3000; ++seed) {
        std::mt19937 random(seed);
        const auto now = random_state(random);
        const auto wanted = random_state(random);
        auto state = now;
        for (const auto& operation : plan(now, wanted)) {
            apply(state, operation);
            for (uint32_t n = 0; n < addresses; ++n) {
                for (uint16_t port = 1; port <= ports + 1; ++port) {
                    const bool required = guarded(now, n, port) && guarded(wanted, n, port);
                    ASSERT_TRUE(!required || guarded(state, n, port))
                        << "seed " << seed << " address " << n << ":" << port;
                }
            }
        }
        ASSERT_EQ(state, wanted) << "seed " << seed;
    }
}

TEST(Plan, converges_from_every_interrupted_point) {
    for (uint32_t seed = 0; seed < 200; ++seed) {
        std::mt19937 random(seed);
        const auto now = random_state(random);
        const auto wanted = random_state(random);
        const auto steps = plan(now, wanted);
        auto at = now;
        for (const auto& step : steps) {
            apply(at, step);
            apply(at, step); // each is idempotent
            auto again = at;
            for (const auto& operation : plan(at, wanted))
                apply(again, operation);
            ASSERT_EQ(again, wanted) << "seed " << seed;
        }
    }
}

TEST(Plan, a_new_pod_is_guarded_before_it_is_known_and_forgotten_before_its_guard_goes) {
    KernelState empty;
    KernelState one;
    one.pods[7] = {.id = 1, .fail_closed = true, .addresses = {address(0)}};
    one.inbound_ports[{1, 80}] = steer;
    const auto there = plan(empty, one);
    ASSERT_EQ(there.size(), 2U);
    EXPECT_TRUE(std::holds_alternative<PutInboundPort>(there[0]));
    EXPECT_TRUE(std::holds_alternative<PutPod>(there[1]));
    const auto back = plan(one, empty);
    ASSERT_EQ(back.size(), 2U);
    EXPECT_TRUE(std::holds_alternative<RemovePod>(back[0]));
    EXPECT_TRUE(std::holds_alternative<RemoveInboundPort>(back[1]));
}

TEST(Plan, an_address_that_moves_is_put_at_its_new_pod_and_not_removed_with_the_old_one) {
    KernelState now;
    now.pods[1] = {.id = 1, .fail_closed = false, .addresses = {address(0)}};
    KernelState wanted;
    wanted.pods[2] = {.id = 2, .fail_closed = false, .addresses = {address(0)}};
    const auto steps = plan(now, wanted);
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_EQ(std::get<PutPod>(steps[0]).netns_cookie, 2U);
    EXPECT_TRUE(std::get<RemovePod>(steps[1]).pod.addresses.empty());
}

TEST(Plan, a_service_loses_its_redirection_last) {
    KernelState now;
    now.services[{address(0), 80}] = {.id = 0x10000, .l7 = true, .translate = true, .backends = {}};
    now.inbound_ports[{1, 80}] = steer;
    KernelState wanted;
    wanted.services[{address(0), 80}] = {.id = 0x10000, .l7 = false, .translate = true, .backends = {}};
    const auto steps = plan(now, wanted);
    ASSERT_EQ(steps.size(), 2U);
    EXPECT_TRUE(std::holds_alternative<RemoveInboundPort>(steps[0]));
    EXPECT_TRUE(std::holds_alternative<PutService>(steps[1]));
}

TEST(Plan, a_service_may_be_reached_without_an_engine_last) {
    KernelState now;
    now.services[{address(0), 80}] = {
        .id = 0x10000, .l7 = true, .translate = true, .fail_closed = true, .backends = {}};
    now.inbound_ports[{1, 80}] = steer;
    KernelState wanted;
    wanted.services[{address(0), 80}] = {
        .id = 0x10000, .l7 = true, .translate = true, .fail_closed = false, .backends = {}};
    const auto open = plan(now, wanted);
    ASSERT_EQ(open.size(), 2U);
    EXPECT_TRUE(std::holds_alternative<PutService>(open[1]));
    const auto close = plan(wanted, now);
    ASSERT_EQ(close.size(), 2U);
    EXPECT_TRUE(std::holds_alternative<PutInboundPort>(close[0]));
}

} // namespace
} // namespace weft::agent
