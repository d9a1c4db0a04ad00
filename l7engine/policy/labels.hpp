// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/model/snapshot.hpp"

/// The labels of Istio's metrics (istio.md 3.1, 3.2) from facts. No value ever comes from text of a client: only
/// from the snapshot, from numbers and from the literals of this file.
namespace weft::l7 {

inline constexpr std::array<std::string_view, 25> label_names = {
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

/// Those of opaque connections, istio_tcp_*: the same without a request's own.
inline constexpr std::array<std::string_view, 23> tcp_label_names = [] {
    std::array<std::string_view, 23> names;
    size_t count = 0;
    for (const std::string_view name : label_names) {
        if (name != "response_code" && name != "grpc_response_status")
            names[count++] = name;
    }
    return names;
}();

/// Upper bounds of the duration (ms), request bytes and response bytes histograms; a last bucket is +Inf.
inline constexpr std::array<double, 19> histogram_bounds = {
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000,
};
/// The bucket that `value` counts in: 0 .. histogram_bounds.size(), the last being +Inf. Bounds are inclusive.
[[nodiscard]] size_t histogram_bucket(double value);

enum class Reporter : uint8_t { source, destination, waypoint };
enum class RequestProtocol : uint8_t { http, grpc, tcp };
enum class SecurityPolicy : uint8_t { none, mutual_tls, unknown };

/// Envoy's response flags, in the order in which Envoy writes several.
enum class ResponseFlag : uint8_t {
    LH,
    UH,
    UT,
    LR,
    UR,
    UF,
    UC,
    UO,
    NR,
    DI,
    FI,
    RL,
    UAEX,
    RLSE,
    DC,
    URX,
    SI,
    IH,
    DPE,
    UMSDR,
    RFCF,
    NFCF,
    DT,
    UPE,
    NC,
    OM,
    DF,
    DO,
};

class ResponseFlags {
public:
    ResponseFlags() = default;
    /// By its name ("UF"); an unknown name or "" or "-" adds nothing.
    [[nodiscard]] static ResponseFlags named(std::string_view name);

    void add(ResponseFlag flag) { bits_ |= uint32_t{1} << static_cast<unsigned>(flag); }
    void add(ResponseFlags flags) { bits_ |= flags.bits_; }
    [[nodiscard]] bool has(ResponseFlag flag) const { return (bits_ >> static_cast<unsigned>(flag) & 1U) != 0; }
    [[nodiscard]] bool empty() const { return bits_ == 0; }
    [[nodiscard]] uint32_t bits() const { return bits_; }
    /// "UF,URX"; "-" if there is none.
    [[nodiscard]] std::string to_string() const;
    bool operator==(const ResponseFlags&) const = default;

private:
    uint32_t bits_ = 0;
};

/// The service that a request was for: the chosen cluster's, else the one that was dialled.
struct ServiceName {
    std::string_view host;
    std::string_view name;
    std::string_view ns;

    [[nodiscard]] static ServiceName of(const config::Cluster& cluster) {
        return {cluster.host, cluster.service, cluster.ns};
    }
    [[nodiscard]] static ServiceName of(const config::Frontend& frontend) {
        return {frontend.host, frontend.service, frontend.ns};
    }
};

/// What one request was, as metrics see it.
struct LabelFacts {
    Reporter reporter = Reporter::waypoint;
    const config::Workload* source = nullptr;      ///< nullptr: unknown
    const config::Workload* destination = nullptr; ///< of the chosen endpoint; nullptr: none was chosen, or unknown
    ServiceName service;                           ///< empty: unknown
    RequestProtocol protocol = RequestProtocol::http;
    uint16_t response_code = 0;          ///< 0: none was sent
    std::optional<uint32_t> grpc_status; ///< gRPC only
    ResponseFlags flags;
    SecurityPolicy security = SecurityPolicy::none;
};

/// By is_grpc().
[[nodiscard]] RequestProtocol protocol_of(std::string_view content_type);

/// The values of label_names, in their order.
[[nodiscard]] std::vector<std::string> label_values(const config::Snapshot& snapshot, const LabelFacts& facts);
/// The values of tcp_label_names, in their order. `facts.protocol` is RequestProtocol::tcp.
[[nodiscard]] std::vector<std::string> tcp_label_values(const config::Snapshot& snapshot, const LabelFacts& facts);

} // namespace weft::l7
