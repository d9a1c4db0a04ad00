// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/proto/control.pb.h"
#include "l7engine/proxy/stats.hpp"
#include "l7engine/proxy/tcp_stats.hpp"

namespace weft::l7 {

struct LedgerLimits {
    size_t series_max = 2'000;        ///< of each kind; above: the overflow series
    uint64_t idle_ms_max = 3'600'000; ///< a series that got nothing for that long is forgotten
};

/// The totals of all workers' series since the engine started. What workers hand in is only ever added, so totals never
/// go down while a series lives. Control thread.
class SeriesLedger {
public:
    explicit SeriesLedger(const LedgerLimits& limits) : limits_(limits) {}

    void add(std::vector<StatsSeries> series, uint64_t now_ms) { add_to(requests_, std::move(series), now_ms); }
    void add(std::vector<TcpSeries> series, uint64_t now_ms) { add_to(connections_, std::move(series), now_ms); }
    void forget_idle(uint64_t now_ms);
    void write(proto::EngineReport& out) const;
    [[nodiscard]] size_t size() const { return requests_.size() + connections_.size(); }

private:
    template <class Series>
    struct Entry {
        Series series;
        uint64_t used_ms = 0;
    };
    template <class Series>
    using Entries = std::unordered_map<std::string, Entry<Series>>; ///< by labels joined
    template <class Series>
    void add_to(Entries<Series>& entries, std::vector<Series> series, uint64_t now_ms);

    LedgerLimits limits_;
    Entries<StatsSeries> requests_;
    Entries<TcpSeries> connections_;
};

} // namespace weft::l7
