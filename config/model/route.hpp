// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft::config {

/// One HTTPRoute match (Gateway API HTTPRouteMatch). All given parts must hold.
struct RouteMatch {
    enum class Path : uint8_t { prefix, exact };
    struct Pair {
        std::string name;
        std::string value;
        bool operator==(const Pair&) const = default;
    };

    Path path_kind = Path::prefix;
    std::string path = "/";             ///< for prefix: without trailing slash unless it is "/"
    std::string method;                 ///< empty: any
    std::vector<Pair> headers;          ///< names lower-case; exact values
    std::vector<Pair> queries;          ///< names case-sensitive; exact values
    std::vector<std::string> hostnames; ///< Gateway parents only: exact or "*.suffix", lower-case; empty: any

    bool operator==(const RouteMatch&) const = default;
};

struct WeightedCluster {
    uint32_t cluster = UINT32_MAX; ///< index into Snapshot::clusters; UINT32_MAX: invalid reference, its share gets 500
    uint32_t weight = 1;
    bool operator==(const WeightedCluster&) const = default;
};

struct RouteRule {
    std::string route;                     ///< "namespace/name"
    std::string name;                      ///< rules[].name, may be empty
    std::vector<WeightedCluster> backends; ///< empty or all weights zero: 500
    bool operator==(const RouteRule&) const = default;
};

struct RouteEntry {
    RouteMatch match;
    uint32_t rule = 0; ///< index into RouteTable::rules
    bool operator==(const RouteEntry&) const = default;
};

/// The matches of all routes attached to one frontend, in order of precedence (Gateway API HTTPRouteRule): the first
/// entry that matches wins.
struct RouteTable {
    std::vector<RouteEntry> entries;
    std::vector<RouteRule> rules;
    bool operator==(const RouteTable&) const = default;
};

} // namespace weft::config
