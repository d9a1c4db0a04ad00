// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/progress.hpp"

#include <algorithm>
#include <utility>

#include "agent/reconcile/plan.hpp"

namespace weft::agent {
namespace {

using enum KernelState::PortAction;

bool holds(const KernelState::Pod& pod, const IpAddress& address) {
    return std::ranges::find(pod.addresses, address) != pod.addresses.end();
}

void add_ports_of(const KernelState& state, uint32_t pod_id, std::set<uint16_t>& ports) {
    for (auto each = state.inbound_ports.lower_bound({.pod_id = pod_id, .port = 0});
         each != state.inbound_ports.end() && each->first.pod_id == pod_id; ++each)
        ports.insert(each->first.port);
}

template <class... Visitors>
struct Overloaded : Visitors... {
    using Visitors::operator()...;
};

} // namespace

Progress::Progress(KernelState now, const KernelState& wanted) : state_(std::move(now)), wanted_(wanted) {
    for (const auto& [cookie, pod] : wanted_.pods)
        for (const IpAddress& address : pod.addresses)
            wanted_owners_.try_emplace(address, pod.id);
}

void Progress::took(const MapOperation& step) {
    apply(state_, step);
}

bool Progress::must_wait(const MapOperation& step) const {
    return std::visit(
        Overloaded{[&](const PutInboundPort& put) { return port_must_wait(put.key, put.action); },
                   [&](const RemoveInboundPort& remove) { return port_must_wait(remove.key, std::nullopt); },
                   [&](const PutPod& put) { return pod_must_wait(put.netns_cookie, put.pod); },
                   [&](const PutService& put) { return service_must_wait(put.address, put.service); },
                   [](const RemovePod&) { return false; },      // the plan has the others' addresses out of it
                   [](const RemoveService&) { return false; }}, // nobody reaches a pod by it any more
        step);
}

KernelState::PortAction Progress::wanted_at(const IpAddress& address, uint16_t port) const {
    const auto owner = wanted_owners_.find(address);
    return owner == wanted_owners_.end() ? pass : effective_action(wanted_, {.pod_id = owner->second, .port = port});
}

/// The ports at which the pod, or the pod that shall have the address, differs from "all others" (which is 0).
void Progress::add_ports(const IpAddress& address, uint32_t pod_id, std::set<uint16_t>& ports) const {
    ports.insert(0);
    add_ports_of(state_, pod_id, ports);
    if (const auto owner = wanted_owners_.find(address); owner != wanted_owners_.end())
        add_ports_of(wanted_, owner->second, ports);
}

bool Progress::port_must_wait(const PortKey& key, std::optional<PortAction> own) const {
    const PortAction others = key.port == 0 ? pass : effective_action(state_, {.pod_id = key.pod_id, .port = 0});
    const PortAction after = own.value_or(others);
    const PortAction before = effective_action(state_, key);
    if (after >= before)
        return false;
    for (const auto& [cookie, pod] : state_.pods) {
        if (pod.id != key.pod_id)
            continue;
        for (const IpAddress& address : pod.addresses) {
            std::set<uint16_t> ports = {key.port};
            if (key.port == 0)
                add_ports(address, pod.id, ports);
            for (const uint16_t port : ports) {
                const bool has_own = port != key.port && state_.inbound_ports.contains({pod.id, port});
                if (!has_own && after < std::min(before, wanted_at(address, port)))
                    return true;
            }
        }
    }
    return false;
}

bool Progress::pod_must_wait(uint64_t cookie, const KernelState::Pod& pod) const {
    if (std::ranges::any_of(pod.addresses, [&](const auto& address) { return gains_unguarded(pod.id, address); }))
        return true;
    const auto before = state_.pods.find(cookie);
    return before != state_.pods.end() && std::ranges::any_of(before->second.addresses, [&](const auto& address) {
               return !holds(pod, address) && loses_guarded(before->second.id, address);
           });
}

/// What no pod has counts as refused: nothing can be reached there as this pod.
bool Progress::gains_unguarded(uint32_t pod_id, const IpAddress& address) const {
    const auto owner = std::ranges::find_if(state_.pods, [&](const auto& each) { return holds(each.second, address); });
    const bool owned = owner != state_.pods.end();
    std::set<uint16_t> ports;
    add_ports(address, pod_id, ports);
    if (owned)
        add_ports_of(state_, owner->second.id, ports);
    return std::ranges::any_of(ports, [&](uint16_t port) {
        const PortAction before = owned ? effective_action(state_, {.pod_id = owner->second.id, .port = port}) : refuse;
        const PortAction after = effective_action(state_, {.pod_id = pod_id, .port = port});
        return after < std::min(before, wanted_at(address, port));
    });
}

/// The pod that shall have it does not have it yet.
bool Progress::loses_guarded(uint32_t pod_id, const IpAddress& address) const {
    std::set<uint16_t> ports;
    add_ports(address, pod_id, ports);
    return std::ranges::any_of(ports, [&](uint16_t port) {
        const PortAction before = effective_action(state_, {.pod_id = pod_id, .port = port});
        return before != pass && wanted_at(address, port) != pass;
    });
}

bool Progress::service_must_wait(const SocketAddress& address, const KernelState::Service& service) const {
    const auto found = state_.services.find(address);
    if (found == state_.services.end())
        return false;
    const KernelState::Service& before = found->second;
    if ((!before.l7 || service.l7) && (!before.fail_closed || service.fail_closed))
        return false;
    return std::ranges::any_of(service.backends, [&](const SocketAddress& backend) {
        return action_at(state_, backend.address, backend.port) < wanted_at(backend.address, backend.port);
    });
}

} // namespace weft::agent
