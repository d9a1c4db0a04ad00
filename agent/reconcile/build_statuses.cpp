// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <tuple>
#include <utility>

#include "agent/reconcile/build.hpp"
#include "agent/source/own_status.hpp"

/// Statuses of kinds that no other step reports on, and the faults of every refused object.
namespace weft::agent {
namespace {

template <class T>
void report_refusals(Build& build) {
    for (const auto& [name, entry] : build.store.all<T>()) {
        const auto severity =
            is_foreign(build, name, entry) ? Diagnostic::Severity::warning : Diagnostic::Severity::refused;
        const char* const stays = severity == Diagnostic::Severity::refused ? what_stays(entry) : "";
        for (const auto& fault : entry.faults)
            build.diagnose(object_id(T::kind, name), fault.field, fault.message + stays, severity);
    }
}

template <class T>
void core_statuses(Build& build) {
    for (const auto& [name, entry] : build.store.all<T>())
        build.add_status(T::kind, name, "", refusal(entry, accepted_type));
}

/// Of kinds with more objects than anybody wants listed: only those with something to say.
template <class T>
void refused_statuses(Build& build) {
    for (const auto& [name, entry] : build.store.all<T>())
        if (!entry.faults.empty())
            build.add_status(T::kind, name, "", refusal(entry, accepted_type));
}

/// A Service may have been reported on twice, by its waypoint and by its own refusal: one status holds both.
void sort_and_join(std::vector<ObjectStatus>& statuses) {
    const auto key = [](const ObjectStatus& each) { return std::tie(each.kind, each.ns, each.name, each.parent); };
    std::sort(statuses.begin(), statuses.end(), [&](const auto& left, const auto& right) {
        const auto type = [](const ObjectStatus& each) {
            return each.conditions.empty() ? "" : each.conditions[0].type;
        };
        return std::tuple(key(left), type(left)) < std::tuple(key(right), type(right));
    });
    std::vector<ObjectStatus> out;
    out.reserve(statuses.size());
    for (auto& status : statuses) {
        if (out.empty() || key(out.back()) != key(status)) {
            out.push_back(std::move(status));
            continue;
        }
        auto& conditions = out.back().conditions;
        conditions.insert(conditions.end(), status.conditions.begin(), status.conditions.end());
        out.back().foreign = out.back().foreign || status.foreign;
    }
    statuses = std::move(out);
}

Condition holds(const char* type) {
    return {.type = type, .status = true, .reason = type, .message = {}};
}

Condition fails(const char* type, const char* reason, std::string message) {
    return {.type = type, .status = false, .reason = reason, .message = std::move(message)};
}

/// Gateway API: listeners of one port have one protocol and different host names. Which are of no consequence here
/// (what comes to a waypoint is judged by its service), but said.
Condition conflict(const Gateway::Listener& listener, const Gateway& gateway) {
    for (const auto& other : gateway.listeners) {
        if (other.name == listener.name || other.port != listener.port)
            continue;
        if (other.protocol != listener.protocol)
            return {.type = "Conflicted",
                    .status = true,
                    .reason = "ProtocolConflict",
                    .message = "the listener " + other.name + " has another protocol on the same port"};
        if (other.hostname == listener.hostname)
            return {.type = "Conflicted",
                    .status = true,
                    .reason = "HostnameConflict",
                    .message = "the listener " + other.name + " has the same hostname on the same port"};
    }
    return fails("Conflicted", "NoConflicts", {});
}

ListenerStatus listener_status(const Gateway::Listener& listener, const WaypointBuild& waypoint) {
    const auto attached = waypoint.attached.find(listener.name);
    ListenerStatus out{.name = listener.name,
                       .http_routes = listener.http_routes,
                       .attached_routes = attached == waypoint.attached.end() ? 0 : attached->second.size(),
                       .conditions = {holds("Accepted"), holds("Programmed")}};
    if (!takes_routes(listener))
        out.conditions = {
            fails("Accepted", "UnsupportedProtocol", "protocol: " + listener.protocol + " is not HBONE or HTTP"),
            fails("Programmed", "Invalid", "its protocol is not served")};
    out.conditions.push_back(conflict(listener, *waypoint.gateway));
    if (listener.other_routes)
        out.conditions.push_back({.type = "ResolvedRefs",
                                  .status = false,
                                  .reason = "InvalidRouteKinds",
                                  .message = "allowedRoutes.kinds: only HTTPRoutes are served by this release"});
    else
        out.conditions.push_back(holds("ResolvedRefs"));
    return out;
}

std::vector<Condition> gateway_conditions(const Gateway& gateway) {
    std::vector<Condition> out = {holds("Accepted"), holds("Programmed")};
    const auto served = std::ranges::count_if(gateway.listeners, takes_routes);
    if (served == 0)
        return {fails("Accepted", "ListenersNotValid", "no listener has a protocol that is served"),
                fails("Programmed", "Invalid", "no listener has a protocol that is served")};
    if (std::cmp_less(served, gateway.listeners.size())) {
        out[0].reason = "ListenersNotValid";
        out[0].message = "not every listener has a protocol that is served";
    }
    if (gateway.asks_for_addresses)
        out[1] = fails("Programmed", "AddressNotAssigned", "spec.addresses: a waypoint has no addresses of its own");
    return out;
}

void gateway_status(Build& build, const ObjectName& name, const Entry<Gateway>& entry) {
    auto conditions = refusal(entry, "Accepted");
    const WaypointBuild* waypoint = build.waypoint(name);
    if (!conditions.empty())
        conditions.push_back({.type = "Programmed",
                              .status = false,
                              .reason = "Invalid",
                              .message = "the newest version is not in force"});
    else if (waypoint != nullptr)
        conditions = gateway_conditions(*waypoint->gateway);
    ObjectStatus& status = build.add_status(Gateway::kind, name, "", std::move(conditions));
    if (waypoint == nullptr || !entry.faults.empty())
        return;
    for (const auto& listener : waypoint->gateway->listeners)
        status.listeners.push_back(listener_status(listener, *waypoint));
}

void gateway_statuses(Build& build) {
    for (const auto& [name, entry] : build.store.all<Gateway>())
        gateway_status(build, name, entry);
    for (const auto& [name, entry] : build.store.all<GatewayClass>()) {
        auto conditions = refusal(entry, "Accepted");
        if (conditions.empty() && build.is_our_class(name.name))
            conditions.push_back({.type = "Accepted", .status = true, .reason = "Accepted", .message = {}});
        build.add_status(GatewayClass::kind, name, "", std::move(conditions));
    }
}

} // namespace

void build_statuses(Build& build) {
    build.store.each_table([&]<class T>(const ObjectStore::Table<T>&) { report_refusals<T>(build); });
    core_statuses<Namespace>(build);
    refused_statuses<Pod>(build);
    refused_statuses<EndpointSlice>(build);
    core_statuses<Service>(build);
    gateway_statuses(build);
    sort_and_join(build.out.statuses);
    const auto order = [](const Diagnostic& each) {
        return std::tie(each.object, each.field, each.message, each.severity);
    };
    auto& diagnostics = build.out.diagnostics;
    std::sort(diagnostics.begin(), diagnostics.end(),
              [&](const auto& left, const auto& right) { return order(left) < order(right); });
    diagnostics.erase(std::unique(diagnostics.begin(), diagnostics.end()), diagnostics.end());
}

} // namespace weft::agent
