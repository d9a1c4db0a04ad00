// SPDX-License-Identifier: Apache-2.0
#include "agent/status/election.hpp"

#include <gtest/gtest.h>

namespace weft::agent::status {
namespace {

/// The API server's one Lease.
struct Store {
    std::optional<Lease> lease;
    int version = 0;

    /// Optimistic, as the API is. False: 409.
    bool write(const Elector::Write& write) {
        if ((lease ? lease->resource_version : "") != write.resource_version)
            return false;
        lease =
            Lease{.name = "x", .resource_version = std::to_string(++version), .record = write.record, .in_force = {}};
        return true;
    }
};

/// One candidate with its owner.
struct Candidate {
    Candidate(Store& of, const std::string& name, uint64_t seed) : store(of), elector(name, seed) {}
    /// Everything that is due now. `up`: the server answers.
    void run(uint64_t now_ms, bool up = true) {
        for (int i = 0; i < 4; ++i) {
            const auto step = elector.next(now_ms, static_cast<int64_t>(now_ms) * 1000);
            if (std::holds_alternative<Elector::Nothing>(step))
                return;
            if (!up) {
                elector.failed(now_ms);
            } else if (std::holds_alternative<Elector::Read>(step)) {
                elector.read(store.lease, now_ms);
            } else if (store.write(std::get<Elector::Write>(step))) {
                ++writes;
                elector.written(*store.lease, now_ms);
            } else {
                ++conflicts;
                elector.conflict(now_ms);
            }
        }
    }
    Store& store;
    Elector elector;
    int writes = 0;
    int conflicts = 0;
};

TEST(Election, the_first_one_leads_and_renews) {
    Store store;
    Candidate a(store, "a", 1);
    EXPECT_FALSE(a.elector.leads(1'000));
    a.run(1'000);
    ASSERT_TRUE(store.lease);
    EXPECT_EQ(store.lease->record, (LeaseRecord{"a", 15, micro_time(1'000'000), micro_time(1'000'000), 0}));
    EXPECT_TRUE(a.elector.leads(1'000));
    a.run(1'500);
    EXPECT_EQ(a.writes, 1) << "not due";
    for (uint64_t now = 1'500; now < 20'000; now += 100)
        a.run(now);
    EXPECT_GE(a.writes, 18'000 / 2'400);
    EXPECT_LE(a.writes, 2 + 18'000 / 2'000);
    EXPECT_EQ(store.lease->record.acquired, micro_time(1'000'000)) << "the same term";
    EXPECT_EQ(store.lease->record.transitions, 0);
    EXPECT_TRUE(a.elector.leads(20'000));
}

TEST(Election, never_two_lead_and_a_dead_leader_is_followed) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        Store store;
        Candidate a(store, "a", seed);
        Candidate b(store, "b", seed + 100);
        uint64_t taken_over = 0;
        const uint64_t dies = 30'000 + seed * 137;
        for (uint64_t now = 1'000; now < 80'000; now += 50) {
            if (now < dies)
                a.run(now);
            b.run(now);
            EXPECT_FALSE(a.elector.leads(now) && b.elector.leads(now)) << now;
            if (taken_over == 0 && b.elector.leads(now))
                taken_over = now;
        }
        ASSERT_NE(taken_over, 0U);
        EXPECT_GE(taken_over, dies + 15'000 - 2'400) << "not before the Lease has run out";
        EXPECT_LE(taken_over, dies + 15'000 + 6'000 + 400);
        EXPECT_EQ(store.lease->record.holder, "b");
        EXPECT_EQ(store.lease->record.transitions, 1);
        EXPECT_EQ(b.elector.leader(), "b");
    }
}

TEST(Election, one_that_cannot_renew_leads_no_more_before_another_does) {
    Store store;
    Candidate a(store, "a", 3);
    Candidate b(store, "b", 4);
    a.run(1'000);
    uint64_t last_led = 0;
    uint64_t first_led = 0;
    for (uint64_t now = 1'000; now < 40'000; now += 50) {
        a.run(now, now < 5'000); // it is cut off
        b.run(now);
        if (a.elector.leads(now))
            last_led = now;
        if (first_led == 0 && b.elector.leads(now))
            first_led = now;
    }
    EXPECT_LT(last_led, 5'000 + renew_deadline_ms);
    EXPECT_GT(first_led, last_led + 2'000);
    a.run(60'000); // back again
    EXPECT_FALSE(a.elector.leads(60'000));
    EXPECT_EQ(a.elector.leader(), "b");
}

TEST(Election, a_foreign_clock_counts_for_nothing) {
    Store store;
    store.lease = Lease{.name = "x",
                        .resource_version = "7",
                        .record = {"z", 15, "1990-01-01T00:00:00.000000Z", "1990-01-01T00:00:00.000000Z", 4},
                        .in_force = {}};
    Candidate a(store, "a", 5);
    uint64_t led = 0;
    for (uint64_t now = 1'000'000; now < 1'040'000 && led == 0; now += 100) {
        a.run(now);
        if (a.elector.leads(now))
            led = now;
    }
    EXPECT_GE(led, 1'015'000U) << "it may just have been renewed by somebody whose clock is wrong";
    EXPECT_LE(led, 1'021'100U);
    EXPECT_EQ(store.lease->record.transitions, 5);
}

TEST(Election, a_released_lease_is_taken_at_the_next_look) {
    Store store;
    Candidate a(store, "a", 1);
    Candidate b(store, "b", 2);
    a.run(1'000);
    b.run(1'000);
    EXPECT_EQ(b.elector.leader(), "a");
    EXPECT_FALSE(b.elector.release(0)) << "not its own";
    const auto write = a.elector.release(2'000'000);
    ASSERT_TRUE(write);
    EXPECT_EQ(write->record.holder, "");
    EXPECT_EQ(write->record.duration_s, 1);
    ASSERT_TRUE(store.write(*write));
    b.run(1'000 + 6'001);
    EXPECT_TRUE(b.elector.leads(7'001));
    EXPECT_EQ(store.lease->record.transitions, 1);
}

/// Followers ask a cache, which may still name who led before.
TEST(Election, who_was_followed_leads_no_more_by_an_old_answer) {
    Store store;
    Candidate a(store, "a", 1);
    a.run(1'000);
    ASSERT_TRUE(a.elector.leads(1'000));
    const std::optional<Lease> old = store.lease;
    store.lease->record.holder = "somebody";
    store.lease->resource_version = "9";
    a.run(4'000);
    ASSERT_FALSE(a.elector.leads(4'000));
    const uint64_t later = a.elector.due_ms();
    ASSERT_TRUE(std::holds_alternative<Elector::Read>(a.elector.next(later, 0)));
    a.elector.read(old, later);
    EXPECT_FALSE(a.elector.leads(later)) << "not before it has written";
}

TEST(Election, a_conflict_is_read_again) {
    Store store;
    Candidate a(store, "a", 1);
    a.run(1'000);
    store.lease->resource_version = "touched"; // an annotation, say
    a.run(4'000);
    EXPECT_EQ(a.conflicts, 1);
    EXPECT_EQ(a.writes, 2) << "at once: it still leads";
    EXPECT_TRUE(a.elector.leads(4'000));
    store.lease->record.holder = "b"; // somebody has taken it
    store.lease->resource_version = "b1";
    a.run(7'000);
    EXPECT_FALSE(a.elector.leads(7'000));
    EXPECT_EQ(a.elector.leader(), "b");
}

TEST(Election, an_agent_that_comes_back_within_its_lease_goes_on) {
    Store store;
    Candidate(store, "a", 1).run(1'000);
    Candidate again(store, "a", 2);
    again.run(2'000);
    EXPECT_TRUE(again.elector.leads(2'000));
    EXPECT_EQ(store.lease->record.transitions, 0);
    EXPECT_EQ(store.lease->record.acquired, micro_time(1'000'000));
}

} // namespace
} // namespace weft::agent::status
