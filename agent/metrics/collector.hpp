// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <mutex>
#include <optional>
#include <string>

#include "agent/metrics/counters.hpp"
#include "agent/metrics/fold.hpp"
#include "agent/metrics/report.hpp"

namespace weft::agent::metrics {

/// What engines reported so far, and the page made from it. Fed by the control thread, read by the HTTP threads.
class Collector {
public:
    Collector(const Counters& counters, std::string version) : counters_(counters), version_(std::move(version)) {}

    void take(EngineReport report);
    /// The connection to this engine ended.
    void finish(uint64_t instance);
    /// A page for Prometheus. Without `datapath`: it could not be had in time. Whoever takes it slowly holds up nobody.
    void write_page(std::optional<DatapathReport> datapath, const AgentReport& agent, std::ostream& out);

private:
    const Counters& counters_;
    const std::string version_;
    std::mutex mutex_;
    Fold fold_;
};

} // namespace weft::agent::metrics
