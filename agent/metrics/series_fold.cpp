// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/series_fold.hpp"

#include <algorithm>

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
    to.request_messages += from.request_messages;
    to.response_messages += from.response_messages;
}

void add(TcpTotals& to, const TcpTotals& from) {
    to.opened += from.opened;
    to.closed += from.closed;
    to.sent_bytes += from.sent_bytes;
    to.received_bytes += from.received_bytes;
}

} // namespace

template <class Totals>
void SeriesFold<Totals>::take(uint64_t instance, std::vector<Series<Totals>> series) {
    Engine next;
    for (Series<Totals>& one : series) {
        if (one.labels.size() != label_count_ || next.series.size() >= folded_series_max)
            ++left_out_;
        else
            add(next.series[std::move(one.labels)], one.totals);
    }
    Engine& slot = engines_[instance];
    forget_what_expired(slot.series, next.series);
    slot = std::move(next);
}

template <class Totals>
void SeriesFold<Totals>::forget_what_expired(const Map& before, const Map& now) {
    for (const auto& [labels, totals] : before) {
        if (now.contains(labels))
            continue;
        // The whole series goes: what remained of it would be a total that went down.
        past_.erase(labels);
        for (auto& [instance, engine] : engines_)
            if (engine.finished_ms)
                engine.series.erase(labels);
    }
}

template <class Totals>
void SeriesFold<Totals>::finish(uint64_t instance, uint64_t now_ms) {
    if (const auto engine = engines_.find(instance); engine != engines_.end())
        engine->second.finished_ms = now_ms;
}

template <class Totals>
void SeriesFold<Totals>::retire(uint64_t instance) {
    const auto engine = engines_.find(instance);
    if (engine == engines_.end())
        return;
    const uint64_t finished_ms = engine->second.finished_ms.value_or(0);
    for (const auto& [labels, totals] : engine->second.series) {
        if (past_.size() >= folded_series_max && !past_.contains(labels)) {
            ++left_out_;
            continue;
        }
        Past& past = past_[labels];
        add(past.totals, totals);
        past.touched_ms = std::max(past.touched_ms, finished_ms);
    }
    engines_.erase(engine);
}

template <class Totals>
void SeriesFold<Totals>::add_up(const Map& series, Map& sums) {
    for (const auto& [labels, totals] : series) {
        if (sums.size() < folded_series_max || sums.contains(labels))
            add(sums[labels], totals);
        else
            ++left_out_;
    }
}

template <class Totals>
std::vector<Series<Totals>> SeriesFold<Totals>::sums(uint64_t now_ms) {
    Map sums;
    for (const bool finished : {false, true}) // what is still counted comes first, should not all fit
        for (const auto& [instance, engine] : engines_)
            if (engine.finished_ms.has_value() == finished)
                add_up(engine.series, sums);
    std::erase_if(past_, [&](const auto& item) {
        return !sums.contains(item.first) && now_ms - item.second.touched_ms >= past_series_ms;
    });
    for (const auto& [labels, past] : past_)
        add_up({{labels, past.totals}}, sums);
    std::vector<Series<Totals>> series;
    series.reserve(sums.size());
    for (auto& [labels, totals] : sums)
        series.push_back({labels, totals});
    return series;
}

template class SeriesFold<RequestTotals>;
template class SeriesFold<TcpTotals>;

} // namespace weft::agent::metrics
