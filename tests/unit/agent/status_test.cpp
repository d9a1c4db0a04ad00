// SPDX-License-Identifier: Apache-2.0
#include "agent/status.hpp"

#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using Lines = std::vector<std::string>;

TEST(Status, WhatCannotBeReadIsNamedWithItsReasonAndObjectsAreNot) {
    const std::vector<SourceFault> faults = {
        {.origin = "a.yaml", .object = "Service x/y", .field = "", .message = "is given twice"},
        {.origin = "b.yaml", .object = "", .field = "line 3", .message = "no mapping"},
        {.origin = "b.yaml", .object = "", .field = "line 9", .message = "no mapping either"},
        {.origin = "c.yaml", .object = "", .field = "", .message = "of a file that was read whole"}};
    EXPECT_EQ(unreadable_lines({}, faults), Lines{});
    EXPECT_EQ(unreadable_lines({"b.yaml"}, faults), Lines{"the source cannot be read: b.yaml: line 3: no mapping"});
    EXPECT_EQ(unreadable_lines({"a.yaml"}, faults), Lines{"the source cannot be read: a.yaml"});
}

} // namespace
} // namespace weft::agent
