// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/metrics/report.hpp"

namespace weft::agent::metrics {

/// All that one scrape shows. An absent part could not be had in time; the rest is shown without it.
struct Scrape {
    std::string version;
    std::vector<RequestSeries> requests;
    std::vector<Count> engine_counters;
    std::vector<Level> engine_gauges;
    std::vector<Count> agent_counters;
    std::optional<DatapathReport> datapath;
    AgentReport agent;
};

/// The text format of Prometheus, by the library's serializer. Engine names that are no metric names of ours are left
/// out: an engine must not be able to forge another metric.
[[nodiscard]] std::string exposition(const Scrape& scrape);

} // namespace weft::agent::metrics
