// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/source/label_set.hpp"
#include "config/base/net.hpp"
#include "config/model/policy.hpp"
#include "config/model/route.hpp"

/// The Kubernetes objects that Weft reads, reduced to the fields that it uses. Made by the decoders only, which refuse
/// an object whole when any part of it is wrong: a value here is valid. All plain data, immutable once stored.
namespace weft::agent {

struct OwnerRef {
    std::string kind;
    std::string name;
    bool controller = false;
    bool operator==(const OwnerRef&) const = default;
};

struct ObjectMeta {
    std::string ns; ///< empty for cluster-scoped kinds
    std::string name;
    std::string uid; ///< empty: never was in an API server
    LabelSet labels;
    Labels annotations;             ///< those that Weft may read
    std::optional<int64_t> created; ///< Unix seconds
    bool deleting = false;
    std::vector<OwnerRef> owners;
    bool operator==(const ObjectMeta&) const = default;
};

/// A label selector; an empty one selects everything.
struct LabelSelector {
    struct Requirement {
        enum class Operator : uint8_t { in, not_in, exists, does_not_exist };
        std::string key;
        Operator op = Operator::in;
        std::vector<std::string> values;
        bool operator==(const Requirement&) const = default;
    };
    Labels match_labels;
    std::vector<Requirement> expressions;
    [[nodiscard]] bool matches(const Labels& labels) const;
    bool operator==(const LabelSelector&) const = default;
};

enum class Protocol : uint8_t { tcp, udp, sctp };

struct Namespace {
    static constexpr const char* kind = "Namespace";
    ObjectMeta meta;
    bool operator==(const Namespace&) const = default;
};

struct Pod {
    static constexpr const char* kind = "Pod";
    struct Port {
        std::string name;
        uint16_t port = 0;
        Protocol protocol = Protocol::tcp;
        bool operator==(const Port&) const = default;
    };
    ObjectMeta meta;
    std::string service_account = "default";
    std::string node_name; ///< empty: not scheduled yet
    bool host_network = false;
    bool finished = false; ///< phase Succeeded or Failed
    bool ready = true;     ///< condition Ready; none given = ready
    std::vector<Port> ports;
    std::vector<IpAddress> addresses; ///< at most one of each family
    bool operator==(const Pod&) const = default;
};

struct ServicePort {
    std::string name;
    uint16_t port = 0;
    Protocol protocol = Protocol::tcp;
    std::optional<std::string> app_protocol;
    std::variant<uint16_t, std::string> target; ///< number, or a container port's name
    bool operator==(const ServicePort&) const = default;
};

struct Service {
    static constexpr const char* kind = "Service";
    ObjectMeta meta;
    bool external_name = false;
    std::vector<IpAddress> cluster_ips; ///< empty: headless, ExternalName, or not allocated yet
    bool ipv4 = false;                  ///< families of its endpoints; both false: each pod's first address
    bool ipv6 = false;
    bool publish_not_ready = false;
    Labels selector; ///< empty: no pods are selected
    std::vector<ServicePort> ports;
    bool operator==(const Service&) const = default;
};

struct EndpointSlice {
    static constexpr const char* kind = "EndpointSlice";
    struct Endpoint {
        std::vector<IpAddress> addresses;
        bool ready = true;
        bool operator==(const Endpoint&) const = default;
    };
    struct Port {
        std::string name;
        std::optional<uint16_t> port;
        Protocol protocol = Protocol::tcp;
        bool operator==(const Port&) const = default;
    };
    ObjectMeta meta;
    std::string service; ///< label kubernetes.io/service-name; empty: belongs to none
    std::vector<Endpoint> endpoints;
    std::vector<Port> ports;
    bool operator==(const EndpointSlice&) const = default;
};

struct GatewayClass {
    static constexpr const char* kind = "GatewayClass";
    ObjectMeta meta;
    std::string controller;
    bool operator==(const GatewayClass&) const = default;
};

struct Gateway {
    static constexpr const char* kind = "Gateway";
    struct Listener {
        enum class From : uint8_t { same, all, selector, none };
        std::string name;
        std::string hostname; ///< lower-case; empty: any
        uint16_t port = 0;
        std::string protocol;
        From from = From::same;
        LabelSelector selector;
        bool http_routes = true;   ///< allowedRoutes.kinds lets HTTPRoute in
        bool other_routes = false; ///< ... and kinds that cannot be attached here
        bool operator==(const Listener&) const = default;
    };
    enum class WaypointFor : uint8_t { service, workload, all, none };
    ObjectMeta meta;
    std::string class_name;
    WaypointFor waypoint_for = WaypointFor::service;
    /// Is traffic to such destinations the waypoint's?
    [[nodiscard]] bool handles(WaypointFor what) const {
        return waypoint_for == what || waypoint_for == WaypointFor::all;
    }
    std::vector<Listener> listeners;
    bool asks_for_addresses = false; ///< spec.addresses
    bool operator==(const Gateway&) const = default;
};

struct HttpRoute {
    static constexpr const char* kind = "HTTPRoute";
    struct Parent {
        std::string group = "gateway.networking.k8s.io";
        std::string kind = "Gateway";
        std::string ns; ///< the route's own if not given
        std::string name;
        std::string section;
        std::optional<uint16_t> port;
        bool operator==(const Parent&) const = default;
    };
    struct Backend {
        std::string group;
        std::string kind = "Service";
        std::string ns;
        std::string name;
        std::optional<uint16_t> port;
        uint32_t weight = 1;
        bool operator==(const Backend&) const = default;
    };
    struct Rule {
        std::string name;
        std::vector<config::RouteMatch> matches; ///< never empty; without hostnames
        std::vector<Backend> backends;
        bool operator==(const Rule&) const = default;
    };
    ObjectMeta meta;
    std::vector<Parent> parents;
    std::vector<std::string> hostnames; ///< lower-case
    std::vector<Rule> rules;
    bool operator==(const HttpRoute&) const = default;
};

struct AuthorizationPolicy {
    static constexpr const char* kind = "AuthorizationPolicy";
    struct Target {
        enum class Kind : uint8_t { gateway, service, gateway_class };
        Kind kind = Kind::gateway;
        std::string name;
        bool operator==(const Target&) const = default;
    };
    ObjectMeta meta;
    std::vector<Target> targets; ///< never empty; in the policy's own namespace
    config::Policy::Action action = config::Policy::Action::allow;
    std::vector<config::PolicyRule> rules;
    bool operator==(const AuthorizationPolicy&) const = default;
};

/// Kinds that no release serves yet. They are read so that whoever applies one is told, and always refused: what is
/// kept of them is whom they concern.
struct GrpcRoute {
    static constexpr const char* kind = "GRPCRoute";
    ObjectMeta meta;
    std::vector<HttpRoute::Parent> parents;
    bool operator==(const GrpcRoute&) const = default;
};
struct TcpRoute {
    static constexpr const char* kind = "TCPRoute";
    ObjectMeta meta;
    std::vector<HttpRoute::Parent> parents;
    bool operator==(const TcpRoute&) const = default;
};
struct TlsRoute {
    static constexpr const char* kind = "TLSRoute";
    ObjectMeta meta;
    std::vector<HttpRoute::Parent> parents;
    bool operator==(const TlsRoute&) const = default;
};
struct RequestAuthentication {
    static constexpr const char* kind = "RequestAuthentication";
    ObjectMeta meta;
    std::vector<AuthorizationPolicy::Target> targets;
    bool operator==(const RequestAuthentication&) const = default;
};

/// Kinds whose last good version outlives the agent (hold.hpp), so whose text is kept.
template <class T>
inline constexpr bool keeps_text = false;
template <>
inline constexpr bool keeps_text<Gateway> = true;
template <>
inline constexpr bool keeps_text<HttpRoute> = true;
template <>
inline constexpr bool keeps_text<AuthorizationPolicy> = true;

template <class T>
inline constexpr bool is_served = true;
template <>
inline constexpr bool is_served<GrpcRoute> = false;
template <>
inline constexpr bool is_served<TcpRoute> = false;
template <>
inline constexpr bool is_served<TlsRoute> = false;
template <>
inline constexpr bool is_served<RequestAuthentication> = false;

} // namespace weft::agent
