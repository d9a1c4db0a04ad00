// SPDX-License-Identifier: Apache-2.0
#include "config/model/route_order.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace weft::config {
namespace {

/// Larger is more specific: exact hostnames (2), wildcards (1), any host (0); then by length.
std::pair<int, size_t> hostname_rank(const RouteMatch& match) {
    std::pair<int, size_t> best{0, 0};
    for (const auto& hostname : match.hostnames) {
        if (!hostname.empty() && hostname != "*")
            best = std::max(best, {hostname.starts_with("*.") ? 1 : 2, hostname.size()});
    }
    return best;
}

auto rank(const RouteMatch& match) {
    const bool exact = match.path_kind == RouteMatch::Path::exact;
    // Two exact paths of one request are the same path: their length says nothing.
    return std::tuple(hostname_rank(match), exact, exact ? size_t{0} : match.path.size(), !match.method.empty(),
                      match.headers.size(), match.queries.size());
}

} // namespace

bool precedes(const RouteMatch& left, const RouteMatch& right) {
    return rank(left) > rank(right);
}

void sort_by_precedence(std::vector<RouteEntry>& entries) {
    // Not std::stable_sort: libstdc++ 12 builds it on std::get_temporary_buffer, which C++23 deprecates.
    std::vector<std::pair<decltype(rank({})), size_t>> order;
    order.reserve(entries.size());
    for (size_t i = 0; i < entries.size(); ++i)
        order.emplace_back(rank(entries[i].match), i);
    std::ranges::sort(order, [](const auto& left, const auto& right) {
        return left.first != right.first ? left.first > right.first : left.second < right.second;
    });
    std::vector<RouteEntry> sorted;
    sorted.reserve(entries.size());
    for (const auto& item : order)
        sorted.push_back(std::move(entries[item.second]));
    entries = std::move(sorted);
}

std::vector<RouteMatch> per_hostname(const RouteMatch& match) {
    if (match.hostnames.size() <= 1)
        return {match};
    std::vector<RouteMatch> out;
    out.reserve(match.hostnames.size());
    for (const auto& hostname : match.hostnames) {
        out.push_back(match);
        out.back().hostnames = {hostname};
    }
    return out;
}

} // namespace weft::config
