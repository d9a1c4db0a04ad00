// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/judge.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace weft::agent::cni {
namespace {

using weft::cni::Outcome;

StartFacts all_true() {
    return {.not_begun = "",
            .uid_needed = false,
            .pod_known = true,
            .namespace_known = true,
            .enrolled = true,
            .local = true,
            .not_captured = "",
            .compiled = true,
            .in_kernel = true,
            .in_engine = true};
}

TEST(Judge, APodIsCapturedWhenNothingIsLacking) {
    EXPECT_EQ(judge(all_true()).outcome, Outcome::captured);
    struct Row {
        std::function<void(StartFacts&)> change;
        std::optional<Outcome> outcome;
        std::string lacking;
    };
    const std::vector<Row> rows = {
        {[](StartFacts& f) { f.uid_needed = true; }, Outcome::refused, "K8S_POD_UID"},
        {[](StartFacts& f) { f.not_begun = "held"; }, std::nullopt, "held"},
        {[](StartFacts& f) { f.pod_known = false; }, std::nullopt, "Pod object"},
        {[](StartFacts& f) { f.namespace_known = false; }, std::nullopt, "Namespace object"},
        {[](StartFacts& f) { f.enrolled = false; }, Outcome::not_enrolled, ""},
        {[](StartFacts& f) { f.local = false; }, std::nullopt, "not bound to this node"},
        {[](StartFacts& f) { f.local = f.enrolled = false; }, Outcome::not_enrolled, ""},
        {[](StartFacts& f) { f.not_captured = "a port is taken"; }, std::nullopt, "a port is taken"},
        {[](StartFacts& f) { f.compiled = false; }, std::nullopt, "shall be in force"},
        {[](StartFacts& f) { f.in_kernel = false; }, std::nullopt, "kernel"},
        {[](StartFacts& f) { f.in_engine = false; }, std::nullopt, "engine"},
        // A pod that nobody knows yet may be enrolled: the rest is not looked at.
        {[](StartFacts& f) { f.pod_known = f.enrolled = false; }, std::nullopt, "Pod object"},
        {[](StartFacts& f) { f.namespace_known = f.enrolled = false; }, std::nullopt, "Namespace object"},
        {[](StartFacts& f) { f.not_begun = "x", f.enrolled = false; }, std::nullopt, "x"},
    };
    for (const Row& row : rows) {
        StartFacts facts = all_true();
        row.change(facts);
        const StartVerdict verdict = judge(facts);
        EXPECT_EQ(verdict.outcome, row.outcome) << row.lacking;
        EXPECT_NE(verdict.lacking.find(row.lacking), std::string::npos) << verdict.lacking;
    }
}

TEST(Judge, TheKernelHoldsAPodThatIsAtLeastAsStrictAsWanted) {
    using PortAction = KernelState::PortAction;
    const IpAddress address = *IpAddress::parse("10.0.0.1");
    const IpAddress other = *IpAddress::parse("10.0.0.2");
    KernelState wanted;
    wanted.pods[7] = {.id = 3, .fail_closed = true, .addresses = {address}};
    wanted.inbound_ports[{.pod_id = 3, .port = 80}] = PortAction::steer;
    EXPECT_TRUE(holds(wanted, wanted, 7));
    EXPECT_FALSE(holds(wanted, wanted, 8));
    struct Row {
        const char* name;
        std::function<void(KernelState&)> change;
        bool good;
    };
    const std::vector<Row> rows = {
        {"not there", [](KernelState& now) { now.pods.clear(); }, false},
        {"another id", [](KernelState& now) { now.pods[7].id = 4; }, false},
        {"without its address", [](KernelState& now) { now.pods[7].addresses.clear(); }, false},
        {"another address", [&](KernelState& now) { now.pods[7].addresses = {other}; }, false},
        {"an address more", [&](KernelState& now) { now.pods[7].addresses.push_back(other); }, true},
        {"fails open", [](KernelState& now) { now.pods[7].fail_closed = false; }, false},
        {"a port missing", [](KernelState& now) { now.inbound_ports.clear(); }, false},
        {"a port looser", [](KernelState& now) { now.inbound_ports.begin()->second = PortAction::pass; }, false},
        {"a port stricter", [](KernelState& now) { now.inbound_ports.begin()->second = PortAction::refuse; }, true},
        {"all ports strict",
         [](KernelState& now) { now.inbound_ports = {{{.pod_id = 3, .port = 0}, PortAction::refuse}}; }, true},
        {"another pod's ports", [](KernelState& now) { now.inbound_ports[{.pod_id = 4, .port = 80}] = {}; }, true},
    };
    for (const Row& row : rows) {
        KernelState now = wanted;
        row.change(now);
        EXPECT_EQ(holds(now, wanted, 7), row.good) << row.name;
    }
    wanted.pods[7].fail_closed = false;
    KernelState strict = wanted;
    strict.pods[7].fail_closed = true;
    EXPECT_TRUE(holds(strict, wanted, 7));
}

} // namespace
} // namespace weft::agent::cni
