// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/metrics/report.hpp"
#include "config/base/error.hpp"
#include "config/model/snapshot.hpp"

/// The contract of config/proto as plain values; protobuf stays behind this header.
namespace weft::agent::engine {

inline constexpr size_t version_bytes_max = 128; ///< of a peer's version text
inline constexpr size_t group_bytes_max = 128;   ///< a pod's uid has 36
/// Of all labels of one series: twice what the longest names of Kubernetes come to. A longer one is left out.
inline constexpr size_t series_label_bytes_max = 4096;
inline constexpr size_t metric_name_bytes_max = 128;
inline constexpr size_t gauges_max = 1024; ///< of one report

/// Of the dial_slots map: one connected engine's part.
struct DialSlotRange {
    uint32_t begin = 0;
    uint32_t count = 0;
};
struct ListenerName {
    uint32_t pod_id = 0;
    uint32_t kind = 0;
};

struct EngineHello {
    uint32_t contract = 0;
    std::string version;
    uint64_t instance = 0;
    uint64_t applied_generation = 0;
    uint32_t workers = 0;
    std::vector<ListenerName> listeners; ///< as many as descriptors came with it
    uint32_t listeners_to_come = 0;      ///< in MoreListeners
    std::string group;                   ///< --group
};
struct MoreListeners {
    std::vector<ListenerName> listeners;
};
struct SnapshotApplied {
    uint64_t generation = 0;
    std::string error;
    uint64_t apply_us = 0;
};
struct SocketsWanted {
    uint32_t pod_id = 0;
    uint32_t worker = 0;
    bool ipv6 = false;
    uint32_t count = 0;
};
struct StatsReport {
    uint64_t request_id = 0;
    metrics::EngineReport report;
};
struct ListenersAdopted {
    uint32_t pod_id = 0;
};
struct PodReleased {
    uint32_t pod_id = 0;
};
struct Draining {};
struct CtlRequest {
    enum class Verb : uint8_t { status, sync, step_aside, ready };
    Verb verb = Verb::status;
    uint32_t timeout_ms = 0;
    std::string group{}; ///< of ready
};
struct CtlReply {
    bool ok = true;
    std::string error; ///< one line
    std::string json;
};

using ToAgent = std::variant<EngineHello, SnapshotApplied, SocketsWanted, StatsReport, ListenersAdopted, PodReleased,
                             Draining, CtlRequest, MoreListeners>;

/// Bytes of a peer. Code::malformed: not a message of ours; Code::invalid: a field breaks the contract.
[[nodiscard]] Result<ToAgent> decode(std::string_view bytes);

[[nodiscard]] uint32_t contract_version();
[[nodiscard]] std::string welcome_message(std::string_view version, DialSlotRange dial_slots);
/// Not now: another engine serves.
[[nodiscard]] std::string standby_message(std::string_view version);
[[nodiscard]] std::string refusal_message(std::string_view version, std::string_view error);
/// A snapshot but for its generation, as most of a message: equal snapshots have equal ones. Checked as the engine will
/// check it: what an engine would refuse, or never could read, is not worth sending. The error is one line. Parts that
/// `checked`, an earlier body, has at the same place are not checked again.
[[nodiscard]] std::expected<std::string, std::string> snapshot_body(const config::Snapshot& snapshot,
                                                                    std::string_view checked);
/// The body followed by the generation.
[[nodiscard]] std::string snapshot_message(std::string body, uint64_t generation);
[[nodiscard]] std::string give_listeners_message(uint32_t pod_id, const std::vector<uint32_t>& kinds);
/// `error` empty: `given` descriptors come with it.
[[nodiscard]] std::string give_sockets_message(const SocketsWanted& wanted, uint32_t given, std::string_view error);
[[nodiscard]] std::string release_pod_message(uint32_t pod_id);
[[nodiscard]] std::string stats_wanted_message(uint64_t request_id);
[[nodiscard]] std::string drain_message(uint32_t timeout_ms);
[[nodiscard]] std::string ctl_reply_message(const CtlReply& reply);

} // namespace weft::agent::engine
