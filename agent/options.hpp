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
    uint64_t kubelet_port = 0; ///< 0: kubelet_port_default with --source kube, else there is none
    std::string cluster_id = "Kubernetes";
    std::string cluster_domain = "cluster.local";
    std::string root_namespace = "istio-system";
    uint64_t engine_timeout_ms = 5000;
    log::Level log_level = log::Level::info;
    bool log_json = false;
    std::string group;     ///< of agent and engine that belong together
    std::string daemonset; ///< NAMESPACE/NAME; empty: none
    uint64_t engine_drain_s = 5;
    bool take_over = false;
    std::string cni_socket; ///< empty: pods are not held at their start
    std::string cni_conf_dir;
    std::string cni_bin_dir;
    std::string cni_plugin; ///< empty: beside this program
    bool cni_fail_open = false;
    bool cni_remove = false; ///< take out what a former agent installed
    uint64_t cni_timeout_s = 10;
    std::vector<std::string> cni_exclude_namespaces;
    bool keep = false;
    bool cleanup = false;

    std::string directory; ///< of the source, without "dir:"; empty: the Kubernetes API
    [[nodiscard]] bool writes_status() const { return directory.empty() && status != "off"; }
    [[nodiscard]] std::string lock_file() const { return socket + ".lock"; }
    [[nodiscard]] std::string standby_file() const { return socket + ".standby"; }
    [[nodiscard]] std::string engine_state_file() const { return socket + ".engine"; }
    /// What socket and plugin of CNI leave in the folder of the socket.
    [[nodiscard]] std::vector<std::string> cni_files() const;
    [[nodiscard]] std::string objects_file() const { return socket + ".objects"; }
};

[[nodiscard]] const char* agent_version();

/// Fills `options`. nullopt: go on; else the exit code, everything is said.
[[nodiscard]] std::optional<int> parse_options(int argc, const char* const* argv, Options& options);

} // namespace weft::agent
