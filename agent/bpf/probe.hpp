// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace weft::agent::bpf {

struct ProbeSettings {
    std::string pin_dir = "/sys/fs/bpf/weft";
    std::string cgroup;    ///< a cgroup2 folder; empty: there is none
    bool may_mount = true; ///< a bpffs, see probe()
};

/// One thing that the datapath needs.
struct Requirement {
    const char* name;                       ///< "bpffs": what weftctl check calls it
    const char* remedy;                     ///< what an operator can do about it
    std::expected<void, std::string> there; ///< the error is one line that names what is missing
};
/// Each by itself, in a sensible order; changes nothing. One that cannot be tried, since one before it is missing, is
/// not in the list.
[[nodiscard]] std::vector<Requirement> requirements(const ProbeSettings& settings);

/// How a connect hook can tell which process connects, by the ids of the pid namespace that we are in.
struct TaskView {
    std::string fault;   ///< why it cannot, one line; then the kubelet is not recognised
    uint64_t device = 0; ///< of that namespace, as the kernel numbers it
    uint64_t inode = 0;  ///< 0: it is the kernel's first one
};
[[nodiscard]] TaskView probe_tasks();

/// Is everything there that the datapath needs? Nothing is assumed from the kernel's version: each feature is tried.
/// Mounts a bpffs at /sys/fs/bpf if pins shall go there, none is mounted and it may. The error is one line naming what
/// is missing; main prints it and exits with 2.
[[nodiscard]] std::expected<void, std::string> probe(const ProbeSettings& settings);

/// Where cgroup2 is mounted (on a hybrid system beside cgroup v1).
[[nodiscard]] std::expected<std::string, std::string> find_cgroup2_mount();

} // namespace weft::agent::bpf
