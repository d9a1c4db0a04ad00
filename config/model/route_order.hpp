// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "config/model/route.hpp"

namespace weft::config {

/// Gateway API precedence of two matches of one table: hostname (exact before wildcard before any, longer first), exact
/// path, longest prefix, method given, number of headers, number of queries. False both ways means a tie.
/// A match with several hostnames ranks by its most specific one: use per_hostname() first.
[[nodiscard]] bool precedes(const RouteMatch& left, const RouteMatch& right);

/// Puts entries into that order. Ties keep the order in which they come: oldest route, "namespace/name", rule, match.
void sort_by_precedence(std::vector<RouteEntry>& entries);

/// One match for each of its hostnames, since each of them has a rank of its own. Without hostnames: the match itself.
[[nodiscard]] std::vector<RouteMatch> per_hostname(const RouteMatch& match);

} // namespace weft::config
