// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <string>
#include <vector>

namespace weft::agent::bpf {

struct ProbeSettings {
    std::string pin_dir = "/sys/fs/bpf/weft";
    std::string cgroup; ///< a cgroup2 folder; empty: there is none
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

/// Does this kernel show a connect hook the task that connects? Without, the kubelet is not recognised.
[[nodiscard]] bool shows_tasks();

/// Is everything there that the datapath needs? Nothing is assumed from the kernel's version: each feature is tried.
/// Mounts a bpffs at /sys/fs/bpf if pins shall go there and none is mounted. The error is one line naming what is
/// missing; main prints it and exits with 2.
[[nodiscard]] std::expected<void, std::string> probe(const ProbeSettings& settings);

/// Where cgroup2 is mounted (on a hybrid system beside cgroup v1).
[[nodiscard]] std::expected<std::string, std::string> find_cgroup2_mount();

} // namespace weft::agent::bpf
