// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/progress.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <set>

#include "agent/reconcile/plan.hpp"
#include "tests/unit/reconcile/random_state.hpp"

namespace weft::agent {
namespace {

using enum KernelState::PortAction;
using Fails = std::function<bool(const MapOperation&)>;

using Look = std::function<void(const KernelState& before, const KernelState& after, bool failed)>;

/// What the maps hold after a plan of which some steps fail.
KernelState carried_out(const KernelState& now, const KernelState& wanted, const Fails& fails, const Look& look = {}) {
    KernelState state = now;
    Progress progress(now, wanted);
    bool failed = false;
    for (const auto& step : plan(now, wanted)) {
        if (failed && progress.must_wait(step))
            continue;
        if (fails(step)) {
            failed = true;
            continue;
        }
        progress.took(step);
        const KernelState before = state;
        apply(state, step);
        if (look)
            look(before, state, failed);
    }
    return state;
}

bool nothing(const MapOperation&) {
    return false;
}

bool puts_port(const MapOperation& step, uint32_t pod_id, uint16_t port) {
    const auto* put = std::get_if<PutInboundPort>(&step);
    return put != nullptr && put->key == KernelState::PortKey{pod_id, port};
}

bool owned(const KernelState& state, uint32_t n) {
    return std::ranges::any_of(state.pods, [&](const auto& each) {
        return std::ranges::find(each.second.addresses, address(n)) != each.second.addresses.end();
    });
}

TEST(Progress, after_a_failure_no_step_leaves_less_guard_than_there_was_and_shall_be) {
    for (uint32_t seed = 0; seed < 3000; ++seed) {
        std::mt19937 random(seed);
        const auto now = random_state(random);
        const auto wanted = random_state(random);
        const auto check = [&](const KernelState& before, const KernelState& after, bool failed) {
            for (uint32_t n = 0; failed && n < addresses; ++n) {
                if (!owned(after, n) && before.pods.size() > after.pods.size())
                    continue; // the addresses of a removed pod go with it, whoever shall have them
                for (uint16_t port = 1; port <= ports + 1; ++port) {
                    const auto was = owned(before, n) ? action_at(before, address(n), port) : refuse;
                    const auto shall = action_at(wanted, address(n), port);
                    const bool kept = action_at(after, address(n), port) >= std::min(was, shall);
                    ASSERT_TRUE(kept || (!owned(before, n) && !owned(after, n)))
                        << "seed " << seed << " address " << n << ":" << port;
                }
            }
        };
        const auto reached = carried_out(now, wanted, [&](const auto&) { return random() % 3 == 0; }, check);
        // When the maps have room again, the next plan gets there.
        ASSERT_EQ(carried_out(reached, wanted, nothing), wanted) << "seed " << seed;
    }
}

TEST(Progress, a_new_pod_waits_for_its_guards_and_others_do_not) {
    KernelState wanted;
    wanted.pods[1] = {.id = 1, .fail_closed = true, .addresses = {address(0)}};
    wanted.pods[2] = {.id = 2, .fail_closed = true, .addresses = {address(1)}};
    wanted.inbound_ports = {{{1, 80}, steer}, {{1, 81}, steer}, {{2, 80}, steer}};
    const auto state = carried_out({}, wanted, [](const auto& step) { return puts_port(step, 1, 80); });
    EXPECT_FALSE(state.pods.contains(1));
    EXPECT_EQ(state.pods.at(2), wanted.pods.at(2));
}

TEST(Progress, the_rest_of_a_pods_ports_stays_closed_until_the_one_has_its_guard) {
    KernelState now;
    now.pods[1] = {.id = 1, .fail_closed = true, .addresses = {address(0)}};
    now.inbound_ports = {{{1, 0}, refuse}, {{1, 81}, steer}};
    KernelState wanted = now;
    wanted.inbound_ports = {{{1, 80}, steer}};
    const auto state = carried_out(now, wanted, [](const auto& step) { return puts_port(step, 1, 80); });
    EXPECT_EQ(action_at(state, address(0), 80), refuse);
    // What nobody wants guarded gives its room back all the same: the map may be full of it.
    EXPECT_FALSE(state.inbound_ports.contains({1, 81}));
}

TEST(Progress, a_pod_under_a_new_id_keeps_the_old_ones_guards_until_it_has_its_own) {
    KernelState now;
    now.pods[1] = {.id = 1, .fail_closed = true, .addresses = {address(0)}};
    now.inbound_ports = {{{1, 80}, steer}};
    KernelState wanted;
    wanted.pods[1] = {.id = 2, .fail_closed = true, .addresses = {address(0)}};
    wanted.inbound_ports = {{{2, 80}, steer}};
    EXPECT_EQ(carried_out(now, wanted, [](const auto& step) { return puts_port(step, 2, 80); }), now);
}

TEST(Progress, a_service_stays_redirected_until_its_pods_are_guarded) {
    const KernelState::Service before{
        .id = 0x10000, .l7 = true, .translate = true, .fail_closed = true, .backends = {{address(0), 81}}};
    KernelState now;
    now.pods[1] = {.id = 1, .fail_closed = true, .addresses = {address(0)}};
    now.services[{address(5), 80}] = before;
    KernelState wanted = now;
    wanted.inbound_ports = {{{1, 81}, steer}};
    wanted.services.at({address(5), 80}).l7 = false;
    wanted.services.at({address(5), 80}).fail_closed = false;
    EXPECT_EQ(carried_out(now, wanted, [](const auto& step) { return puts_port(step, 1, 81); }), now);
    EXPECT_EQ(carried_out(now, wanted, nothing), wanted);
}

} // namespace
} // namespace weft::agent
