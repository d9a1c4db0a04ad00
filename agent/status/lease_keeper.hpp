// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "agent/status/acks.hpp"
#include "agent/status/api.hpp"
#include "agent/status/election.hpp"

namespace weft::agent::status {

inline constexpr const char* election_lease = "weft-status";
inline constexpr uint64_t nodes_read_ms = 10'000;        ///< how often a leader looks at the nodes' Leases
inline constexpr uint64_t nodes_read_closely_ms = 1'000; ///< ... while something waits for them

/// The Leases: who leads, what this node has in force, and for a leader what all nodes have. Of the writer's thread.
class LeaseKeeper {
public:
    struct Settings {
        std::string ns;   ///< where the Leases are
        std::string node; ///< this one's name
        uint64_t seed = 0;
    };
    LeaseKeeper(Settings settings, Api& api);

    /// What this node has in force from now on.
    void in_force(Versions versions) { in_force_ = std::move(versions); }
    /// Begins what is due. `closely`: something waits for other nodes.
    void step(uint64_t now_ms, bool closely);
    [[nodiscard]] uint64_t due_ms() const;

    [[nodiscard]] bool leads(uint64_t now_ms) const { return elector_.leads(now_ms); }
    [[nodiscard]] std::string leader() const { return elector_.leader(); }
    [[nodiscard]] const NodeAcks& acks() const { return acks_; }
    /// Counts how often acks() was read anew.
    [[nodiscard]] uint64_t acks_read() const { return acks_read_; }

    /// At the end: lets another lead at once; `forget`: this node's Lease goes too. Of the api's turns as many are
    /// needed as it has calls under way.
    void release(bool forget);

private:
    void elect(uint64_t now_ms);
    void read_election();
    void write_election(const Elector::Write& write);
    void find_node(uint64_t now_ms);
    void beat(uint64_t now_ms);
    void read_nodes(uint64_t now_ms);
    [[nodiscard]] uint64_t beat_due_ms() const;
    [[nodiscard]] Json beat_body() const;
    [[nodiscard]] kube::Request lease_request(std::string method, const std::string& name, const Json* body) const;

    const Settings settings_;
    Api& api_;
    Elector elector_;
    NodeAcks acks_;
    uint64_t acks_read_ = 0;

    Versions in_force_;
    Versions said_; ///< by the last heartbeat
    std::string node_uid_;
    uint64_t node_due_ms_ = 0;
    uint64_t beat_at_ms_ = 0; ///< the last began; 0: the next is due, whatever it says
    uint64_t beat_retry_at_ms_ = 0;
    bool beating_ = false;
    bool beat_made_ = false;    ///< the Lease is there, as far as we know
    uint64_t nodes_due_ms_ = 0; ///< of a leader
    bool reading_nodes_ = false;
    bool led_ = false; ///< at the last step
};

} // namespace weft::agent::status
