// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <tuple>

#include "agent/reconcile/build.hpp"
#include "agent/reconcile/trust_domain.hpp"

/// AuthorizationPolicy attachment (istio.md 1.8) and the sets that the engine judges by.
namespace weft::agent {
namespace {

using Target = AuthorizationPolicy::Target;

struct Bound {
    bool ok = false;
    const char* reason = "Accepted";
    std::string message;
    std::vector<uint32_t>* list = nullptr; ///< where the policy goes
    std::vector<WaypointBuild*> waypoints; ///< of a class
};

Bound bind_gateway(Build& build, const ObjectName& name) {
    if (auto* waypoint = build.waypoint(name))
        return {true, "Accepted", "bound to " + object_id(Gateway::kind, name), &waypoint->policies, {}};
    if (build.store.find<Gateway>(name) != nullptr)
        return {false,
                "AncestorNotBound",
                object_id(Gateway::kind, name) + " is of a class that is not Weft's",
                nullptr,
                {}};
    return {false, "TargetNotFound", object_id(Gateway::kind, name) + " does not exist", nullptr, {}};
}

Bound bind_service(Build& build, const ObjectName& name) {
    if (auto* service = build.service(name))
        return {true, "Accepted", "bound to " + object_id(Service::kind, name), &service->policies, {}};
    return {false, "TargetNotFound", object_id(Service::kind, name) + " does not exist", nullptr, {}};
}

Bound bind_class(Build& build, const std::string& policy_namespace, const std::string& name) {
    if (policy_namespace != build.options.root_namespace)
        return {false,
                "Invalid",
                "a policy for a GatewayClass must be in the root namespace " + build.options.root_namespace,
                nullptr,
                {}};
    if (!build.is_our_class(name)) {
        const bool there = build.store.find<GatewayClass>({.ns = {}, .name = name}) != nullptr;
        return {false,
                there ? "AncestorNotBound" : "TargetNotFound",
                "GatewayClass " + name + " is not one of Weft's",
                nullptr,
                {}};
    }
    Bound out{true, "Accepted", "bound to all waypoints of GatewayClass " + name, nullptr, {}};
    for (auto& [key, waypoint] : build.waypoints) {
        if (waypoint.gateway->class_name == name)
            out.waypoints.push_back(&waypoint);
    }
    return out;
}

Bound bind(Build& build, const ObjectName& policy, const Target& target) {
    switch (target.kind) {
    case Target::Kind::gateway: return bind_gateway(build, {.ns = policy.ns, .name = target.name});
    case Target::Kind::service: return bind_service(build, {.ns = policy.ns, .name = target.name});
    case Target::Kind::gateway_class: return bind_class(build, policy.ns, target.name);
    }
    return {};
}

void attach_policy(Build& build, const ObjectName& name, const AuthorizationPolicy& policy,
                   std::vector<Condition>& conditions) {
    const auto index = static_cast<uint32_t>(build.out.snapshot.policies.size());
    size_t bound = 0;
    Condition condition{.type = "WaypointAccepted", .status = false, .reason = {}, .message = {}};
    for (const auto& target : policy.targets) {
        const Bound found = bind(build, name, target);
        bound += found.ok ? 1 : 0;
        if (condition.reason.empty() || (!found.ok && condition.reason == "Accepted"))
            condition.reason = found.reason;
        condition.message += (condition.message.empty() ? "" : "; ") + found.message;
        if (found.list != nullptr)
            found.list->push_back(index);
        for (auto* waypoint : found.waypoints)
            waypoint->policies.push_back(index);
    }
    condition.status = bound > 0;
    if (bound > 0 && bound < policy.targets.size())
        condition.reason = "PartiallyInvalid";
    if (bound < policy.targets.size())
        build.diagnose(object_id(AuthorizationPolicy::kind, name), "spec.targetRefs", condition.message,
                       bound > 0 ? Diagnostic::Severity::warning : Diagnostic::Severity::error);
    if (bound > 0) {
        build.out.snapshot.policies.push_back({.ns = name.ns,
                                               .name = name.name,
                                               .action = policy.action,
                                               .rules = in_trust_domain(policy.rules, build.options.trust_domain)});
    }
    conditions.push_back(std::move(condition));
}

/// One set for each distinct combination. `config::none` if there is none to judge.
uint32_t policy_set(Build& build, std::vector<uint32_t> policies) {
    const auto& all = build.out.snapshot.policies;
    std::sort(policies.begin(), policies.end(), [&](uint32_t left, uint32_t right) {
        return std::tie(all[left].name, all[left].ns) < std::tie(all[right].name, all[right].ns);
    });
    policies.erase(std::unique(policies.begin(), policies.end()), policies.end());
    if (policies.empty())
        return config::none;
    auto& sets = build.out.snapshot.policy_sets;
    const auto [found, fresh] = build.policy_sets.emplace(policies, static_cast<uint32_t>(sets.size()));
    if (fresh) {
        config::PolicySet set;
        for (const uint32_t index : policies)
            (all[index].action == config::Policy::Action::deny ? set.deny : set.allow).push_back(index);
        sets.push_back(std::move(set));
    }
    return found->second;
}

bool has_http_fields(const Build& build, uint32_t policy) {
    return std::ranges::any_of(build.out.snapshot.policies[policy].rules, config::reads_request);
}

bool has_server_names(const Build& build, uint32_t policy) {
    return std::ranges::any_of(build.out.snapshot.policies[policy].rules, config::reads_server_name);
}

/// Where connections are judged, or may be, such rules do something else than they say (istio.md 1.7): the status must
/// tell.
void note_opaque_ports(Build& build, const ServiceBuild& service, const std::vector<uint32_t>& policies) {
    for (const auto& port : service.ports) {
        const bool declared = !may_be_http(port.protocol);
        if (port.port->protocol != Protocol::tcp || !(declared || port.protocol == config::Protocol::undeclared))
            continue;
        const std::string name = object_id(Service::kind, service.name) + ":" + std::to_string(port.port->port);
        for (const uint32_t index : policies) {
            if (has_http_fields(build, index))
                (declared ? build.opaque_ports : build.sniffed_ports)[index].insert(name);
            if (port.protocol == config::Protocol::tcp && has_server_names(build, index))
                build.nameless_ports[index].insert(name);
        }
    }
}

/// A waypoint of pods judges all of their ports, whatever is spoken there.
void note_pods(Build& build, const WaypointBuild& waypoint) {
    if (!waypoint.gateway->handles(Gateway::WaypointFor::workload))
        return;
    for (const uint32_t index : waypoint.policies) {
        if (has_http_fields(build, index))
            build.sniffed_ports[index].insert("pods of " + object_id(Gateway::kind, waypoint.name));
    }
}

std::string list_of(const std::set<std::string>& where) {
    std::string list;
    for (const auto& one : where)
        list += (list.empty() ? "" : ", ") + one;
    return list;
}

std::string opaque_message(const config::Policy& policy, const std::set<std::string>& where, const char* what) {
    return "on " + list_of(where) + ", " + what + ", " +
           (policy.action == config::Policy::Action::deny
                ? "rules with HTTP fields are judged without these: they deny more"
                : "rules with HTTP fields never match");
}

void add_message(std::vector<Condition>& conditions, const std::string& message) {
    for (auto& condition : conditions)
        condition.message += "; " + message;
}

bool are_foreign(const Build& build, const std::string& ns, const std::vector<Target>& targets) {
    return !targets.empty() &&
           std::ranges::all_of(targets, [&](const Target& target) { return is_foreign(build, ns, target); });
}

void finish_statuses(Build& build, std::map<ObjectName, std::vector<Condition>>& conditions) {
    const auto warn = [&](uint32_t index, const std::string& message) {
        const auto& policy = build.out.snapshot.policies[index];
        const ObjectName name{.ns = policy.ns, .name = policy.name};
        add_message(conditions[name], message);
        build.diagnose(object_id(AuthorizationPolicy::kind, name), "spec.rules", message,
                       Diagnostic::Severity::warning);
    };
    for (const auto& [index, ports] : build.opaque_ports)
        warn(index, opaque_message(build.out.snapshot.policies[index], ports,
                                   "where connections and not requests are judged"));
    for (const auto& [index, ports] : build.nameless_ports)
        warn(index, "on " + list_of(ports) +
                        ", which is declared TCP, nobody looks for a TLS hello: "
                        "connection.sni is empty there");
    for (const auto& [index, places] : build.sniffed_ports) {
        const auto& policy = build.out.snapshot.policies[index];
        add_message(conditions[{.ns = policy.ns, .name = policy.name}],
                    opaque_message(policy, places,
                                   "whose protocol is told by what clients send, connections are judged if that is not "
                                   "HTTP; there"));
    }
    for (auto& [name, list] : conditions) {
        const auto& entry = build.store.all<AuthorizationPolicy>().at(name);
        const auto& targets = entry.faults.empty() ? entry.good->targets : entry.refused.targets;
        build.add_status(AuthorizationPolicy::kind, name, "", std::move(list)).foreign =
            are_foreign(build, name.ns, targets);
    }
}

void report_unserved(Build& build) {
    for (const auto& [name, entry] : build.store.all<RequestAuthentication>())
        build.add_status(RequestAuthentication::kind, name, "", refusal(entry, "WaypointAccepted")).foreign =
            are_foreign(build, name.ns, entry.refused.targets);
}

} // namespace

bool is_foreign(const Build& build, const std::string& ns, const Target& target) {
    if (target.kind == Target::Kind::gateway_class)
        return build.store.find<GatewayClass>({.ns = {}, .name = target.name}) != nullptr &&
               !build.is_our_class(target.name);
    const auto* gateway = build.store.find<Gateway>({.ns = ns, .name = target.name});
    return target.kind == Target::Kind::gateway && gateway != nullptr && !build.is_our_class(gateway->class_name);
}

uint32_t waypoint_policy_set(Build& build, const WaypointBuild& waypoint) {
    return policy_set(build, waypoint.policies);
}

void build_policies(Build& build) {
    std::map<ObjectName, std::vector<Condition>> conditions;
    for (const auto& [name, entry] : build.store.all<AuthorizationPolicy>()) {
        conditions[name] = refusal(entry, "WaypointAccepted");
        if (!entry.good)
            continue;
        auto& list = conditions[name];
        attach_policy(build, name, *entry.good, list);
        if (list.size() > 1) // refused now: that is what the condition says, the older version is bound all the same
            list.pop_back();
    }
    for (auto& [name, service] : build.services) {
        auto policies = service.policies;
        if (service.waypoint != nullptr)
            policies.insert(policies.end(), service.waypoint->policies.begin(), service.waypoint->policies.end());
        note_opaque_ports(build, service, policies);
        service.policy_set = policy_set(build, std::move(policies));
    }
    for (const auto& [name, waypoint] : build.waypoints)
        note_pods(build, waypoint);
    finish_statuses(build, conditions);
    report_unserved(build);
}

} // namespace weft::agent
