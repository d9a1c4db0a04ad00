// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <sys/time.h>

#include "agent/status/lease_keeper.hpp"
#include "config/base/clock.hpp"
#include "tests/unit/status/fake_store.hpp"

/// When there is something to do: what wakes the writer's thread.
namespace weft::agent::status::test {
namespace {

constexpr uint64_t deadline_ms = 10'000;
const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/";

struct Subject {
    explicit Subject(const kube::ApiServer& server)
        : api(server, counters), keeper({.ns = "weft-system", .node = "n1", .seed = 1}, api) {}

    template <class Done>
    bool until(Done done) {
        for (const uint64_t end = monotonic_ms() + deadline_ms; monotonic_ms() < end;) {
            keeper.step(monotonic_ms(), false);
            if (done())
                return true;
            api.turn(5);
        }
        return false;
    }

    metrics::Counters counters;
    Api api;
    LeaseKeeper keeper;
};

TEST(LeaseKeeper, a_follower_has_nothing_to_do_for_a_while) {
    FakeStore store;
    timeval now{};
    ::gettimeofday(&now, nullptr);
    const LeaseRecord record{.holder = "n2",
                             .duration_s = 15,
                             .acquired = {},
                             .renewed = micro_time(now.tv_sec * 1'000'000),
                             .transitions = 0};
    store.put(leases + election_lease, lease_body(election_lease, "weft-system", record, ""));
    Subject s(store.server());
    ASSERT_TRUE(s.until([&] { return s.keeper.leader() == "n2" && s.api.under_way() == 0; }));
    EXPECT_FALSE(s.keeper.leads(monotonic_ms()));
    EXPECT_GT(s.keeper.due_ms(), monotonic_ms() + 1'000);
}

TEST(LeaseKeeper, a_leader_has_nothing_to_do_until_the_next_renewal) {
    FakeStore store;
    Subject s(store.server());
    ASSERT_TRUE(s.until([&] { return s.keeper.acks_read() == 1 && s.api.under_way() == 0; }));
    EXPECT_GT(s.keeper.due_ms(), monotonic_ms() + 500);
    EXPECT_LE(s.keeper.due_ms(), monotonic_ms() + nodes_read_ms);
}

/// 404: its namespace is not there.
TEST(LeaseKeeper, while_nothing_can_be_written_it_waits_and_does_not_spin) {
    for (const int status : {403, 404, 500, 503}) {
        FakeStore store;
        store.intercept(
            [status](const FakeStore::Received&) { return FakeStore::Reply{.status = status, .body = "{}"}; });
        Subject s(store.server());
        ASSERT_TRUE(s.until([&] { return store.count("POST", "/leases") >= 1 && s.api.under_way() == 0; })) << status;
        EXPECT_GT(s.keeper.due_ms(), monotonic_ms() + 500) << status;
    }
}

TEST(LeaseKeeper, a_heartbeat_that_failed_comes_again_soon) {
    FakeStore store;
    size_t refused = 0;
    store.intercept([&](const FakeStore::Received& got) -> std::optional<FakeStore::Reply> {
        if (got.body.find("weft-node-n1") == std::string::npos || refused == 1)
            return std::nullopt;
        ++refused;
        return FakeStore::Reply{.status = 500, .body = "{}"};
    });
    Subject s(store.server());
    const uint64_t start = monotonic_ms();
    ASSERT_TRUE(s.until([&] { return !store.get(leases + "weft-node-n1").is_null(); }));
    EXPECT_LT(monotonic_ms(), start + node_heartbeat_ms / 2);
}

} // namespace
} // namespace weft::agent::status::test
