// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/access.hpp"

#include <array>

#include "agent/source/kinds.hpp"

namespace weft::agent::kube {
namespace {

struct Written {
    const char* verb;
    const char* group;
    const char* resource;
    const char* subresource;
    Access::Scope scope;
    const char* why;
};
constexpr const char* gateway = "gateway.networking.k8s.io";
constexpr const char* security = "security.istio.io";
constexpr const char* lease_why = "the agents elect the one that writes status";
constexpr std::array written = {
    Written{"patch", gateway, "gatewayclasses", "status", Access::Scope::cluster, "status of GatewayClasses"},
    Written{"patch", gateway, "gateways", "status", Access::Scope::cluster, "status of Gateways"},
    Written{"patch", gateway, "httproutes", "status", Access::Scope::cluster, "status of HTTPRoutes"},
    Written{"patch", gateway, "grpcroutes", "status", Access::Scope::cluster, "status of GRPCRoutes"},
    Written{"patch", gateway, "tcproutes", "status", Access::Scope::cluster, "status of TCPRoutes"},
    Written{"patch", gateway, "tlsroutes", "status", Access::Scope::cluster, "status of TLSRoutes"},
    Written{"patch", security, "authorizationpolicies", "status", Access::Scope::cluster,
            "status of AuthorizationPolicies"},
    Written{"patch", security, "requestauthentications", "status", Access::Scope::cluster,
            "status of RequestAuthentications"},
    Written{"patch", "", "services", "status", Access::Scope::cluster, "the condition istio.io/WaypointBound"},
    Written{"patch", "", "pods", "", Access::Scope::cluster, "the annotation ambient.istio.io/redirection"},
    Written{"create", "", "events", "", Access::Scope::cluster, "events of refused objects"},
    Written{"patch", "", "events", "", Access::Scope::cluster, "events of refused objects"},
    Written{"get", "coordination.k8s.io", "leases", "", Access::Scope::own, lease_why},
    Written{"create", "coordination.k8s.io", "leases", "", Access::Scope::own, lease_why},
    Written{"update", "coordination.k8s.io", "leases", "", Access::Scope::own, lease_why},
};

} // namespace

std::vector<Access> access_needed() {
    std::vector<Access> all;
    for (const KindInfo& kind : kinds_read())
        for (const char* verb : {"list", "watch"})
            all.push_back({.verb = verb,
                           .group = kind.group,
                           .resource = kind.plural,
                           .subresource = {},
                           .scope = Access::Scope::cluster,
                           .why = "the source is not whole, so that nothing new comes into force"});
    for (const Written& each : written)
        all.push_back({.verb = each.verb,
                       .group = each.group,
                       .resource = each.resource,
                       .subresource = each.subresource,
                       .scope = each.scope,
                       .why = each.why});
    return all;
}

std::string to_string(const Access& access) {
    std::string text = access.verb + " " + access.resource;
    if (!access.subresource.empty())
        text += "/" + access.subresource;
    if (!access.group.empty())
        text += "." + access.group;
    return text;
}

} // namespace weft::agent::kube
