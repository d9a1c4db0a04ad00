// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/source/object_store.hpp"
#include "config/base/json.hpp"

/// The annotation that tells others that a pod's traffic is captured (istio.md 4.1). Each agent writes it on its own
/// node's pods. Pure.
namespace weft::agent::status {

inline constexpr const char* redirection_annotation = "ambient.istio.io/redirection";
inline constexpr const char* redirection_enabled = "enabled";

/// "namespace/name" and the id under which that pod is captured: one made anew under the same name has another.
using PodIds = std::map<std::string, uint32_t>;

struct PodMark {
    ObjectName name;
    std::string uid;
    bool enabled = false; ///< the annotation shall be there; else it shall not
    auto operator<=>(const PodMark&) const = default;
};

/// The pods of `node` whose annotation is not as it should be: there for those that kernel and engine have
/// acknowledged, and not on those that are not enrolled ("namespace/name"). In between it stays as it is. Another
/// value than "enabled" is not removed, and pods that end are left alone.
[[nodiscard]] std::vector<PodMark> marks_to_change(const ObjectStore& store, const std::string& node,
                                                   const PodIds& acknowledged, const std::set<std::string>& enrolled);
/// All of that node's pods that have it: what to remove at the end.
[[nodiscard]] std::vector<PodMark> marks_to_remove(const ObjectStore& store, const std::string& node);
/// Body of a merge patch, which is refused (409) for a pod made anew.
[[nodiscard]] Json mark_patch(const PodMark& mark);

} // namespace weft::agent::status
