// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "l7engine/policy/labels.hpp"
#include "l7engine/proxy/counters.hpp"

namespace weft::l7 {

/// The counts of one label set of opaque connections (istio.md 3.1).
struct TcpCounts {
    uint64_t opened = 0;
    uint64_t closed = 0;
    uint64_t sent_bytes = 0;     ///< destination -> source
    uint64_t received_bytes = 0; ///< source -> destination

    void add(const TcpCounts& other);
    bool operator==(const TcpCounts&) const = default;
};

struct TcpSeries {
    std::vector<std::string> labels; ///< in the order of tcp_label_names
    TcpCounts counts;
};

/// Held by every open connection of the series, which adds to the counts itself: so each report has the bytes so far.
using TcpSeriesPtr = std::shared_ptr<TcpSeries>;

/// One worker's share of the istio_tcp_* metrics since the last collect(). Its thread only. A connection keeps the
/// labels that it was opened with, whatever later snapshots say: what was opened is closed in the same series.
class TcpStats {
public:
    TcpStats(size_t series_max, Counters& counters) : series_max_(series_max), counters_(counters) {}

    [[nodiscard]] TcpSeriesPtr series_of(const config::Snapshot& snapshot, const LabelFacts& facts);
    /// What was counted since the last time; counting starts from zero.
    [[nodiscard]] std::vector<TcpSeries> collect();
    [[nodiscard]] size_t size() const { return series_.size(); }

private:
    size_t series_max_;
    Counters& counters_;
    std::unordered_map<std::string, TcpSeriesPtr> series_; ///< by labels joined
};

} // namespace weft::l7
