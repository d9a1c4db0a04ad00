// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/access.hpp"

#include <array>

#include "agent/source/kinds.hpp"

namespace weft::agent::kube {
namespace {

struct Right {
    const char* verb;
    const char* group;
    const char* resource;
    const char* subresource;
    Access::Scope scope;
    const char* why;
};
constexpr const char* core = "";
constexpr const char* gateway = "gateway.networking.k8s.io";
constexpr const char* security = "security.istio.io";
constexpr const char* leases = "coordination.k8s.io";
constexpr const char* apps = "apps";
constexpr const char* read_why = "the source is not whole, so that nothing new comes into force";
constexpr const char* status_why = "its status is not written";
constexpr const char* live_why = "its status is not written: what others wrote there is kept";
constexpr const char* daemonset_why = "at its end the agent cannot tell an upgrade from the end, and cleans nothing up";
constexpr const char* lease_why = "no agent is elected to write status, and none tells what its node has in force";

/// Kinds whose status the elected agent replaces, beside what others wrote in it.
struct WithStatus {
    const char* group;
    const char* resource;
};
constexpr std::array with_status = {
    WithStatus{gateway, "gatewayclasses"},
    WithStatus{gateway, "gateways"},
    WithStatus{gateway, "httproutes"},
    WithStatus{gateway, "grpcroutes"},
    WithStatus{gateway, "tcproutes"},
    WithStatus{gateway, "tlsroutes"},
    WithStatus{security, "authorizationpolicies"},
    WithStatus{security, "requestauthentications"},
};
constexpr std::array others = {
    Right{"get", core, "services", "", Access::Scope::cluster, live_why},
    Right{"patch", core, "services", "status", Access::Scope::cluster, "no condition istio.io/WaypointBound"},
    Right{"patch", core, "pods", "status", Access::Scope::cluster, "no annotation ambient.istio.io/redirection"},
    Right{"create", core, "events", "", Access::Scope::cluster, "no Events of refused objects"},
    Right{"get", core, "nodes", "", Access::Scope::cluster, "a node's Lease does not go with the node"},
    Right{"get", leases, "leases", "", Access::Scope::own, lease_why},
    Right{"list", leases, "leases", "", Access::Scope::own, lease_why},
    Right{"create", leases, "leases", "", Access::Scope::own, lease_why},
    Right{"patch", leases, "leases", "", Access::Scope::own, lease_why},
    Right{"delete", leases, "leases", "", Access::Scope::own, lease_why},
};

Access access_of(const Right& right) {
    return {.verb = right.verb,
            .group = right.group,
            .resource = right.resource,
            .subresource = right.subresource,
            .scope = right.scope,
            .why = right.why};
}

void add_writes(std::vector<Access>& all) {
    constexpr auto everywhere = Access::Scope::cluster;
    for (const WithStatus& kind : with_status) {
        all.push_back(access_of({"get", kind.group, kind.resource, "", everywhere, live_why}));
        all.push_back(access_of({"update", kind.group, kind.resource, "status", everywhere, status_why}));
    }
    for (const Right& right : others)
        all.push_back(access_of(right));
}

} // namespace

std::vector<Access> access_needed(const Uses& uses) {
    constexpr auto everywhere = Access::Scope::cluster;
    std::vector<Access> all;
    for (const KindInfo& kind : kinds_read())
        for (const char* verb : {"list", "watch"})
            all.push_back(access_of({verb, kind.group, kind.plural, "", everywhere, read_why}));
    if (uses.status)
        add_writes(all);
    if (uses.daemonset.empty())
        return all;
    for (const char* verb : {"get", "list", "watch"}) {
        all.push_back(access_of({verb, apps, "daemonsets", "", Access::Scope::own, daemonset_why}));
        all.back().name = uses.daemonset;
    }
    return all;
}

std::string to_string(const Access& access) {
    std::string text = access.verb + " " + access.resource;
    if (!access.subresource.empty())
        text += "/" + access.subresource;
    if (!access.group.empty())
        text += "." + access.group;
    if (!access.name.empty())
        text += " " + access.name;
    return text;
}

} // namespace weft::agent::kube
