// SPDX-License-Identifier: Apache-2.0
#include "agent/engine/messages.hpp"

#include <gtest/gtest.h>

#include "config/proto/control.pb.h"
#include "config/wire/snapshot_codec.hpp"

namespace weft::agent::engine {
namespace {

std::string fault_of(const config::Snapshot& snapshot) {
    const auto message = snapshot_body(snapshot, "");
    return message ? "" : message.error();
}

TEST(Messages, ASnapshotThatAnEngineCouldNotTakeIsNotSent) {
    config::Snapshot snapshot;
    EXPECT_EQ(fault_of(snapshot), "");
    snapshot.cluster_id = "caf\xe9";
    EXPECT_NE(fault_of(snapshot).find("not UTF-8"), std::string::npos);
    snapshot.cluster_id = "cafe";
    snapshot.frontends.emplace_back(); // without an id
    EXPECT_NE(fault_of(snapshot).find("frontends[0].id"), std::string::npos);
}

TEST(Messages, ASnapshotInPartsIsReadAsOne) {
    config::Snapshot snapshot;
    for (uint32_t i = 0; i < 1000; ++i)
        snapshot.workloads.emplace_back().pod = "pod-" + std::to_string(i);
    snapshot.workloads[3] = {.ns = "n",
                             .pod = std::string(200, 'p'),
                             .service_account = "s",
                             .name = std::string(8000, 'w'),
                             .canonical_service = "c",
                             .canonical_revision = "r",
                             .app = "a",
                             .version = "v",
                             .principal = "spiffe://x",
                             .addresses = {*IpAddress::parse("10.0.0.1"), *IpAddress::parse("fd00::1")}};
    config::Cluster& cluster = snapshot.clusters.emplace_back();
    cluster.port = 80;
    cluster.endpoints.push_back({.address = *SocketAddress::parse("10.0.0.1:80"), .workload = 999});
    const auto body = snapshot_body(snapshot, "");
    ASSERT_TRUE(body) << body.error();
    proto::ToEngine message;
    ASSERT_TRUE(message.ParseFromString(snapshot_message(*body, 7)));
    snapshot.generation = 7;
    EXPECT_EQ(wire::from_proto(message.snapshot()), snapshot);

    snapshot.generation = 8;
    EXPECT_EQ(snapshot_body(snapshot, *body), body) << "a generation is not part of it";
    snapshot.workloads[500].pod = "caf\xe9";
    EXPECT_FALSE(snapshot_body(snapshot, *body)) << "a part that is not the one that was checked";
    snapshot.workloads[500].pod = "pod-500";
    snapshot.clusters[0].endpoints[0].workload = 1000;
    EXPECT_FALSE(snapshot_body(snapshot, *body));
}

TEST(Messages, AnAnswerToWeftctlIsReadableWhateverFilesAreCalled) {
    proto::ToEngine message;
    ASSERT_TRUE(message.ParseFromString(ctl_reply_message({.ok = false, .error = "caf\xe9.yaml: x", .json = "{}"})));
    EXPECT_EQ(message.ctl().error(), "caf?.yaml: x");
}

TEST(Messages, ABadStringOfAPeerIsAFaultAndNoLineOnStderr) {
    testing::internal::CaptureStderr();
    proto::ToAgent good;
    good.mutable_snapshot_applied()->set_error("abc");
    std::string sent = good.SerializeAsString();
    sent.replace(sent.find("abc"), 3,
                 "a\xff"
                 "b");
    const auto decoded = decode(sent);
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().code, Code::malformed);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Messages, SeriesWithTooMuchTextAreLeftOut) {
    proto::ToAgent message;
    for (const size_t bytes : {series_label_bytes_max - metrics::istio_labels.size() + 1, size_t{10'000}}) {
        auto& series = *message.mutable_report()->add_requests();
        for (size_t i = 0; i < metrics::istio_labels.size(); ++i)
            series.add_labels(i == 0 ? std::string(bytes, 'x') : "y");
        for (auto* histogram :
             {series.mutable_duration_ms(), series.mutable_request_bytes(), series.mutable_response_bytes()})
            histogram->mutable_buckets()->Resize(metrics::istio_bounds.size() + 1, 0);
    }
    message.mutable_report()->add_counters()->set_name(std::string(1000, 'c'));
    message.mutable_report()->add_gauges()->set_name(std::string(1000, 'g'));
    const auto decoded = decode(message.SerializeAsString());
    ASSERT_TRUE(decoded);
    const auto& report = std::get<StatsReport>(*decoded).report;
    EXPECT_EQ(report.requests.size(), 1U);
    EXPECT_TRUE(report.counters.empty());
    EXPECT_TRUE(report.gauges.empty());
    EXPECT_EQ(report.malformed, 3U);
}

TEST(Messages, APeersTextIsCutBetweenCharacters) {
    proto::ToAgent message;
    message.mutable_snapshot_applied()->set_error(std::string(1023, 'x') + "\xc3\xa9");
    const auto decoded = decode(message.SerializeAsString());
    ASSERT_TRUE(decoded);
    const std::string& error = std::get<SnapshotApplied>(*decoded).error;
    EXPECT_EQ(error, std::string(1023, 'x'));
}

} // namespace
} // namespace weft::agent::engine
