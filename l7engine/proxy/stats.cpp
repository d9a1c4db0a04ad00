// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/stats.hpp"

namespace weft::l7 {

void HistogramCounts::observe(double value) {
    ++buckets[histogram_bucket(value)];
    sum += value;
}

void HistogramCounts::add(const HistogramCounts& other) {
    for (size_t index = 0; index < buckets.size(); ++index)
        buckets[index] += other.buckets[index];
    sum += other.sum;
}

void SeriesCounts::add(const SeriesCounts& other) {
    requests += other.requests;
    duration_ms.add(other.duration_ms);
    request_bytes.add(other.request_bytes);
    response_bytes.add(other.response_bytes);
    request_messages += other.request_messages;
    response_messages += other.response_messages;
}

std::vector<std::string> overflow_labels(size_t count) {
    return std::vector<std::string>(count, "overflow");
}

std::string joined_labels(const std::vector<std::string>& labels) {
    std::string text;
    for (const std::string& label : labels) {
        text += label;
        text += '\x1f';
    }
    return text;
}

StatsShard::Key StatsShard::key_of(const LabelFacts& facts) {
    return {.source = facts.source,
            .destination = facts.destination,
            .service = facts.service.host.data(),
            .flags = facts.flags.bits(),
            .grpc_status = facts.grpc_status.value_or(UINT32_MAX),
            .code = facts.response_code,
            .kinds = static_cast<uint8_t>(static_cast<unsigned>(facts.reporter) |
                                          static_cast<unsigned>(facts.protocol) << 2 |
                                          static_cast<unsigned>(facts.security) << 4)};
}

size_t StatsShard::KeyHash::operator()(const Key& key) const noexcept {
    uint64_t hash = 0x9e3779b97f4a7c15U;
    const auto mix = [&hash](uint64_t value) { hash = (hash ^ value) * 0xff51afd7ed558ccdU, hash ^= hash >> 32; };
    mix(reinterpret_cast<uintptr_t>(key.source));
    mix(reinterpret_cast<uintptr_t>(key.destination));
    mix(reinterpret_cast<uintptr_t>(key.service));
    mix(uint64_t{key.flags} << 32 | key.grpc_status);
    mix(uint64_t{key.code} << 8 | key.kinds);
    return hash;
}

SeriesCounts& StatsShard::series_of(const config::Snapshot& snapshot, const LabelFacts& facts) {
    const Key key = key_of(facts);
    if (const auto known = by_facts_.find(key); known != by_facts_.end())
        return *known->second;
    std::vector<std::string> labels = label_values(snapshot, facts);
    std::string joined = joined_labels(labels);
    auto found = series_.find(joined);
    if (found == series_.end() && series_.size() >= series_max_) {
        counters_.add(Counter::series_overflow);
        labels = overflow_labels();
        joined = joined_labels(labels);
        found = series_.find(joined);
    }
    if (found == series_.end())
        found = series_.emplace(std::move(joined), StatsSeries{.labels = std::move(labels), .counts = {}}).first;
    // The keys are bounded as the series are: client-chosen numbers (status, grpc-status) make many of them.
    if (by_facts_.size() < 2 * series_max_)
        by_facts_.emplace(key, &found->second.counts);
    return found->second.counts;
}

void StatsShard::record(const config::Snapshot& snapshot, const RequestRecord& record) {
    SeriesCounts& counts = series_of(snapshot, record.facts);
    ++counts.requests;
    counts.duration_ms.observe(record.duration_ms);
    counts.request_bytes.observe(static_cast<double>(record.request_bytes));
    counts.response_bytes.observe(static_cast<double>(record.response_bytes));
    counts.request_messages += record.request_messages;
    counts.response_messages += record.response_messages;
}

std::vector<StatsSeries> StatsShard::collect() {
    std::vector<StatsSeries> all;
    all.reserve(series_.size());
    for (auto& [joined, series] : series_)
        all.push_back(std::move(series));
    series_.clear();
    by_facts_.clear();
    return all;
}

} // namespace weft::l7
