// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/reconcile/state.hpp"
#include "config/base/net.hpp"
#include "config/cni/messages.hpp"

namespace weft::agent::cni {

/// What the loop knows of one pod that weft-cni asks about, in the order in which it becomes true.
struct StartFacts {
    std::string not_begun;        ///< why nothing is brought into force yet; empty: it is
    bool uid_needed = false;      ///< pods are known by their uid, and the request has none
    bool pod_known = false;       ///< the Pod object was seen, under the request's uid
    bool namespace_known = false; ///< its Namespace object was seen, or manifests need none
    bool enrolled = false;        ///< by labels, and not finished
    bool local = false;           ///< the object says that it is of this node; an older version of it may not
    std::string not_captured;     ///< why the registry has not captured it whole; empty: it has
    bool compiled = false;        ///< the snapshot and the wanted kernel state hold it with its addresses
    bool in_kernel = false;       ///< its entries are as strict as the wanted ones, and its link is attached
    bool in_engine = false;       ///< an engine has such a snapshot in force
};

/// What to answer now; nullopt: it is worth waiting. `lacking` then says what for.
struct StartVerdict {
    std::optional<weft::cni::Outcome> outcome;
    std::string lacking; ///< one line; for an outcome refused, too
};

/// Pure.
[[nodiscard]] StartVerdict judge(const StartFacts& facts);

/// Pure. The pod of that namespace is held by `now` at least as strictly as `wanted` has it, with these addresses.
/// False if `wanted` does not have it at all.
[[nodiscard]] bool holds(const KernelState& now, const KernelState& wanted, uint64_t netns_cookie);
/// Pure. The state has the pod under this id with at least these addresses.
[[nodiscard]] bool has_pod(const KernelState& state, const CapturedPod& pod, const std::vector<IpAddress>& addresses);

} // namespace weft::agent::cni
