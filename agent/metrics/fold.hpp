// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/metrics/report.hpp"

namespace weft::agent::metrics {

/// Series that are kept of one engine, and shown of all: each takes about 70 kB of a page. The engine's own cap, its
/// series of overflow included, is just below.
inline constexpr size_t folded_series_max = 2048;
inline constexpr size_t folded_counters_max = 4096;
/// Engines whose reports are held apart: one at work, some draining.
inline constexpr size_t engines_max = 8;
/// How long a series lives that only engines of the past counted.
inline constexpr uint64_t past_series_ms = 3'600'000;

/// Adds up what successive engine processes report, so that no total goes down when one takes the place of another:
/// shown = what finished engines counted + what the present ones count. A series that the engine which counts it drops
/// (idle) is dropped here too. Not thread-safe; owned by the collector.
class Fold {
public:
    /// Replaces what this engine reported before.
    void take(EngineReport report);
    /// The connection to this engine ended. It may come back (the agent cut it off, or it drains): then take() goes on
    /// where it was. Unknown instances are ignored.
    void finish(uint64_t instance, uint64_t now_ms);

    [[nodiscard]] std::vector<RequestSeries> requests(uint64_t now_ms);
    [[nodiscard]] std::vector<Count> counters() const;
    /// Of the latest report.
    [[nodiscard]] std::vector<Level> gauges() const;
    /// Series that broke the contract or did not fit.
    [[nodiscard]] uint64_t left_out() const { return left_out_; }

private:
    using CounterKey = std::pair<std::string, std::string>; ///< name, reason
    struct Engine {
        std::map<IstioLabels, RequestTotals> requests;
        std::map<CounterKey, uint64_t> counters;
        std::optional<uint64_t> finished_ms;
    };
    struct Past {
        RequestTotals totals;
        uint64_t touched_ms = 0;
    };
    using Sums = std::map<IstioLabels, RequestTotals>;
    void add_up(const std::map<IstioLabels, RequestTotals>& requests, Sums& sums);
    void forget_what_expired(const Engine& before, const Engine& now);
    void make_room();
    void retire(std::map<uint64_t, Engine>::iterator engine);

    std::map<uint64_t, Engine> engines_; ///< by instance
    std::map<IstioLabels, Past> past_requests_;
    std::map<CounterKey, uint64_t> past_counters_;
    std::vector<Level> gauges_;
    uint64_t left_out_ = 0;
};

} // namespace weft::agent::metrics
