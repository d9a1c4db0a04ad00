// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <string>

#include "agent/source/object_store.hpp"

namespace weft::agent {

/// Who was first: creationTimestamp, then "namespace/name". Objects without a timestamp are younger than any with one
/// and equal among themselves: when this agent happened to see them would not outlive it.
struct Age {
    int64_t created = std::numeric_limits<int64_t>::max();
    std::string id;
    auto operator<=>(const Age&) const = default;
};

[[nodiscard]] inline Age age_of(const ObjectName& name, const ObjectMeta& meta) {
    Age out;
    out.id = name.ns + "/" + name.name;
    out.created = meta.created.value_or(out.created);
    return out;
}

template <class T>
[[nodiscard]] Age age_of(const ObjectName& name, const Entry<T>& entry) {
    return age_of(name, entry.good->meta);
}

} // namespace weft::agent
