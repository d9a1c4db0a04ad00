// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/fold.hpp"

#include <algorithm>
#include <iterator>

namespace weft::agent::metrics {

void Fold::take(EngineReport report) {
    if (!engines_.contains(report.instance))
        make_room();
    Engine next;
    left_out_ += report.malformed;
    requests_.take(report.instance, std::move(report.requests));
    connections_.take(report.instance, std::move(report.connections));
    for (Count& count : report.counters) {
        if (next.counters.size() >= folded_counters_max)
            ++left_out_;
        else
            next.counters[{std::move(count.name), std::move(count.reason)}] += count.value;
    }
    engines_[report.instance] = std::move(next);
    gauges_ = std::move(report.gauges);
}

void Fold::finish(uint64_t instance, uint64_t now_ms) {
    const auto engine = engines_.find(instance);
    if (engine == engines_.end())
        return;
    engine->second.finished_ms = now_ms;
    requests_.finish(instance, now_ms);
    connections_.finish(instance, now_ms);
    if (std::ranges::all_of(engines_, [](const auto& item) { return item.second.finished_ms.has_value(); }))
        gauges_.clear();
}

/// The engine that finished first becomes the past; if all are at work, the contract is broken and any will do.
void Fold::make_room() {
    if (engines_.size() < engines_max)
        return;
    const auto oldest = std::ranges::min_element(
        engines_, {}, [](const auto& item) { return item.second.finished_ms.value_or(UINT64_MAX); });
    retire(oldest);
}

void Fold::retire(std::map<uint64_t, Engine>::iterator engine) {
    requests_.retire(engine->first);
    connections_.retire(engine->first);
    for (const auto& [key, value] : engine->second.counters)
        if (past_counters_.size() < folded_counters_max || past_counters_.contains(key))
            past_counters_[key] += value;
    engines_.erase(engine);
}

void Fold::retire_finished(uint64_t now_ms) {
    for (auto engine = engines_.begin(); engine != engines_.end();) {
        const auto next = std::next(engine);
        if (engine->second.finished_ms && now_ms - *engine->second.finished_ms >= past_series_ms)
            retire(engine);
        engine = next;
    }
}

std::vector<RequestSeries> Fold::requests(uint64_t now_ms) {
    retire_finished(now_ms);
    return requests_.sums(now_ms);
}

std::vector<TcpSeries> Fold::connections(uint64_t now_ms) {
    retire_finished(now_ms);
    return connections_.sums(now_ms);
}

std::vector<Count> Fold::counters() const {
    std::map<CounterKey, uint64_t> sums = past_counters_;
    for (const auto& [instance, engine] : engines_)
        for (const auto& [key, value] : engine.counters)
            sums[key] += value;
    std::vector<Count> counts;
    for (const auto& [key, value] : sums)
        counts.push_back({.name = key.first, .reason = key.second, .value = value});
    return counts;
}

std::vector<Level> Fold::gauges() const {
    return gauges_;
}

} // namespace weft::agent::metrics
