// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

/// Processes as proc(5) shows them. `proc`: where it is mounted. Any thread.
namespace weft::agent {

/// The first bytes of a file, as far as they can be read: it may go while it is read (ENODEV), or be that of a threaded
/// cgroup, which has none (EOPNOTSUPP).
[[nodiscard]] std::string read_start(const std::string& path, size_t bytes_max);

/// When it was started, in clock ticks since boot: with the id, it names one process for ever. nullopt: it is gone.
[[nodiscard]] std::optional<uint64_t> start_ticks(const std::string& proc, pid_t pid);

} // namespace weft::agent
