// SPDX-License-Identifier: Apache-2.0
#include "agent/check/judge.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

namespace weft::agent::check {
namespace {

using bpf::Hook;
using enum Hook::Place;
using enum Hook::Sharing;

/// "level: detail" of each, without the texts that say what it means.
std::vector<std::string> lines(const std::vector<Finding>& findings) {
    std::vector<std::string> out;
    for (const Finding& each : findings)
        out.push_back(std::string(name(each.level)) + ": " + each.detail);
    return out;
}

bool has_line(const std::vector<Finding>& findings, const std::string& start) {
    const auto all = lines(findings);
    return std::ranges::any_of(all, [&](const std::string& line) { return line.starts_with(start); });
}

struct HookRow {
    const char* what;
    std::vector<Hook> hooks;
    const char* found;  ///< how the one finding begins
    const char* remedy; ///< what it holds
};

TEST(Hooks, OfOthersAreInTheWayOrNot) {
    const char* root = "/sys/fs/cgroup";
    const char* pod = "/sys/fs/cgroup/kubepods/pod1";
    const char* connect = "cgroup/connect4";
    const HookRow rows[] = {
        {"none", {}, "ok: nobody else uses", ""},
        {"our own", {{here, connect, root, multi, {{7, "weft_connect4"}}}}, "ok: nobody else uses", ""},
        {"one that forbids others",
         {{here, "cgroup/getpeername4", root, exclusive, {{7, "old"}}}},
         "failed: cgroup/getpeername4 of /sys/fs/cgroup is taken: old (id 7) was attached without BPF_F_ALLOW_MULTI",
         "bpftool cgroup show /sys/fs/cgroup"},
        {"one that only descendants may replace",
         {{here, "sockops", root, override, {{7, ""}}}},
         "failed: sockops of /sys/fs/cgroup is taken: a program (id 7)",
         "stop or update"},
        {"above, forbidding",
         {{above, "sockops", root, exclusive, {{7, "old"}}}},
         "failed: sockops of /sys/fs/cgroup is taken",
         "--cgroup"},
        {"above, replaceable", {{above, "sockops", root, override, {{7, "old"}}}}, "ok: shared with 1 programs", ""},
        {"Cilium's, attached first",
         {{here, connect, root, multi, {{7, "cil_sock4_conne"}, {9, "weft_connect4"}}}},
         "warning: cil_sock4_conne (id 7), Cilium's socket load balancing, runs before ours at cgroup/connect4 of "
         "/sys/fs/cgroup",
         "socketLB.hostNamespaceOnly=true"},
        {"Cilium's, attached later",
         {{here, connect, root, multi, {{9, "weft_connect4"}, {7, "cil_sock4_conne"}}}},
         "ok: shared with 1 programs",
         ""},
        {"Calico's, before there is an agent",
         {{here, connect, root, multi, {{7, "calico_connect_"}}}},
         "warning: calico_connect_ (id 7), Calico's connect-time load balancing, runs before ours",
         "bpfConnectTimeLoadBalancing: Disabled"},
        {"somebody's below",
         {{below, connect, pod, exclusive, {{7, "theirs"}}}},
         "warning: theirs (id 7) runs before ours at cgroup/connect4 of /sys/fs/cgroup/kubepods/pod1",
         "if it translates services"},
        {"above, after ours", {{above, connect, root, multi, {{7, "theirs"}}}}, "ok: shared with 1 programs", ""},
        {"another sk_lookup",
         {{netns, "sk_lookup", "/run/netns/a", multi, {{7, "weft_steer"}, {8, "theirs"}}}},
         "warning: theirs (id 8) at sk_lookup of /run/netns/a",
         "stop what attached it"},
        {"our sk_lookup", {{netns, "sk_lookup", "/run/netns/a", multi, {{7, "weft_steer"}}}}, "ok: nobody else", ""},
    };
    for (const HookRow& row : rows) {
        const auto found = judge_hooks(row.hooks);
        ASSERT_EQ(found.size(), 1U) << row.what;
        EXPECT_TRUE(has_line(found, row.found)) << row.what << ": " << lines(found).front();
        EXPECT_NE(found.front().remedy.find(row.remedy), std::string::npos) << row.what << ": " << found.front().remedy;
        EXPECT_EQ(found.front().remedy.empty(), found.front().level == Level::ok) << row.what;
    }
}

TEST(CgroupRoot, IsAboveProcessOne) {
    EXPECT_EQ(judge_cgroup_root("0::/init.scope\n").level, Level::ok);
    EXPECT_EQ(judge_cgroup_root("2:cpu:/\n1:name=systemd:/../x\n0::/\n").level, Level::ok) << "v1 does not count";
    EXPECT_EQ(judge_cgroup_root("0::/../init.scope\n").level, Level::warning);
    EXPECT_EQ(judge_cgroup_root("2:cpu:/\n0::/..\n").level, Level::warning);
    EXPECT_EQ(judge_cgroup_root("2:cpu:/\n").level, Level::warning);
    EXPECT_EQ(judge_cgroup_root("").level, Level::warning);
}

TEST(Ring, IsTriedAndItsSysctlRead) {
    EXPECT_EQ(judge_ring(0, std::nullopt).level, Level::ok);
    EXPECT_EQ(judge_ring(0, 0).level, Level::ok);
    EXPECT_TRUE(judge_ring(0, 1).detail.ends_with("only privileged processes may use it, and the engine is none"));
    EXPECT_TRUE(judge_ring(EPERM, 2).detail.ends_with("nobody may use it"));
    for (const int error : {EPERM, ENOSYS, EINVAL, ENOMEM}) {
        EXPECT_EQ(judge_ring(error, 0).level, Level::failed) << error;
        EXPECT_NE(judge_ring(error, 0).remedy, "") << error;
    }
}

const Served gateway_standard = {{"v1", {"gatewayclasses", "gateways", "httproutes", "gateways/status"}},
                                 {"v1beta1", {"gatewayclasses", "gateways", "httproutes"}}};
const Served istio = {{"v1", {"authorizationpolicies"}}, {"v1beta1", {"authorizationpolicies"}}};

/// The findings of these kinds, "CRD ...: level: detail".
std::map<std::string, std::string> by_check(const std::vector<Finding>& findings) {
    std::map<std::string, std::string> out;
    for (const Finding& each : findings)
        out[each.check] = std::string(name(each.level)) + ": " + each.detail;
    return out;
}

TEST(Kinds, AreThoseThatTheAgentReads) {
    const auto good =
        by_check(judge_kinds({{"gateway.networking.k8s.io", gateway_standard}, {"security.istio.io", istio}}));
    for (const char* crd : {"gatewayclasses.gateway.networking.k8s.io", "gateways.gateway.networking.k8s.io",
                            "httproutes.gateway.networking.k8s.io", "authorizationpolicies.security.istio.io"})
        EXPECT_EQ(good.at(std::string("CRD ") + crd), "ok: served as v1") << crd;
    EXPECT_FALSE(good.contains("CRD pods.")) << "Kubernetes itself has it";

    const auto none = by_check(judge_kinds({}));
    EXPECT_EQ(none.at("CRD httproutes.gateway.networking.k8s.io"), "failed: missing");
    EXPECT_EQ(none.at("CRD authorizationpolicies.security.istio.io"), "failed: missing");

    const auto old = by_check(judge_kinds(
        {{"gateway.networking.k8s.io", {{"v1alpha2", {"gateways", "httproutes"}}, {"v1beta1", {"httproutes"}}}}}));
    EXPECT_EQ(old.at("CRD httproutes.gateway.networking.k8s.io"), "ok: served as v1beta1");
    EXPECT_EQ(old.at("CRD gateways.gateway.networking.k8s.io"),
              "failed: served as v1alpha2 only, Weft reads v1, v1beta1");
    for (const Finding& each : judge_kinds({}))
        EXPECT_NE(each.remedy, "") << each.check;
}

TEST(Bundle, IsOfMajorVersionOne) {
    EXPECT_EQ(judge_bundle("v1.6.3", "standard").level, Level::ok);
    EXPECT_EQ(judge_bundle("v1.6.3", "standard").detail, "v1.6.3, channel standard");
    for (const char* other : {"v0.8.1", "v2.0.0", "v1", "v", "1.2.0", ""})
        EXPECT_EQ(judge_bundle(other, "").level, Level::warning) << other;
}

Allowed answer(const char* verb, const char* resource, bool yes, const char* subresource = "") {
    return {.access = {.verb = verb, .group = "g", .resource = resource, .subresource = subresource, .why = "because"},
            .yes = yes,
            .error = {}};
}

TEST(Access, IsNamedWhereItLacks) {
    const auto good = judge_access({answer("list", "a", true), answer("watch", "a", true)}, "me");
    EXPECT_EQ(lines(good), std::vector<std::string>{"ok: me has all 2 rights that the agent needs"});

    const auto lacking =
        judge_access({answer("list", "a", false), answer("watch", "a", false), answer("patch", "a", false, "status"),
                      answer("list", "b", true), answer("watch", "b", false)},
                     "me");
    EXPECT_EQ(lines(lacking), (std::vector<std::string>{"failed: me may not list, watch a.g (because)",
                                                        "failed: me may not patch a/status.g (because)",
                                                        "failed: me may not watch b.g (because)"}));
    EXPECT_EQ(lacking.front().remedy, "in the agent's ClusterRole (the chart makes it): apiGroups: [\"g\"], resources: "
                                      "[a], verbs: [list, watch]");

    Allowed named = answer("watch", "a", false);
    named.access.name = "x";
    const auto own = judge_access({answer("list", "a", true), named}, "me");
    EXPECT_EQ(lines(own), std::vector<std::string>{"failed: me may not watch a.g x (because)"});
    EXPECT_EQ(own.front().remedy, "in the agent's ClusterRole (the chart makes it): apiGroups: [\"g\"], resources: "
                                  "[a], resourceNames: [x], verbs: [watch]");

    Allowed broken = answer("list", "a", false);
    broken.error = "HTTP status 500";
    EXPECT_EQ(lines(judge_access({broken}, "me")),
              std::vector<std::string>{"failed: it cannot be asked for list a.g: HTTP status 500"});
}

TEST(Access, IsNeededForEveryKindThatIsRead) {
    const auto all = kube::access_needed({.status = true, .daemonset = "weft"});
    std::set<std::string> texts;
    for (const kube::Access& each : all) {
        EXPECT_TRUE(texts.insert(kube::to_string(each)).second) << "twice: " << kube::to_string(each);
        EXPECT_STRNE(each.why, "");
    }
    for (const char* one :
         {"list pods", "watch endpointslices.discovery.k8s.io", "list authorizationpolicies.security.istio.io",
          "update httproutes/status.gateway.networking.k8s.io", "delete leases.coordination.k8s.io", "create events",
          "watch daemonsets.apps weft"})
        EXPECT_TRUE(texts.contains(one)) << one;
    for (const kube::Access& each : kube::access_needed({.status = false}))
        EXPECT_TRUE(each.verb == "list" || each.verb == "watch") << kube::to_string(each);
}

TEST(Findings, FailOnlyIfOneHasFailed) {
    const std::vector<Finding> fine = {{.check = "a", .level = Level::ok, .detail = "x", .remedy = ""},
                                       {.check = "b", .level = Level::warning, .detail = "y", .remedy = "z"},
                                       {.check = "c", .level = Level::skipped, .detail = "", .remedy = ""}};
    EXPECT_FALSE(has_failed(fine));
    std::vector<Finding> bad = fine;
    bad.push_back({.check = "d", .level = Level::failed, .detail = "", .remedy = ""});
    EXPECT_TRUE(has_failed(bad));
    EXPECT_EQ(to_json(bad).dump(),
              R"({"checks":[{"check":"a","status":"ok","detail":"x","remedy":""},)"
              R"({"check":"b","status":"warning","detail":"y","remedy":"z"},)"
              R"({"check":"c","status":"skipped","detail":"","remedy":""},)"
              R"({"check":"d","status":"failed","detail":"","remedy":""}],"failed":1,"warnings":1})");
}

} // namespace
} // namespace weft::agent::check
