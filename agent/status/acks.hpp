// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/source/kinds.hpp"
#include "agent/status/lease.hpp"

/// What every node has in force, as its agent says in a Lease of its own (docs/decisions/0014).
namespace weft::agent::status {

/// Each agent renews its Lease this often, whether or not there is news.
inline constexpr uint64_t node_heartbeat_ms = 10'000;
/// ... and with news no more often than this.
inline constexpr uint64_t node_news_ms = 1'000;
/// An agent that has not been heard of for so long is not waited for.
inline constexpr uint64_t node_stale_ms = 40'000;
/// Who has not looked at the Leases for longer than this has not seen whether they were renewed.
inline constexpr uint64_t looks_apart_max_ms = 20'000;
inline constexpr int32_t node_lease_duration_s = 40;

/// "weft-node-NODE", and back; empty: it is no such name.
[[nodiscard]] std::string node_lease_name(std::string_view node);
[[nodiscard]] std::string node_of_lease(std::string_view name);

/// The highest resourceVersion in force, by kind; a kind that is missing: nothing of it.
using Versions = std::map<std::string, uint64_t, std::less<>>;

/// Those kinds of `versions` (by KindInfo::index) whose conditions wait for the nodes.
[[nodiscard]] Versions acknowledged_versions(const std::vector<uint64_t>& versions);
[[nodiscard]] std::string versions_text(const Versions& versions);
/// What is no such text says nothing.
[[nodiscard]] Versions parse_versions(const std::string& text);

/// What the Leases of all nodes say. Pure; of one thread.
class NodeAcks {
public:
    /// `own`: this node counts even before it has a Lease.
    explicit NodeAcks(std::string own) : own_(std::move(own)) {}

    /// All of them, as they are now. A node without one is forgotten. When one was renewed is told by our clock; after
    /// a time without looking each has node_stale_ms anew, since nobody could renew while the API server was away.
    void observe(const std::vector<Lease>& leases, uint64_t now_ms);
    /// The nodes, sorted, that do not have in force yet what came with that version of the kind; nodes that went silent
    /// are not among them, but this one always may be. `version` 0 cannot be compared: all of them.
    [[nodiscard]] std::vector<std::string> awaited(std::string_view kind, uint64_t version) const;
    [[nodiscard]] size_t nodes() const { return nodes_.size(); }
    [[nodiscard]] size_t silent() const;

private:
    struct Node {
        std::string renewed;
        uint64_t renewed_seen_ms = 0;
        Versions versions;
    };
    [[nodiscard]] bool is_silent(const Node& node) const;

    const std::string own_;
    std::map<std::string, Node> nodes_;
    uint64_t observed_ms_ = 0; ///< the last time
};

/// "waiting for the nodes a, b and 3 more"
[[nodiscard]] std::string awaited_message(const std::vector<std::string>& nodes);

} // namespace weft::agent::status
