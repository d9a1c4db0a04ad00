// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "bpf/abi.h"
#include "config/base/net.hpp"
#include "config/model/snapshot.hpp"

/// The values that reconciliation passes around: all plain data, all comparable.
namespace weft::agent {

/// Which pods are this node's.
struct NodeRules {
    std::string name{}; ///< as in spec.nodeName; empty: those with an annotation that names their network namespace
    /// The annotation counts. In a manifest folder it is the operator's word, in the API anybody's who may make a pod.
    bool trusts_annotation = true;
};

/// A pod of this node that is enrolled: what agent/pods shall capture.
struct PodToCapture {
    std::string uid;           ///< "namespace/name"
    std::string netns;         ///< a name under /run/netns or an absolute path, as annotated; empty: to be found
    std::string kubelet_uid{}; ///< what the kubelet names the pod's cgroup after; empty: the annotation counts
    std::vector<IpAddress> addresses;
    std::string
        told_netns{}; ///< its path as the container runtime told; counts before what would be found; empty: none

    bool operator==(const PodToCapture&) const = default;
};

/// What agent/pods found out about a captured pod.
struct CapturedPod {
    uint32_t id = 0; ///< unique per agent state, never reused; > 0
    uint64_t netns_cookie = 0;

    bool operator==(const CapturedPod&) const = default;
};
using CapturedPods = std::map<std::string, CapturedPod>; ///< by uid

/// Service ids by dialled address. An id is never given to another address (architecture 2: the address code).
struct ServiceIds {
    std::map<SocketAddress, uint32_t> by_address;
    uint32_t next = 0x00010000; ///< WEFT_SERVICE_ID_MIN

    bool operator==(const ServiceIds&) const = default;
};

/// What the pinned maps shall hold (or hold now, after adoption). bpf/abi.h says what each means.
struct KernelState {
    struct Pod {
        uint32_t id = 0;
        bool fail_closed = false;
        std::vector<IpAddress> addresses;
        bool operator==(const Pod&) const = default;
    };
    struct Service {
        uint32_t id = 0;
        bool l7 = false;
        bool translate = false;
        bool fail_closed = false;            ///< a policy governs it: without an engine it is not reached
        std::vector<SocketAddress> backends; ///< ready endpoints of the address's own family, sorted
        bool operator==(const Service&) const = default;
    };
    struct PortKey {
        uint32_t pod_id = 0;
        uint16_t port = 0; ///< 0: all others
        auto operator<=>(const PortKey&) const = default;
    };
    enum class PortAction : uint8_t {
        pass = abi::WEFT_PORT_PASS,
        steer = abi::WEFT_PORT_STEER,
        refuse = abi::WEFT_PORT_REFUSE
    };

    std::map<uint64_t, Pod> pods; ///< by netns cookie
    std::map<PortKey, PortAction> inbound_ports;
    std::map<SocketAddress, Service> services;

    bool operator==(const KernelState&) const = default;
};

/// One step of plan(). Applied in order by agent/bpf; each is idempotent.
struct PutPod {
    uint64_t netns_cookie;
    KernelState::Pod pod;
}; ///< pods and pod_addresses
struct RemovePod {
    uint64_t netns_cookie;
    KernelState::Pod pod;
};
struct PutInboundPort {
    KernelState::PortKey key;
    KernelState::PortAction action;
};
struct RemoveInboundPort {
    KernelState::PortKey key;
};
struct PutService {
    SocketAddress address;
    KernelState::Service service;
}; ///< a new backend set first, then the service, then the old set goes
struct RemoveService {
    SocketAddress address;
};
using MapOperation = std::variant<PutPod, RemovePod, PutInboundPort, RemoveInboundPort, PutService, RemoveService>;

/// One configuration fault or remark, reported in the object's status (conventions: Diagnostic).
struct Diagnostic {
    /// refused: the newest version of the object is not in force. error: it is, but not all of it can work.
    enum class Severity : uint8_t { warning, error, refused };
    std::string object;  ///< "HTTPRoute default/reviews", or a file path for what is no object
    std::string field;   ///< "spec.rules[0].matches[1].path.value"; may be empty
    std::string message; ///< one sentence
    Severity severity = Severity::error;
    bool operator==(const Diagnostic&) const = default;
};

/// A condition as Kubernetes writes it. The types and reasons are istio.md 1.9 and gateway-api.md 3.
struct Condition {
    std::string type;
    bool status = false;
    std::string reason;
    std::string message;
    bool operator==(const Condition&) const = default;
};

/// Of one listener of a Gateway.
struct ListenerStatus {
    std::string name;
    bool http_routes = true;
    size_t attached_routes = 0;
    std::vector<Condition> conditions;
    bool operator==(const ListenerStatus&) const = default;
};

struct ObjectStatus {
    std::string kind;
    std::string ns; ///< empty for cluster-scoped kinds
    std::string name;
    std::string parent; ///< routes: "Service default/reviews:9080"; else empty
    std::vector<Condition> conditions;
    std::vector<ListenerStatus> listeners{}; ///< Gateways only
    bool foreign = false;                    ///< another controller answers for it in the API
    bool operator==(const ObjectStatus&) const = default;
};

} // namespace weft::agent
