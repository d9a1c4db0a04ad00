// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/reconcile/build.hpp"
#include "bpf/abi.h"
#include "config/model/limits.hpp"

/// What each captured pod's ports are guarded by (architecture 4): every service that leads there, and the pod's own
/// waypoint. A pod that is not ready is guarded all the same: a policy must not vanish with readiness.
namespace weft::agent {
namespace {

constexpr size_t guards_of_services_max = config::limits::guards_max - 1; ///< one more: the pod's own waypoint

struct PodGuards {
    std::map<uint16_t, std::vector<config::Guard>> ports;
    std::map<uint16_t, config::Protocol> declared; ///< what all services that lead there say; undeclared if they differ
    std::set<uint16_t> refused;                    ///< of more guards than are judged
};
using Guards = std::map<uint32_t, PodGuards>; ///< by PodIndex item

void declare(PodGuards& pod, uint16_t number, config::Protocol protocol) {
    const auto [there, first] = pod.declared.emplace(number, protocol);
    if (!first && there->second != protocol)
        there->second = config::Protocol::undeclared;
}

void guard_port(Build& build, const ServiceBuild& service, const PortBuild& port, Guards& guards) {
    for (const auto& member : members_of(build, service, port)) {
        if (member.pod == PodIndex::none || build.local_ids[member.pod] == 0)
            continue;
        // Anybody may write an EndpointSlice that names another namespace's pod: his policies are not that pod's.
        if (build.pods.items()[member.pod].name.ns != service.name.ns)
            continue;
        PodGuards& pod = guards[member.pod];
        const uint16_t number = member.address.port;
        declare(pod, number, port.protocol);
        if (service.policy_set == config::none)
            continue;
        const config::Guard guard{
            .policies = service.policy_set, .destination_port = port.port->port, .frontend = port.frontend};
        auto& list = pod.ports[number];
        if (std::find(list.begin(), list.end(), guard) != list.end())
            continue;
        if (list.size() < guards_of_services_max)
            list.push_back(guard);
        else if (pod.refused.insert(number).second)
            build.diagnose(
                object_id(Service::kind, service.name), "",
                "too many governed ports of services lead to one port of a pod: connections to it are refused",
                Diagnostic::Severity::error);
    }
}

/// The pod's own waypoint governs every port: those with an entry of their own, and all others through port 0.
void guard_pod(uint32_t policy_set, PodGuards& pod) {
    for (const uint16_t number : server_first_ports)
        pod.declared.emplace(number, config::Protocol::tcp); // where no service says otherwise
    pod.ports[0];
    for (auto& [number, list] : pod.ports)
        list.push_back({.policies = policy_set, .destination_port = number, .frontend = config::none});
}

/// Sorted by port. A port that only the pod's own waypoint guards is named too if its protocol is known: the kernel
/// steers it as one of all others, but the engine must not.
std::vector<config::InboundPort> inbound_of(const PodGuards& pod) {
    std::map<uint16_t, config::InboundPort> out;
    for (const auto& [number, list] : pod.ports)
        out[number] = {.port = number, .protocol = config::Protocol::undeclared, .guards = list};
    const auto others = pod.ports.find(0);
    for (const auto& [number, protocol] : pod.declared) {
        if (const auto own = out.find(number); own != out.end())
            own->second.protocol = protocol;
        else if (others != pod.ports.end() && protocol != config::Protocol::undeclared)
            out[number] = {.port = number, .protocol = protocol, .guards = others->second};
    }
    std::vector<config::InboundPort> ports;
    ports.reserve(out.size());
    for (auto& [number, port] : out)
        ports.push_back(std::move(port));
    return ports;
}

using PortActions = std::map<KernelState::PortKey, KernelState::PortAction>;

/// When the kernel's map would not hold all ports, one entry stands for the whole pod: stricter, never looser.
void add_actions(Build& build, const std::string& uid, uint32_t id, const PodGuards& pod, PortActions& out) {
    using enum KernelState::PortAction;
    std::set<uint16_t> all = pod.refused;
    for (const auto& [number, list] : pod.ports)
        all.insert(number);
    const size_t room = WEFT_INBOUND_PORTS_MAX - WEFT_PODS_MAX; // one entry is kept for each pod
    if (out.size() + all.size() > room) {
        build.diagnose("Pod " + uid, "", "too many guarded ports on this node: every port of the pod is guarded",
                       Diagnostic::Severity::error);
        out[{.pod_id = id, .port = 0}] = pod.refused.empty() ? steer : refuse;
        return;
    }
    for (const uint16_t number : all)
        out[{.pod_id = id, .port = number}] = pod.refused.contains(number) ? refuse : steer;
}

void add_pod(Build& build, uint32_t index, const PodGuards& guards) {
    const auto& item = build.pods.items()[index];
    const std::string uid = item.name.ns + "/" + item.name.name;
    const auto& captured = build.captured.at(uid);
    build.out.snapshot.pods.push_back({.id = captured.id, .workload = index, .inbound = inbound_of(guards)});
    add_actions(build, uid, captured.id, guards, build.out.kernel.inbound_ports);
    build.out.kernel.pods[captured.netns_cookie] = {.id = captured.id,
                                                    .fail_closed = !guards.ports.empty() || !guards.refused.empty(),
                                                    .addresses = item.addresses};
}

} // namespace

void build_guards(Build& build) {
    Guards guards;
    for (uint32_t index = 0; index < build.local_ids.size(); ++index) {
        if (build.local_ids[index] != 0)
            guards[index];
    }
    if (guards.empty())
        return;
    for (const auto& [name, service] : build.services) {
        for (const auto& port : service.ports) {
            if (port.port->protocol == Protocol::tcp)
                guard_port(build, service, port, guards);
        }
    }
    for (auto& [index, pod] : guards) {
        const auto* waypoint = pod_waypoint(build, *build.pods.items()[index].pod);
        const uint32_t set = waypoint == nullptr ? config::none : waypoint_policy_set(build, *waypoint);
        if (set != config::none)
            guard_pod(set, pod);
        add_pod(build, index, pod);
    }
}

} // namespace weft::agent
