// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace weft::agent {

/// A kind of object that Weft reads, as the API serves it.
struct KindInfo {
    const char* group; ///< empty: core
    const char* kind;
    const char* plural;
    std::array<const char*, 2> versions; ///< the best first; nullptr: there is no other
    bool namespaced;
    /// Objects of Kubernetes itself, which the API server has checked: a field that a newer one has and we do not know
    /// says nothing to us. Elsewhere it could change what the object means, and refuses it.
    bool core;
    size_t index; ///< of its type among the alternatives of AnyObject
};

/// In the order of AnyObject.
[[nodiscard]] std::span<const KindInfo> kinds_read();

} // namespace weft::agent
