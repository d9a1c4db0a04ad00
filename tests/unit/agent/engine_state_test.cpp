// SPDX-License-Identifier: Apache-2.0
#include "agent/engine_state.hpp"

#include <gtest/gtest.h>

namespace weft::agent {
namespace {

TEST(EngineState, LoosensWithTheNewestSnapshotInForceOrWithoutAnEngine) {
    EngineState engine;
    EXPECT_TRUE(engine.may_loosen());
    engine.published(1);
    EXPECT_TRUE(engine.may_loosen());
    engine.arrived();
    EXPECT_FALSE(engine.may_loosen());
    engine.applied(1);
    EXPECT_TRUE(engine.acknowledged() && engine.may_loosen());
    engine.published(2);
    EXPECT_FALSE(engine.acknowledged() || engine.may_loosen());
    engine.applied(1); // late
    EXPECT_FALSE(engine.acknowledged() || engine.may_loosen());
    engine.gone();
    EXPECT_FALSE(engine.acknowledged());
    EXPECT_TRUE(engine.may_loosen());
}

TEST(EngineState, ARefusalOutlivesTheConnection) {
    EngineState engine;
    engine.published(1);
    engine.arrived();
    engine.refused("no");
    for (int i = 0; i < 2; ++i) {
        engine.gone();
        EXPECT_FALSE(engine.may_loosen());
        engine.arrived();
        EXPECT_EQ(engine.error(), "no");
        EXPECT_FALSE(engine.acknowledged() || engine.may_loosen());
    }
    engine.renumbered(7); // the same snapshot
    engine.gone();
    EXPECT_FALSE(engine.may_loosen());
    engine.arrived();
    engine.applied(7); // this engine takes it
    EXPECT_TRUE(engine.error().empty() && engine.acknowledged());
    engine.refused("no");
    engine.published(8);
    EXPECT_TRUE(engine.error().empty());
    engine.gone();
    EXPECT_TRUE(engine.may_loosen());
}

} // namespace
} // namespace weft::agent
