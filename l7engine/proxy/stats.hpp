// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "l7engine/policy/labels.hpp"
#include "l7engine/proxy/counters.hpp"

namespace weft::l7 {

struct HistogramCounts {
    std::array<uint64_t, histogram_bounds.size() + 1> buckets{}; ///< not cumulative; the last is +Inf
    double sum = 0;

    void observe(double value);
    void add(const HistogramCounts& other);
};

/// The counts of one label set.
struct SeriesCounts {
    uint64_t requests = 0;
    HistogramCounts duration_ms;
    HistogramCounts request_bytes;
    HistogramCounts response_bytes;
    uint64_t request_messages = 0; ///< gRPC
    uint64_t response_messages = 0;

    void add(const SeriesCounts& other);
};

struct StatsSeries {
    std::vector<std::string> labels; ///< in the order of label_names
    SeriesCounts counts;
};

/// What one finished exchange adds.
struct RequestRecord {
    LabelFacts facts;
    double duration_ms = 0;
    uint64_t request_bytes = 0;
    uint64_t response_bytes = 0;
    uint64_t request_messages = 0; ///< gRPC
    uint64_t response_messages = 0;
};

/// The label set that takes what exceeds the limit.
[[nodiscard]] std::vector<std::string> overflow_labels(size_t count = label_names.size());
/// A key for maps: no label contains the separator.
[[nodiscard]] std::string joined_labels(const std::vector<std::string>& labels);

/// One worker's share of the Istio metrics since the last collect(). Its thread only. The common case is one lookup by
/// a small key of pointers into the snapshot; labels are made once per series and collection.
class StatsShard {
public:
    StatsShard(size_t series_max, Counters& counters) : series_max_(series_max), counters_(counters) {}

    void record(const config::Snapshot& snapshot, const RequestRecord& record);
    /// Pointers of the old snapshot may be given to other objects: forget the keys made of them.
    void snapshot_changed() { by_facts_.clear(); }
    /// Moves everything out; counting starts from zero.
    [[nodiscard]] std::vector<StatsSeries> collect();
    [[nodiscard]] size_t size() const { return series_.size(); }

private:
    struct Key {
        const void* source;
        const void* destination;
        const char* service; ///< the host's text inside the snapshot
        uint32_t flags;
        uint32_t grpc_status;
        uint16_t code;
        uint8_t kinds; ///< reporter, protocol, security
        bool operator==(const Key&) const = default;
    };
    struct KeyHash {
        size_t operator()(const Key& key) const noexcept;
    };
    static Key key_of(const LabelFacts& facts);
    SeriesCounts& series_of(const config::Snapshot& snapshot, const LabelFacts& facts);

    size_t series_max_;
    Counters& counters_;
    std::unordered_map<Key, SeriesCounts*, KeyHash> by_facts_;
    std::unordered_map<std::string, StatsSeries> series_; ///< by labels joined
};

} // namespace weft::l7
