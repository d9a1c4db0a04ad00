// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/router.hpp"

#include <gtest/gtest.h>

#include "config/model/route_order.hpp"
#include "tests/unit/policy/requests.hpp"

namespace weft::l7 {
namespace {

using config::RouteMatch;
using config::RouteTable;
using test::Fields;
using test::Request;
using Pairs = std::vector<RouteMatch::Pair>;

RouteMatch of_path(RouteMatch::Path kind, std::string path) {
    RouteMatch match;
    match.path_kind = kind;
    match.path = std::move(path);
    return match;
}
RouteMatch prefix(std::string path) {
    return of_path(RouteMatch::Path::prefix, std::move(path));
}
RouteMatch exact(std::string path) {
    return of_path(RouteMatch::Path::exact, std::move(path));
}
RouteMatch with_headers(RouteMatch match, Pairs headers) {
    match.headers = std::move(headers);
    return match;
}
RouteMatch with_queries(RouteMatch match, Pairs queries) {
    match.queries = std::move(queries);
    return match;
}
RouteMatch with_method(RouteMatch match, std::string method) {
    match.method = std::move(method);
    return match;
}
RouteMatch with_hosts(RouteMatch match, std::vector<std::string> hostnames) {
    match.hostnames = std::move(hostnames);
    return match;
}

/// The table as a compiler makes it: in order of precedence, entry i for rule i as given here.
RouteTable table_of(const std::vector<RouteMatch>& matches) {
    RouteTable table;
    for (uint32_t rule = 0; rule < matches.size(); ++rule) {
        table.rules.emplace_back().route = "default/r" + std::to_string(rule);
        for (auto& match : config::per_hostname(matches[rule]))
            table.entries.push_back({.match = match, .rule = rule});
    }
    config::sort_by_precedence(table.entries);
    return table;
}

constexpr int no_match = -1;
int rule_for(const RouteTable& table, const Request& request) {
    const auto hit = Router(table).route(request.view());
    return hit ? static_cast<int>(hit->rule) : no_match;
}

TEST(Router, paths) {
    struct Row {
        RouteMatch match;
        std::string_view path;
        bool expected;
    };
    const Row rows[] = {
        {exact("/abc"), "/abc", true},
        {exact("/abc"), "/abc/", false},
        {exact("/abc"), "/abcd", false},
        {exact("/abc"), "/Abc", false},
        {exact("/abc/"), "/abc/", true},
        {exact("/abc/"), "/abc", false},
        {exact("/"), "/", true},
        {exact("/"), "/a", false},
        {prefix("/abc"), "/abc", true},
        {prefix("/abc"), "/abc/", true},
        {prefix("/abc"), "/abc/d", true},
        {prefix("/abc"), "/abcd", false},
        {prefix("/abc"), "/ABC", false},
        {prefix("/abc/"), "/abc", true},
        {prefix("/abc/"), "/abc/d", true},
        {prefix("/abc/"), "/abcd", false},
        {prefix("/"), "/", true},
        {prefix("/"), "/x/y", true},
        {prefix("/"), "//", true},
        {prefix("/"), "*", false},
        {prefix("/"), "", false},
        {prefix("/a/b"), "/a/b/c", true},
        {prefix("/a/b"), "/a/bc", false},
        {prefix("/a/b"), "/a", false},
        {prefix("/v2"), "/v2example", false},
        {prefix("/v2"), "/foo/v2/x", false},
        {prefix("/a"), "/a//b", true},
        {prefix("/a"), "/a?x=/b", true},
        {exact("/a"), "/a?b", true},
        {prefix("/a"), "/a%2fb", false},
    };
    for (const auto& row : rows)
        EXPECT_EQ(rule_for(table_of({row.match}), Request(row.path)), row.expected ? 0 : no_match)
            << row.match.path << " " << row.path;
}

TEST(Router, headers) {
    struct Row {
        Pairs headers;
        Fields fields;
        bool expected;
    };
    const Row rows[] = {
        {{{"version", "one"}}, {{"Version", "one"}}, true},
        {{{"version", "one"}}, {{"version", "One"}}, false},
        {{{"version", "one"}}, {{"version", "one "}}, false},
        {{{"version", "one"}}, {}, false},
        {{{"version", "one"}}, {{"version", "one"}, {"version", "two"}}, false},
        {{{"version", "one,two"}}, {{"version", "one"}, {"VERSION", "two"}}, true},
        {{{"version", ""}}, {{"version", ""}}, true},
        {{{"version", ""}}, {}, false},
        {{{"a", "1"}, {"b", "2"}}, {{"a", "1"}, {"b", "2"}}, true},
        {{{"a", "1"}, {"b", "2"}}, {{"a", "1"}}, false},
        {{{"a", "1"}, {"a", "2"}}, {{"a", "1"}}, true}, // only the first of a name counts
        {{{"a", "1"}, {"a", "2"}}, {{"a", "2"}}, false},
        {{{"host", "reviews"}}, {}, true},
        {{{"host", "ratings"}}, {}, false},
    };
    for (const auto& row : rows)
        EXPECT_EQ(
            rule_for(table_of({with_headers(prefix("/"), row.headers)}), Request("/", "GET", "reviews", row.fields)),
            row.expected ? 0 : no_match)
            << row.headers[0].name << "=" << row.headers[0].value;
}

TEST(Router, methods_and_queries) {
    const auto table = table_of({with_method(prefix("/"), "POST"), with_queries(prefix("/"), {{"animal", "whale"}})});
    EXPECT_EQ(rule_for(table, Request("/", "POST")), 0);
    EXPECT_EQ(rule_for(table, Request("/", "post")), no_match);
    EXPECT_EQ(rule_for(table, Request("/", "GET")), no_match);
    EXPECT_EQ(rule_for(table, Request("/?animal=whale")), 1);
    EXPECT_EQ(rule_for(table, Request("/?animal=dolphin&animal=whale")), no_match);
    EXPECT_EQ(rule_for(table, Request("/?animal=whale", "POST")), 0); // method beats query
}

/// MeshHTTPRouteMatching: rule 0 to v1, rule 1 to v2.
TEST(Router, mesh_http_route_matching) {
    RouteTable table;
    const std::vector<RouteMatch> to_v1 = {prefix("/"), with_headers(prefix("/"), {{"version", "one"}})};
    const std::vector<RouteMatch> to_v2 = {prefix("/v2"), with_headers(prefix("/"), {{"version", "two"}})};
    for (const auto& match : to_v1)
        table.entries.push_back({.match = match, .rule = 0});
    for (const auto& match : to_v2)
        table.entries.push_back({.match = match, .rule = 1});
    config::sort_by_precedence(table.entries);
    struct Row {
        std::string_view path;
        Fields fields;
        int rule;
    };
    const Row rows[] = {
        {"/", {}, 0},
        {"/example", {}, 0},
        {"/", {{"Version", "one"}}, 0},
        {"/v2", {}, 1},
        {"/v2example", {}, 0},
        {"/foo/v2/example", {}, 0},
        {"/v2/example", {}, 1},
        {"/", {{"Version", "two"}}, 1},
        {"/v2/", {{"Version", "one"}}, 1},
    };
    for (const auto& row : rows)
        EXPECT_EQ(rule_for(table, Request(row.path, "GET", "echo", row.fields)), row.rule) << row.path;
}

/// MeshHTTPRouteQueryParamMatching: no match is 404, path beats query, header count beats query count.
TEST(Router, mesh_query_param_matching) {
    const auto table = table_of({
        with_queries(prefix("/"), {{"animal", "whale"}}),
        with_queries(prefix("/"), {{"animal", "dolphin"}, {"color", "blue"}}),
        with_headers(prefix("/"), {{"version", "three"}}),
        prefix("/path5"),
        with_queries(with_headers(prefix("/"), {{"version", "one"}}), {{"animal", "whale"}}),
    });
    EXPECT_EQ(rule_for(table, Request("/?animal=whale")), 0);
    EXPECT_EQ(rule_for(table, Request("/?animal=dolphin")), no_match);
    EXPECT_EQ(rule_for(table, Request("/?animal=dolphin&color=blue")), 1);
    EXPECT_EQ(rule_for(table, Request("/?ANIMAL=Whale")), no_match);
    EXPECT_EQ(rule_for(table, Request("/?animal=whale&animal=otherthing")), 0);
    EXPECT_EQ(rule_for(table, Request("/?color=blue")), no_match);
    EXPECT_EQ(rule_for(table, Request("/path5?animal=whale")), 3);
    EXPECT_EQ(rule_for(table, Request("/?animal=dolphin&color=blue", "GET", "echo", {{"version", "three"}})), 2);
    EXPECT_EQ(rule_for(table, Request("/?animal=whale", "GET", "echo", {{"version", "one"}})), 4);
    EXPECT_EQ(rule_for(table, Request("/")), no_match);
}

/// HTTPRoutePathMatchOrder, ExactPathMatching, MethodMatching with the parent swapped.
TEST(Router, precedence) {
    const auto table = table_of({
        prefix("/match"),
        exact("/match/exact/one"),
        prefix("/match/prefix/one"),
        prefix("/match/prefix"),
        with_method(prefix("/match"), "PUT"),
        with_headers(prefix("/match"), {{"a", "1"}}),
        with_headers(prefix("/match"), {{"a", "1"}, {"b", "2"}}),
        prefix("/match/exact"),
        with_method(exact("/match/exact/one"), "DELETE"),
    });
    const Fields one = {{"a", "1"}};
    const Fields two = {{"a", "1"}, {"b", "2"}};
    EXPECT_EQ(rule_for(table, Request("/match/exact/one")), 1);
    EXPECT_EQ(rule_for(table, Request("/match/exact/one", "DELETE")), 8);
    EXPECT_EQ(rule_for(table, Request("/match/exact/one/x")), 7);
    EXPECT_EQ(rule_for(table, Request("/match/prefix/one/any")), 2);
    EXPECT_EQ(rule_for(table, Request("/match/prefix/two/any")), 3);
    EXPECT_EQ(rule_for(table, Request("/match/prefixes")), 0);
    EXPECT_EQ(rule_for(table, Request("/match", "PUT", "x", two)), 4);
    EXPECT_EQ(rule_for(table, Request("/match", "GET", "x", one)), 5);
    EXPECT_EQ(rule_for(table, Request("/match", "GET", "x", two)), 6);
    EXPECT_EQ(rule_for(table, Request("/matches")), no_match);
}

TEST(Router, hostnames_of_gateway_parents) {
    const auto table = table_of({
        prefix("/"),
        with_hosts(prefix("/"), {"*.com"}),
        with_hosts(prefix("/"), {"*.example.com"}),
        with_hosts(prefix("/"), {"very.specific.example.com"}),
        with_hosts(exact("/exact"), {"*.com"}),
        with_hosts(prefix("/two"), {"one.org", "*.two.org"}),
    });
    struct Row {
        std::string_view authority, path;
        int rule;
    };
    constexpr Row rows[] = {
        {"other", "/", 0},
        {"a.com", "/", 1},
        {"com", "/", 0},
        {"example.com", "/", 1},
        {"a.example.com", "/", 2},
        {"a.b.example.com", "/", 2},
        {"very.specific.example.com", "/", 3},
        {"VERY.Specific.example.com:8080", "/", 3},
        {"x.very.specific.example.com", "/", 2},
        {"very.specific.example.com", "/exact", 3}, // hostname before path
        {"a.com", "/exact", 4},
        {".example.com", "/", 1},
        {"notexample.com", "/", 1},
        {"one.org", "/two/x", 5},
        {"two.org", "/two", 0},
        {"a.two.org", "/two", 5},
        {"one.org", "/", 0},
        {"[2001:db8::1]:80", "/", 0},
        {"", "/", 0},
    };
    for (const auto& row : rows)
        EXPECT_EQ(rule_for(table, Request(row.path, "GET", row.authority)), row.rule) << row.authority << row.path;
    EXPECT_EQ(rule_for(table, Request("/", "GET", std::string(300, 'a') + ".com")), 0);
}

TEST(Router, the_first_of_equals_wins_and_an_empty_table_matches_nothing) {
    const auto table = table_of({prefix("/a"), prefix("/a"), prefix("/a")});
    EXPECT_EQ(Router(table).route(Request("/a/b").view()), (RouteHit{.entry = 0, .rule = 0}));
    EXPECT_EQ(rule_for(RouteTable{}, Request("/")), no_match);
}

TEST(Router, large_groups_of_one_path) {
    std::vector<RouteMatch> matches;
    for (int i = 0; i < 500; ++i)
        matches.push_back(with_headers(prefix("/"), {{"tenant", std::to_string(i)}}));
    for (int i = 0; i < 500; ++i)
        matches.push_back(with_queries(exact("/q"), {{"id", std::to_string(i)}}));
    matches.push_back(prefix("/"));
    const auto table = table_of(matches);
    EXPECT_EQ(rule_for(table, Request("/x", "GET", "s", {{"Tenant", "499"}})), 499);
    EXPECT_EQ(rule_for(table, Request("/x", "GET", "s", {{"Tenant", "4"}, {"Tenant", "9"}})), 1000);
    EXPECT_EQ(rule_for(table, Request("/q?id=321")), 821);
    EXPECT_EQ(rule_for(table, Request("/q?id=321", "GET", "s", {{"tenant", "7"}})), 821);
    EXPECT_EQ(rule_for(table, Request("/q?id=500")), 1000);
}

TEST(Router, long_and_hostile_paths) {
    const auto table = table_of({prefix("/a"), exact("/" + std::string(1000, 'e')), prefix("/b/c")});
    EXPECT_EQ(rule_for(table, Request("/a/" + std::string(60'000, 'x'))), 0);
    EXPECT_EQ(rule_for(table, Request("/" + std::string(1000, 'e'))), 1);
    EXPECT_EQ(rule_for(table, Request("/" + std::string(1001, 'e'))), no_match);
    EXPECT_EQ(rule_for(table, Request(std::string(60'000, '/'))), no_match);
    EXPECT_EQ(rule_for(table, Request("/b/c" + std::string(60'000, '/'))), 2);
    EXPECT_EQ(rule_for(table, Request(std::string("/a\0/b", 5))), no_match);
}

} // namespace
} // namespace weft::l7
