// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <string>

#include "config/base/unique_fd.hpp"

namespace weft::agent {

/// One agent per socket: the lock file beside it, held while the process lives. The error is one line.
[[nodiscard]] std::expected<UniqueFd, std::string> lock_socket(const std::string& lock_file);

/// Is this process in `cgroup` or below? Sockets that the agent makes must see the hooks attached there.
[[nodiscard]] std::expected<void, std::string> require_inside(const std::string& cgroup);

/// Listeners of many pods: as many descriptors as this process may have.
void raise_descriptor_limit();

} // namespace weft::agent
