// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <string>

#include "agent/source/object_store.hpp"

namespace weft::agent {

/// Who was first: creationTimestamp, else the load that first saw it (younger than any timestamp), then
/// "namespace/name".
struct Age {
    int64_t created = std::numeric_limits<int64_t>::max();
    uint64_t first_seen = 0;
    std::string id;
    auto operator<=>(const Age&) const = default;
};

template <class T>
[[nodiscard]] Age age_of(const ObjectName& name, const Entry<T>& entry) {
    Age out;
    out.id = name.ns + "/" + name.name;
    if (entry.good->meta.created)
        out.created = *entry.good->meta.created;
    else
        out.first_seen = entry.first_seen;
    return out;
}

} // namespace weft::agent
