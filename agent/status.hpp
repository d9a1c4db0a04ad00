// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/bpf/datapath.hpp"
#include "agent/engine/control.hpp"
#include "agent/kubelet_watch.hpp"
#include "agent/pods/registry.hpp"
#include "agent/reconcile/state.hpp"
#include "agent/source/object_store.hpp"
#include "agent/source/source.hpp"
#include "agent/status/writer.hpp"
#include "config/base/json.hpp"

namespace weft::agent {

/// All that `weftctl status` shows, borrowed from the loop for one call.
struct StatusFacts {
    std::string version;
    std::string source_path;
    int64_t source_read_s = 0; ///< Unix time of the last read; 0: not yet
    const std::vector<SourceFault>& source_faults;
    std::vector<SourcePart> source_parts;
    size_t source_ignored = 0; ///< objects of kinds that Weft does not read
    uint64_t generation_wanted = 0;
    uint64_t generation_applied = 0;
    std::vector<std::string> missing; ///< what keeps the wanted generation from being in force
    engine::EngineView engine;
    std::string snapshot_error;
    std::string cgroup;
    std::string pin_dir;
    uint64_t heartbeat_age_ms = UINT64_MAX; ///< UINT64_MAX: never
    std::vector<bpf::MapUsage> maps;
    const std::vector<std::string>& kernel_faults;
    const std::string& cut_fault; ///< why connections older than a policy go on; empty: they are reset
    KubeletWatch::View kubelet;
    const std::vector<ObjectStatus>& statuses;
    const std::vector<Diagnostic>& diagnostics;
    std::vector<Pods::View> pods;
    Json cni{};                                 ///< null: pods are not held at their start
    std::optional<status::WriterReport> writer; ///< to the API; nullopt: nothing is written
};

[[nodiscard]] Json status_json(const StatusFacts& facts);

/// Why `weftctl sync` fails: one line for each file, or the directory itself, that could not be read whole.
[[nodiscard]] std::vector<std::string> unreadable_lines(const std::vector<std::string>& unreadable,
                                                        const std::vector<SourceFault>& source_faults);
/// What `weftctl sync` prints beside its answer: the source's faults, refused objects, pods that are not captured. One
/// line each.
[[nodiscard]] std::vector<std::string> sync_warnings(const std::vector<SourceFault>& source_faults,
                                                     const std::vector<Diagnostic>& diagnostics,
                                                     const std::vector<Pods::Failure>& missing_pods);
/// "HTTPRoute default/x: spec.rules: message"
[[nodiscard]] std::string line_of(const Diagnostic& diagnostic);
[[nodiscard]] std::string line_of(const SourceFault& fault);

} // namespace weft::agent
