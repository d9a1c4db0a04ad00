// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/check/finding.hpp"

namespace weft::agent::check {

struct NodeOptions {
    std::string cgroup; ///< empty: the root of the cgroup2 mount
    std::string pin_dir;
    uint16_t kubelet_port = 0;
};

/// What a node must have, whether or not an agent runs on it. Changes nothing: what is loaded for a trial goes at once.
[[nodiscard]] std::vector<Finding> check_node(const NodeOptions& options);

} // namespace weft::agent::check
