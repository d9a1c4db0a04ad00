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

template <class Series>
void SeriesLedger::add_to(Entries<Series>& entries, std::vector<Series> series, uint64_t now_ms) {
    for (Series& one : series) {
        std::string key = joined_labels(one.labels);
        auto found = entries.find(key);
        // The overflow series itself is beyond the count, so that it always has a place.
        if (found == entries.end() && entries.size() >= limits_.series_max) {
            one.labels = overflow_labels(one.labels.size());
            key = joined_labels(one.labels);
            found = entries.find(key);
        }
        if (found == entries.end())
            found =
                entries
                    .emplace(std::move(key), Entry<Series>{.series = {.labels = std::move(one.labels), .counts = {}}})
                    .first;
        found->second.series.counts.add(one.counts);
        found->second.used_ms = now_ms;
    }
}
template void SeriesLedger::add_to(Entries<StatsSeries>&, std::vector<StatsSeries>, uint64_t);
template void SeriesLedger::add_to(Entries<TcpSeries>&, std::vector<TcpSeries>, uint64_t);

void SeriesLedger::forget_idle(uint64_t now_ms) {
    const auto is_idle = [&](const auto& item) { return now_ms - item.second.used_ms >= limits_.idle_ms_max; };
    std::erase_if(requests_, is_idle);
    std::erase_if(connections_, is_idle);
}

void SeriesLedger::write(proto::EngineReport& out) const {
    out.mutable_requests()->Reserve(static_cast<int>(requests_.size()));
    for (const auto& [key, entry] : requests_) {
        proto::RequestSeries& series = *out.add_requests();
        for (const std::string& label : entry.series.labels)
            series.add_labels(label);
        const SeriesCounts& counts = entry.series.counts;
        series.set_requests_total(counts.requests);
        series.set_request_messages(counts.request_messages);
        series.set_response_messages(counts.response_messages);
        write_histogram(counts.duration_ms, *series.mutable_duration_ms());
        write_histogram(counts.request_bytes, *series.mutable_request_bytes());
        write_histogram(counts.response_bytes, *series.mutable_response_bytes());
    }
    for (const auto& [key, entry] : connections_) {
        proto::TcpSeries& series = *out.add_connections();
        for (const std::string& label : entry.series.labels)
            series.add_labels(label);
        const TcpCounts& counts = entry.series.counts;
        series.set_opened(counts.opened);
        series.set_closed(counts.closed);
        series.set_sent_bytes(counts.sent_bytes);
        series.set_received_bytes(counts.received_bytes);
    }
}

} // namespace weft::l7
