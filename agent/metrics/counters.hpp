// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/metrics/report.hpp"

namespace weft::agent::metrics {

/// The agent's own events. Names and help texts are in counters.cpp, beside each other.
enum class Event : uint8_t {
    source_fault,
    object_refused,
    object_error,
    engine_start,
    engine_loss,
    bad_message,
    capture_failure,
    pod_vanished,
    apply_failure,
    snapshot_refused,
    sockets_unavailable,
    scrape_failure,
    connection_refused,
    source_hold,
    connection_cut,
    connection_left,
    cni_answer,
    cni_refusal,
    cni_fail_open,
    cni_install,
    cni_install_failure,
    api_write,
    api_write_failure,
    leader_change,
};

/// Counters of rare events, from any thread. Reasons are literals of ours, never a peer's text, so they stay few.
class Counters {
public:
    void add(Event event, std::string_view reason, uint64_t count);
    void add(Event event, std::string_view reason) { add(event, reason, 1); }
    [[nodiscard]] uint64_t total(Event event) const;
    /// Every event appears, with zero if it never happened: dashboards need the series before the first fault.
    [[nodiscard]] std::vector<Count> read() const;

    [[nodiscard]] static const char* name(Event event);
    [[nodiscard]] static const char* help(std::string_view name);

private:
    static constexpr size_t reasons_max = 256;
    mutable std::mutex mutex_;
    std::map<std::pair<Event, std::string>, uint64_t> values_;
};

} // namespace weft::agent::metrics
