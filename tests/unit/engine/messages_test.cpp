// SPDX-License-Identifier: Apache-2.0
#include "agent/engine/messages.hpp"

#include <gtest/gtest.h>

#include "config/proto/control.pb.h"

namespace weft::agent::engine {
namespace {

std::string fault_of(const config::Snapshot& snapshot) {
    const auto message = snapshot_message(snapshot);
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
