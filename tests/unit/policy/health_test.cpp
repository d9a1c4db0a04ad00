// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/health.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft::l7 {
namespace {

const PodEndpoint endpoint{.pod_id = 1, .address = *SocketAddress::parse("10.0.0.1:80")};

/// What happens to one endpoint: "c" connect failure, "r" reset, "w" worked, "t" chosen (tries it, if it is due).
struct Step {
    uint64_t now_ms;
    char what;
    bool ejected; ///< right after it
};

struct Case {
    const char* name;
    std::vector<Step> steps;
    uint64_t ejections;
};

void apply(EndpointHealth& health, const Step& step) {
    switch (step.what) {
    case 'c': return health.failed(endpoint, EndpointFailure::connect, step.now_ms);
    case 'r': return health.failed(endpoint, EndpointFailure::reset, step.now_ms);
    case 'w': return health.worked(endpoint);
    case 't': return health.chosen(endpoint, step.now_ms);
    default: return; // only time passes
    }
}

TEST(EndpointHealth, Table) {
    const Case cases[] = {
        {"well", {{0, 't', false}, {1, 'w', false}}, 0},
        {"one failed connect ejects for a second", {{0, 'c', true}, {999, ' ', true}, {1000, ' ', false}}, 1},
        {"two resets do not", {{0, 'r', false}, {1, 'r', false}, {2, ' ', false}}, 0},
        {"three in a row do",
         {{0, 'r', false}, {1, 'r', false}, {2, 'r', true}, {1001, ' ', true}, {1002, ' ', false}},
         1},
        {"a success between resets", {{0, 'r', false}, {1, 'r', false}, {2, 'w', false}, {3, 'r', false}}, 0},
        {"a connect after a reset", {{0, 'r', false}, {1, 'c', true}}, 1},
        {"many at once count once", {{0, 'c', true}, {0, 'c', true}, {5, 'c', true}, {1000, ' ', false}}, 1},
        {"a late one counts neither", {{0, 'c', true}, {1500, 'c', false}, {1501, ' ', false}}, 1},
        {"one tries it, the others stay away",
         {{0, 'c', true}, {1000, 't', true}, {1999, ' ', true}, {2000, ' ', false}},
         1},
        {"it fails again: twice as long",
         {{0, 'c', true}, {1000, 't', true}, {1100, 'c', true}, {3099, ' ', true}, {3100, ' ', false}},
         2},
        {"a reset is enough then", {{0, 'c', true}, {1000, 't', true}, {1100, 'r', true}, {3099, ' ', true}}, 2},
        {"it works again",
         {{0, 'c', true},
          {1000, 't', true},
          {1100, 'w', false},
          {1101, 'r', false},
          {1102, 'c', true},
          {2102, ' ', false}},
         2},
        {"chosen while ejected, as all are: no try",
         {{0, 'c', true}, {500, 't', true}, {600, 'c', true}, {1000, ' ', false}},
         1},
        {"works while ejected", {{0, 'c', true}, {500, 't', true}, {600, 'w', false}}, 1},
    };
    for (const Case& c : cases) {
        EndpointHealth health;
        for (const Step& step : c.steps) {
            apply(health, step);
            EXPECT_EQ(health.is_ejected(endpoint, step.now_ms), step.ejected) << c.name << " at " << step.now_ms;
        }
        EXPECT_EQ(health.ejections(), c.ejections) << c.name;
    }
}

TEST(EndpointHealth, BackOffDoublesUpToItsMaximum) {
    EndpointHealth health;
    uint64_t now_ms = 0;
    health.failed(endpoint, EndpointFailure::connect, now_ms);
    for (const uint64_t backoff_ms : {1000U, 2000U, 4000U, 8000U, 16000U, 30000U, 30000U}) {
        EXPECT_TRUE(health.is_ejected(endpoint, now_ms + backoff_ms - 1));
        now_ms += backoff_ms;
        EXPECT_FALSE(health.is_ejected(endpoint, now_ms));
        health.chosen(endpoint, now_ms);
        health.failed(endpoint, EndpointFailure::connect, now_ms);
    }
}

TEST(EndpointHealth, ForgetsWhatNobodyChoosesAndIsEmptyThen) {
    EndpointHealth health;
    EXPECT_FALSE(health.any(0));
    health.failed(endpoint, EndpointFailure::connect, 0);
    EXPECT_TRUE(health.any(60'999));
    EXPECT_FALSE(health.any(62'000));
    EXPECT_EQ(health.size(), 0U);
    health.failed(endpoint, EndpointFailure::reset, 70'000); // never ejected
    EXPECT_TRUE(health.any(70'000));
    EXPECT_FALSE(health.any(132'000));
}

TEST(EndpointHealth, TheTableIsBounded) {
    EndpointHealth health;
    PodEndpoint other = endpoint;
    for (size_t i = 0; i < 2 * EndpointHealth::endpoints_per_pod_max; ++i) {
        other.address.port = static_cast<uint16_t>(1 + i);
        health.failed(other, EndpointFailure::connect, 0);
    }
    EXPECT_EQ(health.size(), EndpointHealth::endpoints_per_pod_max);
    EXPECT_FALSE(health.is_ejected(other, 0)) << "not noted";
    const PodEndpoint elsewhere{.pod_id = 2, .address = other.address};
    health.failed(elsewhere, EndpointFailure::connect, 0);
    EXPECT_TRUE(health.is_ejected(elsewhere, 0)) << "each pod has its own room";
    health.worked(elsewhere);
    health.failed(other, EndpointFailure::connect, 100'000); // the old ones make room
    EXPECT_EQ(health.size(), 1U);
    EXPECT_TRUE(health.is_ejected(other, 100'000));
}

TEST(EndpointHealth, an_endpoint_is_not_to_blame_for_what_our_side_lacks) {
    for (const int ours : {EADDRNOTAVAIL, EADDRINUSE, ENOBUFS, ENOMEM})
        EXPECT_FALSE(blames_endpoint(ours)) << ours;
    for (const int theirs : {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ECONNRESET, 0})
        EXPECT_TRUE(blames_endpoint(theirs)) << theirs;
}

TEST(EndpointHealth, what_one_pod_cannot_reach_is_well_for_the_others) {
    EndpointHealth health;
    health.failed(endpoint, EndpointFailure::connect, 0);
    EXPECT_TRUE(health.is_ejected(endpoint, 1));
    const PodEndpoint others{.pod_id = 2, .address = endpoint.address};
    EXPECT_FALSE(health.is_ejected(others, 1));
    health.worked(others);
    EXPECT_TRUE(health.is_ejected(endpoint, 1));
}

} // namespace
} // namespace weft::l7
