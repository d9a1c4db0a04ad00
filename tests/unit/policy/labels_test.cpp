// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/labels.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace weft::l7 {
namespace {

config::Workload workload(std::string name, std::string version) {
    config::Workload out;
    out.ns = "default";
    out.pod = name + "-" + version + "-abc";
    out.service_account = "sa-" + name;
    out.name = name + "-" + version;
    out.canonical_service = name;
    out.canonical_revision = version;
    out.app = name;
    out.version = version;
    out.principal = "spiffe://cluster.local/ns/default/sa/sa-" + name;
    return out;
}

std::string value_of(const std::vector<std::string>& values, std::string_view name) {
    const auto at = std::ranges::find(label_names, name);
    return values.at(static_cast<size_t>(at - label_names.begin()));
}

TEST(Labels, a_complete_request) {
    const config::Workload source = workload("productpage", "v1");
    const config::Workload destination = workload("reviews", "v2");
    config::Cluster cluster;
    cluster.ns = "default";
    cluster.service = "reviews-v2";
    cluster.host = "reviews-v2.default.svc.cluster.local";
    LabelFacts facts;
    facts.source = &source;
    facts.destination = &destination;
    facts.service = ServiceName::of(cluster);
    facts.response_code = 200;
    facts.security = SecurityPolicy::mutual_tls;
    const std::vector<std::string> expected = {
        "waypoint",
        "productpage-v1",
        "productpage",
        "v1",
        "default",
        "spiffe://cluster.local/ns/default/sa/sa-productpage",
        "productpage",
        "v1",
        "Kubernetes",
        "reviews-v2",
        "default",
        "spiffe://cluster.local/ns/default/sa/sa-reviews",
        "reviews",
        "v2",
        "reviews-v2.default.svc.cluster.local",
        "reviews",
        "v2",
        "reviews-v2",
        "default",
        "Kubernetes",
        "http",
        "200",
        "",
        "-",
        "mutual_tls",
    };
    EXPECT_EQ(label_values({}, facts), expected);
    EXPECT_EQ(expected.size(), label_names.size());
}

TEST(Labels, what_is_unknown) {
    const auto values = label_values({}, {});
    for (size_t i = 0; i < values.size(); ++i) {
        const std::string_view name = label_names[i];
        const std::string expected = name == "reporter"                     ? "waypoint"
                                     : name == "source_canonical_revision"  ? "latest"
                                     : name == "request_protocol"           ? "http"
                                     : name == "response_code"              ? "0"
                                     : name == "grpc_response_status"       ? ""
                                     : name == "response_flags"             ? "-"
                                     : name == "connection_security_policy" ? "none"
                                                                            : "unknown";
        EXPECT_EQ(values[i], expected) << name;
    }
}

TEST(Labels, a_known_workload_without_labels) {
    config::Workload bare;
    bare.ns = "default";
    bare.name = "bare";
    config::Snapshot snapshot;
    snapshot.cluster_id = "c1";
    LabelFacts facts;
    facts.source = facts.destination = &bare;
    const auto values = label_values(snapshot, facts);
    EXPECT_EQ(value_of(values, "source_version"), "unknown");
    EXPECT_EQ(value_of(values, "source_canonical_revision"), "latest");
    EXPECT_EQ(value_of(values, "destination_canonical_revision"), "unknown");
    EXPECT_EQ(value_of(values, "source_cluster"), "c1");
    EXPECT_EQ(value_of(values, "destination_cluster"), "c1");
}

TEST(Labels, grpc_reporter_and_security) {
    LabelFacts facts;
    facts.reporter = Reporter::destination;
    facts.protocol = RequestProtocol::grpc;
    facts.grpc_status = 7;
    facts.response_code = 200;
    facts.security = SecurityPolicy::unknown;
    auto values = label_values({}, facts);
    EXPECT_EQ(value_of(values, "reporter"), "destination");
    EXPECT_EQ(value_of(values, "request_protocol"), "grpc");
    EXPECT_EQ(value_of(values, "grpc_response_status"), "7");
    EXPECT_EQ(value_of(values, "connection_security_policy"), "unknown");
    facts.grpc_status = std::nullopt;
    EXPECT_EQ(value_of(label_values({}, facts), "grpc_response_status"), "");
    facts.protocol = RequestProtocol::http;
    facts.grpc_status = 7; // a header that an HTTP response happens to carry is no gRPC status
    EXPECT_EQ(value_of(label_values({}, facts), "grpc_response_status"), "");
}

TEST(Labels, response_flags) {
    ResponseFlags flags;
    EXPECT_EQ(flags.to_string(), "-");
    EXPECT_TRUE(flags.empty());
    flags.add(ResponseFlag::URX);
    flags.add(ResponseFlags::named("UF"));
    EXPECT_EQ(flags.to_string(), "UF,URX");
    EXPECT_TRUE(flags.has(ResponseFlag::UF));
    EXPECT_FALSE(flags.has(ResponseFlag::NR));
    for (const std::string_view name :
         {"LH", "UH",  "UT", "LR", "UR",  "UF",    "UC",   "UO",   "NR", "DI",  "FI", "RL", "UAEX", "RLSE",
          "DC", "URX", "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF",   "DO"})
        EXPECT_EQ(ResponseFlags::named(name).to_string(), name);
    for (const std::string_view name : {"", "-", "XX", "uf"})
        EXPECT_TRUE(ResponseFlags::named(name).empty()) << name;
}

TEST(Labels, protocol_by_content_type) {
    EXPECT_EQ(protocol_of("application/grpc"), RequestProtocol::grpc);
    EXPECT_EQ(protocol_of("application/grpc+proto"), RequestProtocol::grpc);
    EXPECT_EQ(protocol_of("Application/GRPC"), RequestProtocol::grpc);
    EXPECT_EQ(protocol_of("application/grpc-web"), RequestProtocol::http);
    EXPECT_EQ(protocol_of("application/json"), RequestProtocol::http);
    EXPECT_EQ(protocol_of(""), RequestProtocol::http);
}

TEST(Labels, histogram_buckets) {
    EXPECT_TRUE(std::ranges::is_sorted(histogram_bounds));
    EXPECT_EQ(histogram_bucket(0), 0U);
    EXPECT_EQ(histogram_bucket(0.5), 0U);
    EXPECT_EQ(histogram_bucket(0.51), 1U);
    EXPECT_EQ(histogram_bucket(1), 1U);
    EXPECT_EQ(histogram_bucket(3'600'000), 18U);
    EXPECT_EQ(histogram_bucket(3'600'001), 19U);
}

} // namespace
} // namespace weft::l7
