// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/proto/control.pb.h"
#include "l7engine/proxy/stats.hpp"

namespace weft::l7 {

struct LedgerLimits {
    size_t series_max = 2'000;        ///< above: the overflow series
    uint64_t idle_ms_max = 3'600'000; ///< a series that got nothing for that long is forgotten
};

/// The totals of all workers' series since the engine started. What workers hand in is only ever added, so totals never
/// go down while a series lives. Control thread.
class SeriesLedger {
public:
    explicit SeriesLedger(const LedgerLimits& limits) : limits_(limits) {}

    void add(std::vector<StatsSeries> series, uint64_t now_ms);
    void forget_idle(uint64_t now_ms);
    void write(proto::EngineReport& out) const;
    [[nodiscard]] size_t size() const { return entries_.size(); }

private:
    struct Entry {
        StatsSeries series;
        uint64_t used_ms = 0;
    };
    Entry& entry_for(std::vector<std::string> labels);

    LedgerLimits limits_;
    std::unordered_map<std::string, Entry> entries_; ///< by labels joined
};

} // namespace weft::l7
