// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/sandboxes.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/reconcile/fixture.hpp"

namespace weft::agent::cni {
namespace {

using Addresses = std::vector<IpAddress>;

Addresses list(std::initializer_list<const char*> texts) {
    Addresses out;
    for (const char* text : texts)
        out.push_back(*IpAddress::parse(text));
    return out;
}

/// A Pod object of the node n1, as the API has it.
std::string object(const std::string& name, const std::string& uid, const std::string& addresses = "",
                   const std::string& annotations = "") {
    return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: default, uid: " + uid +
           ", annotations: {" + annotations + "}}\nspec: {nodeName: n1}\nstatus: {podIPs: [" + addresses + "]}\n";
}

Request request(const std::string& pod = "a", const std::string& uid = "u-a", const std::string& container = "c1") {
    return {.verb = weft::cni::Verb::add,
            .ns = "default",
            .pod = pod,
            .uid = uid,
            .container = container,
            .addresses = {},
            .wait_ms = 0};
}

class SandboxesTest : public testing::Test {
protected:
    void api(const std::string& text, uint64_t now_ms = 0) {
        store_ = store_of(text);
        known_.note(store_, now_ms);
    }
    bool up(const Addresses& addresses, const Request& of = request()) {
        return known_.up(of, addresses, UniqueFd(), store_, 0);
    }
    Addresses addresses(const std::string& pod = "a") {
        const Completion completion = known_.complete(store_);
        return of_store(pod);
    }
    Addresses of_store(const std::string& pod = "a") {
        return store_.find<Pod>({.ns = "default", .name = pod})->addresses;
    }

    Sandboxes known_;
    ObjectStore store_;
};

TEST_F(SandboxesTest, TheRuntimesWordCountsUntilTheApiSpeaks) {
    api(object("a", "u-a"));
    ASSERT_TRUE(up(list({"10.0.0.1"})));
    EXPECT_EQ(addresses(), list({"10.0.0.1"}));
    EXPECT_TRUE(known_.contradictions(store_).empty());
    api(object("a", "u-a", "{ip: 10.0.0.1}"));
    EXPECT_EQ(addresses(), list({"10.0.0.1"}));
    EXPECT_TRUE(known_.contradictions(store_).empty());
    api(object("a", "u-a", "{ip: 10.0.0.2}"));
    EXPECT_EQ(addresses(), list({"10.0.0.2"}));
    EXPECT_EQ(known_.addresses("default/a"), nullptr);
    ASSERT_EQ(known_.contradictions(store_).size(), 1U);
    EXPECT_EQ(known_.contradictions(store_)[0].object, "Pod default/a");
    api(object("a", "u-a")); // once it has spoken, it counts for good
    EXPECT_EQ(addresses(), Addresses{});
}

TEST_F(SandboxesTest, TheStoreIsCompletedInPlaceAndIsTheSourcesAgain) {
    api(object("a", "u-a") + object("b", "u-b"));
    const ObjectStore before = store_;
    const Pod* const other = store_.find<Pod>({.ns = "default", .name = "b"});
    ASSERT_TRUE(up(list({"10.0.0.1"})));
    {
        const Completion completion = known_.complete(store_);
        EXPECT_EQ(of_store("a"), list({"10.0.0.1"}));
        EXPECT_EQ(store_.find<Pod>({.ns = "default", .name = "b"}), other);
    }
    EXPECT_EQ(of_store("a"), Addresses{});
    EXPECT_EQ(store_, before);
}

TEST_F(SandboxesTest, WhatIsCompiledChangesByTheAddressesThatCountOrByAContradiction) {
    const auto word = [&] { return known_.word_on("default/a", store_); };
    ASSERT_TRUE(up(list({"10.0.0.1"})));
    EXPECT_EQ(word(), std::nullopt) << "the store does not have the pod";
    api(object("a", "u-a"));
    EXPECT_EQ(word(), (Sandboxes::Word{.addresses = list({"10.0.0.1"})}));
    ASSERT_TRUE(up(list({"10.0.0.1"})));
    EXPECT_EQ(word(), (Sandboxes::Word{.addresses = list({"10.0.0.1"})})) << "asked again";
    ASSERT_TRUE(up(list({"10.0.0.2"})));
    EXPECT_EQ(word(), (Sandboxes::Word{.addresses = list({"10.0.0.2"})}));
    ASSERT_TRUE(known_.down(request(), false, store_, 0));
    EXPECT_EQ(word(), (Sandboxes::Word{.addresses = {}}));
    ASSERT_TRUE(up(list({"10.0.0.2"})));
    api(object("a", "u-a", "{ip: 10.0.0.3}"));
    EXPECT_EQ(word(), (Sandboxes::Word{.addresses = list({"10.0.0.3"}), .contradicted = true}));
    ASSERT_TRUE(up(list({"10.0.0.3"})));
    EXPECT_EQ(word(), (Sandboxes::Word{.addresses = list({"10.0.0.3"}), .contradicted = false}));
    ASSERT_TRUE(up(list({"10.0.0.4"}), request("a", "u-other"))); // of another pod that bears its name
    EXPECT_EQ(word(), (Sandboxes::Word{.addresses = list({"10.0.0.3"})}));
}

TEST_F(SandboxesTest, AnOldAddressInTheApiIsNotTheNewSandboxs) {
    api(object("a", "u-a", "{ip: 10.0.0.1}"));
    ASSERT_TRUE(up(list({"10.0.0.2", "fd00::2"})));
    EXPECT_EQ(addresses(), list({"10.0.0.2", "fd00::2"}));
    api(object("a", "u-a", "{ip: fd00::2}, {ip: 10.0.0.2}")); // in another order, the same
    EXPECT_EQ(addresses(), list({"fd00::2", "10.0.0.2"}));
    EXPECT_TRUE(known_.contradictions(store_).empty());
}

TEST_F(SandboxesTest, WhatTheApiSaidBeforeItWasHeardIsNoLaterWord) {
    ASSERT_TRUE(up(list({"10.0.0.2"})));
    api(object("a", "u-a", "{ip: 10.0.0.1}"));
    EXPECT_EQ(addresses(), list({"10.0.0.2"}));
}

TEST_F(SandboxesTest, APodWithoutASandboxHasNoAddressAndIsNotCaptured) {
    api(object("a", "u-a", "{ip: 10.0.0.1}"));
    ASSERT_TRUE(up(list({"10.0.0.1"})));
    EXPECT_FALSE(known_.down(request("a", "u-a", "c0"), false, store_, 0)); // another sandbox's end
    ASSERT_TRUE(known_.down(request(), false, store_, 0));
    EXPECT_EQ(addresses(), Addresses{});
    std::vector<PodToCapture> pods = {{.uid = "default/a", .netns = "", .kubelet_uid = "u-a", .addresses = {}},
                                      {.uid = "default/b", .netns = "", .kubelet_uid = "u-b", .addresses = {}}};
    known_.place(pods);
    ASSERT_EQ(pods.size(), 1U);
    EXPECT_EQ(pods[0].uid, "default/b");
    api(object("a", "u-a")); // taken back
    EXPECT_EQ(known_.size(), 1U);
    api(object("a", "u-a", "{ip: 10.0.0.3}")); // of a sandbox that we were not told of
    EXPECT_EQ(known_.size(), 0U);
    EXPECT_EQ(addresses(), list({"10.0.0.3"}));
}

TEST_F(SandboxesTest, TheEndOfASandboxThatAFormerAgentKnewIsToldByItsNamespace) {
    api(object("a", "u-a", "{ip: 10.0.0.1}"));
    EXPECT_FALSE(known_.down(request(), false, store_, 0));
    EXPECT_EQ(known_.size(), 0U);
    EXPECT_TRUE(known_.down(request(), true, store_, 0));
    EXPECT_EQ(addresses(), Addresses{});
}

TEST_F(SandboxesTest, ForgottenWhenTheObjectIsGoneOrNeverComes) {
    ASSERT_TRUE(up(list({"10.0.0.1"})));
    api("", unseen_keep_ms);
    EXPECT_EQ(known_.size(), 1U);
    api("", unseen_keep_ms + 1);
    EXPECT_EQ(known_.size(), 0U);
    ASSERT_TRUE(up(list({"10.0.0.1"})));
    api(object("a", "u-a"));
    api("");
    EXPECT_EQ(known_.size(), 0U);
    ASSERT_TRUE(up(list({"10.0.0.1"})));
    api(object("a", "u-a"));
    api(object("a", "u-other")); // another pod of that name
    EXPECT_EQ(known_.size(), 0U);
    EXPECT_EQ(addresses(), Addresses{});
}

TEST_F(SandboxesTest, APodIsMatchedByItsKubeletsUid) {
    api(object("a", "u-mirror", "", "kubernetes.io/config.mirror: h, kubernetes.io/config.hash: h"));
    EXPECT_NE(find_pod(store_, request("a", "h")), nullptr);
    EXPECT_EQ(find_pod(store_, request("a", "u-mirror")), nullptr);
    EXPECT_EQ(find_pod(store_, request("b", "h")), nullptr);
    api("---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n"); // a manifest
    EXPECT_NE(find_pod(store_, request("a", "anything")), nullptr);
}

TEST_F(SandboxesTest, TheNamespacesDescriptorIsToldUntilThePodIsFound) {
    api(object("a", "u-a"));
    UniqueFd netns(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    const int number = netns.get();
    ASSERT_TRUE(known_.up(request(), {}, std::move(netns), store_, 0));
    EXPECT_EQ(known_.namespace_of("default/a"), *NetnsId::of("/proc/self/ns/net"));
    const auto told = [&](const std::string& uid) {
        std::vector<PodToCapture> pods = {{.uid = "default/a", .netns = "", .kubelet_uid = uid, .addresses = {}}};
        known_.place(pods);
        return pods.empty() ? "none" : pods[0].told_netns;
    };
    EXPECT_EQ(told("u-a"), "/proc/self/fd/" + std::to_string(number));
    EXPECT_TRUE(is_told(told("u-a")));
    EXPECT_EQ(told("u-other"), "");
    // Asked again, by a descriptor of the same namespace: the first one stays.
    ASSERT_TRUE(known_.up(request(), {}, UniqueFd(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)), store_, 0));
    EXPECT_EQ(told("u-a"), "/proc/self/fd/" + std::to_string(number));
    known_.found("default/a");
    EXPECT_EQ(told("u-a"), "");
    EXPECT_EQ(fcntl(number, F_GETFD), -1);
    EXPECT_EQ(known_.namespace_of("default/a"), *NetnsId::of("/proc/self/ns/net"));
}

TEST_F(SandboxesTest, ThereIsRoomForSoManyAndNoMore) {
    for (size_t i = 0; i < sandboxes_max; ++i)
        ASSERT_TRUE(up({}, request("p" + std::to_string(i), "u")));
    EXPECT_FALSE(up({}, request("one-more", "u")));
    EXPECT_TRUE(up({}, request("p0", "u"))); // known already
}

TEST(SandboxAddresses, OnlyOnesThatAPodCanHave) {
    const auto of = [](std::vector<std::string> texts) {
        Request asked = request();
        asked.addresses = std::move(texts);
        return Sandboxes::addresses_of(asked);
    };
    EXPECT_EQ(*of({"10.0.0.1", "fd00::1"}), list({"10.0.0.1", "fd00::1"}));
    EXPECT_EQ(*of({}), Addresses{});
    for (const auto& bad : {"", "10.0.0.1/24", "10.0.0.256", "127.0.0.1", "0.0.0.0", "::", "::1", "x"})
        EXPECT_FALSE(of({bad})) << bad;
    EXPECT_FALSE(of({"10.0.0.1", "10.0.0.2"}));
    EXPECT_FALSE(of({"10.0.0.1", "::ffff:10.0.0.2"}));
}

} // namespace
} // namespace weft::agent::cni
