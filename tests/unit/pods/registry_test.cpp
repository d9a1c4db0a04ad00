// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/registry.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "config/base/net.hpp"
#include "tests/unit/pods/lab.hpp"

namespace weft::agent {
namespace {

PodToCapture wanted(const std::string& uid, const LabNetns& lab) {
    return {.uid = uid, .netns = lab.name(), .addresses = {}};
}

/// A process of the pod that has the port already.
UniqueFd squat(const Netns& netns, uint16_t port) {
    const auto scope = netns.enter();
    EXPECT_TRUE(scope);
    UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_storage address{};
    const socklen_t length = SocketAddress{*IpAddress::parse("127.0.0.1"), port}.to_sockaddr(address);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    return fd;
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
    const Pods::Changes changes = pods.sweep(0);
    ASSERT_EQ(changes.failures.size(), 1U);
    EXPECT_TRUE(changes.failures[0].waits);
    EXPECT_EQ(pods.views().at(0).state, Pods::State::waiting);
    const LabNetns lab("late");
    EXPECT_TRUE(pods.sweep(1).captured.empty()); // not due yet
    EXPECT_EQ(pods.sweep(capture_retry_min_ms).captured.size(), 1U);
}

TEST(Pods, AFaultIsSaidOnceAndTriedLessOften) {
    const LabNetns lab("r", false);
    Pods pods;
    pods.want({wanted("default/a", lab)});
    const auto first = pods.sweep(0);
    ASSERT_EQ(first.failures.size(), 1U);
    EXPECT_FALSE(first.failures[0].waits);
    // Without a listener it is captured all the same: what its policies govern is refused, not passed.
    ASSERT_EQ(first.captured.size(), 1U);
    EXPECT_TRUE(pods.captured().contains("default/a"));
    uint64_t now = 0;
    uint32_t attempts = 0;
    for (; now < 20'000; now += 250) {
        const auto changes = pods.sweep(now);
        attempts += changes.attempts_failed;
        EXPECT_TRUE(changes.failures.empty() && changes.completed.empty());
    }
    EXPECT_GE(attempts, 5U);
    EXPECT_LE(attempts, 9U);
    ASSERT_EQ(pods.missing().size(), 1U);
    EXPECT_NE(pods.missing()[0].reason.find("loopback interface is down"), std::string::npos);
    EXPECT_EQ(pods.unserved().size(), 1U);
    LabNetns::run("ip -n " + lab.name() + " link set lo up");
    pods.retry_now();
    const auto last = pods.sweep(now);
    ASSERT_EQ(last.completed.size(), 1U);
    EXPECT_EQ(last.completed[0]->id, first.captured[0]->id);
    EXPECT_TRUE(last.completed[0]->listeners[2]);
    EXPECT_TRUE(pods.missing().empty() && pods.unserved().empty());
}

TEST(Pods, AMissingListenerIsMadeBesideThoseThatServe) {
    const LabNetns lab("r");
    const auto netns = Netns::open(lab.name());
    ASSERT_TRUE(netns);
    Pods pods;
    pods.want({wanted("default/a", lab)});
    UniqueFd squatter = squat(*netns, WEFT_INBOUND_PORT);
    const auto first = pods.sweep(0);
    ASSERT_EQ(first.captured.size(), 1U);
    EXPECT_FALSE(first.captured[0]->listeners[2]);
    const uint64_t outbound = *socket_identity(first.captured[0]->listeners[0].get());
    squatter.reset();
    pods.retry_now();
    const auto second = pods.sweep(1);
    ASSERT_EQ(second.completed.size(), 1U);
    EXPECT_TRUE(second.completed[0]->listeners[2]);
    EXPECT_EQ(*socket_identity(second.completed[0]->listeners[0].get()), outbound);
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
    pods.adopt({{.pod = {.id = 7, .netns_cookie = netns->cookie()}, .addresses = {}}}, 40);
    pods.want({wanted("default/a", first), wanted("default/b", second)});
    ASSERT_EQ(pods.sweep(0).captured.size(), 2U);
    EXPECT_EQ(pods.captured().at("default/a").id, 7U);
    EXPECT_EQ(pods.captured().at("default/b").id, 40U);
}

TEST(Pods, ALostPodStaysEnforcedUntilItsLinkIsSevered) {
    LabNetns lab("r");
    Pods pods;
    PodToCapture pod = wanted("default/a", lab);
    pod.addresses = {*IpAddress::parse("10.0.0.1")};
    pods.want({pod});
    auto changes = pods.sweep(0);
    ASSERT_EQ(changes.captured.size(), 1U);
    const CapturedPods before = pods.captured();
    const std::weak_ptr<const Capture> alive = changes.captured[0];
    changes = {};
    const UniqueFd process(open(lab.path().c_str(), O_RDONLY)); // somebody lives on in there
    lab.remove();
    EXPECT_EQ(pods.sweep(1).vanished, std::vector<std::string>{"default/a"});
    EXPECT_TRUE(pods.lose("default/a", true));
    EXPECT_TRUE(alive.expired()); // nothing of ours pins the namespace
    EXPECT_TRUE(pods.captured().empty());
    EXPECT_EQ(pods.enforced(), before);
    EXPECT_TRUE(pods.has_kept());
    pods.want({pod});
    EXPECT_EQ(pods.enforced(), before);
    // It has a name again: it is the pod that it was.
    LabNetns::run("touch " + lab.path());
    LabNetns::run("mount -c --bind /proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(process.get()) + " " +
                  lab.path());
    ASSERT_EQ(pods.sweep(1'000'000).captured.size(), 1U);
    EXPECT_EQ(pods.captured(), before);
    LabNetns::run("ip netns del " + lab.name());
    EXPECT_EQ(pods.sweep(1'000'001).vanished.size(), 1U);
    EXPECT_TRUE(pods.lose("default/a", true));
    pods.severed(before.at("default/a").id);
    EXPECT_TRUE(pods.enforced().empty());
    EXPECT_FALSE(pods.lose("default/b", true));
}

TEST(Pods, APodOfAFormerRunIsEnforcedWhileItWaits) {
    const IpAddress address = *IpAddress::parse("10.0.0.1");
    const std::string absent = "weft-test-" + std::to_string(getpid()) + "-absent";
    const CapturedPod former{.id = 7, .netns_cookie = 99};
    for (const bool attached : {true, false}) {
        Pods pods;
        pods.adopt({{.pod = former, .addresses = {address}, .attached = attached}}, 8);
        pods.want({{.uid = "default/a", .netns = absent, .addresses = {address}},
                   {.uid = "default/b", .netns = absent + "2", .addresses = {*IpAddress::parse("10.0.0.2")}}});
        EXPECT_TRUE(pods.sweep(0).captured.empty());
        EXPECT_EQ(pods.enforced(), attached ? (CapturedPods{{"default/a", former}}) : CapturedPods{});
        EXPECT_TRUE(pods.captured().empty());
        pods.want({}); // the object says that it is out
        EXPECT_TRUE(pods.enforced().empty());
    }
}

TEST(Pods, OffersOfPodsThatAreGoneAreDroppedWheneverTheyCome) {
    const LabNetns lab("r");
    const auto netns = Netns::open(lab.name());
    ASSERT_TRUE(netns);
    Listeners served = make_listeners(*netns, {}).listeners;
    Pods pods;
    for (int round = 0; round < 2; ++round) {
        const auto facts = inspect_listener(served[0].get(), 0);
        ASSERT_TRUE(facts);
        UniqueFd fd(dup(served[0].get()));
        EXPECT_FALSE(pods.offer({.pod_id = 9, .kind = 0, .facts = *facts, .fd = std::move(fd)}));
        EXPECT_EQ(pods.drop_offers(), std::vector<uint32_t>{9});
        EXPECT_TRUE(pods.drop_offers().empty());
    }
}

TEST(Pods, OfferedListenersAreTakenOnlyByTheirPod) {
    const LabNetns lab("r1");
    const LabNetns other("r2");
    const auto netns = Netns::open(lab.name());
    const auto foreign = Netns::open(other.name());
    ASSERT_TRUE(netns && foreign);
    Listeners served = make_listeners(*netns, {}).listeners;
    Listeners strange = make_listeners(*foreign, {}).listeners;
    ASSERT_TRUE(served[0] && strange[0] && strange[2]);
    const uint64_t identity = *socket_identity(served[0].get());

    Pods pods;
    pods.adopt({{.pod = {.id = 7, .netns_cookie = netns->cookie()}, .addresses = {}}}, 8);
    const auto offer = [&](uint32_t pod_id, uint32_t kind, UniqueFd& fd) {
        const auto facts = inspect_listener(fd.get(), kind);
        EXPECT_TRUE(facts);
        return facts && pods.offer({.pod_id = pod_id, .kind = kind, .facts = *facts, .fd = std::move(fd)});
    };
    EXPECT_TRUE(offer(7, 0, served[0]));
    EXPECT_FALSE(offer(7, 2, strange[2])); // right number, another pod's namespace
    EXPECT_FALSE(offer(9, 0, strange[0])); // a pod that is gone
    pods.want({wanted("default/a", lab)});
    const auto changes = pods.sweep(0);
    ASSERT_EQ(changes.captured.size(), 1U);
    EXPECT_EQ(*socket_identity(changes.captured[0]->listeners[0].get()), identity);
    EXPECT_EQ(inspect_listener(changes.captured[0]->listeners[2].get(), 2)->netns_cookie, netns->cookie());
    EXPECT_EQ(pods.drop_offers(), std::vector<uint32_t>{9});
}

TEST(Pods, OffersDoNotMoveTheNumberingAndTheirIdsAreNotGivenAway) {
    const LabNetns stranger("r1");
    const auto netns = Netns::open(stranger.name());
    ASSERT_TRUE(netns);
    const UniqueFd served = std::move(make_listeners(*netns, {}).listeners[0]);
    const auto facts = inspect_listener(served.get(), 0);
    ASSERT_TRUE(facts);
    Pods pods;
    pods.adopt({}, 40);
    for (const uint32_t id : {40U, 42U, UINT32_MAX - 1, UINT32_MAX})
        EXPECT_FALSE(pods.offer({.pod_id = id, .kind = 0, .facts = *facts, .fd = UniqueFd(dup(served.get()))}));
    EXPECT_EQ(pods.drop_offers(), (std::vector<uint32_t>{40, 42, UINT32_MAX - 1, UINT32_MAX}));
    const LabNetns first("r2");
    const LabNetns second("r3");
    pods.want({wanted("default/a", first), wanted("default/b", second)});
    ASSERT_EQ(pods.sweep(0).captured.size(), 2U);
    EXPECT_EQ(pods.captured().at("default/a").id, 41U);
    EXPECT_EQ(pods.captured().at("default/b").id, 43U);
}

TEST(Pods, WithoutAnIdNoPodIsCaptured) {
    const LabNetns first("r1");
    const LabNetns second("r2");
    Pods pods;
    pods.adopt({}, UINT32_MAX - 1);
    pods.want({wanted("default/a", first), wanted("default/b", second)});
    ASSERT_EQ(pods.sweep(0).captured.size(), 1U);
    EXPECT_EQ(pods.captured().at("default/a").id, UINT32_MAX - 1);
    EXPECT_FALSE(pods.captured().contains("default/b"));
}

} // namespace
} // namespace weft::agent
