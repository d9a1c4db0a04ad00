// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/router.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace weft::l7 {
namespace {

using Pair = config::RouteMatch::Pair;

/// Groups up to this size are searched one by one.
constexpr size_t discriminate_above = 8;
/// Longer names match no hostname (DNS allows 253 bytes).
constexpr size_t host_bytes_max = 255;
/// A path of route_path_bytes_max bytes has no more prefixes of whole elements than this.
constexpr size_t prefixes_max = 1024;

/// Only the first pair of a name counts (HTTPRouteMatch).
bool repeated(std::span<const Pair> pairs, size_t index) {
    return std::ranges::any_of(pairs.first(index), [&](const Pair& pair) { return pair.name == pairs[index].name; });
}

std::string_view without_trailing_slash(std::string_view prefix) {
    while (prefix.size() > 1 && prefix.ends_with('/'))
        prefix.remove_suffix(1);
    return prefix;
}

std::string_view without_port(std::string_view authority) {
    const size_t colon = authority.rfind(':');
    if (colon == std::string_view::npos)
        return authority;
    const std::string_view port = authority.substr(colon + 1);
    const bool digits = port.find_first_not_of("0123456789") == std::string_view::npos;
    return digits ? authority.substr(0, colon) : authority;
}

} // namespace

struct Router::Search {
    const RequestView& request;
    uint32_t best = UINT32_MAX; ///< index of the earliest matching entry so far
    std::string scratch;
};

Router::Router(const config::RouteTable& table) : table_(table) {
    for (uint32_t i = 0; i < table.entries.size(); ++i) {
        const auto& hostnames = table.entries[i].match.hostnames;
        if (hostnames.empty())
            add(any_host_, i);
        for (const auto& hostname : hostnames)
            add(paths_of(hostname), i);
    }
    finish(any_host_);
    hosts_.for_each([this](std::string_view, Paths& paths) { finish(paths); });
}

std::optional<RouteHit> Router::route(const RequestView& request) const {
    Search search{.request = request, .best = UINT32_MAX, .scratch = {}};
    if (!hosts_.empty())
        search_hosts(search);
    search_paths(any_host_, search);
    if (search.best == UINT32_MAX)
        return std::nullopt;
    return RouteHit{.entry = search.best, .rule = table_.entries[search.best].rule};
}

Router::Paths& Router::paths_of(std::string_view hostname) {
    if (hostname.empty() || hostname == "*")
        return any_host_;
    return hosts_[hostname.starts_with("*.") ? hostname.substr(1) : hostname];
}

void Router::add(Paths& paths, uint32_t entry) {
    const auto& match = table_.entries[entry].match;
    const bool exact = match.path_kind == config::RouteMatch::Path::exact;
    const std::string_view path = exact ? std::string_view(match.path) : without_trailing_slash(match.path);
    Group& group = exact ? paths.exact[path] : paths.prefix[path];
    // A hostname that is written twice in one entry would add it twice.
    if (group.all.empty() || group.all.back() != entry)
        group.all.push_back(entry);
    if (exact)
        paths.exact_bytes_max = std::max(paths.exact_bytes_max, path.size());
    else
        paths.prefix_bytes_max = std::max(paths.prefix_bytes_max, path.size());
}

void Router::finish(Paths& paths) {
    paths.prefix_sizes.resize(paths.prefix_bytes_max + 1);
    paths.exact.for_each([this](std::string_view, Group& group) { discriminate(group); });
    paths.prefix.for_each([&](std::string_view path, Group& group) {
        paths.prefix_sizes[path.size()] = true;
        discriminate(group);
    });
}

/// Splits a large group by the values of the header or query parameter that takes the most different ones.
void Router::discriminate(Group& group) const {
    if (group.all.size() <= discriminate_above)
        return;
    FlatMap<std::string_view, FlatMap<std::string_view, bool>> values[2]; // of headers, of queries
    for (const uint32_t entry : group.all) {
        const auto& match = table_.entries[entry].match;
        for (const auto& pair : match.headers)
            values[0][pair.name][pair.value] = true;
        for (const auto& pair : match.queries)
            values[1][pair.name][pair.value] = true;
    }
    size_t most = 1;
    for (const bool query : {false, true}) {
        values[query].for_each([&](std::string_view name, const FlatMap<std::string_view, bool>& seen) {
            if (seen.size() > most) {
                most = seen.size();
                group.discriminator = name;
                group.discriminate_query = query;
            }
        });
    }
    if (most == 1)
        return;
    std::vector<uint32_t> rest;
    for (const uint32_t entry : group.all) {
        const auto& match = table_.entries[entry].match;
        const auto& pairs = group.discriminate_query ? match.queries : match.headers;
        const auto pair = std::ranges::find(pairs, group.discriminator, &Pair::name);
        (pair == pairs.end() ? rest : group.by_value[pair->value]).push_back(entry);
    }
    group.all = std::move(rest);
}

void Router::search_hosts(Search& search) const {
    const std::string_view host = without_port(search.request.authority);
    if (host.size() > host_bytes_max)
        return;
    std::array<char, host_bytes_max> lower;
    std::ranges::transform(host, lower.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const std::string_view name(lower.data(), host.size());
    if (const Paths* paths = hosts_.find(name); paths != nullptr && !name.starts_with('.'))
        search_paths(*paths, search);
    // ".example.com" stands for "*.example.com", which wants at least one label in front.
    for (size_t dot = name.find('.', 1); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
        if (const Paths* paths = hosts_.find(name.substr(dot)))
            search_paths(*paths, search);
    }
}

void Router::search_paths(const Paths& paths, Search& search) const {
    const std::string_view path = search.request.path;
    if (!path.starts_with('/') && paths.exact.empty())
        return;
    std::array<const Group*, prefixes_max> prefixes;
    size_t count = 0;
    const auto collect = [&](size_t size, uint64_t hash) {
        if (size < paths.prefix_sizes.size() && paths.prefix_sizes[size] && count < prefixes.size()) {
            if (const Group* group = paths.prefix.find(path.substr(0, size), hash))
                prefixes[count++] = group;
        }
    };
    TextHash hash;
    const size_t end = std::min(path.size(), std::max(paths.prefix_bytes_max, paths.exact_bytes_max) + 1);
    for (size_t i = 0; i < end; ++i) {
        if (i > 1 && path[i] == '/')
            collect(i, hash.value());
        hash.add(path[i]);
        if (i == 0 && path[0] == '/')
            collect(1, hash.value()); // "/" is a prefix of every path
    }
    if (end == path.size()) {
        if (end > 1 && path[0] == '/')
            collect(end, hash.value());
        if (const Group* group = paths.exact.find(path, hash.value()))
            search_group(*group, search);
    }
    while (count > 0)
        search_group(*prefixes[--count], search);
}

void Router::search_group(const Group& group, Search& search) const {
    if (!group.discriminator.empty()) {
        const auto value = group.discriminate_query ? search.request.parameter(group.discriminator)
                                                    : search.request.field(group.discriminator, search.scratch);
        const std::vector<uint32_t>* list = value ? group.by_value.find(*value) : nullptr;
        if (list != nullptr)
            search_list(*list, search);
    }
    search_list(group.all, search);
}

void Router::search_list(const std::vector<uint32_t>& list, Search& search) const {
    for (const uint32_t index : list) {
        if (index >= search.best)
            return; // the list ascends: nothing better follows
        if (rest_matches(table_.entries[index].match, search.request, search.scratch)) {
            search.best = index;
            return;
        }
    }
}

bool Router::rest_matches(const config::RouteMatch& match, const RequestView& request, std::string& scratch) {
    if (!match.method.empty() && match.method != request.method)
        return false;
    for (size_t i = 0; i < match.headers.size(); ++i) {
        if (!repeated(match.headers, i) && request.field(match.headers[i].name, scratch) != match.headers[i].value)
            return false;
    }
    for (size_t i = 0; i < match.queries.size(); ++i) {
        if (!repeated(match.queries, i) && request.parameter(match.queries[i].name) != match.queries[i].value)
            return false;
    }
    return true;
}

} // namespace weft::l7
