// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <string>

namespace weft::agent::bpf {

struct ProbeSettings {
    std::string pin_dir = "/sys/fs/bpf/weft";
    std::string cgroup; ///< a cgroup2 folder
};

/// Is everything there that the datapath needs? Nothing is assumed from the kernel's version: each feature is tried.
/// Mounts a bpffs at /sys/fs/bpf if pins shall go there and none is mounted. The error is one line naming what is
/// missing; main prints it and exits with 2.
[[nodiscard]] std::expected<void, std::string> probe(const ProbeSettings& settings);

/// Where cgroup2 is mounted (on a hybrid system beside cgroup v1).
[[nodiscard]] std::expected<std::string, std::string> find_cgroup2_mount();

} // namespace weft::agent::bpf
