// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/reconcile/build.hpp"
#include "agent/source/names.hpp"
#include "agent/source/own_status.hpp"
#include "config/model/limits.hpp"
#include "config/model/route_order.hpp"

/// HTTPRoute attachment (gateway-api.md 2.1, 2.4, 2.7, 3.1) and the tables that the engine routes by.
namespace weft::agent {
namespace {

/// How one parentRef fared.
struct Attached {
    const char* reason = "Accepted";
    std::string message;
    bool silent = false; ///< another controller's business; a message is for this node's own status only
};

void add_once(std::vector<AttachedRoute>& list, const AttachedRoute& route) {
    if (std::none_of(list.begin(), list.end(), [&](const auto& each) { return each.route == route.route; }))
        list.push_back(route);
}

Attached attach_to_service(Build& build, const HttpRoute::Parent& parent, AttachedRoute route) {
    ServiceBuild* service = build.service({.ns = parent.ns, .name = parent.name});
    const std::string id = "Service " + parent.ns + "/" + parent.name;
    if (service == nullptr)
        return {"NoMatchingParent", id + " does not exist"};
    if (service->service->external_name)
        return {"UnsupportedValue", id + " is of type ExternalName, which has no address that clients dial"};
    if (service->service->cluster_ips.empty())
        return {"UnsupportedValue", id + " is headless (no clusterIP), so there is no address to route for"};
    const bool producer = route.route->meta.ns == parent.ns;
    std::string opaque;
    size_t named = 0;
    size_t accepted = 0;
    route.hostnames.clear();
    for (auto& port : service->ports) {
        if ((parent.port && *parent.port != port.port->port) ||
            (!parent.section.empty() && parent.section != port.port->name))
            continue;
        ++named;
        if (!may_be_http(port.protocol)) {
            opaque += (opaque.empty() ? "" : ", ") + std::to_string(port.port->port);
            continue;
        }
        ++accepted;
        add_once(producer ? port.producer : port.consumer[route.route->meta.ns], route);
    }
    if (named == 0)
        return {"NoMatchingParent", id + " has no such port"};
    const std::string skipped = opaque.empty() ? "" : "; port " + opaque + " does not speak HTTP";
    if (accepted == 0)
        return {"UnsupportedProtocol", id + skipped};
    const std::string hosts = route.route->hostnames.empty() ? "" : "; hostnames are ignored for Service parents";
    return {"Accepted", "attached to " + id + skipped + hosts};
}

bool is_under(const std::string& host, const std::string& wildcard) {
    return wildcard.starts_with("*.") && host.size() > wildcard.size() - 1 && host.ends_with(wildcard.substr(1));
}

/// The narrower of two names, or nothing (Gateway API: listener and route hostnames intersect).
std::optional<std::string> narrower(const std::string& listener, const std::string& route) {
    if (listener.empty() || listener == route || is_under(route, listener))
        return route;
    return is_under(listener, route) ? std::optional(listener) : std::nullopt;
}

/// Nothing: no intersection. An empty list: any host.
std::optional<std::vector<std::string>> intersect(const std::string& listener, const std::vector<std::string>& route) {
    if (route.empty())
        return listener.empty() ? std::vector<std::string>{} : std::vector{listener};
    std::vector<std::string> out;
    for (const auto& hostname : route) {
        if (auto name = narrower(listener, hostname))
            out.push_back(std::move(*name));
    }
    return out.empty() ? std::nullopt : std::optional(std::move(out));
}

Attached attach_to_gateway(Build& build, const HttpRoute::Parent& parent, AttachedRoute route) {
    const ObjectName name{.ns = parent.ns, .name = parent.name};
    const std::string id = object_id(Gateway::kind, name);
    WaypointBuild* waypoint = build.waypoint(name);
    if (waypoint == nullptr && build.store.find<Gateway>(name) != nullptr)
        return {"", "", true};
    if (waypoint == nullptr) // whose it will be, nobody knows: all controllers would write a status of their own
        return {"", id + " does not exist", true};
    bool named = false;
    bool served = false;
    bool allowed = false;
    bool any_host = false;
    std::set<std::string> hostnames;
    for (const auto& listener : waypoint->gateway->listeners) {
        if ((!parent.section.empty() && parent.section != listener.name) ||
            (parent.port && *parent.port != listener.port))
            continue;
        named = true;
        if (!takes_routes(listener))
            continue;
        served = true;
        if (!listener.http_routes || !allows_namespace(build, *waypoint->gateway, listener, route.route->meta.ns))
            continue;
        allowed = true;
        const auto common = intersect(listener.hostname, route.route->hostnames);
        any_host = any_host || (common && common->empty());
        if (!common)
            continue;
        hostnames.insert(common->begin(), common->end());
        if (!route.outdated)
            waypoint->attached[listener.name].insert(route.route);
    }
    if (!named)
        return {"NoMatchingParent", id + " has no such listener"};
    if (!served)
        return {"NotAllowedByListeners", id + " has no such listener with a protocol that is served"};
    if (!allowed)
        return {"NotAllowedByListeners", id + " does not allow HTTPRoutes of the namespace " + route.route->meta.ns};
    if (!any_host && hostnames.empty())
        return {"NoMatchingListenerHostname", "no hostname of the route is one of " + id};
    if (!any_host)
        route.hostnames.assign(hostnames.begin(), hostnames.end());
    // Two parentRefs to different listeners: both sets of hostnames count.
    const auto before = std::find_if(waypoint->routes.begin(), waypoint->routes.end(),
                                     [&](const auto& each) { return each.route == route.route; });
    if (before == waypoint->routes.end()) {
        waypoint->routes.push_back(std::move(route));
    } else if (before->hostnames.empty() || route.hostnames.empty()) {
        before->hostnames.clear();
    } else {
        hostnames.insert(before->hostnames.begin(), before->hostnames.end());
        before->hostnames.assign(hostnames.begin(), hostnames.end());
    }
    return {"Accepted", "attached to " + id};
}

/// A parent of a kind that others may know: they answer for it, and it is no fault that the API shall show.
bool is_alien(const HttpRoute::Parent& parent) {
    const bool service = parent.kind == "Service" && (parent.group.empty() || parent.group == "core");
    return !service && !(parent.group == names::gateway_group && parent.kind == "Gateway");
}

Attached attach(Build& build, const HttpRoute::Parent& parent, const AttachedRoute& route) {
    if (parent.group.empty() && parent.kind == "Service")
        return attach_to_service(build, parent, route);
    if (parent.group == names::gateway_group && parent.kind == "Gateway")
        return attach_to_gateway(build, parent, route);
    if (parent.group == "core" && parent.kind == "Service")
        return {"InvalidKind", "the group of a Service parent is the empty string, not \"core\""};
    return {"InvalidKind", parent.group + "/" + parent.kind + " cannot be a parent here"};
}

struct Resolved {
    uint32_t cluster = config::none;
    const char* reason = "ResolvedRefs";
    std::string message;
};

Resolved resolve(Build& build, const HttpRoute& route, const HttpRoute::Backend& backend, bool gateway_parent) {
    const std::string id = backend.kind + " " + backend.ns + "/" + backend.name;
    if (!backend.group.empty() || backend.kind != "Service")
        return {config::none, "InvalidKind", backend.group + "/" + backend.kind + " cannot be a backend"};
    if (gateway_parent && backend.ns != route.meta.ns) // a ReferenceGrant would be needed, and none are read yet
        return {config::none, "RefNotPermitted", id + " is in another namespace than the route"};
    ServiceBuild* service = build.service({.ns = backend.ns, .name = backend.name});
    if (service == nullptr)
        return {config::none, "BackendNotFound", id + " does not exist"};
    Resolved out{config::none, "BackendNotFound", id + " has no port " + std::to_string(backend.port.value_or(0))};
    for (const auto& port : service->ports) {
        if (port.port->port != backend.port)
            continue;
        if (port.cluster == config::none)
            return {config::none, "BackendNotFound", id + " is not served: there are too many ports of services"};
        if (may_be_http(port.protocol))
            return {port.cluster, "ResolvedRefs", ""};
        out = {config::none, "UnsupportedProtocol",
               id + " does not speak HTTP on port " + std::to_string(port.port->port)};
    }
    return out;
}

Condition resolved_refs(Build& build, const HttpRoute& route, bool gateway_parent) {
    for (size_t rule = 0; rule < route.rules.size(); ++rule) {
        for (size_t i = 0; i < route.rules[rule].backends.size(); ++i) {
            const auto found = resolve(build, route, route.rules[rule].backends[i], gateway_parent);
            if (found.cluster == config::none)
                return {.type = "ResolvedRefs",
                        .status = false,
                        .reason = found.reason,
                        .message = "spec.rules[" + std::to_string(rule) + "].backendRefs[" + std::to_string(i) +
                                   "]: " + found.message};
        }
    }
    return {.type = "ResolvedRefs", .status = true, .reason = "ResolvedRefs", .message = {}};
}

/// The status of a refused version, for whom it names; nobody waits for that of another controller's.
template <class Route>
void report_refused(Build& build, const ObjectName& name, const Entry<Route>& entry) {
    if (is_foreign(build, name, entry))
        return;
    size_t told = 0;
    for (const auto& parent : entry.refused.parents) {
        if (is_foreign(build, parent))
            continue;
        ++told;
        build.add_status(Route::kind, name, parent_id(parent), refusal(entry, "Accepted")).foreign = is_alien(parent);
    }
    if (told == 0)
        build.add_status(Route::kind, name, "", refusal(entry, "Accepted"));
}

template <class Route>
void report_unserved(Build& build) {
    for (const auto& [name, entry] : build.store.all<Route>())
        report_refused(build, name, entry);
}

void attach_route(Build& build, const ObjectName& name, const Entry<HttpRoute>& entry) {
    const HttpRoute& route = *entry.good;
    const bool outdated = !entry.faults.empty();
    const AttachedRoute attached{.route = &route, .age = age_of(name, entry), .hostnames = {}, .outdated = outdated};
    for (const auto& parent : route.parents) {
        const auto result = attach(build, parent, attached);
        if (result.silent) {
            if (!result.message.empty())
                build.diagnose(object_id(HttpRoute::kind, name), "spec.parentRefs", result.message,
                               Diagnostic::Severity::warning);
            continue;
        }
        const bool ok = std::string_view(result.reason) == "Accepted";
        std::vector<Condition> conditions = {
            {.type = "Accepted", .status = ok, .reason = result.reason, .message = result.message},
            resolved_refs(build, route, parent.kind == "Gateway")};
        for (const auto& condition : conditions) {
            if (!condition.status && !(outdated && condition.type == "Accepted"))
                build.diagnose(object_id(HttpRoute::kind, name), condition.type == "Accepted" ? "spec.parentRefs" : "",
                               condition.message, Diagnostic::Severity::error);
        }
        if (!outdated)
            build.add_status(HttpRoute::kind, name, parent_id(parent), std::move(conditions)).foreign =
                is_alien(parent);
    }
    if (outdated)
        report_refused(build, name, entry);
    else if (route.parents.empty())
        build.add_status(HttpRoute::kind, name, "",
                         {{.type = "Accepted",
                           .status = false,
                           .reason = "NoMatchingParent",
                           .message = "spec.parentRefs names no parent, so the route applies to nothing"}});
}

void add_rules(Build& build, const AttachedRoute& attached, bool gateway, config::RouteTable& table) {
    const HttpRoute& route = *attached.route;
    for (const auto& rule : route.rules) {
        const auto index = static_cast<uint32_t>(table.rules.size());
        config::RouteRule out{.route = route.meta.ns + "/" + route.meta.name, .name = rule.name, .backends = {}};
        for (const auto& backend : rule.backends)
            out.backends.push_back(
                {.cluster = resolve(build, route, backend, gateway).cluster, .weight = backend.weight});
        table.rules.push_back(std::move(out));
        for (auto match : rule.matches) {
            match.hostnames = attached.hostnames;
            for (auto& each : config::per_hostname(match))
                table.entries.push_back({.match = std::move(each), .rule = index});
        }
    }
}

/// The table of one set of routes; config::none if no route is attached.
uint32_t add_table(Build& build, std::vector<AttachedRoute> routes, bool gateway) {
    if (routes.empty())
        return config::none;
    if (build.out.snapshot.route_tables.size() >= config::limits::route_tables_max) {
        for (const auto& route : routes)
            build.diagnose(object_id(HttpRoute::kind, {route.route->meta.ns, route.route->meta.name}), "",
                           "not applied everywhere: too many routes and ports", Diagnostic::Severity::error);
        return config::none;
    }
    std::sort(routes.begin(), routes.end(), [](const auto& left, const auto& right) { return left.age < right.age; });
    config::RouteTable table;
    for (const auto& route : routes) {
        if (table.entries.size() > config::limits::route_entries_max / 2) {
            build.diagnose(object_id(HttpRoute::kind, {route.route->meta.ns, route.route->meta.name}), "",
                           "not applied: too many matches are attached to the same parent",
                           Diagnostic::Severity::error);
            continue;
        }
        add_rules(build, route, gateway, table);
    }
    config::sort_by_precedence(table.entries);
    build.out.snapshot.route_tables.push_back(std::move(table));
    return static_cast<uint32_t>(build.out.snapshot.route_tables.size() - 1);
}

void add_frontend_tables(Build& build, const ServiceBuild& service, PortBuild& port) {
    auto& frontend = build.out.snapshot.frontends[port.frontend];
    frontend.routes = add_table(build, port.producer, false);
    if (frontend.routes == config::none && service.waypoint != nullptr && may_be_http(port.protocol))
        frontend.routes = service.waypoint->table;
    for (auto& [ns, routes] : port.consumer) {
        const bool room = frontend.consumer_routes.size() < config::limits::consumer_routes_max;
        const uint32_t table = room ? add_table(build, routes, false) : config::none;
        if (table != config::none)
            frontend.consumer_routes.push_back({.client_namespace = ns, .table = table});
        else if (!room)
            build.diagnose(object_id(Service::kind, service.name), "",
                           "routes of the namespace " + ns + " are not applied: too many namespaces have some",
                           Diagnostic::Severity::error);
    }
    frontend.policies = service.policy_set;
    frontend.l7 = frontend.routes != config::none || !frontend.consumer_routes.empty() || service.waypoint != nullptr ||
                  service.policy_set != config::none;
}

} // namespace

bool is_foreign(const Build& build, const HttpRoute::Parent& parent) {
    const auto* gateway = build.store.find<Gateway>({.ns = parent.ns, .name = parent.name});
    return parent.group == names::gateway_group && parent.kind == "Gateway" &&
           (gateway == nullptr || !build.is_our_class(gateway->class_name));
}

bool takes_routes(const Gateway::Listener& listener) {
    return listener.protocol == "HBONE" || listener.protocol == "HTTP";
}

void build_routes(Build& build) {
    for (const auto& [name, entry] : build.store.all<HttpRoute>()) {
        if (entry.good)
            attach_route(build, name, entry);
        else
            report_refused(build, name, entry);
    }
    report_unserved<GrpcRoute>(build);
    report_unserved<TcpRoute>(build);
    report_unserved<TlsRoute>(build);
    for (auto& [name, waypoint] : build.waypoints)
        waypoint.table = add_table(build, waypoint.routes, true);
    for (auto& [name, service] : build.services) {
        for (auto& port : service.ports) {
            if (port.frontend != config::none)
                add_frontend_tables(build, service, port);
        }
    }
}

} // namespace weft::agent
