// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/metrics/report.hpp"
#include "agent/metrics/series_fold.hpp"

namespace weft::agent::metrics {

inline constexpr size_t folded_counters_max = 4096;
/// Engines whose reports are held apart: one at work, some draining.
inline constexpr size_t engines_max = 8;

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
    [[nodiscard]] std::vector<TcpSeries> connections(uint64_t now_ms);
    [[nodiscard]] std::vector<Count> counters() const;
    /// Of the latest report.
    [[nodiscard]] std::vector<Level> gauges() const;
    /// Series that broke the contract or did not fit.
    [[nodiscard]] uint64_t left_out() const { return left_out_ + requests_.left_out() + connections_.left_out(); }

private:
    using CounterKey = std::pair<std::string, std::string>; ///< name, reason
    struct Engine {
        std::map<CounterKey, uint64_t> counters;
        std::optional<uint64_t> finished_ms;
    };
    void make_room();
    void retire(std::map<uint64_t, Engine>::iterator engine);
    void retire_finished(uint64_t now_ms);

    std::map<uint64_t, Engine> engines_; ///< by instance
    SeriesFold<RequestTotals> requests_{istio_labels.size()};
    SeriesFold<TcpTotals> connections_{istio_tcp_label_count};
    std::map<CounterKey, uint64_t> past_counters_;
    std::vector<Level> gauges_;
    uint64_t left_out_ = 0;
};

} // namespace weft::agent::metrics
