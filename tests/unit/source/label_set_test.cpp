// SPDX-License-Identifier: Apache-2.0
#include "agent/source/label_set.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace weft::agent {
namespace {

TEST(LabelSet, reads_like_its_labels) {
    const LabelSet none;
    EXPECT_EQ(none.find("a"), none.end());
    EXPECT_EQ(none, LabelSet(Labels{}));
    const LabelSet some(Labels{{"a", "1"}, {"b", "2"}});
    EXPECT_EQ(some.at("b"), "2");
    EXPECT_TRUE(some.contains("a"));
    EXPECT_EQ(some, LabelSet(Labels{{"a", "1"}, {"b", "2"}}));
    EXPECT_NE(some, none);
}

TEST(LabelPool, equal_sets_become_one) {
    LabelPool pool;
    LabelSet first(Labels{{"a", "1"}});
    LabelSet same(Labels{{"a", "1"}});
    LabelSet other(Labels{{"a", "2"}});
    for (LabelSet* each : {&first, &same, &other})
        pool.share(*each);
    EXPECT_TRUE(first.shares(same));
    EXPECT_FALSE(first.shares(other));
    EXPECT_EQ(other.at("a"), "2");
    LabelSet none;
    pool.share(none);
    EXPECT_EQ(pool.size(), 2U);
}

TEST(LabelPool, does_not_grow_with_what_is_gone) {
    LabelPool pool;
    LabelSet kept(Labels{{"kept", "1"}});
    pool.share(kept);
    for (int i = 0; i < 10'000; ++i) {
        LabelSet gone(Labels{{"gone", std::to_string(i)}});
        pool.share(gone);
    }
    EXPECT_LT(pool.size(), 3'000U);
    LabelSet again(Labels{{"kept", "1"}});
    pool.share(again);
    EXPECT_TRUE(again.shares(kept));
}

} // namespace
} // namespace weft::agent
