// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/tcp_stats.hpp"

#include <utility>

#include "l7engine/proxy/stats.hpp"

namespace weft::l7 {

void TcpCounts::add(const TcpCounts& other) {
    opened += other.opened;
    closed += other.closed;
    sent_bytes += other.sent_bytes;
    received_bytes += other.received_bytes;
}

TcpSeriesPtr TcpStats::series_of(const config::Snapshot& snapshot, const LabelFacts& facts) {
    std::vector<std::string> labels = tcp_label_values(snapshot, facts);
    std::string key = joined_labels(labels);
    auto found = series_.find(key);
    if (found == series_.end() && series_.size() >= series_max_) {
        counters_.add(Counter::series_overflow);
        labels = overflow_labels(tcp_label_names.size());
        key = joined_labels(labels);
        found = series_.find(key);
    }
    if (found == series_.end()) {
        auto series = std::make_shared<TcpSeries>(TcpSeries{.labels = std::move(labels), .counts = {}});
        found = series_.emplace(std::move(key), std::move(series)).first;
    }
    return found->second;
}

std::vector<TcpSeries> TcpStats::collect() {
    std::vector<TcpSeries> all;
    for (auto entry = series_.begin(); entry != series_.end();) {
        TcpSeries& series = *entry->second;
        const bool in_use = entry->second.use_count() > 1;
        if (const TcpCounts counts = std::exchange(series.counts, {}); counts != TcpCounts() || in_use)
            all.push_back({.labels = series.labels, .counts = counts});
        if (in_use)
            ++entry;
        else
            entry = series_.erase(entry);
    }
    return all;
}

} // namespace weft::l7
