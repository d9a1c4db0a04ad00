// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/check/finding.hpp"
#include "agent/kube/access.hpp"

namespace weft::agent::check {

struct ApiOptions {
    std::string kubeconfig;       ///< empty: the pod's service account
    std::string agent_namespace;  ///< where the agent's Lease is; empty: that of the pod, else weft-system
    std::string service_account;  ///< "namespace/name", whose rights are asked for; empty: those of whoever asks
    kube::Uses uses{};            ///< what the agent is set to do
    uint32_t timeout_ms = 10'000; ///< of each request
};

/// What the cluster must have: the API server, the CRDs, and the agent's rights. Changes nothing.
[[nodiscard]] std::vector<Finding> check_api(const ApiOptions& options);
/// The same checks as not looked at.
[[nodiscard]] std::vector<Finding> skip_api(const std::string& why);

} // namespace weft::agent::check
