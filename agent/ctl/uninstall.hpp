// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace weft::agent::ctl {

/// Deletes the DaemonSet ("NAMESPACE/NAME") in the foreground, so that its agents see that it goes while they still
/// have their rights, and waits until it is gone, its pods with it. One that is not there is gone. The result is a
/// warning, empty if all pods are gone: one of a node that is away stays for longer than anybody waits. The error is
/// one line.
[[nodiscard]] std::expected<std::string, std::string> uninstall(const std::string& daemonset,
                                                                const std::string& kubeconfig, uint32_t timeout_ms);

} // namespace weft::agent::ctl
