// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/registry.hpp"

#include <gtest/gtest.h>

#include "tests/unit/pods/lab.hpp"

namespace weft::agent {
namespace {

PodToCapture wanted(const std::string& uid, const LabNetns& lab) {
    return {.uid = uid, .netns = lab.name(), .addresses = {}};
}

TEST(Pods, CaptureThenReleaseFreesTheNamespace) {
    LabNetns lab("r");
    Pods pods;
    pods.want({wanted("default/a", lab)});
    auto changes = pods.sweep(0);
    ASSERT_EQ(changes.captured.size(), 1U);
    EXPECT_EQ(changes.captured[0]->id, 1U);
    EXPECT_EQ(pods.captured().at("default/a").netns_cookie, changes.captured[0]->netns.cookie());

    const std::weak_ptr<const Capture> alive = changes.captured[0];
    changes = {};
    lab.remove();
    EXPECT_EQ(pods.sweep(1).vanished, std::vector<std::string>{"default/a"});
    pods.release("default/a");
    EXPECT_TRUE(alive.expired()); // listeners closed: nothing pins the namespace
    EXPECT_EQ(pods.views().at(0).state, Pods::State::waiting);
}

TEST(Pods, AnAbsentNamespaceIsWaitedFor) {
    Pods pods;
    pods.want({{.uid = "default/a", .netns = "weft-test-" + std::to_string(getpid()) + "-late", .addresses = {}}});
    EXPECT_EQ(pods.sweep(0).failures.size(), 1U);
    EXPECT_EQ(pods.views().at(0).state, Pods::State::waiting);
    const LabNetns lab("late");
    EXPECT_TRUE(pods.sweep(1).captured.empty()); // not due yet
    EXPECT_EQ(pods.sweep(capture_retry_min_ms).captured.size(), 1U);
}

TEST(Pods, FailuresAreSaidOnceAndRetriedLessOften) {
    const LabNetns lab("r", false);
    Pods pods;
    pods.want({wanted("default/a", lab)});
    EXPECT_EQ(pods.sweep(0).failures.size(), 1U);
    uint64_t now = 0;
    uint32_t attempts = 0;
    for (; now < 20'000; now += 250) {
        const auto changes = pods.sweep(now);
        attempts += changes.attempts_failed;
        EXPECT_TRUE(changes.failures.empty());
    }
    EXPECT_GE(attempts, 5U);
    EXPECT_LE(attempts, 9U);
    ASSERT_EQ(pods.missing().size(), 1U);
    EXPECT_NE(pods.missing()[0].reason.find("loopback interface is down"), std::string::npos);
    LabNetns::run("ip -n " + lab.name() + " link set lo up");
    pods.retry_now();
    EXPECT_EQ(pods.sweep(now).captured.size(), 1U);
}

TEST(Pods, TwoPodsInOneNamespaceTheSecondFails) {
    const LabNetns lab("r");
    Pods pods;
    pods.want({wanted("default/a", lab), wanted("default/b", lab)});
    const auto changes = pods.sweep(0);
    EXPECT_EQ(changes.captured.size(), 1U);
    ASSERT_EQ(changes.failures.size(), 1U);
    EXPECT_EQ(changes.failures[0].uid, "default/b");
}

TEST(Pods, UnwantedIsReleasingAndCanComeBack) {
    const LabNetns lab("r");
    Pods pods;
    pods.want({wanted("default/a", lab)});
    ASSERT_EQ(pods.sweep(0).captured.size(), 1U);
    pods.want({});
    EXPECT_TRUE(pods.captured().empty());
    EXPECT_EQ(pods.releasing().size(), 1U);
    pods.want({wanted("default/a", lab)});
    EXPECT_EQ(pods.captured().size(), 1U);
    EXPECT_TRUE(pods.releasing().empty());
    pods.want({});
    pods.release("default/a");
    EXPECT_TRUE(pods.views().empty());
}

TEST(Pods, IdsAreAdoptedAndNeverReused) {
    const LabNetns first("r1");
    const LabNetns second("r2");
    const auto netns = Netns::open(first.name());
    ASSERT_TRUE(netns);
    Pods pods;
    pods.adopt_ids({{netns->cookie(), 7}}, 40);
    pods.want({wanted("default/a", first), wanted("default/b", second)});
    ASSERT_EQ(pods.sweep(0).captured.size(), 2U);
    EXPECT_EQ(pods.captured().at("default/a").id, 7U);
    EXPECT_EQ(pods.captured().at("default/b").id, 40U);
}

TEST(Pods, OfferedListenersAreTakenOnlyByTheirPod) {
    const LabNetns lab("r1");
    const LabNetns other("r2");
    const auto netns = Netns::open(lab.name());
    const auto foreign = Netns::open(other.name());
    ASSERT_TRUE(netns && foreign);
    auto served = make_listeners(*netns, {});
    auto strange = make_listeners(*foreign, {});
    ASSERT_TRUE(served && strange);
    const uint64_t identity = *socket_identity((*served)[0].get());

    Pods pods;
    pods.adopt_ids({{netns->cookie(), 7}}, 8);
    const auto offer = [&](uint32_t pod_id, uint32_t kind, UniqueFd& fd) {
        const auto facts = inspect_listener(fd.get(), kind);
        ASSERT_TRUE(facts);
        EXPECT_TRUE(pods.offer({.pod_id = pod_id, .kind = kind, .facts = *facts, .fd = std::move(fd)}));
    };
    offer(7, 0, (*served)[0]);
    offer(7, 2, (*strange)[2]); // right number, another pod's namespace
    offer(9, 0, (*strange)[0]); // a pod that is gone
    pods.want({wanted("default/a", lab)});
    const auto changes = pods.sweep(0);
    ASSERT_EQ(changes.captured.size(), 1U);
    EXPECT_EQ(*socket_identity(changes.captured[0]->listeners[0].get()), identity);
    EXPECT_EQ(inspect_listener(changes.captured[0]->listeners[2].get(), 2)->netns_cookie, netns->cookie());
    EXPECT_EQ(pods.drop_offers(), (std::vector<uint32_t>{7, 9}));
}

} // namespace
} // namespace weft::agent
