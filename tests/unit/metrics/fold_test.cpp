// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/fold.hpp"

#include <gtest/gtest.h>

namespace weft::agent::metrics {
namespace {

IstioLabels labels(const std::string& code) {
    IstioLabels values(istio_labels.size(), "unknown");
    values[21] = code;
    return values;
}

EngineReport report(uint64_t instance, std::vector<std::pair<std::string, uint64_t>> series) {
    EngineReport made;
    made.instance = instance;
    for (const auto& [code, count] : series) {
        RequestSeries one{.labels = labels(code), .totals = {}};
        one.totals.requests = count;
        one.totals.duration_ms.buckets[1] = count;
        one.totals.duration_ms.sum = static_cast<double>(count) / 2;
        made.requests.push_back(one);
        made.counters.push_back({.name = "weft_proxy_test_total", .reason = code, .value = count});
    }
    return made;
}

uint64_t total(Fold& fold, const std::string& code, uint64_t now_ms) {
    for (const RequestSeries& series : fold.requests(now_ms))
        if (series.labels == labels(code)) {
            EXPECT_EQ(series.totals.duration_ms.buckets[1], series.totals.requests);
            EXPECT_DOUBLE_EQ(series.totals.duration_ms.sum, static_cast<double>(series.totals.requests) / 2);
            return series.totals.requests;
        }
    return 0;
}

TEST(Fold, AReportReplacesTheOneBefore) {
    Fold fold;
    fold.take(report(1, {{"200", 5}}));
    fold.take(report(1, {{"200", 9}}));
    EXPECT_EQ(total(fold, "200", 0), 9U);
}

TEST(Fold, TotalsDoNotGoDownWhenAnEngineIsReplaced) {
    Fold fold;
    uint64_t before = 0;
    for (uint64_t instance = 1; instance <= 3 * engines_max; ++instance) {
        fold.take(report(instance, {{"200", 10}}));
        const uint64_t now = total(fold, "200", instance);
        EXPECT_EQ(now, before + 10);
        before = now;
        fold.finish(instance, instance);
        EXPECT_EQ(total(fold, "200", instance), before);
    }
    EXPECT_EQ(fold.counters().at(0).value, before);
}

TEST(Fold, ConnectionsAreFoldedAsRequestsAre) {
    Fold fold;
    const auto reported = [](uint64_t instance, uint64_t opened) {
        EngineReport made;
        made.instance = instance;
        made.connections = {{.labels = IstioLabels(istio_tcp_label_count, "a"),
                             .totals = {.opened = opened, .closed = 1, .sent_bytes = 10, .received_bytes = 20}},
                            {.labels = {"of another shape"}, .totals = {}}};
        return made;
    };
    fold.take(reported(1, 5));
    fold.finish(1, 0);
    fold.take(reported(2, 1));
    fold.take(reported(2, 3));
    const std::vector<TcpSeries> series = fold.connections(0);
    ASSERT_EQ(series.size(), 1U);
    EXPECT_EQ(series[0].totals.opened, 8U);
    EXPECT_EQ(series[0].totals.closed, 2U);
    EXPECT_EQ(series[0].totals.sent_bytes, 20U);
    EXPECT_EQ(series[0].totals.received_bytes, 40U);
    EXPECT_EQ(fold.left_out(), 3U);
}

TEST(Fold, AnEngineThatComesBackIsNotCountedTwice) {
    Fold fold;
    fold.take(report(1, {{"200", 10}}));
    fold.finish(1, 0);
    fold.take(report(1, {{"200", 12}}));
    EXPECT_EQ(total(fold, "200", 1), 12U);
}

TEST(Fold, ASeriesThatTheEngineDropsIsDropped) {
    Fold fold;
    fold.take(report(1, {{"200", 10}, {"404", 1}}));
    fold.finish(1, 0);
    fold.take(report(2, {{"200", 1}, {"404", 1}}));
    fold.take(report(2, {{"200", 2}}));
    EXPECT_EQ(total(fold, "200", 1), 12U);
    EXPECT_EQ(total(fold, "404", 1), 0U);
}

TEST(Fold, WhatOnlyThePastCountedExpires) {
    Fold fold;
    fold.take(report(1, {{"200", 10}, {"404", 1}}));
    fold.finish(1, 1000);
    fold.take(report(2, {{"200", 1}}));
    EXPECT_EQ(total(fold, "404", 1000 + past_series_ms - 1), 1U);
    EXPECT_EQ(total(fold, "404", 1000 + past_series_ms), 0U);
    EXPECT_EQ(total(fold, "200", 1000 + past_series_ms), 11U);
}

TEST(Fold, NoMoreSeriesAreShownThanAPageMayHold) {
    Fold fold;
    for (uint64_t instance = 1; instance <= 2; ++instance) {
        std::vector<std::pair<std::string, uint64_t>> series;
        for (size_t i = 0; i < folded_series_max + 10; ++i)
            series.emplace_back(std::to_string(instance) + "-" + std::to_string(i), 1);
        fold.take(report(instance, std::move(series)));
        if (instance == 1)
            fold.finish(1, 0);
    }
    EXPECT_EQ(fold.left_out(), 20U);
    const auto shown = fold.requests(1);
    EXPECT_EQ(shown.size(), folded_series_max);
    EXPECT_EQ(shown[0].labels[21].substr(0, 2), "2-"); // of the engine at work
    EXPECT_EQ(fold.left_out(), 20U + folded_series_max);
}

TEST(Fold, SeriesOfAnotherShapeAreLeftOut) {
    Fold fold;
    EngineReport odd = report(1, {{"200", 1}});
    odd.requests.push_back({.labels = {"short"}, .totals = {}});
    odd.malformed = 2;
    fold.take(std::move(odd));
    EXPECT_EQ(fold.requests(0).size(), 1U);
    EXPECT_EQ(fold.left_out(), 3U);
}

} // namespace
} // namespace weft::agent::metrics
