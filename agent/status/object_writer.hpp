// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/status/acks.hpp"
#include "agent/status/api.hpp"
#include "agent/status/event.hpp"
#include "agent/status/wanted.hpp"
#include "agent/status/work_queue.hpp"

namespace weft::agent::status {

inline constexpr size_t objects_under_way_max = 8;
inline constexpr uint64_t object_pace_ms = 10; ///< at least from one object to the next
/// So long the nodes may take before a status says that it waits for them: mostly one write is enough.
inline constexpr uint64_t settle_ms = 2'000;
/// From one such status to the next, while nodes come in one by one.
inline constexpr uint64_t awaiting_rewrite_ms = 10'000;

/// A status of ours that somebody has undone is written again no sooner: two that fight do so slowly.
inline constexpr uint64_t undone_rewrite_ms = 10'000;

/// What the leader does: statuses and Events of all objects. What is to be written is what differs from what the watch
/// shows. Of the writer's thread.
class ObjectWriter {
public:
    ObjectWriter(Api& api, std::string node, uint64_t seed) : api_(api), node_(std::move(node)), queue_(seed) {}

    /// All that is wanted now; what is not in it needs nothing.
    void take(std::vector<WantedStatus> wanted, const NodeAcks& acks, uint64_t now_ms);
    /// The nodes' Leases were read anew.
    void acknowledged(const NodeAcks& acks, uint64_t now_ms);
    /// Begins what is due.
    void step(uint64_t now_ms);
    /// Somebody else leads.
    void stop();
    [[nodiscard]] uint64_t due_ms() const;
    [[nodiscard]] size_t pending() const { return queue_.size(); }
    /// Objects whose condition waits for nodes.
    [[nodiscard]] size_t awaiting_nodes() const { return awaiting_.size(); }

private:
    /// What was written last. The watch shows it with that version at the latest; if it shows something else with a
    /// later one, somebody has undone it. At that version itself it is what the server made of it, and that is that.
    struct Settled {
        uint64_t digest = 0; ///< 0: nothing
        uint64_t version = 0;
    };
    struct Item {
        WantedStatus wanted;
        std::vector<StatusLine> lines; ///< as they are to be now
        uint64_t digest = 0;           ///< of them
        Settled settled;
        uint64_t noticed_ms = 0; ///< this generation
        uint64_t written_ms = 0; ///< ... last; 0: not yet
        bool everywhere = false; ///< every node had it once
    };

    void weigh(const ObjectKey& key, Item& item, const NodeAcks& acks, uint64_t now_ms);
    void begin(const ObjectKey& key);
    void say_event(const ObjectKey& key);
    void read_object(const ObjectKey& key);
    void write_status(const ObjectKey& key, const Json& live);
    void settle(const ObjectKey& key);
    void written(const ObjectKey& key, uint64_t digest, const Json& live);
    void give_up(const ObjectKey& key, const kube::Answer& answer);
    [[nodiscard]] Item* find(const ObjectKey& key);
    [[nodiscard]] std::string path_of(const ObjectKey& key) const;

    Api& api_;
    const std::string node_;
    std::map<ObjectKey, Item> items_;
    std::set<ObjectKey> awaiting_;
    WorkQueue<ObjectKey> queue_;
    EventMemory said_;
    std::map<size_t, size_t> versions_; ///< of KindInfo::versions, by kind: the first unless that is not served
    size_t under_way_ = 0;
    uint64_t next_start_ms_ = 0;
};

} // namespace weft::agent::status
