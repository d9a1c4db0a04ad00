// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/exposition.hpp"

#include <gtest/gtest.h>

#include <sstream>

#include "agent/metrics/counters.hpp"

namespace weft::agent::metrics {
namespace {

constexpr const char* label_text =
    R"(reporter="waypoint",source_workload="client",source_canonical_service="v2",source_canonical_revision="v3",)"
    R"(source_workload_namespace="v4",source_principal="spiffe://td/ns/a/sa/b",source_app="v6",source_version="v7",)"
    R"(source_cluster="v8",destination_workload="v9",destination_workload_namespace="v10",destination_principal="v11",)"
    R"(destination_app="v12",destination_version="v13",destination_service="v14",destination_canonical_service="v15",)"
    R"(destination_canonical_revision="v16",destination_service_name="v17",destination_service_namespace="v18",)"
    R"(destination_cluster="v19",request_protocol="http",response_code="200",grpc_response_status="",)"
    R"(response_flags="-",connection_security_policy="none")";

Scrape one_series() {
    RequestSeries series;
    for (size_t i = 0; i < istio_labels.size(); ++i)
        series.labels.push_back("v" + std::to_string(i));
    series.labels[0] = "waypoint";
    series.labels[1] = "client";
    series.labels[5] = "spiffe://td/ns/a/sa/b";
    series.labels[20] = "http";
    series.labels[21] = "200";
    series.labels[22] = "";
    series.labels[23] = "-";
    series.labels[24] = "none";
    series.totals.requests = 3;
    series.totals.duration_ms.buckets[0] = 1;
    series.totals.duration_ms.buckets[2] = 1;
    series.totals.duration_ms.buckets[19] = 1;
    series.totals.duration_ms.sum = 3600004.25;
    Scrape scrape;
    scrape.version = "1.2.3";
    scrape.requests.push_back(std::move(series));
    return scrape;
}

std::string exposition(const Scrape& scrape) {
    std::ostringstream out;
    write_exposition(scrape, out);
    return std::move(out).str();
}

bool has_line(const std::string& page, const std::string& line) {
    return ("\n" + page).find("\n" + line + "\n") != std::string::npos;
}

TEST(Exposition, IstioNamesLabelsAndBuckets) {
    const std::string page = exposition(one_series());
    const std::string labels = label_text;
    EXPECT_TRUE(has_line(page, "# TYPE istio_requests_total counter"));
    EXPECT_TRUE(has_line(page, "istio_requests_total{" + labels + "} 3")) << page;
    EXPECT_TRUE(has_line(page, "# TYPE istio_request_duration_milliseconds histogram"));
    const std::string name = "istio_request_duration_milliseconds";
    for (const auto& [bound, count] : std::vector<std::pair<std::string, std::string>>{
             {"0.5", "1"},    {"1", "1"},      {"5", "2"},       {"10", "2"},      {"25", "2"},
             {"50", "2"},     {"100", "2"},    {"250", "2"},     {"500", "2"},     {"1000", "2"},
             {"2500", "2"},   {"5000", "2"},   {"10000", "2"},   {"30000", "2"},   {"60000", "2"},
             {"300000", "2"}, {"600000", "2"}, {"1800000", "2"}, {"3600000", "2"}, {"+Inf", "3"}})
        EXPECT_TRUE(has_line(page, name + "_bucket{" + labels + ",le=\"" + bound + "\"} " + count)) << bound << page;
    EXPECT_TRUE(has_line(page, name + "_sum{" + labels + "} 3600004.25"));
    EXPECT_TRUE(has_line(page, name + "_count{" + labels + "} 3"));
    EXPECT_TRUE(has_line(page, "istio_request_bytes_count{" + labels + "} 0"));
    EXPECT_TRUE(has_line(page, "istio_response_bytes_count{" + labels + "} 0"));
    EXPECT_TRUE(has_line(page, "istio_build{component=\"proxy\",tag=\"1.2.3\"} 1"));
}

TEST(Exposition, ConnectionsHaveTheLabelsOfRequestsWithoutTheirCodes) {
    Scrape scrape = one_series();
    TcpSeries series{.labels = scrape.requests[0].labels,
                     .totals = {.opened = 3, .closed = 2, .sent_bytes = 11, .received_bytes = 12}};
    series.labels.erase(series.labels.begin() + 21, series.labels.begin() + 23);
    series.labels[20] = "tcp";
    scrape.connections.push_back(std::move(series));
    const std::string page = exposition(scrape);
    std::string labels = label_text;
    const std::string codes = R"(request_protocol="http",response_code="200",grpc_response_status="")";
    labels.replace(labels.find(codes), codes.size(), R"(request_protocol="tcp")");
    EXPECT_TRUE(has_line(page, "# TYPE istio_tcp_connections_opened_total counter"));
    EXPECT_TRUE(has_line(page, "istio_tcp_connections_opened_total{" + labels + "} 3")) << page;
    EXPECT_TRUE(has_line(page, "istio_tcp_connections_closed_total{" + labels + "} 2"));
    EXPECT_TRUE(has_line(page, "istio_tcp_sent_bytes_total{" + labels + "} 11"));
    EXPECT_TRUE(has_line(page, "istio_tcp_received_bytes_total{" + labels + "} 12"));
}

TEST(Exposition, AnEngineCannotForgeOtherMetrics) {
    Scrape scrape = one_series();
    for (const char* name : {"istio_requests_total", "up", "weft_agent_engine_connected", "weft_datapath_x_total",
                             "weft_bad\nup 1", "weft_Bad"})
        scrape.engine_counters.push_back({.name = name, .reason = "", .value = 4711});
    scrape.engine_counters.push_back({.name = "weft_proxy_denied_total", .reason = "a\"b\n", .value = 2});
    scrape.engine_gauges.push_back({.name = "weft_proxy_denied_total", .value = 4711});
    scrape.engine_gauges.push_back({.name = "weft_proxy_connections", .value = 1});
    scrape.engine_gauges.push_back({.name = "weft_proxy_connections", .value = 8});
    const std::string page = exposition(scrape);
    EXPECT_EQ(page.find("4711"), std::string::npos) << page;
    EXPECT_TRUE(has_line(page, "weft_proxy_denied_total{reason=\"a\\\"b\\n\"} 2")) << page;
    EXPECT_TRUE(has_line(page, "weft_proxy_connections 8"));
    EXPECT_FALSE(has_line(page, "weft_proxy_connections 1"));
}

TEST(Exposition, DatapathAndAgent) {
    Counters counters;
    counters.add(Event::engine_loss, "connection");
    counters.add(Event::engine_loss, "connection", 2);
    Scrape scrape;
    scrape.agent_counters = counters.read();
    scrape.datapath =
        DatapathReport{.totals = {{.name = "inbound_steered", .help = "connections steered", .value = 12}},
                       .refusals = {{.pod = "default/a", .reason = "inbound_refused_protocol", .value = 4}},
                       .maps = {{.name = "services", .entries = 3, .entries_max = 65536}}};
    scrape.agent.engine_connected = true;
    const std::string page = exposition(scrape);
    for (const char* line :
         {"# HELP weft_datapath_inbound_steered_total connections steered", "weft_datapath_inbound_steered_total 12",
          "weft_datapath_pod_refusals_total{pod=\"default/a\",reason=\"inbound_refused_protocol\"} 4",
          "weft_datapath_map_entries{map=\"services\"} 3", "weft_datapath_map_entries_max{map=\"services\"} 65536",
          "weft_agent_engine_connected 1", "weft_agent_engine_losses_total{reason=\"connection\"} 3",
          "weft_agent_bad_messages_total 0"})
        EXPECT_TRUE(has_line(page, line)) << line << "\n" << page;
    EXPECT_EQ(page.find("istio_requests_total"), std::string::npos);
}

} // namespace
} // namespace weft::agent::metrics
