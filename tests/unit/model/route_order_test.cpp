// SPDX-License-Identifier: Apache-2.0
#include "config/model/route_order.hpp"

#include <gtest/gtest.h>

namespace weft::config {
namespace {

RouteMatch make(RouteMatch::Path kind, std::string path, std::string method = "", size_t headers = 0,
                size_t queries = 0, std::vector<std::string> hostnames = {}) {
    RouteMatch match;
    match.path_kind = kind;
    match.path = std::move(path);
    match.method = std::move(method);
    match.headers.resize(headers);
    match.queries.resize(queries);
    match.hostnames = std::move(hostnames);
    return match;
}
constexpr auto prefix = RouteMatch::Path::prefix;
constexpr auto exact = RouteMatch::Path::exact;

TEST(RouteOrder, each_step_decides_before_the_next) {
    // Strictly descending: each precedes all that follow.
    const RouteMatch order[] = {
        make(prefix, "/", "", 0, 0, {"very.long.exact.example"}),
        make(prefix, "/", "", 0, 0, {"a.example"}),
        make(exact, "/long/path", "GET", 9, 9, {"*.much.longer.wildcard.example"}),
        make(prefix, "/", "", 0, 0, {"*.example"}),
        make(exact, "/a", "GET"),
        make(exact, "/a"),
        make(prefix, "/a/b/c"),
        make(prefix, "/a/b", "GET", 1, 2),
        make(prefix, "/a/b", "GET", 1, 1),
        make(prefix, "/a/b", "GET", 0, 9),
        make(prefix, "/a/b", "", 9, 9),
        make(prefix, "/a/b", "", 1, 0),
        make(prefix, "/a/b", "", 0, 1),
        make(prefix, "/a/b"),
        make(prefix, "/a", "GET", 9, 9),
        make(prefix, "/"),
    };
    for (size_t i = 0; i < std::size(order); ++i) {
        for (size_t j = 0; j < std::size(order); ++j)
            EXPECT_EQ(precedes(order[i], order[j]), i < j) << i << " " << j;
    }
}

TEST(RouteOrder, ties) {
    const auto tie = [](const RouteMatch& left, const RouteMatch& right) {
        return !precedes(left, right) && !precedes(right, left);
    };
    EXPECT_TRUE(tie(make(exact, "/a"), make(exact, "/longer")));
    EXPECT_TRUE(tie(make(prefix, "/a"), make(prefix, "/b")));
    EXPECT_TRUE(tie(make(prefix, "/", "GET"), make(prefix, "/", "POST")));
    EXPECT_TRUE(tie(make(prefix, "/"), make(prefix, "/", "", 0, 0, {"*"})));
    EXPECT_TRUE(tie(make(prefix, "/", "", 0, 0, {"*.com", "a.example"}), make(prefix, "/", "", 0, 0, {"b.example"})));
}

TEST(RouteOrder, sorting_keeps_the_order_of_ties) {
    std::vector<RouteEntry> entries;
    for (uint32_t i = 0; i < 50; ++i)
        entries.push_back({.match = make(prefix, i % 2 == 0 ? "/a" : "/ab"), .rule = i});
    sort_by_precedence(entries);
    ASSERT_EQ(entries.size(), 50U);
    for (uint32_t i = 0; i < 25; ++i) {
        EXPECT_EQ(entries[i].rule, 2 * i + 1);
        EXPECT_EQ(entries[i].match.path, "/ab");
        EXPECT_EQ(entries[25 + i].rule, 2 * i);
    }
}

TEST(RouteOrder, one_match_per_hostname) {
    const auto match = make(exact, "/a", "GET", 1, 1, {"a.example", "*.com"});
    const auto split = per_hostname(match);
    ASSERT_EQ(split.size(), 2U);
    EXPECT_EQ(split[0].hostnames, std::vector<std::string>{"a.example"});
    EXPECT_EQ(split[1].hostnames, std::vector<std::string>{"*.com"});
    EXPECT_EQ(split[1].path, "/a");
    EXPECT_EQ(per_hostname(make(prefix, "/")), std::vector{make(prefix, "/")});
}

} // namespace
} // namespace weft::config
