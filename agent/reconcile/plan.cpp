// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/plan.hpp"

#include <algorithm>

namespace weft::agent {
namespace {

using Action = KernelState::PortAction;
using PortKey = KernelState::PortKey;

template <class Map, class Key>
const typename Map::mapped_type* find(const Map& map, const Key& key) {
    const auto found = map.find(key);
    return found == map.end() ? nullptr : &found->second;
}

template <class Map>
bool differs(const Map& now, const typename Map::value_type& wanted) {
    const auto* there = find(now, wanted.first);
    return there == nullptr || !(*there == wanted.second);
}

bool holds(const std::vector<IpAddress>& list, const IpAddress& address) {
    return std::find(list.begin(), list.end(), address) != list.end();
}

/// Takes the steps one by one on a model of the maps: each phase compares the model, not the past, with what is wanted.
class Planner {
public:
    Planner(const KernelState& now, const KernelState& wanted) : state_(now), wanted_(wanted) {}

    std::vector<MapOperation> run() {
        guard_ports();
        put_services();
        put_pods();
        loosen_ports();
        loosen_services();
        return std::move(out_);
    }

private:
    void step(MapOperation operation) {
        agent::apply(state_, operation);
        out_.push_back(std::move(operation));
    }
    /// Keys are copied: a step changes the map that is walked.
    template <class Map>
    static std::vector<typename Map::key_type> missing(const Map& now, const Map& wanted) {
        std::vector<typename Map::key_type> keys;
        for (const auto& [key, value] : now) {
            if (!wanted.contains(key))
                keys.push_back(key);
        }
        return keys;
    }

    void guard_ports();
    void guard_kept_addresses(const KernelState::Pod& before, uint32_t new_id);
    void put_services();
    void put_pods();
    void loosen_ports();
    void loosen_services();
    [[nodiscard]] std::vector<IpAddress> kept_for_others(uint64_t cookie) const;

    KernelState state_;
    const KernelState& wanted_;
    std::vector<MapOperation> out_;
};

void Planner::guard_ports() {
    for (const auto& each : wanted_.inbound_ports) {
        if (each.second != Action::pass && differs(state_.inbound_ports, each))
            step(PutInboundPort{each.first, each.second});
    }
    for (const auto& key : missing(state_.inbound_ports, wanted_.inbound_ports)) {
        if (state_.inbound_ports.at(key) == Action::pass) // an exception from port 0 that ends: never loosens
            step(RemoveInboundPort{key});
    }
}

/// Redirected services first; a service that loses its redirection, or may be reached without an engine again, waits
/// for the last phase.
void Planner::put_services() {
    for (const bool l7 : {true, false}) {
        for (const auto& each : wanted_.services) {
            const auto* there = find(state_.services, each.first);
            const bool loosens = there != nullptr &&
                                 ((there->l7 && !each.second.l7) || (there->fail_closed && !each.second.fail_closed));
            if (each.second.l7 == l7 && !loosens && differs(state_.services, each))
                step(PutService{each.first, each.second});
        }
    }
}

/// Addresses that the pod has now and that other pods shall have.
std::vector<IpAddress> Planner::kept_for_others(uint64_t cookie) const {
    std::vector<IpAddress> out;
    const auto* there = find(state_.pods, cookie);
    const auto* wanted = find(wanted_.pods, cookie);
    if (there == nullptr || wanted == nullptr)
        return out;
    for (const auto& address : there->addresses) {
        if (!holds(wanted->addresses, address) &&
            std::any_of(wanted_.pods.begin(), wanted_.pods.end(), [&](const auto& each) {
                return each.first != cookie && holds(each.second.addresses, address);
            }))
            out.push_back(address);
    }
    return out;
}

/// A pod that gets a new id while it still keeps an address for another pod: until that one has it, the new id guards
/// whatever the old one guarded. loosen_ports() takes it back.
void Planner::guard_kept_addresses(const KernelState::Pod& before, uint32_t new_id) {
    std::vector<uint16_t> ports = {0};
    for (const auto& [key, action] : state_.inbound_ports) {
        if (key.pod_id == before.id || key.pod_id == new_id)
            ports.push_back(key.port);
    }
    for (const uint16_t port : ports) {
        const Action action = effective_action(state_, {.pod_id = before.id, .port = port});
        if (action != Action::pass && effective_action(state_, {.pod_id = new_id, .port = port}) == Action::pass)
            step(PutInboundPort{{.pod_id = new_id, .port = port}, action});
    }
}

/// An address that moves between pods is never without an owner: the old one keeps it until the new one is put.
void Planner::put_pods() {
    std::vector<uint64_t> changed;
    for (const auto& each : wanted_.pods) {
        if (differs(state_.pods, each))
            changed.push_back(each.first);
    }
    std::vector<uint64_t> again;
    for (const uint64_t cookie : changed) {
        PutPod put{cookie, wanted_.pods.at(cookie)};
        const auto kept = kept_for_others(cookie);
        if (!kept.empty()) {
            const KernelState::Pod before = state_.pods.at(cookie);
            if (before.id != put.pod.id)
                guard_kept_addresses(before, put.pod.id);
            put.pod.addresses.insert(put.pod.addresses.end(), kept.begin(), kept.end());
            again.push_back(cookie);
        }
        step(std::move(put));
    }
    for (const uint64_t cookie : again) // without what it kept for others
        step(PutPod{cookie, wanted_.pods.at(cookie)});
    for (const uint64_t cookie : missing(state_.pods, wanted_.pods))
        step(RemovePod{cookie, state_.pods.at(cookie)});
}

/// Port 0 goes last: until then it covers the ports whose own entry is being removed.
void Planner::loosen_ports() {
    for (const bool all_ports : {false, true}) {
        for (const auto& each : wanted_.inbound_ports) {
            if ((each.first.port == 0) == all_ports && differs(state_.inbound_ports, each))
                step(PutInboundPort{each.first, each.second});
        }
        for (const auto& key : missing(state_.inbound_ports, wanted_.inbound_ports)) {
            if ((key.port == 0) == all_ports)
                step(RemoveInboundPort{key});
        }
    }
}

void Planner::loosen_services() {
    for (const auto& each : wanted_.services) {
        if (differs(state_.services, each))
            step(PutService{each.first, each.second});
    }
    for (const auto& address : missing(state_.services, wanted_.services))
        step(RemoveService{address});
}

void take_addresses(KernelState& state, uint64_t cookie, const std::vector<IpAddress>& addresses) {
    for (auto& [other, pod] : state.pods) {
        if (other != cookie)
            std::erase_if(pod.addresses, [&](const auto& address) { return holds(addresses, address); });
    }
}

struct Apply {
    KernelState& state;

    void operator()(const PutPod& put) const {
        take_addresses(state, put.netns_cookie, put.pod.addresses);
        state.pods[put.netns_cookie] = put.pod;
    }
    void operator()(const RemovePod& remove) const { state.pods.erase(remove.netns_cookie); }
    void operator()(const PutInboundPort& put) const { state.inbound_ports[put.key] = put.action; }
    void operator()(const RemoveInboundPort& remove) const { state.inbound_ports.erase(remove.key); }
    void operator()(const PutService& put) const { state.services[put.address] = put.service; }
    void operator()(const RemoveService& remove) const { state.services.erase(remove.address); }
};

} // namespace

void apply(KernelState& state, const MapOperation& operation) {
    std::visit(Apply{state}, operation);
}

std::vector<MapOperation> plan(const KernelState& now, const KernelState& wanted) {
    return Planner(now, wanted).run();
}

KernelState::PortAction effective_action(const KernelState& state, const PortKey& key) {
    if (const auto* own = find(state.inbound_ports, key))
        return *own;
    const auto* others = find(state.inbound_ports, PortKey{.pod_id = key.pod_id, .port = 0});
    return others == nullptr ? Action::pass : *others;
}

KernelState::PortAction action_at(const KernelState& state, const IpAddress& address, uint16_t port) {
    for (const auto& [cookie, pod] : state.pods) {
        if (!holds(pod.addresses, address))
            continue;
        return effective_action(state, {.pod_id = pod.id, .port = port});
    }
    return Action::pass;
}

} // namespace weft::agent
