// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

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
    bool served;  ///< false: read only to say that it is not
};

/// In the order of AnyObject.
[[nodiscard]] std::span<const KindInfo> kinds_read();
/// Of the kind with that name ("HTTPRoute"), which must be one of them.
[[nodiscard]] const KindInfo& kind_info(std::string_view kind);

} // namespace weft::agent
