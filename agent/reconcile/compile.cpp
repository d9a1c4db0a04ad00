// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/compile.hpp"

#include "agent/reconcile/build.hpp"

namespace weft::agent {
namespace {

/// Which pods of the index are captured here. One that may not be captured any more counts as gone at once.
void mark_local_pods(Build& build) {
    build.local_ids.assign(build.pods.items().size(), 0);
    for (const auto& pod : pods_to_capture(build.pods, build.out.diagnostics)) {
        const auto found = build.captured.find(pod.uid);
        if (found == build.captured.end())
            continue;
        const auto slash = pod.uid.find('/');
        const uint32_t index = build.pods.by_name({.ns = pod.uid.substr(0, slash), .name = pod.uid.substr(slash + 1)});
        if (index != PodIndex::none)
            build.local_ids[index] = found->second.id;
    }
}

} // namespace

Compiled compile(const ObjectStore& store, const CompileOptions& options, const CapturedPods& captured,
                 const ServiceIds& service_ids) {
    std::vector<Diagnostic> diagnostics;
    PodIndex pods(store, options.node, diagnostics);
    return compile(store, std::move(pods), std::move(diagnostics), options, captured, service_ids);
}

Compiled compile(const ObjectStore& store, PodIndex pods, std::vector<Diagnostic> diagnostics,
                 const CompileOptions& options, const CapturedPods& captured, const ServiceIds& service_ids) {
    Build build{.store = store, .options = options, .captured = captured, .pods = std::move(pods)};
    build.out.diagnostics = std::move(diagnostics);
    build.out.service_ids = service_ids;
    mark_local_pods(build);
    build_workloads(build);
    build_services(build);
    build_waypoints(build);
    build_policies(build);
    build_routes(build);
    build_guards(build);
    build_kernel(build);
    build_statuses(build);
    return std::move(build.out);
}

} // namespace weft::agent
