// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/fold.hpp"

#include <algorithm>
#include <iterator>

namespace weft::agent::metrics {
namespace {

void add(Histogram& to, const Histogram& from) {
    for (size_t i = 0; i < to.buckets.size(); ++i)
        to.buckets[i] += from.buckets[i];
    to.sum += from.sum;
}

void add(RequestTotals& to, const RequestTotals& from) {
    to.requests += from.requests;
    add(to.duration_ms, from.duration_ms);
    add(to.request_bytes, from.request_bytes);
    add(to.response_bytes, from.response_bytes);
}

} // namespace

void Fold::take(EngineReport report) {
    if (!engines_.contains(report.instance))
        make_room();
    Engine next;
    left_out_ += report.malformed;
    for (RequestSeries& series : report.requests) {
        if (series.labels.size() != istio_labels.size() || next.requests.size() >= folded_series_max)
            ++left_out_;
        else
            add(next.requests[std::move(series.labels)], series.totals);
    }
    for (Count& count : report.counters) {
        if (next.counters.size() >= folded_counters_max)
            ++left_out_;
        else
            next.counters[{std::move(count.name), std::move(count.reason)}] += count.value;
    }
    Engine& slot = engines_[report.instance];
    forget_what_expired(slot, next);
    slot = std::move(next);
    gauges_ = std::move(report.gauges);
}

void Fold::forget_what_expired(const Engine& before, const Engine& now) {
    for (const auto& [labels, totals] : before.requests) {
        if (now.requests.contains(labels))
            continue;
        // The whole series goes: what remained of it would be a total that went down.
        past_requests_.erase(labels);
        for (auto& [instance, engine] : engines_)
            if (engine.finished_ms)
                engine.requests.erase(labels);
    }
}

void Fold::finish(uint64_t instance, uint64_t now_ms) {
    const auto engine = engines_.find(instance);
    if (engine == engines_.end())
        return;
    engine->second.finished_ms = now_ms;
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
    const uint64_t finished_ms = engine->second.finished_ms.value_or(0);
    for (const auto& [labels, totals] : engine->second.requests) {
        if (past_requests_.size() >= folded_series_max && !past_requests_.contains(labels)) {
            ++left_out_;
            continue;
        }
        Past& past = past_requests_[labels];
        add(past.totals, totals);
        past.touched_ms = std::max(past.touched_ms, finished_ms);
    }
    for (const auto& [key, value] : engine->second.counters)
        if (past_counters_.size() < folded_counters_max || past_counters_.contains(key))
            past_counters_[key] += value;
    engines_.erase(engine);
}

void Fold::add_up(const std::map<IstioLabels, RequestTotals>& requests, Sums& sums) {
    for (const auto& [labels, totals] : requests) {
        if (sums.size() < folded_series_max || sums.contains(labels))
            add(sums[labels], totals);
        else
            ++left_out_;
    }
}

std::vector<RequestSeries> Fold::requests(uint64_t now_ms) {
    for (auto engine = engines_.begin(); engine != engines_.end();) {
        const auto next = std::next(engine);
        if (engine->second.finished_ms && now_ms - *engine->second.finished_ms >= past_series_ms)
            retire(engine);
        engine = next;
    }
    Sums sums;
    for (const bool finished : {false, true}) // what is still counted comes first, should not all fit
        for (const auto& [instance, engine] : engines_)
            if (engine.finished_ms.has_value() == finished)
                add_up(engine.requests, sums);
    std::erase_if(past_requests_, [&](const auto& item) {
        return !sums.contains(item.first) && now_ms - item.second.touched_ms >= past_series_ms;
    });
    for (const auto& [labels, past] : past_requests_)
        add_up({{labels, past.totals}}, sums);
    std::vector<RequestSeries> series;
    series.reserve(sums.size());
    for (auto& [labels, totals] : sums)
        series.push_back({labels, totals});
    return series;
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
