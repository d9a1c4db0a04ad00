// SPDX-License-Identifier: Apache-2.0
#include "agent/options.hpp"

#include <array>
#include <cstdio>

#include "agent/pods/kubelet.hpp"
#include "agent/source/names.hpp"
#include "config/base/net.hpp"
#include "config/cni/messages.hpp"
#include "config/settings/flags.hpp"

namespace weft::agent {
namespace {

constexpr const char* cni_socket_default = "/run/weft/cni.sock";
constexpr uint64_t cni_timeout_max_s = 60;
/// Of pods that are never enrolled.
constexpr std::array<const char*, 2> never_enrolled = {"kube-system", "istio-system"};

void bind_cni(config::Flags& flags, Options& options) {
    static constexpr std::array<config::Choice<bool>, 2> policies = {{{"failClosed", false}, {"failOpen", true}}};
    flags.text("--cni-socket", options.cni_socket, "PATH",
               "where weft-cni asks, the same on the host (with --cni-conf-dir: /run/weft/cni.sock; else: nowhere)");
    flags.text("--cni-conf-dir", options.cni_conf_dir, "PATH",
               "the node's CNI configurations: weft-cni is chained into the first (default: into none)");
    flags.text("--cni-bin-dir", options.cni_bin_dir, "PATH", "the node's CNI plugins: weft-cni is copied there");
    flags.text("--cni-plugin", options.cni_plugin, "PATH",
               "the weft-cni to copy (default: the one beside this program)");
    flags.choice<bool>("--cni-failure-policy", options.cni_fail_open, policies,
                       "what becomes of a pod that is not captured in time");
    flags.number("--cni-timeout", options.cni_timeout_s, 1, cni_timeout_max_s, "seconds that a starting pod is held");
    flags.toggle("--cni-remove", options.cni_remove,
                 "take weft-cni out of the node's folders, where a former agent has put it; pods are not held");
    flags.texts("--cni-exclude-namespace", options.cni_exclude_namespaces, "NAME",
                "pods start without being held, beside those of kube-system and istio-system; repeatable");
}

void bind(config::Flags& flags, Options& options) {
    flags.text("--source", options.source, "kube|dir:PATH", "where the objects come from");
    flags.text("--kubeconfig", options.kubeconfig, "PATH",
               "of --source kube: server and credentials (default: the pod's service account)");
    flags.text("--status", options.status, "on|off",
               "write status, Events and the pods' annotation to the API (default: on with --source kube)");
    flags.text("--namespace", options.own_namespace, "NAME",
               "where the agents' Leases are (default: the service account's namespace, else weft-system)");
    flags.text("--socket", options.socket, "PATH", "the control socket of agent, engine and weftctl");
    flags.text("--cgroup", options.cgroup, "PATH", "the cgroup2 folder to attach to (default: the mount's root)");
    flags.text("--pin-dir", options.pin_dir, "PATH", "where programs, maps and links are pinned (a bpffs)");
    flags.text("--metrics-address", options.metrics_address, "ADDRESS:PORT", "for /metrics, /readyz, /healthz");
    flags.text("--engine", options.engine, "PATH", "start this engine and restart it; without, one connects by itself");
    flags.texts("--engine-arg", options.engine_arguments, "ARG", "passed on to the engine; repeatable");
    flags.number("--engine-user", options.engine_user, 0, UINT32_MAX - 1, "user id that may connect beside root");
    flags.texts("--gateway-class", options.gateway_classes, "NAME", "a class that is ours beside weft-waypoint");
    flags.text("--trust-domain", options.trust_domain, "NAME", "of the identities");
    flags.text("--node-name", options.node_name, "NAME",
               "this node's; the namespaces of its pods are found by their cgroups (default: by annotation only)");
    flags.text("--kubepods-root", options.kubepods_root, "PATH",
               "the cgroup folder to look for pods in (default: below every cgroup mount)");
    flags.number("--kubelet-port", options.kubelet_port, 0, 65'535,
                 "where this node's kubelet listens, whose probes pass (0: 10250 with --source kube, else none)");
    flags.text("--cluster-id", options.cluster_id, "NAME", "the cluster's name in metrics");
    flags.text("--cluster-domain", options.cluster_domain, "NAME", "of service host names");
    flags.text("--root-namespace", options.root_namespace, "NAME", "whose policies may hold everywhere");
    flags.number("--engine-timeout", options.engine_timeout_ms, 100, 600'000,
                 "milliseconds of silence after which an engine counts as dead");
    flags.number("--engine-drain-timeout", options.engine_drain_s, 0, 86'400,
                 "seconds that an engine gets for open exchanges when another takes its place or the agent ends");
    flags.text("--group", options.group, "NAME",
               "only an engine of the same --group takes the place of one that serves (a pod's uid; upgrades)");
    flags.toggle("--take-over", options.take_over,
                 "take the place of an agent that runs on this socket, as soon as the source is read; it stands by");
    flags.text("--daemonset", options.daemonset, "NAMESPACE/NAME",
               "of --source kube: on exit keep what is in force, unless this DaemonSet is deleted (uninstalled)");
    bind_cni(flags, options);
    flags.level("--log-level", options.log_level, "debug, info, warn or error");
    flags.toggle("--log-json", options.log_json, "one JSON object a line");
    flags.toggle("--keep", options.keep, "leave datapath and engine in force on exit (upgrades)");
    flags.toggle("--cleanup", options.cleanup, "remove everything that a former run left, and exit");
}

int refuse(const std::string& why) {
    std::fprintf(stderr, "weft-agent: %s\n", why.c_str());
    return 1;
}

bool is_namespaced_name(const std::string& text) {
    const size_t slash = text.find('/');
    return slash != std::string::npos && names::is_dns_label(text.substr(0, slash)) &&
           names::is_dns_subdomain(text.substr(slash + 1));
}

} // namespace

std::vector<std::string> Options::cni_files() const {
    return {cni_socket, cni_socket + std::string(weft::cni::fail_open_suffix)};
}

const char* agent_version() {
    return WEFT_VERSION;
}

std::optional<int> parse_options(int argc, const char* const* argv, Options& options) {
    config::Flags flags("weft-agent", "The node agent of Weft.", agent_version());
    bind(flags, options);
    if (const std::optional<int> done = flags.parse(argc, argv))
        return done;
    if (options.socket.empty() || options.socket.front() != '/')
        return refuse("--socket: not an absolute path: " + options.socket);
    if (options.cni_remove && options.cni_conf_dir.empty())
        return refuse("--cni-remove: needs --cni-conf-dir and --cni-bin-dir");
    if (options.cni_conf_dir.empty() != options.cni_bin_dir.empty())
        return refuse("--cni-conf-dir and --cni-bin-dir: one without the other");
    if (!options.cni_conf_dir.empty() && options.cni_socket.empty())
        options.cni_socket = cni_socket_default;
    if (!options.cni_socket.empty() && options.cni_socket.front() != '/')
        return refuse("--cni-socket: not an absolute path: " + options.cni_socket);
    options.cni_exclude_namespaces.insert(options.cni_exclude_namespaces.begin(), never_enrolled.begin(),
                                          never_enrolled.end());
    if (options.cleanup)
        return std::nullopt;
    const bool kube = options.source == "kube";
    if (!kube && (!options.source.starts_with("dir:") || options.source.size() == 4))
        return refuse(options.source.empty() ? "--source is missing (--source kube, or dir:PATH)"
                                             : "--source: neither kube nor dir:PATH: " + options.source);
    if (!kube && !options.kubeconfig.empty())
        return refuse("--kubeconfig: only with --source kube");
    if (!names::is_one_of(options.status, {"", "on", "off"}))
        return refuse("--status: neither on nor off: " + options.status);
    if (!kube && options.status == "on")
        return refuse("--status on: only with --source kube");
    if (!options.own_namespace.empty() && !names::is_dns_label(options.own_namespace))
        return refuse("--namespace: not a DNS label: " + options.own_namespace);
    if (!options.node_name.empty() && !names::is_dns_subdomain(options.node_name))
        return refuse("--node-name: not a DNS subdomain: " + options.node_name);
    if (!options.kubepods_root.empty() && options.kubepods_root.front() != '/')
        return refuse("--kubepods-root: not an absolute path: " + options.kubepods_root);
    if (!kube && !options.daemonset.empty())
        return refuse("--daemonset: only with --source kube");
    if (!options.daemonset.empty() && !is_namespaced_name(options.daemonset))
        return refuse("--daemonset: not NAMESPACE/NAME: " + options.daemonset);
    if (kube && options.node_name.empty())
        return refuse("--node-name: missing (--source kube: which pods are this node's?)");
    if (!SocketAddress::parse(options.metrics_address))
        return refuse("--metrics-address: not ADDRESS:PORT (IPv6 in brackets): " + options.metrics_address);
    if (kube && options.kubelet_port == 0)
        options.kubelet_port = kubelet_port_default;
    if (!kube)
        options.directory = options.source.substr(4);
    return std::nullopt;
}

} // namespace weft::agent
