// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/source/kinds.hpp"
#include "agent/source/value.hpp"

namespace weft::agent {

/// What an API server says of the newest version of an object; nothing of it changes what the object means. Of one from
/// a file all is zero.
struct Revision {
    std::string uid{};      ///< only of a refused object: others have it in their metadata
    int64_t generation = 0; ///< 0: the kind has none
    /// The resourceVersion with which this agent first saw what the object now means, at this generation. 0: no number.
    uint64_t version = 0;
    uint64_t newest = 0;     ///< the resourceVersion now, whatever has changed with it
    uint64_t own_status = 0; ///< digest() of what of its status is Weft's; 0: nothing
    bool programmed = false; ///< ... which says, of this generation, that it is in force on every node

    /// The object means the same as before.
    void keep_version(const Revision& before) {
        if (before.generation == generation)
            version = before.version;
    }
    bool operator==(const Revision&) const = default;
};

[[nodiscard]] Revision read_revision(const Value& object, const KindInfo& kind);
/// A resourceVersion as a number (KEP-5504: within one kind a later one is greater). 0: it is none.
[[nodiscard]] uint64_t parse_version(std::string_view text);

} // namespace weft::agent
