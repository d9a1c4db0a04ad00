// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <tuple>

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
        for (const auto& fault : entry.faults)
            build.diagnose(object_id(T::kind, name), fault.field,
                           fault.message + (entry.good ? "; the last good version stays in force" : ""), severity);
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

ListenerStatus listener_status(const Gateway::Listener& listener, const WaypointBuild& waypoint) {
    const auto attached = waypoint.attached.find(listener.name);
    ListenerStatus out{.name = listener.name,
                       .http_routes = listener.http_routes,
                       .attached_routes = attached == waypoint.attached.end() ? 0 : attached->second.size(),
                       .conditions = {holds("Accepted"), holds("Programmed")}};
    out.conditions.push_back({.type = "Conflicted", .status = false, .reason = "NoConflicts", .message = {}});
    if (listener.other_routes)
        out.conditions.push_back({.type = "ResolvedRefs",
                                  .status = false,
                                  .reason = "InvalidRouteKinds",
                                  .message = "allowedRoutes.kinds: only HTTPRoutes are served by this release"});
    else
        out.conditions.push_back(holds("ResolvedRefs"));
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
        conditions = {holds("Accepted"), holds("Programmed")};
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
