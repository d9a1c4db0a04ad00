// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

namespace weft::l7 {

struct FloodRules {
    /// Between two connections of a pod after one of its was ended as a flood, doubled with each more up to
    /// `pause_max_factor` times; 0: no pod is held up.
    uint64_t pause_ms = 250;
    uint64_t pause_max_factor = 16;
    uint64_t remembered_ms = 10'000; ///< after the last flood; if wait_ms_max() is longer, that
    /// A connection whose turn would be later is refused.
    [[nodiscard]] uint64_t wait_ms_max() const { return 2 * pause_ms * pause_max_factor; }
};

/// Who floods may open another connection at once, and cost as much again: a budget of one connection does not bound
/// what a client costs. So the connections of a pod that floods get their turn one at a time, with pauses between
/// (docs/decisions/0012). One worker's, of at most as many pods as there are; pure: the caller brings the time.
class FloodGuard {
public:
    explicit FloodGuard(const FloodRules& rules) : rules_(rules) {}

    /// A connection of the pod has used up a budget.
    void flooded(uint32_t pod_id, uint64_t now_ms);
    /// When a new connection of the pod may be served: now, or then. nullopt: there are too many before it.
    [[nodiscard]] std::optional<uint64_t> turn(uint32_t pod_id, uint64_t now_ms) {
        return pods_.empty() ? now_ms : next_turn(pod_id, now_ms);
    }
    /// From time to time.
    void forget_old(uint64_t now_ms);
    void forget_pod(uint32_t pod_id) { pods_.erase(pod_id); }
    [[nodiscard]] size_t size() const { return pods_.size(); }

private:
    struct Record {
        uint64_t floods = 0; ///< since it was last forgotten
        uint64_t last_ms = 0;
        uint64_t next_turn_ms = 0;
    };
    [[nodiscard]] uint64_t pause_ms(const Record& record) const;
    [[nodiscard]] std::optional<uint64_t> next_turn(uint32_t pod_id, uint64_t now_ms);

    const FloodRules rules_;
    std::unordered_map<uint32_t, Record> pods_; ///< by pod
};

} // namespace weft::l7
