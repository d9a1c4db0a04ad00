// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/overload.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace weft::l7 {
namespace {

using enum Pressure;

TEST(Overload, pressure_rises_at_each_step_and_falls_with_slack) {
    const struct {
        const char* name;
        Pressure now;
        uint64_t used_percent;
        Pressure next;
    } cases[] = {
        {"nothing", none, 0, none},
        {"just below the first", none, 84, none},
        {"the first", none, 85, requests},
        {"the second", requests, 90, connections},
        {"the third", connections, 95, idle},
        {"over all at once", none, 99, idle},
        {"beyond the limit", none, 250, idle},
        {"the first is kept within the slack", requests, 80, requests},
        {"... and left below it", requests, 79, none},
        {"the second is kept within the slack", connections, 85, connections},
        {"... and the first follows", connections, 84, requests},
        {"the third is kept within the slack", idle, 90, idle},
        {"... and the second follows", idle, 89, connections},
        {"all at once", idle, 10, none},
        {"from the third to the first", idle, 81, requests},
        {"slack keeps, it does not raise", none, 82, none},
        {"... from no step", requests, 88, requests},
    };
    for (const auto& each : cases) {
        constexpr uint64_t limit = 64 * 1024 * 1024;
        EXPECT_EQ(next_pressure(each.now, (limit * each.used_percent + 99) / 100, limit), each.next) << each.name;
    }
}

TEST(Overload, without_a_limit_there_is_no_pressure) {
    EXPECT_EQ(next_pressure(idle, 1'000, 0), none);
}

TEST(Overload, usage_around_a_threshold_does_not_flap) {
    Pressure pressure = none;
    size_t changes = 0;
    for (int round = 0; round < 100; ++round) {
        const Pressure next = next_pressure(pressure, round % 2 == 0 ? 851 : 849, 1'000);
        changes += next != pressure ? 1 : 0;
        pressure = next;
    }
    EXPECT_EQ(changes, 1U);
}

constexpr UsageLimits limits{.connections_max = 10,
                             .connections_per_pod_max = 4,
                             .requests_max = 20,
                             .requests_per_pod_max = 5,
                             .buffered_bytes_per_pod_max = 1'000};

TEST(Overload, a_connection_has_room_or_a_shortage_with_a_name) {
    const struct {
        Pressure pressure;
        size_t worker;
        size_t pod;
        std::optional<Shortage> shortage;
    } cases[] = {
        {none, 0, 0, std::nullopt},
        {requests, 9, 3, std::nullopt},
        {connections, 0, 0, Shortage::memory},
        {idle, 0, 0, Shortage::memory},
        {none, 9, 4, Shortage::pod_connections},
        {none, 10, 3, Shortage::worker_connections},
        {none, 10, 4, Shortage::pod_connections},
    };
    for (const auto& each : cases)
        EXPECT_EQ(room_for_connection(each.pressure, {.connections = each.worker}, {.connections = each.pod}, limits),
                  each.shortage);
}

TEST(Overload, a_request_has_room_or_a_shortage_with_a_name) {
    const struct {
        Pressure pressure;
        size_t worker;
        Usage pod;
        std::optional<Shortage> shortage;
    } cases[] = {
        {none, 19, {.connections = 1'000, .requests = 4, .buffered_bytes = 1'000}, std::nullopt},
        {requests, 0, {}, Shortage::memory},
        {idle, 0, {}, Shortage::memory},
        {none, 5, {.requests = 5}, Shortage::pod_requests},
        {none, 5, {.buffered_bytes = 1'001}, Shortage::pod_buffers},
        {none, 20, {}, Shortage::worker_requests},
        {none, 20, {.requests = 5, .buffered_bytes = 1'001}, Shortage::pod_requests},
    };
    for (const auto& each : cases)
        EXPECT_EQ(room_for_request(each.pressure, {.requests = each.worker}, each.pod, limits), each.shortage);
}

} // namespace
} // namespace weft::l7
