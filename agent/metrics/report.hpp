// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What is shown on /metrics, as plain values: no library of metrics and no protobuf in here.
namespace weft::agent::metrics {

/// istio.md 3.1: upper bounds of all three histograms; one more bucket is +Inf.
inline constexpr std::array<double, 19> istio_bounds = {
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000};
/// istio.md 3.2, in this order.
inline constexpr std::array<const char*, 25> istio_labels = {
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
};

/// The same without a request's own: istio_tcp_*.
inline constexpr size_t istio_tcp_label_count = istio_labels.size() - 2;
[[nodiscard]] constexpr bool is_istio_tcp_label(std::string_view label) {
    return label != "response_code" && label != "grpc_response_status";
}

struct Histogram {
    std::array<uint64_t, istio_bounds.size() + 1> buckets{}; ///< not cumulative
    double sum = 0;
};

/// The Istio HTTP metrics of one label set.
struct RequestTotals {
    uint64_t requests = 0;
    Histogram duration_ms;
    Histogram request_bytes;
    Histogram response_bytes;
    uint64_t request_messages = 0; ///< gRPC only
    uint64_t response_messages = 0;
};
/// The Istio TCP metrics of one label set.
struct TcpTotals {
    uint64_t opened = 0;
    uint64_t closed = 0;
    uint64_t sent_bytes = 0;
    uint64_t received_bytes = 0;
};
using IstioLabels = std::vector<std::string>; ///< values in the order of istio_labels

template <class Totals>
struct Series {
    IstioLabels labels;
    Totals totals;
};
using RequestSeries = Series<RequestTotals>;
using TcpSeries = Series<TcpTotals>;

struct Count {
    std::string name;
    std::string reason; ///< empty: no label
    uint64_t value = 0;
};

struct Level {
    std::string name;
    double value = 0;
};

/// What one engine process counted since it started.
struct EngineReport {
    uint64_t instance = 0;
    std::vector<RequestSeries> requests;
    std::vector<TcpSeries> connections;
    std::vector<Count> counters;
    std::vector<Level> gauges;
    uint64_t malformed = 0; ///< series that were left out: they break the contract
};

struct DatapathReport {
    struct Refusals {
        std::string pod; ///< "namespace/name"; the id where no such pod is known any more
        std::string reason;
        uint64_t value = 0;
    };
    struct Map {
        std::string name;
        uint64_t entries = 0;
        uint64_t entries_max = 0;
    };
    struct Total {
        std::string name; ///< weft_counter's name
        std::string help;
        uint64_t value = 0;
    };
    std::vector<Total> totals;
    std::vector<Refusals> refusals;
    std::vector<Map> maps;
};

/// The agent's own state at the moment of a scrape.
struct AgentReport {
    bool engine_connected = false;
    uint64_t generation_wanted = 0;
    uint64_t generation_applied = 0;
    uint64_t pods_captured = 0;
    uint64_t pods_missing = 0; ///< wanted and not captured, or without a listener
    bool kubelet_found = false;
};

} // namespace weft::agent::metrics
