// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/balance.hpp"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

namespace weft::l7 {
namespace {

std::vector<config::WeightedCluster> backends(const std::vector<uint32_t>& weights) {
    std::vector<config::WeightedCluster> out;
    for (uint32_t i = 0; i < weights.size(); ++i)
        out.push_back({.cluster = i, .weight = weights[i]});
    return out;
}

TEST(WeightedChoice, every_window_of_one_period_is_exact) {
    const std::vector<uint32_t> tables[] = {{90, 10},    {1},       {1, 1, 1}, {5, 1, 1},
                                            {70, 30, 0}, {3, 5, 7}, {1, 1000}, {2, 4, 6}};
    for (const auto& weights : tables) {
        const auto given = backends(weights);
        const uint32_t divisor = std::accumulate(weights.begin(), weights.end(), 0U, std::gcd<uint32_t, uint32_t>);
        const size_t period = std::accumulate(weights.begin(), weights.end(), 0U) / divisor;
        RandomState random{period};
        WeightedChoice choice;
        std::vector<size_t> picks;
        for (size_t i = 0; i < 3 * period; ++i)
            picks.push_back(choice.pick(given, random).value());
        for (size_t from = 0; from + period <= picks.size(); ++from) {
            std::vector<uint32_t> counts(weights.size());
            for (size_t i = from; i < from + period; ++i)
                counts[picks[i]] += divisor;
            ASSERT_EQ(counts, weights) << "window at " << from;
        }
    }
}

TEST(WeightedChoice, is_smooth_wherever_it_starts) {
    const auto given = backends({5, 1, 1});
    const std::string example = "aabacaa"; // nginx's own
    std::set<std::string> seen;
    for (uint64_t seed = 0; seed < 200; ++seed) {
        RandomState random{seed};
        WeightedChoice choice;
        std::string picks;
        for (int i = 0; i < 7; ++i)
            picks += static_cast<char>('a' + choice.pick(given, random).value());
        EXPECT_NE((example + example).find(picks), std::string::npos) << picks;
        seen.insert(picks);
    }
    EXPECT_EQ(seen.size(), 7U);
}

TEST(WeightedChoice, first_picks_of_many_workers_are_split_as_the_weights_are) {
    const auto given = backends({99, 1});
    int canary = 0;
    for (uint64_t seed = 0; seed < 10'000; ++seed) {
        RandomState random{seed * 0x9e3779b97f4a7c15U};
        canary += WeightedChoice().pick(given, random) == 1U ? 1 : 0;
    }
    EXPECT_NEAR(canary, 100, 40);
}

TEST(WeightedChoice, nothing_to_choose_from) {
    RandomState random;
    WeightedChoice choice;
    EXPECT_EQ(choice.pick({}, random), std::nullopt);
    EXPECT_EQ(choice.pick(backends({0, 0}), random), std::nullopt);
    EXPECT_EQ(choice.pick(backends({0, 1}), random), 1U);
}

TEST(WeightedChoice, goes_on_after_a_change_of_clusters_and_starts_afresh_with_other_weights) {
    for (uint64_t seed = 0; seed < 50; ++seed) {
        RandomState random{seed};
        WeightedChoice choice;
        auto given = backends({2, 1});
        std::vector<size_t> picks = {choice.pick(given, random).value()};
        for (auto& backend : given)
            backend.cluster += 10; // a new snapshot: other indices, the same weights
        for (int i = 0; i < 3; ++i)
            picks.push_back(choice.pick(given, random).value());
        EXPECT_EQ(picks[0] + picks[1] + picks[2], 1U) << "one window across the change";
        EXPECT_EQ(picks[1] + picks[2] + picks[3], 1U);
        picks.clear();
        for (int i = 0; i < 3; ++i)
            picks.push_back(choice.pick(backends({1, 2}), random).value());
        EXPECT_EQ(picks[0] + picks[1] + picks[2], 2U);
        EXPECT_EQ(choice.pick(backends({1}), random), 0U);
    }
}

TEST(WeightedChoice, the_largest_weights_do_not_overflow) {
    RandomState random;
    WeightedChoice choice;
    const auto given = backends(std::vector<uint32_t>(64, UINT32_MAX));
    std::vector<int> counts(64);
    for (int i = 0; i < 640; ++i)
        ++counts[choice.pick(given, random).value()];
    EXPECT_EQ(counts, std::vector<int>(64, 10));
}

/// The index that is picked, `load` being the open requests by index and `bad` those not to be used.
std::optional<size_t> pick(std::vector<uint32_t> load, RandomState& random, const std::set<size_t>& bad = {}) {
    const auto counter = [&](size_t index) -> uint32_t& { return load[index]; };
    const auto usable = [&](size_t index) { return !bad.contains(index); };
    const auto picked =
        bad.empty() ? pick_endpoint(load.size(), counter, random) : pick_endpoint(load.size(), counter, random, usable);
    if (!picked)
        return std::nullopt;
    EXPECT_EQ(picked->in_flight, &load[picked->index]);
    return picked->index;
}

TEST(PickEndpoint, none_and_one) {
    RandomState random{1};
    EXPECT_EQ(pick(std::vector<uint32_t>(0), random), std::nullopt);
    EXPECT_EQ(pick(std::vector<uint32_t>(1), random), 0U);
    EXPECT_EQ(pick(std::vector<uint32_t>(1), random, {0}), std::nullopt);
    EXPECT_EQ(pick(std::vector<uint32_t>(0), random, {0}), std::nullopt);
}

TEST(PickEndpoint, takes_the_less_loaded_of_two) {
    RandomState random{7};
    for (int i = 0; i < 100; ++i)
        ASSERT_EQ(pick({9, 0}, random), 1U); // both are always drawn
}

TEST(PickEndpoint, the_most_loaded_is_never_picked) {
    RandomState random{3};
    std::map<size_t, int> counts;
    for (int i = 0; i < 10'000; ++i)
        ++counts[pick({1, 1, 1, 1, 100}, random).value()];
    EXPECT_EQ(counts.count(4), 0U);
    EXPECT_EQ(counts.size(), 4U);
    for (const auto& [index, count] : counts)
        EXPECT_NEAR(count, 2500, 250) << index;
}

TEST(PickEndpoint, takes_usable_ones_only_and_all_of_them) {
    RandomState random{5};
    const struct {
        size_t count;
        std::set<size_t> bad;
    } cases[] = {{4, {0}}, {4, {3}}, {4, {1, 2}}, {4, {0, 1, 3}}, {2, {1}}, {2, {9}}, {100, {50}}, {3, {0, 1, 2}}};
    for (const auto& c : cases) {
        std::map<size_t, int> counts;
        for (int i = 0; i < 3000; ++i) {
            if (const auto picked = pick(std::vector<uint32_t>(c.count), random, c.bad))
                ++counts[*picked];
        }
        size_t usable = 0;
        for (size_t index = 0; index < c.count; ++index) {
            usable += c.bad.contains(index) ? 0 : 1;
            EXPECT_EQ(counts.contains(index), !c.bad.contains(index)) << index << " of " << c.count;
        }
        for (const auto& [index, count] : counts)
            EXPECT_NEAR(count, 3000.0 / static_cast<double>(usable), 200) << index << " of " << c.count;
    }
    std::set<size_t> nearly_all;
    for (size_t index = 0; index < 1000; ++index)
        nearly_all.insert(index);
    nearly_all.erase(617);
    EXPECT_EQ(pick(std::vector<uint32_t>(1000), random, nearly_all), 617U);
    EXPECT_EQ(pick({9, 5, 0}, random, {2}), 1U) << "the less busy of the usable";
}

TEST(PickEndpoint, is_deterministic_and_draws_two_different_ones) {
    RandomState a{42};
    RandomState b{42};
    for (int i = 0; i < 1000; ++i) {
        const auto left = draw_two(5, a);
        const auto right = draw_two(5, b);
        ASSERT_EQ(left.first, right.first);
        ASSERT_EQ(left.second, right.second);
        ASSERT_NE(left.first, left.second);
        ASSERT_LT(std::max(left.first, left.second), 5U);
    }
}

} // namespace
} // namespace weft::l7
