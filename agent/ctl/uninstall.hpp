// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace weft::agent::ctl {

/// Deletes the DaemonSet ("NAMESPACE/NAME") in the foreground, so that its agents see that it goes while they still have
/// their rights, and waits until it is gone, its pods with it. One that is not there is gone. The error is one line.
[[nodiscard]] std::expected<void, std::string> uninstall(const std::string& daemonset, const std::string& kubeconfig,
                                                         uint32_t timeout_ms);

} // namespace weft::agent::ctl
