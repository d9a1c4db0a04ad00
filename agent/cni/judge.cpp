// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/judge.hpp"

#include <algorithm>
#include <utility>

#include "agent/reconcile/plan.hpp"

namespace weft::agent::cni {
namespace {

using weft::cni::Outcome;

StartVerdict wait_for(std::string what) {
    return {.outcome = std::nullopt, .lacking = std::move(what)};
}

} // namespace

StartVerdict judge(const StartFacts& facts) {
    if (facts.uid_needed)
        return {.outcome = Outcome::refused, .lacking = "the container runtime gives no K8S_POD_UID in CNI_ARGS"};
    if (!facts.not_begun.empty())
        return wait_for(facts.not_begun);
    if (!facts.pod_known)
        return wait_for("the agent has not seen this Pod object yet");
    if (!facts.namespace_known)
        return wait_for("the agent has not seen the pod's Namespace object yet");
    if (!facts.enrolled)
        return {.outcome = Outcome::not_enrolled, .lacking = ""};
    if (!facts.local)
        return wait_for("the Pod object is not bound to this node (yet)");
    if (!facts.not_captured.empty())
        return wait_for(facts.not_captured);
    if (!facts.compiled)
        return wait_for("the pod is not in what shall be in force");
    if (!facts.in_kernel)
        return wait_for("the kernel does not have the pod's link and entries yet");
    if (!facts.in_engine)
        return wait_for("no engine has a snapshot with this pod in force");
    return {.outcome = Outcome::captured, .lacking = ""};
}

bool has_pod(const KernelState& state, const CapturedPod& pod, const std::vector<IpAddress>& addresses) {
    const auto found = state.pods.find(pod.netns_cookie);
    return found != state.pods.end() && found->second.id == pod.id &&
           std::ranges::all_of(addresses, [&](const IpAddress& address) {
               return std::ranges::find(found->second.addresses, address) != found->second.addresses.end();
           });
}

bool holds(const KernelState& now, const KernelState& wanted, uint64_t netns_cookie) {
    const auto found = wanted.pods.find(netns_cookie);
    if (found == wanted.pods.end())
        return false;
    const KernelState::Pod& pod = found->second;
    const auto there = now.pods.find(netns_cookie);
    if (!has_pod(now, {.id = pod.id, .netns_cookie = netns_cookie}, pod.addresses) ||
        (pod.fail_closed && !there->second.fail_closed))
        return false;
    for (const KernelState* const side : {&now, &wanted})
        for (auto each = side->inbound_ports.lower_bound({.pod_id = pod.id, .port = 0});
             each != side->inbound_ports.end() && each->first.pod_id == pod.id; ++each)
            if (std::to_underlying(effective_action(now, each->first)) <
                std::to_underlying(effective_action(wanted, each->first)))
                return false;
    return true;
}

} // namespace weft::agent::cni
