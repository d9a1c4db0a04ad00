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

TEST(Headers, FieldsOfAHeldTextAreViewsOfOneCopy) {
    const std::string text = "GET / HTTP/1.1\r\nA: 1\r\nB:2\r\nC:  3\r\nD: \r\nE:\r\nF: 6 \r\nG: 7\r\n\r\n";
    const auto part = [&](std::string_view what) {
        return std::string_view(text).substr(text.find(what), what.size());
    };
    Headers headers;
    headers.hold(text);
    EXPECT_TRUE(headers.empty());
    headers.add_held(text, part("A"), part("1\r\nB").substr(0, 1));
    headers.add_held(text, part("B"), part("2"));
    headers.add_held(text, part("C"), part("3"));
    headers.add_held(text, part("D"), {});
    headers.add_held(text, part("E:").substr(0, 1), {});
    headers.add_held(text, part("F"), part("6"));
    headers.add_held(text, part("G:").substr(0, 1), part("7"));
    headers.add("h", "8");
    EXPECT_EQ(describe(headers), " {A: 1, B: 2, C: 3, D: , E: , F: 6, G: 7, h: 8}");
    std::string lines;
    for (size_t i = 0; i < headers.size(); ++i)
        lines.append(headers.line(i).empty() ? "-\n" : headers.line(i)).append(headers.is_checked(i) ? "" : "?");
    EXPECT_EQ(lines, "A: 1\r\n-\n-\n-\n-\n-\nG: 7\r\nh: 8\r\n?") << "only what stands as it is to be written";
    headers.set("B", std::string(5000, 'x'));
    headers.remove("C");
    const Headers copy = headers;
    headers.clear();
    EXPECT_EQ(copy.find("b")->size(), 5000U);
    EXPECT_EQ(copy.find("g"), "7");
    EXPECT_EQ(copy.size(), 7U);
}

TEST(Headers, ManyFieldsAndLongOnes) {
    Headers headers;
    for (int i = 0; i < 1000; ++i) {
        const std::string number = std::to_string(i);
        headers.add(number, std::string(static_cast<size_t>(i % 7) * 50, 'v') + number);
    }
    ASSERT_EQ(headers.size(), 1000U);
    for (int i = 0; i < 1000; ++i) {
        const std::string number = std::to_string(i);
        ASSERT_EQ(headers.find(number), std::string(static_cast<size_t>(i % 7) * 50, 'v') + number);
    }
    Headers other = headers;
    other = headers;
    headers = std::move(other);
    EXPECT_EQ(headers.size(), 1000U);
}

TEST(Headers, EqualIgnoringCaseForEveryPairOfBytes) {
    const auto lower = [](int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; };
    for (const size_t place : {0U, 3U, 7U, 9U}) { // in a word and behind it
        for (int left = 0; left < 256; ++left) {
            for (int right = 0; right < 256; ++right) {
                std::string one = "aB-cD\x80zZ[Z", other = "Ab-Cd\x80Zz[z";
                one[place] = static_cast<char>(left);
                other[place] = static_cast<char>(right);
                ASSERT_EQ(equal_ignoring_case(one, other), lower(left) == lower(right)) << left << " " << right;
            }
        }
    }
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
    headers.set_checked("F", "7");
    headers.set("G", "8");
    headers.set_checked("g", "9");
    std::string seen;
    for (size_t i = 0; i < headers.size(); ++i)
        seen.append(headers.name(i)).append(headers.is_checked(i) ? "+" : "-");
    EXPECT_EQ(seen, "a-C-D+E-F+g+");
    Headers moved = std::move(headers);
    EXPECT_TRUE(moved.is_checked(2));
}

} // namespace
} // namespace weft::l7::test
