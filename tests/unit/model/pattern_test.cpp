// SPDX-License-Identifier: Apache-2.0
#include "config/model/pattern.hpp"

#include <gtest/gtest.h>

namespace weft::config {
namespace {

TEST(Pattern, string_forms) {
    using enum StringPattern::Kind;
    struct Row {
        std::string_view text;
        StringPattern expected;
    };
    const Row rows[] = {
        {"*", {present, ""}},    {"a", {exact, "a"}},     {"a*", {prefix, "a"}}, {"*a", {suffix, "a"}},
        {"*a*", {suffix, "a*"}}, {"a*b", {exact, "a*b"}}, {"**", {suffix, "*"}}, {"a**", {prefix, "a*"}},
    };
    for (const auto& row : rows)
        EXPECT_EQ(parse_string_pattern(row.text), row.expected) << row.text;
}

TEST(Pattern, paths_that_are_valid) {
    for (const std::string_view text :
         {"/allow/admin/{**}", "/foo/{*}/bar/{**}", "/store/{**}/cart", "/foo/{*}", "/foo/{**}/", "/{*}", "/{**}",
          "/{*}/{*}/{**}", "/a=b/{*}", "{*}", "/x/{*}/", "/a", "*", "/a*", "*/a", "/a*b", "/a%20b"})
        EXPECT_EQ(path_fault(text), std::nullopt) << text;
}

TEST(Pattern, paths_that_are_not) {
    for (const std::string_view text :
         {"", "/*/baz/{*}", "/{**}/foo/{*}", "/foo/{*}.txt", "/foo/{**}/bar/{**}", "/foo//{*}", "/foo/x{*}", "/{**}*",
          "/a b/{*}", "/a{b}/{*}", "/{a}", "/a{", "/}", "/{***}", "//{*}", "/{*}//", "/a?b/{*}", "/a#/{**}"})
        EXPECT_TRUE(path_fault(text).has_value()) << text;
    EXPECT_TRUE(path_fault(std::string(9000, 'a')).has_value());
}

TEST(Pattern, paths_know_templates) {
    EXPECT_EQ(parse_path_pattern("/a/{*}"), (PathPattern{.is_template = true, .text = {}, .pattern = "/a/{*}"}));
    EXPECT_EQ(parse_path_pattern("/a*"),
              (PathPattern{.is_template = false, .text = {StringPattern::Kind::prefix, "/a"}, .pattern = ""}));
    EXPECT_FALSE(is_path_template("/a/{x}"));
}

} // namespace
} // namespace weft::config
