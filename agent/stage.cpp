// SPDX-License-Identifier: Apache-2.0
#include "agent/stage.hpp"

#include <algorithm>
#include <utility>

#include "agent/reconcile/plan.hpp"

namespace weft::agent {
namespace {

using PortAction = KernelState::PortAction;

/// Pods of `now` that `wanted` does not have, without the addresses that a wanted pod owns now.
void keep_pod(const std::pair<const uint64_t, KernelState::Pod>& kept, KernelState& target) {
    const auto& [cookie, pod] = kept;
    if (target.pods.contains(cookie))
        return;
    KernelState::Pod remaining = pod;
    std::erase_if(remaining.addresses, [&](const IpAddress& address) {
        return std::ranges::any_of(target.pods, [&](const auto& other) {
            return std::ranges::find(other.second.addresses, address) != other.second.addresses.end();
        });
    });
    target.pods[cookie] = std::move(remaining);
}

/// pass < steer < refuse
PortAction stricter(PortAction a, PortAction b) {
    return std::to_underlying(a) > std::to_underlying(b) ? a : b;
}

void keep_strictness(const KernelState& now, const KernelState& wanted, KernelState& target) {
    for (const auto* side : {&now.inbound_ports, &wanted.inbound_ports})
        for (const auto& [key, action] : *side)
            target.inbound_ports[key] = stricter(effective_action(now, key), effective_action(wanted, key));
}

} // namespace

KernelState before_engine(const KernelState& now, const KernelState& wanted, bool hold) {
    KernelState target = wanted;
    for (auto& [address, service] : target.services) {
        const auto before = now.services.find(address);
        const bool redirected = before != now.services.end() && before->second.l7;
        service.l7 = redirected && (service.l7 || hold);
        service.fail_closed = service.fail_closed || (hold && redirected && before->second.fail_closed);
    }
    if (!hold)
        return target;
    for (const auto& [address, service] : now.services)
        if (service.l7)
            target.services.try_emplace(address, service);
    for (auto& [cookie, pod] : target.pods) {
        const auto before = now.pods.find(cookie);
        pod.fail_closed = pod.fail_closed || (before != now.pods.end() && before->second.fail_closed);
    }
    for (const auto& pod : now.pods)
        keep_pod(pod, target);
    keep_strictness(now, wanted, target);
    return target;
}

} // namespace weft::agent
