// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/base/net.hpp"
#include "config/model/policy.hpp"
#include "config/model/protocol.hpp"
#include "config/model/route.hpp"

/// What the engine knows: one immutable, versioned value, compiled by the agent (agent/reconcile/compile) and sent
/// whole. Cross references are indices into the vectors of the same snapshot; `none` means absent. Plain data: no
/// behaviour here.
namespace weft::config {

inline constexpr uint32_t none = UINT32_MAX;

/// A pod as identity and metrics see it. Every pod that the source knows, enrolled or not, on any node.
struct Workload {
    std::string ns;
    std::string pod;                ///< pod name
    std::string service_account;    ///< "default" if the pod names none
    std::string name;               ///< owning workload (Deployment ...): `*_workload` label
    std::string canonical_service;  ///< reference istio.md 3.2
    std::string canonical_revision; ///< "latest" if no label says otherwise
    std::string app;                ///< empty: unknown
    std::string version;            ///< empty: unknown
    std::string principal;          ///< spiffe://<trust domain>/ns/<ns>/sa/<sa>
    std::vector<IpAddress> addresses;

    bool operator==(const Workload&) const = default;
};

/// One ready endpoint of a cluster.
struct Endpoint {
    SocketAddress address;
    uint32_t workload = none;
    uint32_t local_pod = 0; ///< pod_id of an enrolled pod of this node, else 0

    bool operator==(const Endpoint&) const = default;
};

/// The ready endpoints behind one service port: what a route's backendRef names.
struct Cluster {
    std::string ns;
    std::string service;
    std::string host; ///< <service>.<namespace>.svc.<cluster domain>
    uint16_t port = 0;
    Protocol protocol = Protocol::undeclared;
    std::vector<Endpoint> endpoints;

    bool operator==(const Cluster&) const = default;
};

/// Routes that apply to clients of one namespace only (Gateway API: consumer routes).
struct ConsumerRoutes {
    std::string client_namespace;
    uint32_t table = none;

    bool operator==(const ConsumerRoutes&) const = default;
};

/// One service port as clients dial it. Every service port of the source has one, with L7 work or not.
struct Frontend {
    uint32_t id = 0; ///< the 24 bits of the address code; WEFT_SERVICE_ID_MIN..MAX, never reused for another address
    std::vector<IpAddress> addresses;
    uint16_t port = 0;
    std::string ns;
    std::string service;
    std::string host;
    Protocol protocol = Protocol::undeclared;
    bool l7 = false;          ///< redirected to the engine
    uint32_t cluster = none;  ///< its own endpoints, used when no route table applies
    uint32_t routes = none;   ///< producer (or, without one, Gateway) routes; unmatched requests get 404
    uint32_t policies = none; ///< PolicySet judged for requests that name this service
    std::vector<ConsumerRoutes> consumer_routes; ///< replace `routes` for clients of that namespace

    bool operator==(const Frontend&) const = default;
};

/// One policy set that an unnamed request to a pod port must pass; all guards of the port must allow.
struct Guard {
    uint32_t policies = none;
    uint16_t destination_port = 0; ///< what `destination.port` means to this set: service port, or pod port
    uint32_t frontend = none;      ///< the service that this guard stands for; none: the pod's own waypoint

    bool operator==(const Guard&) const = default;
};

struct InboundPort {
    uint16_t port = 0; ///< pod port; 0: every port without an entry of its own
    Protocol protocol =
        Protocol::undeclared; ///< what all services that lead here declare; undeclared where they differ
    std::vector<Guard> guards;

    bool operator==(const InboundPort&) const = default;
};

/// An enrolled pod of this node.
struct LocalPod {
    uint32_t id = 0;
    uint32_t workload = none;
    std::vector<InboundPort> inbound; ///< sorted by port

    bool operator==(const LocalPod&) const = default;
};

struct Snapshot {
    uint64_t generation = 0;
    std::string trust_domain = "cluster.local";
    std::string cluster_id = "Kubernetes"; ///< `source_cluster`, `destination_cluster`
    std::vector<Workload> workloads;
    std::vector<Cluster> clusters;
    std::vector<Frontend> frontends;
    std::vector<RouteTable> route_tables;
    std::vector<Policy> policies;
    std::vector<PolicySet> policy_sets;
    std::vector<LocalPod> pods;

    bool operator==(const Snapshot&) const = default;
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

} // namespace weft::config
