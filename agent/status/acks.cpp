// SPDX-License-Identifier: Apache-2.0
#include "agent/status/acks.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "agent/source/objects.hpp"
#include "agent/source/revision.hpp"
#include "agent/status/json_members.hpp"

namespace weft::agent::status {
namespace {

constexpr std::string_view lease_prefix = "weft-node-";
constexpr std::array awaited_kinds = {Gateway::kind, HttpRoute::kind, AuthorizationPolicy::kind};
constexpr size_t nodes_named_max = 5;

} // namespace

std::string node_lease_name(std::string_view node) {
    return std::string(lease_prefix) + std::string(node);
}

std::string node_of_lease(std::string_view name) {
    return name.starts_with(lease_prefix) ? std::string(name.substr(lease_prefix.size())) : "";
}

Versions acknowledged_versions(const std::vector<uint64_t>& versions) {
    Versions out;
    for (const char* kind : awaited_kinds) {
        const size_t index = kind_info(kind).index;
        if (index < versions.size() && versions[index] != 0)
            out[kind] = versions[index];
    }
    return out;
}

std::string versions_text(const Versions& versions) {
    Json out = Json::object();
    for (const auto& [kind, version] : versions) // as text: not every reader of JSON has numbers of 64 bits
        out[kind] = std::to_string(version);
    return text_of(out);
}

Versions parse_versions(const std::string& written) {
    const Json json = parse(written);
    Versions out;
    for (const char* kind : awaited_kinds) {
        if (const uint64_t version = parse_version(text(json, kind)); version != 0)
            out[kind] = version;
    }
    return out;
}

void NodeAcks::observe(const std::vector<Lease>& leases, uint64_t now_ms) {
    if (now_ms > observed_ms_ + looks_apart_max_ms)
        nodes_.clear();
    observed_ms_ = now_ms;
    std::map<std::string, Node> now;
    for (const Lease& lease : leases) {
        std::string name = node_of_lease(lease.name);
        if (name.empty())
            continue;
        Node node{
            .renewed = lease.record.renewed, .renewed_seen_ms = now_ms, .versions = parse_versions(lease.in_force)};
        if (const auto before = nodes_.find(name); before != nodes_.end() && before->second.renewed == node.renewed)
            node.renewed_seen_ms = before->second.renewed_seen_ms;
        now[std::move(name)] = std::move(node);
    }
    nodes_ = std::move(now);
}

bool NodeAcks::is_silent(const Node& node) const {
    return observed_ms_ >= node.renewed_seen_ms + node_stale_ms;
}

std::vector<std::string> NodeAcks::awaited(std::string_view kind, uint64_t version) const {
    std::vector<std::string> out;
    for (const auto& [name, node] : nodes_) {
        if (name != own_ && is_silent(node))
            continue;
        const auto known = node.versions.find(kind);
        if (version == 0 || known == node.versions.end() || known->second < version)
            out.push_back(name);
    }
    if (!nodes_.contains(own_))
        out.insert(std::ranges::upper_bound(out, own_), own_);
    return out;
}

size_t NodeAcks::silent() const {
    return static_cast<size_t>(std::ranges::count_if(nodes_, [&](const auto& node) { return is_silent(node.second); }));
}

std::string awaited_message(const std::vector<std::string>& nodes) {
    std::string out = nodes.size() == 1 ? "waiting for the node " : "waiting for the nodes ";
    for (size_t i = 0; i < std::min(nodes.size(), nodes_named_max); ++i)
        out += (i == 0 ? "" : ", ") + nodes[i];
    if (nodes.size() > nodes_named_max)
        out += " and " + std::to_string(nodes.size() - nodes_named_max) + " more";
    return out;
}

} // namespace weft::agent::status
