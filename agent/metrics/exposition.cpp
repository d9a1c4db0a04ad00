// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/exposition.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <map>
#include <ostream>

#include "agent/metrics/counters.hpp"

namespace weft::agent::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily family(std::string name, std::string help, MetricType type) {
    MetricFamily made;
    made.name = std::move(name);
    made.help = std::move(help);
    made.type = type;
    return made;
}

ClientMetric sample(std::vector<ClientMetric::Label> labels, MetricType type, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (type == MetricType::Counter)
        metric.counter.value = value;
    else
        metric.gauge.value = value;
    return metric;
}

std::vector<ClientMetric::Label> istio_label_set(const IstioLabels& values) {
    std::vector<ClientMetric::Label> labels;
    labels.reserve(istio_labels.size());
    for (size_t i = 0; i < istio_labels.size(); ++i)
        labels.push_back({istio_labels[i], values[i]});
    return labels;
}

ClientMetric::Histogram cumulative(const Histogram& histogram) {
    ClientMetric::Histogram shown;
    uint64_t count = 0;
    for (size_t i = 0; i < histogram.buckets.size(); ++i) {
        count += histogram.buckets[i];
        const double bound = i < istio_bounds.size() ? istio_bounds[i] : std::numeric_limits<double>::infinity();
        shown.bucket.push_back({.cumulative_count = count, .upper_bound = bound});
    }
    shown.sample_count = count;
    shown.sample_sum = histogram.sum;
    return shown;
}

void write(std::vector<MetricFamily> families, std::ostream& out) {
    std::erase_if(families, [](const MetricFamily& made) { return made.metric.empty(); });
    prometheus::TextSerializer().Serialize(out, families);
}

void write_histogram(const std::vector<RequestSeries>& requests, MetricFamily made, Histogram RequestTotals::* member,
                     std::ostream& out) {
    for (const RequestSeries& series : requests) {
        ClientMetric metric;
        metric.label = istio_label_set(series.labels);
        metric.histogram = cumulative(series.totals.*member);
        made.metric.push_back(std::move(metric));
    }
    write({std::move(made)}, out);
}

/// Only series that have any: gRPC's.
void write_messages(const std::vector<RequestSeries>& requests, MetricFamily made, uint64_t RequestTotals::* member,
                    std::ostream& out) {
    for (const RequestSeries& series : requests) {
        if (series.totals.*member > 0)
            made.metric.push_back(sample(istio_label_set(series.labels), MetricType::Counter,
                                         static_cast<double>(series.totals.*member)));
    }
    write({std::move(made)}, out);
}

void write_requests(const std::vector<RequestSeries>& requests, std::ostream& out) {
    MetricFamily total = family("istio_requests_total", "Requests handled.", MetricType::Counter);
    for (const RequestSeries& series : requests)
        total.metric.push_back(
            sample(istio_label_set(series.labels), MetricType::Counter, static_cast<double>(series.totals.requests)));
    write({std::move(total)}, out);
    write_messages(requests, family("istio_request_messages_total", "gRPC messages of clients.", MetricType::Counter),
                   &RequestTotals::request_messages, out);
    write_messages(requests, family("istio_response_messages_total", "gRPC messages of servers.", MetricType::Counter),
                   &RequestTotals::response_messages, out);
    using enum MetricType;
    write_histogram(requests, family("istio_request_duration_milliseconds", "Duration of requests.", Histogram),
                    &RequestTotals::duration_ms, out);
    write_histogram(requests, family("istio_request_bytes", "Request sizes, heads included.", Histogram),
                    &RequestTotals::request_bytes, out);
    write_histogram(requests, family("istio_response_bytes", "Response sizes, heads included.", Histogram),
                    &RequestTotals::response_bytes, out);
}

std::vector<ClientMetric::Label> istio_tcp_label_set(const IstioLabels& values) {
    std::vector<ClientMetric::Label> labels;
    labels.reserve(istio_tcp_label_count);
    for (const char* name : istio_labels)
        if (is_istio_tcp_label(name))
            labels.push_back({name, values[labels.size()]});
    return labels;
}

void write_connections(const std::vector<TcpSeries>& connections, std::ostream& out) {
    struct Metric {
        const char* name;
        const char* help;
        uint64_t TcpTotals::* member;
    };
    constexpr Metric metrics[] = {
        {"istio_tcp_connections_opened_total", "Opaque connections opened.", &TcpTotals::opened},
        {"istio_tcp_connections_closed_total", "Opaque connections closed.", &TcpTotals::closed},
        {"istio_tcp_sent_bytes_total", "Bytes from destination to source.", &TcpTotals::sent_bytes},
        {"istio_tcp_received_bytes_total", "Bytes from source to destination.", &TcpTotals::received_bytes},
    };
    for (const Metric& metric : metrics) {
        MetricFamily made = family(metric.name, metric.help, MetricType::Counter);
        for (const TcpSeries& series : connections)
            made.metric.push_back(sample(istio_tcp_label_set(series.labels), MetricType::Counter,
                                         static_cast<double>(series.totals.*metric.member)));
        write({std::move(made)}, out);
    }
}

/// weft_[a-z0-9_]*: nothing that an engine says can look like a metric of another program, or break a line.
bool is_own_name(const std::string& name) {
    return name.starts_with("weft_") && name.size() <= 128 &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos &&
           !name.starts_with("weft_agent_") && !name.starts_with("weft_datapath_");
}

void add_counts(const std::vector<Count>& counts, bool own, std::vector<MetricFamily>& out) {
    std::map<std::string, MetricFamily> families;
    for (const Count& count : counts) {
        if (!own && !is_own_name(count.name))
            continue;
        MetricFamily& to = families[count.name];
        if (to.name.empty())
            to = family(count.name, Counters::help(count.name), MetricType::Counter);
        std::vector<ClientMetric::Label> labels;
        if (!count.reason.empty())
            labels.push_back({"reason", count.reason});
        to.metric.push_back(sample(std::move(labels), MetricType::Counter, static_cast<double>(count.value)));
    }
    for (auto& [name, made] : families)
        out.push_back(std::move(made));
}

void add_levels(const std::vector<Level>& levels, std::vector<MetricFamily>& out) {
    std::map<std::string, double> latest; // an engine that names one twice must not give a broken exposition
    for (const Level& level : levels)
        if (is_own_name(level.name))
            latest[level.name] = level.value;
    for (const auto& [name, value] : latest) {
        // A family of one name and two types would make Prometheus refuse the whole page.
        if (std::ranges::any_of(out, [&](const MetricFamily& made) { return made.name == name; }))
            continue;
        out.push_back(family(name, "", MetricType::Gauge));
        out.back().metric.push_back(sample({}, MetricType::Gauge, value));
    }
}

void add_datapath(const DatapathReport& report, std::vector<MetricFamily>& out) {
    for (const DatapathReport::Total& total : report.totals) {
        out.push_back(family("weft_datapath_" + total.name + "_total", total.help, MetricType::Counter));
        out.back().metric.push_back(sample({}, MetricType::Counter, static_cast<double>(total.value)));
    }
    MetricFamily refusals =
        family("weft_datapath_pod_refusals_total", "Refusals by pod and reason.", MetricType::Counter);
    for (const DatapathReport::Refusals& refusal : report.refusals)
        refusals.metric.push_back(sample({{"pod", refusal.pod}, {"reason", refusal.reason}}, MetricType::Counter,
                                         static_cast<double>(refusal.value)));
    out.push_back(std::move(refusals));
    MetricFamily entries = family("weft_datapath_map_entries", "Entries of a kernel map.", MetricType::Gauge);
    MetricFamily limits = family("weft_datapath_map_entries_max", "Capacity of a kernel map.", MetricType::Gauge);
    for (const DatapathReport::Map& map : report.maps) {
        entries.metric.push_back(sample({{"map", map.name}}, MetricType::Gauge, static_cast<double>(map.entries)));
        limits.metric.push_back(sample({{"map", map.name}}, MetricType::Gauge, static_cast<double>(map.entries_max)));
    }
    out.push_back(std::move(entries));
    out.push_back(std::move(limits));
}

void add_gauge(std::string name, std::string help, double value, std::vector<MetricFamily>& out) {
    out.push_back(family(std::move(name), std::move(help), MetricType::Gauge));
    out.back().metric.push_back(sample({}, MetricType::Gauge, value));
}

void add_agent(const AgentReport& agent, std::vector<MetricFamily>& out) {
    add_gauge("weft_agent_engine_connected", "1 while an engine is connected.", agent.engine_connected ? 1 : 0, out);
    add_gauge("weft_agent_generation_wanted", "Generation that the source asks for.",
              static_cast<double>(agent.generation_wanted), out);
    add_gauge("weft_agent_generation_applied", "Generation in force in kernel and engine.",
              static_cast<double>(agent.generation_applied), out);
    add_gauge("weft_agent_pods_captured", "Pods captured.", static_cast<double>(agent.pods_captured), out);
    add_gauge("weft_agent_pods_missing", "Pods that should be captured and are not.",
              static_cast<double>(agent.pods_missing), out);
    add_gauge("weft_agent_kubelet_found", "1 while this node's kubelet is known, so that its probes pass.",
              agent.kubelet_found ? 1 : 0, out);
}

} // namespace

void write_exposition(const Scrape& scrape, std::ostream& out) {
    write_requests(scrape.requests, out);
    write_connections(scrape.connections, out);
    std::vector<MetricFamily> families;
    families.push_back(family("istio_build", "Version of the component.", MetricType::Gauge));
    families.back().metric.push_back(sample({{"component", "proxy"}, {"tag", scrape.version}}, MetricType::Gauge, 1));
    add_counts(scrape.agent_counters, true, families);
    add_agent(scrape.agent, families);
    if (scrape.datapath)
        add_datapath(*scrape.datapath, families);
    add_counts(scrape.engine_counters, false, families);
    add_levels(scrape.engine_gauges, families);
    write(std::move(families), out);
}

} // namespace weft::agent::metrics
