// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "agent/source/kinds.hpp"
#include "agent/source/value.hpp"

/// The API server's own word about which kinds it serves: what answers 404 to a list may be anything before it.
namespace weft::agent::kube {

/// Where an APIGroupList, and the APIResourceList of one version of the kind's group, are.
inline constexpr const char* groups_path = "/apis";
[[nodiscard]] std::string resources_path(const KindInfo& kind, size_t version);

/// The versions of the kind's group that are served and known to us, as indices of KindInfo::versions; none: the kind
/// cannot be there. nullopt: this is no API server's list of groups.
[[nodiscard]] std::optional<std::vector<size_t>> versions_served(const Value& groups, const KindInfo& kind);
/// Whether the kind is among the resources of that version. nullopt: this is no API server's list of them.
[[nodiscard]] std::optional<bool> is_served_at(const Value& resources, const KindInfo& kind, size_t version);

} // namespace weft::agent::kube
