// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/reconcile/build.hpp"
#include "agent/source/own_status.hpp"

/// Who uses which waypoint (istio.md 4.1, 4.2). A waypoint is a Gateway of one of our classes; it has no pod.
namespace weft::agent {
namespace {

constexpr const char* use_waypoint = "istio.io/use-waypoint";
constexpr const char* use_waypoint_namespace = "istio.io/use-waypoint-namespace";
constexpr const char* our_class = "weft-waypoint";

/// What an object's or its namespace's labels ask for.
struct Wish {
    bool asked = false; ///< the label is there and not "none"
    bool own = false;   ///< on the object itself, not on its namespace
    ObjectName gateway;
};

Wish wish_in(const Labels& labels, const std::string& ns, bool own) {
    const auto* name = find_value(labels, use_waypoint);
    if (name == nullptr || name->empty())
        return {};
    const auto* elsewhere = find_value(labels, use_waypoint_namespace);
    return {.asked = *name != "none",
            .own = own,
            .gateway = {.ns = elsewhere == nullptr || elsewhere->empty() ? ns : *elsewhere, .name = *name}};
}

Wish wish_of(const Build& build, const ObjectMeta& meta) {
    if (const auto* own = find_value(meta.labels, use_waypoint); own != nullptr && !own->empty())
        return wish_in(meta.labels, meta.ns, true);
    const auto* ns = build.store.find<Namespace>({.ns = {}, .name = meta.ns});
    return ns == nullptr ? Wish{} : wish_in(ns->meta.labels, meta.ns, false);
}

bool admits(const Build& build, const Gateway& gateway, const std::string& ns) {
    return gateway.meta.ns == ns ||
           std::any_of(gateway.listeners.begin(), gateway.listeners.end(),
                       [&](const auto& listener) { return allows_namespace(build, gateway, listener, ns); });
}

struct Attachment {
    WaypointBuild* waypoint = nullptr;
    const char* reason = "";
    std::string message;
    bool foreign = false; ///< it asks for a waypoint of another controller
};

Attachment attach(Build& build, const Wish& wish, const std::string& ns, Gateway::WaypointFor what) {
    const std::string id = object_id(Gateway::kind, wish.gateway);
    WaypointBuild* waypoint = build.waypoint(wish.gateway);
    if (waypoint == nullptr) {
        const bool there = build.store.find<Gateway>(wish.gateway) != nullptr;
        return {nullptr, "WaypointIsNotReady", id + (there ? " is of a class that is not Weft's" : " does not exist"),
                there};
    }
    if (!admits(build, *waypoint->gateway, ns))
        return {nullptr, "AttachmentDenied", id + " does not allow the namespace " + ns + " in its allowedRoutes",
                false};
    if (!waypoint->gateway->handles(what))
        return {nullptr, "UnsupportedTrafficType", id + " does not handle this kind of traffic (istio.io/waypoint-for)",
                false};
    return {waypoint, "WaypointAccepted", "attached to " + id, false};
}

} // namespace

bool Build::is_our_class(const std::string& name) const {
    if (name == our_class || std::ranges::find(options.gateway_classes, name) != options.gateway_classes.end())
        return true;
    const auto* object = store.find<GatewayClass>({.ns = {}, .name = name});
    return object != nullptr && object->controller == controller_name;
}

bool allows_namespace(const Build& build, const Gateway& gateway, const Gateway::Listener& listener,
                      const std::string& ns) {
    switch (listener.from) {
        using enum Gateway::Listener::From;
    case same: return gateway.meta.ns == ns;
    case all: return true;
    case none: return false;
    case selector: {
        const auto* object = build.store.find<Namespace>({.ns = {}, .name = ns});
        Labels labels = object == nullptr ? Labels{} : object->meta.labels;
        labels.emplace("kubernetes.io/metadata.name", ns); // the API server sets it on every namespace
        return listener.selector.matches(labels);
    }
    }
    return false;
}

void build_waypoints(Build& build) {
    for (const auto& [name, entry] : build.store.all<Gateway>()) {
        if (entry.good && build.is_our_class(entry.good->class_name))
            build.waypoints[name] = {
                .gateway = entry.good.get(), .name = name, .policies = {}, .routes = {}, .table = config::none};
    }
    for (auto& [name, service] : build.services) {
        const Wish wish = wish_of(build, service.service->meta);
        if (!wish.asked)
            continue;
        auto found = attach(build, wish, name.ns, Gateway::WaypointFor::service);
        service.waypoint = found.waypoint;
        // A namespace's label speaks of all kinds of traffic; only the service's own can be wrong for it.
        if (found.waypoint == nullptr && !wish.own && std::string_view(found.reason) == "UnsupportedTrafficType")
            continue;
        build
            .add_status(Service::kind, name, "",
                        {{.type = waypoint_bound_type,
                          .status = found.waypoint != nullptr,
                          .reason = found.reason,
                          .message = found.message}})
            .foreign = found.foreign;
        if (found.waypoint == nullptr)
            build.diagnose(object_id(Service::kind, name), std::string("metadata.labels[") + use_waypoint + "]",
                           found.message, Diagnostic::Severity::warning);
    }
}

WaypointBuild* pod_waypoint(Build& build, const Pod& pod) {
    const Wish wish = wish_of(build, pod.meta);
    return wish.asked ? attach(build, wish, pod.meta.ns, Gateway::WaypointFor::workload).waypoint : nullptr;
}

} // namespace weft::agent
