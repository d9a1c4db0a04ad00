// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/model/route.hpp"
#include "l7engine/policy/flat_map.hpp"
#include "l7engine/policy/request.hpp"

namespace weft::l7 {

struct RouteHit {
    uint32_t entry = 0; ///< index into RouteTable::entries
    uint32_t rule = 0;  ///< index into RouteTable::rules
    bool operator==(const RouteHit&) const = default;
};

/// One route table, indexed once: by hostname, then by path (hash for exact ones, hash for each prefix of whole
/// elements), then, where many entries share a path, by the header or query parameter that tells most of them apart.
/// The answer is always the first entry in table order that matches. Borrows the table; immutable, shared by workers.
class Router {
public:
    explicit Router(const config::RouteTable& table);

    /// nullopt: no entry matches (answer 404).
    [[nodiscard]] std::optional<RouteHit> route(const RequestView& request) const;

private:
    /// Entries of one path, ascending in table order.
    struct Group {
        std::string_view path;
        std::vector<uint32_t> all;      ///< without a discriminator: all of them; else those that do not use it
        std::string_view discriminator; ///< header or query name; only in groups above discriminate_above
        bool discriminate_query = false;
        FlatMap<std::string_view, std::vector<uint32_t>> by_value;
    };
    /// The paths of one hostname.
    struct Paths {
        FlatMap<std::string_view, Group> exact;
        FlatMap<std::string_view, Group> prefix;
        size_t exact_bytes_max = 0;
        size_t prefix_bytes_max = 0;
        std::vector<bool> prefix_sizes; ///< is there a prefix of that many bytes?
    };
    struct Search;

    Paths& paths_of(std::string_view hostname);
    void add(Paths& paths, uint32_t entry);
    void finish(Paths& paths);
    void discriminate(Group& group) const;
    void search_hosts(Search& search) const;
    void search_paths(const Paths& paths, Search& search) const;
    void search_group(const Group& group, Search& search) const;
    void search_list(const std::vector<uint32_t>& list, Search& search) const;
    /// Method, headers and queries; hostname and path hold already.
    [[nodiscard]] static bool rest_matches(const config::RouteMatch& match, const RequestView& request,
                                           std::string& scratch);

    const config::RouteTable& table_;
    Paths any_host_;
    FlatMap<std::string_view, Paths> hosts_; ///< "a.example" and, for "*.example", ".example"
};

} // namespace weft::l7
