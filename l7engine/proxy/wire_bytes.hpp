// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "l7engine/http/head.hpp"

namespace weft::l7 {

inline constexpr size_t h2_frame_head_bytes = 9; // RFC 9113 4.1

/// What a head takes in HTTP/2 before compression: as near as the byte metrics need it.
[[nodiscard]] inline uint64_t wire_bytes(const Head& head) {
    uint64_t sum = h2_frame_head_bytes + head.method.size() + head.path.size() + head.authority.size();
    for (size_t index = 0; index < head.headers.size(); ++index)
        sum += head.headers.name(index).size() + head.headers.value(index).size();
    return sum;
}

} // namespace weft::l7
