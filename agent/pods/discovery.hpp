// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/pods/netns.hpp"

namespace weft::agent {

inline constexpr size_t pod_uid_bytes_max = 128;
/// How deep below a cgroup mount kubelets put their folder (kind on v1: docker/ID/kubelet/kubepods), and how many
/// folders are looked into for it.
inline constexpr size_t kubepods_depth_max = 4;
inline constexpr size_t kubepods_folders_max = 4096;
/// Several kubelets on one kernel have several; so do the hierarchies of cgroup v1, which all tell the same.
inline constexpr size_t kubepods_roots_max = 8;
inline constexpr size_t hierarchies_max = 3;
inline constexpr uint64_t kubepods_retry_ms = 2000;   ///< after none was found
inline constexpr uint64_t kubepods_again_ms = 10'000; ///< after a pod was in none of them
inline constexpr size_t pod_folders_max = 4096;       ///< pods of all roots
inline constexpr size_t container_folders_max = 256;  ///< of one pod, nested ones too
inline constexpr size_t container_depth_max = 4;      ///< of folders that a container made inside its own
inline constexpr size_t folder_processes_max = 64;    ///< of one folder
inline constexpr size_t processes_bytes_max = 65'536; ///< of one cgroup.procs

/// What a cgroup belongs to.
struct PodCgroup {
    enum class Kind : uint8_t {
        pod,       ///< the pod's own folder, the parent of its containers
        container, ///< a container or the sandbox, or a folder that it made inside its own
        other      ///< in a pod, but no part of it: conmon, what a runtime adds
    };
    std::string uid; ///< as the API or, for static pods, the kubelet writes it
    Kind kind = Kind::pod;
    std::string container; ///< its id, 64 hex digits; kind container only
    bool operator==(const PodCgroup&) const = default;
};

/// Pure. Reads a cgroup's path, absolute or as /proc/PID/cgroup shows it inside a cgroup namespace. With pods in pods
/// the outermost counts. nullopt: it is no pod's.
[[nodiscard]] std::optional<PodCgroup> read_cgroup_path(std::string_view path);
/// Pure. The kubelet's folder of all pods: kubepods, kubepods.slice, kubelet-kubepods.slice.
[[nodiscard]] bool is_kubepods_folder(std::string_view name);

/// Finds the network namespaces of this node's pods by the cgroups of their processes. The rule (decision 0013): of the
/// processes in a pod's containers that are neither in the agent's nor in the host's network namespace, the one that
/// was started first tells; that is the sandbox where there is one. A namespace once found stays the pod's as long as
/// any process of the pod is in it. Keeps no descriptor. Used on the loop's thread only.
class Discovery {
public:
    struct Settings {
        std::string root{};                       ///< the kubepods folder or one above; empty: below any cgroup mount
        std::string proc = "/proc";               ///< of the pid namespace that we are in, which must be the host's
        std::string mounts = "/proc/self/mounts"; ///< where cgroup mounts are listed
        std::string self = "/proc/self/ns/net";   ///< never a pod's
    };

    Discovery() = default;
    explicit Discovery(Settings settings) : settings_(std::move(settings)) {}

    /// What the last round saw is forgotten: the next find() looks again.
    void start_round(uint64_t now_ms);
    /// The namespace of the pod of that uid. Detail ENOENT: there is none yet.
    [[nodiscard]] Result<Netns> find(const std::string& uid);
    /// The same namespace as `former`, by another process of the pod, since the one that named it is gone.
    [[nodiscard]] Result<Netns> find_again(const std::string& uid, const Netns& former);

    [[nodiscard]] const std::vector<std::string>& roots() const { return roots_; } ///< kubepods folders

private:
    struct Process {
        uint64_t started = 0; ///< clock ticks since boot
        pid_t pid = 0;
        NetnsId netns;
        std::string folder;
    };

    bool seek_roots();
    void find_roots();
    void find_roots_below(const std::string& top);
    void index_pods();
    void index_pods_in(const std::string& folder, bool qos);
    Result<std::vector<Process>> processes_of(const std::string& uid);
    void add_processes(const std::string& folder, std::vector<Process>& out);
    [[nodiscard]] std::vector<std::string> container_folders(const std::string& pod) const;
    [[nodiscard]] std::string netns_path(pid_t pid) const;
    [[nodiscard]] Result<Netns> open(const Process& process) const;

    Settings settings_;
    std::vector<std::string> roots_;
    std::optional<uint64_t> roots_sought_ms_;
    std::map<std::string, std::vector<std::string>> folders_; ///< of pods, by uid; one for each hierarchy
    bool indexed_ = false;
    bool hidden_processes_ = false; ///< some are in no pid namespace of ours
    uint64_t now_ms_ = 0;
};

} // namespace weft::agent
