// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "agent/reconcile/pod_index.hpp"
#include "agent/reconcile/state.hpp"
#include "agent/source/object_store.hpp"
#include "config/model/snapshot.hpp"

namespace weft::agent {

struct CompileOptions {
    std::string trust_domain = "cluster.local";
    std::string cluster_id = "Kubernetes";
    std::string cluster_domain = "cluster.local";
    std::string root_namespace = "istio-system";
    std::vector<std::string> gateway_classes; ///< accepted besides "weft-waypoint"
    NodeRules node{};
    bool translate = true; ///< directory mode: the kernel picks backends, there is no kube-proxy
};

struct Compiled {
    config::Snapshot snapshot; ///< generation left 0
    KernelState kernel;
    ServiceIds service_ids; ///< to be handed to the next compile, and kept over restarts
    std::vector<Diagnostic> diagnostics;
    std::vector<ObjectStatus> statuses; ///< by kind, namespace, name, parent
};

/// The enrolled pods of this node whose addresses are theirs alone, by uid.
[[nodiscard]] std::vector<PodToCapture> pods_to_capture(const ObjectStore& store, const NodeRules& node,
                                                        std::vector<Diagnostic>& diagnostics);

/// The same from an index of the store's pods, without what the index has reported already.
[[nodiscard]] std::vector<PodToCapture> pods_to_capture(const PodIndex& index, std::vector<Diagnostic>& diagnostics);

/// Everything that shall be in force, from the objects in force. Pure: the same objects give the same result, whatever
/// files they came from. Includes the diagnostics of pods_to_capture() and of refused objects.
[[nodiscard]] Compiled compile(const ObjectStore& store, const CompileOptions& options, const CapturedPods& captured,
                               const ServiceIds& service_ids);
/// The same with an index of that store's pods, and what making it has reported.
[[nodiscard]] Compiled compile(const ObjectStore& store, PodIndex pods, std::vector<Diagnostic> diagnostics,
                               const CompileOptions& options, const CapturedPods& captured,
                               const ServiceIds& service_ids);

} // namespace weft::agent
