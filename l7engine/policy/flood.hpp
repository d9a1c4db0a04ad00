// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>

#include "config/base/net.hpp"

namespace weft::l7 {

/// Who opens connections: a pod's own programs together (its `address` stays empty), or an address that comes to it.
struct FloodSource {
    uint32_t pod_id = 0;
    IpAddress address;
    bool operator==(const FloodSource&) const = default;
};

struct FloodSourceHash {
    size_t operator()(const FloodSource& source) const noexcept {
        return std::hash<IpAddress>()(source.address) ^ (source.pod_id * 0x9e3779b97f4a7c15ULL);
    }
};

struct FloodRules {
    /// Between two connections of a source after one of its was ended as a flood, doubled with each more up to
    /// `pause_max_factor` times; 0: no source is held up.
    uint64_t pause_ms = 250;
    uint64_t pause_max_factor = 16;
    uint64_t remembered_ms = 10'000; ///< after the last flood
    uint64_t wait_ms_max = 5'000;    ///< a connection whose turn would be later is refused
    size_t sources_max = 1'024;      ///< remembered at a time; a new one takes the place of the one longest quiet
};

/// Who floods may open another connection at once, and cost as much again: a budget of one connection does not bound
/// what a client costs. So the connections of a source that floods get their turn one at a time, with pauses between
/// (docs/decisions/0012). One worker's; pure: the caller brings the time.
class FloodGuard {
public:
    explicit FloodGuard(const FloodRules& rules) : rules_(rules) {}

    /// A connection of the source has used up a budget.
    void flooded(const FloodSource& source, uint64_t now_ms);
    /// When a new connection of the source may be served: now, or then. nullopt: there are too many before it.
    [[nodiscard]] std::optional<uint64_t> turn(const FloodSource& source, uint64_t now_ms) {
        return sources_.empty() ? now_ms : next_turn(source, now_ms);
    }
    /// From time to time.
    void forget_old(uint64_t now_ms);
    void forget_pod(uint32_t pod_id);
    [[nodiscard]] size_t size() const { return sources_.size(); }

private:
    struct Record {
        uint64_t floods = 0; ///< since it was last forgotten
        uint64_t last_ms = 0;
        uint64_t next_turn_ms = 0;
    };
    [[nodiscard]] uint64_t pause_ms(const Record& record) const;
    [[nodiscard]] std::optional<uint64_t> next_turn(const FloodSource& source, uint64_t now_ms);
    void make_room();

    const FloodRules rules_;
    std::unordered_map<FloodSource, Record, FloodSourceHash> sources_;
};

} // namespace weft::l7
