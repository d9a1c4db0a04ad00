// SPDX-License-Identifier: Apache-2.0
// The index against a naive linear scan, over seeded random tables and requests.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "config/model/route_order.hpp"
#include "l7engine/policy/router.hpp"
#include "tests/unit/policy/requests.hpp"

namespace weft::l7 {
namespace {

using config::RouteMatch;
using config::RouteTable;
using Random = std::mt19937;

/// Few words, so that paths share prefixes and requests hit.
const std::vector<std::string> words = {"a", "b", "ab", "abc", "", "x"};
const std::vector<std::string> labels = {"a", "b", "example", "com"};

size_t below(Random& random, size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random);
}
const std::string& any(Random& random, const std::vector<std::string>& of) {
    return of[below(random, of.size())];
}

std::string random_path(Random& random) {
    std::string path;
    for (size_t i = 0, count = 1 + below(random, 4); i < count; ++i)
        path += "/" + any(random, words);
    return path;
}

std::string random_host(Random& random) {
    std::string host = any(random, labels);
    for (size_t i = 0, count = below(random, 3); i < count; ++i)
        host += "." + any(random, labels);
    return host;
}

RouteMatch random_match(Random& random, bool hostnames, bool crowded) {
    RouteMatch match;
    match.path_kind = below(random, 3) == 0 ? RouteMatch::Path::exact : RouteMatch::Path::prefix;
    match.path = crowded && below(random, 4) != 0 ? "/a" : random_path(random);
    while (match.path_kind == RouteMatch::Path::prefix && match.path.size() > 1 && match.path.ends_with('/'))
        match.path.pop_back();
    if (below(random, 4) == 0)
        match.method = below(random, 2) == 0 ? "GET" : "POST";
    for (size_t i = below(random, 3); i > 0; --i)
        match.headers.push_back({any(random, {"h", "g"}), any(random, words)});
    for (size_t i = below(random, 3); i > 0; --i)
        match.queries.push_back({any(random, {"q", "p"}), any(random, words)});
    for (size_t i = hostnames ? below(random, 3) : 0; i > 0; --i)
        match.hostnames.push_back((below(random, 2) == 0 ? "*." : "") + random_host(random));
    return match;
}

bool host_matches(const RouteMatch& match, std::string authority) {
    if (const size_t colon = authority.find(':'); colon != std::string::npos)
        authority.resize(colon);
    return match.hostnames.empty() || std::ranges::any_of(match.hostnames, [&](const std::string& name) {
               return name.starts_with("*.") ? authority.size() >= name.size() && authority.ends_with(name.substr(1))
                                             : authority == name;
           });
}

/// The definition, straight from the Gateway API.
bool naive_match(const RouteMatch& match, const RequestView& request) {
    const std::string path(request.path);
    const bool path_holds = match.path_kind == RouteMatch::Path::exact
                                ? path == match.path
                                : match.path == "/" || path == match.path || path.starts_with(match.path + "/");
    if (!path_holds || (!match.method.empty() && match.method != request.method) ||
        !host_matches(match, std::string(request.authority)))
        return false;
    const auto first_of_name = [](const auto& pairs, size_t i) {
        return std::ranges::none_of(pairs.begin(), pairs.begin() + static_cast<ptrdiff_t>(i),
                                    [&](const auto& pair) { return pair.name == pairs[i].name; });
    };
    std::string scratch;
    for (size_t i = 0; i < match.headers.size(); ++i) {
        if (first_of_name(match.headers, i) &&
            request.headers->joined(match.headers[i].name, scratch) != match.headers[i].value)
            return false;
    }
    for (size_t i = 0; i < match.queries.size(); ++i) {
        if (first_of_name(match.queries, i) && request.parameter(match.queries[i].name) != match.queries[i].value)
            return false;
    }
    return true;
}

test::Request random_request(Random& random) {
    std::string target = random_path(random);
    for (size_t i = below(random, 3); i > 0; --i)
        target +=
            (target.find('?') == std::string::npos ? "?" : "&") + any(random, {"q", "p"}) + "=" + any(random, words);
    test::Request request(target, below(random, 2) == 0 ? "GET" : "POST",
                          random_host(random) + (below(random, 3) == 0 ? ":80" : ""));
    for (size_t i = below(random, 3); i > 0; --i)
        request.head.headers.add(any(random, {"h", "G", "g"}), any(random, words));
    return request;
}

TEST(RouterProperty, agrees_with_a_linear_scan) {
    size_t hits = 0;
    size_t misses = 0;
    for (uint32_t seed = 1; seed <= 300; ++seed) {
        Random random(seed);
        const bool hostnames = seed % 2 == 0;
        const bool crowded = seed % 3 == 0; // many entries of one path: the discriminator is used
        RouteTable table;
        for (size_t i = 0, count = below(random, 80); i < count; ++i)
            table.entries.push_back(
                {.match = random_match(random, hostnames, crowded), .rule = static_cast<uint32_t>(i)});
        if (seed % 5 != 0) // any order must do, not only the one of precedence
            config::sort_by_precedence(table.entries);
        const Router router(table);
        for (int i = 0; i < 200; ++i) {
            const test::Request request = random_request(random);
            const RequestView view = request.view();
            const auto expected =
                std::ranges::find_if(table.entries, [&](const auto& entry) { return naive_match(entry.match, view); });
            const auto actual = router.route(view);
            ASSERT_EQ(actual.has_value(), expected != table.entries.end())
                << "seed " << seed << " " << view.method << " " << view.authority << view.target;
            if (actual) {
                ++hits;
                ASSERT_EQ(actual->entry, static_cast<uint32_t>(expected - table.entries.begin()))
                    << "seed " << seed << " " << view.method << " " << view.authority << view.target;
                ASSERT_EQ(actual->rule, expected->rule);
            } else {
                ++misses;
            }
        }
    }
    EXPECT_GT(hits, 10'000U);
    EXPECT_GT(misses, 1'000U);
}

} // namespace
} // namespace weft::l7
