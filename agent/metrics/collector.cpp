// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/collector.hpp"

#include "agent/metrics/exposition.hpp"
#include "config/base/clock.hpp"

namespace weft::agent::metrics {

void Collector::take(EngineReport report) {
    const std::lock_guard lock(mutex_);
    fold_.take(std::move(report));
}

void Collector::finish(uint64_t instance) {
    const std::lock_guard lock(mutex_);
    fold_.finish(instance, monotonic_ms());
}

void Collector::write_page(std::optional<DatapathReport> datapath, const AgentReport& agent, std::ostream& out) {
    Scrape scrape;
    {
        const std::lock_guard lock(mutex_);
        scrape.requests = fold_.requests(monotonic_ms());
        scrape.connections = fold_.connections(monotonic_ms());
        scrape.engine_counters = fold_.counters();
        scrape.engine_gauges = fold_.gauges();
        scrape.agent_counters = counters_.read();
        scrape.agent_counters.push_back(
            {.name = "weft_agent_engine_series_left_out_total", .reason = "", .value = fold_.left_out()});
    }
    scrape.version = version_;
    scrape.datapath = std::move(datapath);
    scrape.agent = agent;
    write_exposition(scrape, out);
}

} // namespace weft::agent::metrics
