// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/bpf/hooks.hpp"
#include "agent/check/finding.hpp"
#include "agent/kube/access.hpp"

/// From what was read to findings: pure, so that each case is a row of a table.
namespace weft::agent::check {

/// Programs of others at our hooks: those that keep ours away, and those that run first and may send a connect
/// elsewhere.
[[nodiscard]] std::vector<Finding> judge_hooks(const std::vector<bpf::Hook>& hooks);

/// `first`: /proc/1/cgroup. The hooks must be above all processes of the node.
[[nodiscard]] Finding judge_cgroup_root(std::string_view first);

/// `error`: errno of io_uring_setup(2) as the engine calls it, 0: it works. `disabled`: sysctl
/// kernel.io_uring_disabled.
[[nodiscard]] Finding judge_ring(int error, std::optional<int> disabled);

/// What an API server serves of one group: for each version the plural names.
using Served = std::map<std::string, std::set<std::string>>;
/// One finding for each kind of kinds_read() that comes by a CRD. `groups`: by name; a missing one is not served.
[[nodiscard]] std::vector<Finding> judge_kinds(const std::map<std::string, Served>& groups);
/// Of the Gateway API's CRDs, by the annotations that they bear; empty texts: they bear none.
[[nodiscard]] Finding judge_bundle(const std::string& version, const std::string& channel);

struct Allowed {
    kube::Access access;
    bool yes = false;
    std::string error; ///< it could not be asked
};
/// `who`: as whom it was asked.
[[nodiscard]] std::vector<Finding> judge_access(const std::vector<Allowed>& answers, const std::string& who);

} // namespace weft::agent::check
