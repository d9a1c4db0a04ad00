// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "config/model/policy.hpp"

namespace weft::agent {

/// Istio lets policies say `cluster.local` for the mesh's own trust domain, whatever that is called (istio.md 1.11):
/// principals of five parts that begin with it (or with `*` and an end of it) are rewritten. Others stay as they are.
[[nodiscard]] std::vector<config::PolicyRule> in_trust_domain(std::vector<config::PolicyRule> rules,
                                                              const std::string& trust_domain);

} // namespace weft::agent
