// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/base/log.hpp"

namespace weft::agent {

/// The command line of weft-agent.
struct Options {
    std::string source;
    std::string kubeconfig;    ///< empty: in the cluster
    std::string status;        ///< "on", "off"; empty: on where the source is the API
    std::string own_namespace; ///< the agent's; empty: as the service account's folder says, else weft-system
    std::string socket = "/run/weft/agent.sock";
    std::string cgroup; ///< empty: the root of the cgroup2 mount
    std::string pin_dir = "/sys/fs/bpf/weft";
    std::string metrics_address = "0.0.0.0:15020";
    std::string engine;
    std::vector<std::string> engine_arguments;
    uint64_t engine_user = 65532;
    std::vector<std::string> gateway_classes;
    std::string trust_domain = "cluster.local";
    std::string node_name;     ///< empty: pods of this node are those with an annotation that names their namespace
    std::string kubepods_root; ///< empty: looked for below every cgroup mount
    std::string cluster_id = "Kubernetes";
    std::string cluster_domain = "cluster.local";
    std::string root_namespace = "istio-system";
    uint64_t engine_timeout_ms = 5000;
    log::Level log_level = log::Level::info;
    bool log_json = false;
    bool keep = false;
    bool cleanup = false;

    std::string directory; ///< of the source, without "dir:"; empty: the Kubernetes API
    [[nodiscard]] bool writes_status() const { return directory.empty() && status != "off"; }
    [[nodiscard]] std::string lock_file() const { return socket + ".lock"; }
    [[nodiscard]] std::string engine_state_file() const { return socket + ".engine"; }
    [[nodiscard]] std::string objects_file() const { return socket + ".objects"; }
};

[[nodiscard]] const char* agent_version();

/// Fills `options`. nullopt: go on; else the exit code, everything is said.
[[nodiscard]] std::optional<int> parse_options(int argc, const char* const* argv, Options& options);

} // namespace weft::agent
