// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/bulk_meter.hpp"

#include <gtest/gtest.h>

namespace weft::l7 {
namespace {

constexpr size_t kib = 1024;

struct Rounds {
    uint32_t count;
    size_t bytes;
    uint64_t every_ms;
};

/// A meter after these rounds, and how many of them it took to call it bulk; 0: never.
struct Metered {
    explicit Metered(std::initializer_list<Rounds> rounds) {
        uint32_t number = 0;
        for (const Rounds& one : rounds) {
            for (uint32_t round = 0; round < one.count; ++round) {
                meter.add(one.bytes, now_ms += one.every_ms);
                ++number;
                if (meter.is_bulk() && bulk_after == 0)
                    bulk_after = number;
            }
        }
    }
    BulkRules rules;
    BulkMeter meter{rules};
    uint64_t now_ms = 1'000'000;
    uint32_t bulk_after = 0;
};

TEST(bulk_meter, a_mebibyte_in_few_rounds_and_little_time_is_bulk) {
    struct Row {
        std::initializer_list<Rounds> rounds;
        uint32_t bulk_after;
    };
    const Row rows[] = {
        {{{100, 64 * kib, 0}}, 16},
        {{{100, 16 * kib, 1}}, 64},
        {{{1, 1024 * kib, 0}}, 1},
        {{{1000, 16 * kib - 1, 0}}, 0},                 // fast, but small
        {{{1000, 64 * kib, 100}}, 0},                   // large, but slow
        {{{1000, 64 * kib, 66}}, 16},                   // 16 of them are within a second
        {{{63, 100, 0}, {1000, 64 * kib, 0}}, 64 + 16}, // what was before is forgotten after 64 rounds
        {{{15, 64 * kib, 0}, {1, 100, 2'000}, {20, 64 * kib, 0}}, 16 + 16}, // ... and after a second
        {{{100'000, 100, 0}}, 0},
    };
    for (const Row& row : rows)
        EXPECT_EQ(Metered(row.rounds).bulk_after, row.bulk_after) << &row - rows;
}

TEST(bulk_meter, bulk_ends_with_rounds_that_move_little) {
    struct Row {
        std::initializer_list<Rounds> rounds;
        bool bulk;
    };
    const Row rows[] = {
        {{{16, 64 * kib, 0}}, true},
        {{{16, 64 * kib, 0}, {63, 100, 0}}, true}, // not known before 64 of them
        {{{16, 64 * kib, 0}, {64, 100, 0}}, false},
        {{{16, 64 * kib, 0}, {64, 4 * kib - 1, 0}}, false},
        {{{16, 64 * kib, 0}, {6'400, 4 * kib, 0}}, true},
        {{{16, 64 * kib, 0}, {64, 4 * kib, 10'000}}, true}, // slow is no reason: the pipe's idle time is
        {{{16, 64 * kib, 0}, {64, 100, 0}, {16, 64 * kib, 0}}, true},
    };
    for (const Row& row : rows)
        EXPECT_EQ(Metered(row.rounds).meter.is_bulk(), row.bulk) << &row - rows;
}

TEST(bulk_meter, restart_forgets) {
    Metered metered{{16, 64 * kib, 0}};
    ASSERT_TRUE(metered.meter.is_bulk());
    metered.meter.restart();
    EXPECT_FALSE(metered.meter.is_bulk());
    for (int round = 0; round < 15; ++round)
        metered.meter.add(64 * kib, metered.now_ms);
    EXPECT_FALSE(metered.meter.is_bulk());
    metered.meter.add(64 * kib, metered.now_ms);
    EXPECT_TRUE(metered.meter.is_bulk());
}

} // namespace
} // namespace weft::l7
