// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/match.hpp"

#include <gtest/gtest.h>

#include "config/model/pattern.hpp"

namespace weft::l7 {
namespace {

using config::parse_string_pattern;

struct Row {
    std::string_view pattern, text;
    bool expected;
};

TEST(StringForms, exact_prefix_suffix_present) {
    constexpr Row rows[] = {
        {"GET", "GET", true},
        {"GET", "get", false},
        {"GET", "GETX", false},
        {"GET", "", false},
        {"GE*", "GET", true},
        {"GE*", "GE", true},
        {"GE*", "G", false},
        {"GE*", "XGE", false},
        {"*ET", "GET", true},
        {"*ET", "ET", true},
        {"*ET", "ETX", false},
        {"*ET", "T", false},
        {"*", "x", true},
        {"*", "", false},
        {"*x*", "ax*", true},
        {"*x*", "axb", false},
        {"a*b", "a*b", true},
        {"a*b", "axb", false},
        {"**", "*", true},
        {"**", "ab", false},
        {"td/ns/a/sa/b", "td/ns/a/sa/b", true},
        {"td/ns/a/*", "td/ns/a/sa/b", true},
        {"*/sa/b", "td/ns/a/sa/b", true},
    };
    for (const auto& row : rows)
        EXPECT_EQ(matches(parse_string_pattern(row.pattern), row.text), row.expected) << row.pattern << " " << row.text;
}

TEST(StringForms, hosts_ignore_case_and_keep_the_port) {
    constexpr Row rows[] = {
        {"example.com", "example.com", true},
        {"Example.COM", "eXample.com", true},
        {"example.com", "example.com:8080", false},
        {"example.com:*", "EXAMPLE.com:8080", true},
        {"example.com:*", "example.com", false},
        {"*.example.com", "a.B.Example.com", true},
        {"*.example.com", "example.com", false},
        {"example.*", "example.org", true},
        {"*", "anything", true},
        {"*", "", false},
    };
    for (const auto& row : rows)
        EXPECT_EQ(matches_ignoring_case(parse_string_pattern(row.pattern), row.text), row.expected)
            << row.pattern << " " << row.text;
}

TEST(PathForms, templates) {
    constexpr Row rows[] = {
        // istio.md 1.5
        {"/allow/admin/{**}", "/allow/admin/", true},
        {"/allow/admin/{**}", "/allow/admin", false},
        {"/allow/admin/{**}", "/allow/admin/temp.txt", true},
        {"/allow/admin/{**}", "/allow/admin/foo/temp.txt", true},
        {"/foo/{*}/bar/{**}", "/foo/buzz/bar/bat/fuzz.txt", true},
        {"/foo/{*}/bar/{**}", "/foo/bar/bat.txt", false},
        {"/foo/{*}/bar/{**}", "/foo//bar/bat.txt", false},
        {"/store/{**}/cart", "/store//cart", true},
        {"/store/{**}/cart", "/store/cart", false},
        {"/store/{**}/cart", "/store/foo/bar/cart", true},
        {"/foo/{*}", "/foo/bar", true},
        {"/foo/{*}", "/foo/bar/baz", false},
        {"/foo/{**}/", "/foo//", true},
        {"/foo/{**}/", "/foo/bar", false},
        // full match, case, the class of characters
        {"/foo/{*}", "/foo/", false},
        {"/foo/{*}", "/x/foo/bar", false},
        {"/foo/{*}", "/FOO/bar", false},
        {"/foo/{*}", "/foo/a%20b", true},
        {"/foo/{*}", "/foo/a*b", false},
        {"/foo/{*}", "/foo/a=b", false},
        {"/foo/{*}", "/foo/a b", false},
        {"/foo/{*}", "/foo/-._~%!$&'()+,;:@", true},
        {"/foo/{**}", "/foo/a*b", false},
        {"/{*}", "/x", true},
        {"/{**}", "/", true},
        {"/{**}", "", false},
        {"/a=b/{*}", "/a=b/c", true},
        {"/{*}/{*}/{**}/end", "/a/b//end", true},
        {"/{*}/{*}/{**}/end", "/a/b/end", false},
        {"/{*}/{*}/{**}/end", "/a/b/c/end/end", true},
        {"/a/{**}/b/c", "/a/x/b/c", true},
        {"/a/{**}/b/c", "/a/b/c", false},
    };
    for (const auto& row : rows) {
        EXPECT_FALSE(config::path_fault(row.pattern).has_value()) << row.pattern;
        EXPECT_EQ(matches(config::parse_path_pattern(row.pattern), row.text), row.expected)
            << row.pattern << " " << row.text;
    }
}

TEST(PathForms, plain) {
    constexpr Row rows[] = {
        {"/info*", "/info", true},  {"/info*", "/information", true},
        {"/info", "/info/", false}, {"*.txt", "/a/b.txt", true},
        {"*", "/", true},           {"*", "", false},
        {"/Info", "/info", false},
    };
    for (const auto& row : rows)
        EXPECT_EQ(matches(config::parse_path_pattern(row.pattern), row.text), row.expected)
            << row.pattern << " " << row.text;
}

TEST(Glob, star_anywhere_full_match) {
    constexpr Row rows[] = {
        {"default", "default", true},
        {"default", "default2", false},
        {"", "", true},
        {"*", "", true},
        {"*", "any", true},
        {"team-*", "team-a", true},
        {"team-*", "my-team-a", false},
        {"*-prod", "a-prod", true},
        {"*-prod", "a-prod2", false},
        {"a*c", "abc", true},
        {"a*c", "ac", true},
        {"a*c", "abd", false},
        {"a*a", "a", false},
        {"a*a", "aa", true},
        {"*b*", "abc", true},
        {"*b*", "ac", false},
        {"a*b*c", "a-b-b-c", true},
        {"a*b*c", "a-c-b", false},
        {"a**c", "abc", true},
        {"*ab*ab*", "abab", true},
        {"*ab*ab*", "abb", false},
        {"a.c", "abc", false},
        {"a[bc]", "ab", false},
    };
    for (const auto& row : rows)
        EXPECT_EQ(matches_glob(row.pattern, row.text), row.expected) << row.pattern << " " << row.text;
}

/// The same question answered by trying everything.
bool glob_by_search(std::string_view pattern, std::string_view text) {
    if (pattern.empty())
        return text.empty();
    if (pattern.front() == '*')
        return glob_by_search(pattern.substr(1), text) || (!text.empty() && glob_by_search(pattern, text.substr(1)));
    return !text.empty() && text.front() == pattern.front() && glob_by_search(pattern.substr(1), text.substr(1));
}

TEST(Glob, agrees_with_search_on_all_short_inputs) {
    const auto words = [](std::string_view alphabet, size_t size_max) {
        std::vector<std::string> all{""};
        for (size_t from = 0, size = 1; size <= size_max; ++size) {
            const size_t to = all.size();
            for (; from < to; ++from) {
                for (const char c : alphabet)
                    all.push_back(all[from] + c);
            }
        }
        return all;
    };
    const auto texts = words("ab", 5);
    for (const auto& pattern : words("ab*", 5)) {
        for (const auto& text : texts)
            ASSERT_EQ(matches_glob(pattern, text), glob_by_search(pattern, text)) << pattern << " " << text;
    }
}

} // namespace
} // namespace weft::l7
