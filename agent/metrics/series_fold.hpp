// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "agent/metrics/report.hpp"

namespace weft::agent::metrics {

/// Series that are kept of one engine, and shown of all: each takes about 70 kB of a page. The engine's own cap, its
/// series of overflow included, is just below.
inline constexpr size_t folded_series_max = 2048;
/// How long a series lives that only engines of the past counted.
inline constexpr uint64_t past_series_ms = 3'600'000;

/// The series of one kind that successive engines report, added up. A part of Fold, which knows the engines.
template <class Totals>
class SeriesFold {
public:
    explicit SeriesFold(size_t label_count) : label_count_(label_count) {}

    /// Replaces what this engine reported before. A series that it dropped is dropped here, too.
    void take(uint64_t instance, std::vector<Series<Totals>> series);
    void finish(uint64_t instance, uint64_t now_ms);
    /// What this engine counted becomes the past.
    void retire(uint64_t instance);
    [[nodiscard]] std::vector<Series<Totals>> sums(uint64_t now_ms);
    /// Series that broke the contract or did not fit.
    [[nodiscard]] uint64_t left_out() const { return left_out_; }

private:
    using Map = std::map<IstioLabels, Totals>;
    struct Engine {
        Map series;
        std::optional<uint64_t> finished_ms;
    };
    struct Past {
        Totals totals;
        uint64_t touched_ms = 0;
    };
    void add_up(const Map& series, Map& sums);
    void forget_what_expired(const Map& before, const Map& now);

    size_t label_count_;
    std::map<uint64_t, Engine> engines_; ///< by instance
    std::map<IstioLabels, Past> past_;
    uint64_t left_out_ = 0;
};

extern template class SeriesFold<RequestTotals>;
extern template class SeriesFold<TcpTotals>;

} // namespace weft::agent::metrics
