// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/reconcile/app_protocol.hpp"
#include "agent/reconcile/compile.hpp"
#include "agent/reconcile/pod_index.hpp"
#include "agent/source/own_status.hpp"

/// The workpiece of compile(): each step below reads what the steps before it left and adds its own part. Lives for one
/// compile() only and points into its store. Internal to agent/reconcile.
namespace weft::agent {

/// A route as attached to one place.
struct AttachedRoute {
    const HttpRoute* route = nullptr;
    Age age;
    std::vector<std::string> hostnames; ///< Gateway parents: what is left after intersection; empty: any
    bool outdated = false;              ///< the newest version is refused, this one is still in force
};

struct PortBuild {
    const ServicePort* port = nullptr;
    config::Protocol protocol = config::Protocol::undeclared;
    uint32_t cluster = config::none;  ///< TCP ports only
    uint32_t frontend = config::none; ///< TCP ports of services with an address only
    std::vector<AttachedRoute> producer;
    std::map<std::string, std::vector<AttachedRoute>> consumer; ///< by client namespace
};

struct WaypointBuild {
    const Gateway* gateway = nullptr;
    ObjectName name;
    std::vector<uint32_t> policies; ///< of the Gateway and of its class
    std::vector<AttachedRoute> routes;
    uint32_t table = config::none;
    std::map<std::string, std::set<const HttpRoute*>> attached{}; ///< accepted routes by listener
};

struct ServiceBuild {
    const Service* service = nullptr;
    ObjectName name;
    Age age;
    std::vector<PortBuild> ports;
    std::vector<const EndpointSlice*> slices;
    std::vector<uint32_t> selected; ///< pods by selector
    std::vector<IpAddress> vips;    ///< cluster addresses that are its own
    WaypointBuild* waypoint = nullptr;
    std::vector<uint32_t> policies; ///< that target it
    uint32_t policy_set = config::none;
};

struct Build {
    const ObjectStore& store;
    const CompileOptions& options;
    const CapturedPods& captured;
    Compiled out{};
    PodIndex pods;
    size_t addresses_served = 0;       ///< of all frontends
    std::vector<uint32_t> local_ids{}; ///< pod id by PodIndex item, 0: not captured here
    std::map<ObjectName, ServiceBuild> services{};
    std::map<ObjectName, WaypointBuild> waypoints{};            ///< Gateways of our classes
    std::map<uint32_t, std::set<std::string>> opaque_ports{};   ///< policy with HTTP fields -> ports without HTTP
    std::map<uint32_t, std::set<std::string>> nameless_ports{}; ///< policy with server names -> ports declared TCP
    std::map<uint32_t, std::set<std::string>> sniffed_ports{};  ///< ... -> where what is not HTTP may come, too
    std::map<std::vector<uint32_t>, uint32_t> policy_sets{};

    [[nodiscard]] ServiceBuild* service(const ObjectName& name) {
        const auto found = services.find(name);
        return found == services.end() ? nullptr : &found->second;
    }
    [[nodiscard]] WaypointBuild* waypoint(const ObjectName& name) {
        const auto found = waypoints.find(name);
        return found == waypoints.end() ? nullptr : &found->second;
    }
    [[nodiscard]] bool is_our_class(const std::string& name) const;
    void diagnose(std::string object, std::string field, std::string message, Diagnostic::Severity severity) {
        out.diagnostics.push_back({.object = std::move(object),
                                   .field = std::move(field),
                                   .message = std::move(message),
                                   .severity = severity});
    }
    ObjectStatus& add_status(const char* kind, const ObjectName& name, std::string parent,
                             std::vector<Condition> conditions) {
        return out.statuses.emplace_back(ObjectStatus{.kind = kind,
                                                      .ns = name.ns,
                                                      .name = name.name,
                                                      .parent = std::move(parent),
                                                      .conditions = std::move(conditions)});
    }
};

/// Where a service port leads: one address of a pod or of an EndpointSlice.
struct Member {
    SocketAddress address;
    uint32_t pod = PodIndex::none;
    bool ready = false;
    bool authoritative = false; ///< counts as an endpoint; otherwise it only says which pods the port's policies govern
    auto operator<=>(const Member&) const = default;
};
/// All of them, ready or not, sorted by address.
[[nodiscard]] std::vector<Member> members_of(const Build& build, const ServiceBuild& service, const PortBuild& port);

/// The waypoint that handles the pod's own address, or nullptr.
[[nodiscard]] WaypointBuild* pod_waypoint(Build& build, const Pod& pod);
/// The set of a waypoint's own policies; config::none if it has none.
[[nodiscard]] uint32_t waypoint_policy_set(Build& build, const WaypointBuild& waypoint);

/// The ids of a new frontend's addresses, all or none. Otherwise why it cannot be served: the engine would refuse a
/// frontend without an id, and the whole snapshot with it.
[[nodiscard]] std::optional<std::string> give_ids(Build& build, config::Frontend& frontend);

void build_workloads(Build& build);
void build_services(Build& build);  ///< services, clusters, frontends
void build_waypoints(Build& build); ///< Gateways of ours and who uses them
void build_policies(Build& build);  ///< attachment and sets
void build_routes(Build& build);    ///< attachment and tables
void build_guards(Build& build);    ///< captured pods, inbound ports
void build_kernel(Build& build);    ///< services and ids
void build_statuses(Build& build);  ///< objects that no step above reports on

/// What is in force here of an object whose newest version is refused.
template <class T>
[[nodiscard]] const char* what_stays(const Entry<T>& entry) {
    return entry.good ? "; the last good version stays in force" : "; nothing of it is in force";
}

/// What every refused object says; empty if the newest version is in force.
template <class T>
[[nodiscard]] std::vector<Condition> refusal(const Entry<T>& entry, const char* type) {
    if (entry.faults.empty())
        return {};
    const bool unsupported = std::ranges::all_of(entry.faults, &Fault::unsupported);
    return {{.type = type,
             .status = false,
             .reason = unsupported ? "UnsupportedValue" : "Invalid",
             .message = refusal_text(entry.faults, is_served<T>)}};
}

/// Istio's waypoints have HBONE, and plain HTTP means no less here; a listener for anything else takes no routes.
[[nodiscard]] bool takes_routes(const Gateway::Listener& listener);
/// Whether that parent is another controller's: a Gateway of a class that is not Weft's, or that is not there.
[[nodiscard]] bool is_foreign(const Build& build, const HttpRoute::Parent& parent);
/// The same of a policy's target, which is in the policy's namespace.
[[nodiscard]] bool is_foreign(const Build& build, const std::string& ns, const AuthorizationPolicy::Target& target);

/// Objects of other controllers may use what Weft does not serve: nobody here waits for them. Of a refused one.
template <class T>
[[nodiscard]] bool is_foreign(const Build& build, const ObjectName& name, const Entry<T>& entry) {
    const Concerns& of = entry.refused;
    if (entry.good || (of.parents.empty() && of.targets.empty() && of.gateway_class.empty()))
        return false;
    if (!of.gateway_class.empty() && build.is_our_class(of.gateway_class))
        return false;
    return std::ranges::all_of(of.parents, [&](const auto& parent) { return is_foreign(build, parent); }) &&
           std::ranges::all_of(of.targets, [&](const auto& target) { return is_foreign(build, name.ns, target); });
}

/// Whether a Gateway with a waypoint's listeners lets routes and users of that namespace in.
[[nodiscard]] bool allows_namespace(const Build& build, const Gateway& gateway, const Gateway::Listener& listener,
                                    const std::string& ns);

} // namespace weft::agent
