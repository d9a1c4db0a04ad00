// SPDX-License-Identifier: Apache-2.0
#include "l7engine/server/series_ledger.hpp"

namespace weft::l7 {

namespace {

void write_histogram(const HistogramCounts& counts, proto::Histogram& out) {
    out.mutable_buckets()->Reserve(static_cast<int>(counts.buckets.size()));
    for (const uint64_t bucket : counts.buckets)
        out.add_buckets(bucket);
    out.set_sum(counts.sum);
}

} // namespace

SeriesLedger::Entry& SeriesLedger::entry_for(std::vector<std::string> labels) {
    std::string key = joined_labels(labels);
    auto found = entries_.find(key);
    // The overflow series itself is beyond the count, so that it always has a place.
    if (found == entries_.end() && entries_.size() >= limits_.series_max) {
        labels = overflow_labels();
        key = joined_labels(labels);
        found = entries_.find(key);
    }
    if (found == entries_.end())
        found = entries_.emplace(std::move(key), Entry{.series = {.labels = std::move(labels), .counts = {}}}).first;
    return found->second;
}

void SeriesLedger::add(std::vector<StatsSeries> series, uint64_t now_ms) {
    for (StatsSeries& one : series) {
        Entry& entry = entry_for(std::move(one.labels));
        entry.series.counts.add(one.counts);
        entry.used_ms = now_ms;
    }
}

void SeriesLedger::forget_idle(uint64_t now_ms) {
    std::erase_if(entries_, [&](const auto& item) { return now_ms - item.second.used_ms >= limits_.idle_ms_max; });
}

void SeriesLedger::write(proto::EngineReport& out) const {
    out.mutable_requests()->Reserve(static_cast<int>(entries_.size()));
    for (const auto& [key, entry] : entries_) {
        proto::RequestSeries& series = *out.add_requests();
        for (const std::string& label : entry.series.labels)
            series.add_labels(label);
        const SeriesCounts& counts = entry.series.counts;
        series.set_requests_total(counts.requests);
        write_histogram(counts.duration_ms, *series.mutable_duration_ms());
        write_histogram(counts.request_bytes, *series.mutable_request_bytes());
        write_histogram(counts.response_bytes, *series.mutable_response_bytes());
    }
}

} // namespace weft::l7
