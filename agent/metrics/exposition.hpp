// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "agent/metrics/report.hpp"

namespace weft::agent::metrics {

/// All that one scrape shows. An absent part could not be had in time; the rest is shown without it.
struct Scrape {
    std::string version;
    std::vector<RequestSeries> requests;
    std::vector<TcpSeries> connections;
    std::vector<Count> engine_counters;
    std::vector<Level> engine_gauges;
    std::vector<Count> agent_counters;
    std::optional<DatapathReport> datapath;
    AgentReport agent;
};

/// The text format of Prometheus, by the library's serializer, family by family: the whole of a large page is never in
/// memory. Engine names that are no metric names of ours are left out: an engine must not be able to forge another
/// metric.
void write_exposition(const Scrape& scrape, std::ostream& out);

} // namespace weft::agent::metrics
