// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/headers.hpp"

#include <gtest/gtest.h>

#include "l7engine/http/head.hpp"
#include "tests/unit/http/trace.hpp"

namespace weft::l7::test {
namespace {

Headers three() {
    Headers headers;
    headers.add("A", "1");
    headers.add("b", "2");
    headers.add("a", "3");
    return headers;
}

TEST(Headers, FindsWithoutCaseAndKeepsCaseAndOrder) {
    const Headers headers = three();
    EXPECT_EQ(headers.find("a"), "1");
    EXPECT_EQ(headers.find("B"), "2");
    EXPECT_EQ(headers.find("c"), std::nullopt);
    EXPECT_FALSE(headers.contains(""));
    EXPECT_EQ(describe(headers), " {A: 1, b: 2, a: 3}");
    EXPECT_EQ(headers.bytes(), 6U);
}

TEST(Headers, N11JoinsAllValues) {
    const Headers headers = three();
    std::string scratch;
    EXPECT_EQ(headers.joined("A", scratch), "1,3");
    EXPECT_EQ(headers.joined("b", scratch), "2");
    EXPECT_EQ(headers.joined("c", scratch), std::nullopt);
    Headers empty;
    empty.add("a", "");
    empty.add("a", "");
    EXPECT_EQ(empty.joined("a", scratch), ",");
    EXPECT_EQ(Headers(three()).joined("A", scratch), "1,3") << "scratch is reused";
}

TEST(Headers, SetReplacesAllAtThePlaceOfTheFirst) {
    Headers headers = three();
    headers.set("a", "new");
    EXPECT_EQ(describe(headers), " {a: new, b: 2}");
    headers.set("c", "4");
    EXPECT_EQ(describe(headers), " {a: new, b: 2, c: 4}");
}

TEST(Headers, RemoveCounts) {
    Headers headers = three();
    EXPECT_EQ(headers.remove("A"), 2U);
    EXPECT_EQ(headers.remove("A"), 0U);
    EXPECT_EQ(describe(headers), " {b: 2}");
    headers.clear();
    EXPECT_TRUE(headers.empty());
    EXPECT_EQ(headers.bytes(), 0U);
}

TEST(Headers, ArgumentsMayBeViewsOfItself) {
    Headers headers;
    headers.add("name", "value");
    for (int i = 0; i < 100; ++i)
        headers.add(headers.name(0), headers.value(0));
    for (size_t i = 0; i < headers.size(); ++i)
        ASSERT_EQ(headers.value(i), "value");
    headers.set("name", headers.value(0));
    EXPECT_EQ(describe(headers), " {name: value}");
}

TEST(Headers, ManyChangesDoNotGrowIt) {
    Headers headers;
    headers.add("kept", "x");
    const std::string value(100, 'v');
    for (int i = 0; i < 100'000; ++i)
        headers.set("a", value);
    EXPECT_EQ(headers.find("kept"), "x");
    EXPECT_EQ(headers.find("a"), value);
    const char* first = headers.value(0).data();
    const char* last = headers.value(1).data();
    EXPECT_LT(std::abs(last - first), 4096) << "the block is compacted";
}

TEST(Headers, EqualIgnoringCaseIsAsciiOnly) {
    EXPECT_TRUE(equal_ignoring_case("Content-Length", "cONTENT-lENGTH"));
    EXPECT_FALSE(equal_ignoring_case("a", "ab"));
    EXPECT_FALSE(equal_ignoring_case("[", "{"));
    EXPECT_FALSE(equal_ignoring_case("\xc3\x89", "\xc3\xa9"));
}

TEST(Headers, OnlyWhatWasReadIsChecked) {
    Headers headers;
    headers.add_checked("A", "1");
    headers.add_checked("B", "2");
    headers.add("C", "3");
    headers.add_checked("D", "4");
    headers.set("a", "5\r\nX: y");
    headers.remove("B");
    headers.set("E", "6");
    std::string seen;
    for (size_t i = 0; i < headers.size(); ++i)
        seen.append(headers.name(i)).append(headers.is_checked(i) ? "+" : "-");
    EXPECT_EQ(seen, "a-C-D+E-");
    Headers moved = std::move(headers);
    EXPECT_TRUE(moved.is_checked(2));
}

} // namespace
} // namespace weft::l7::test
