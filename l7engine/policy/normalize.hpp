// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "config/base/error.hpp"

namespace weft::l7 {

/// Istio's meshConfig.pathNormalization (istio.md 1.5b); each level does what the one before does, and more.
enum class PathNormalization : uint8_t {
    none,
    base,          ///< Istio's default: escapes of unreserved characters decoded once, `\` to `/`, dot segments removed
    merge_slashes, ///< repeated `/` become one
    decode_and_merge_slashes, ///< %2F and %5C are decoded first
};

/// Makes the path of a request target canonical, in place, once, before anybody looks at it: policy, route, metrics,
/// log and backend then all see the same. Query and fragment are left alone, and so is a target that does not start
/// with `/`. True: it was changed. Code::malformed with detail 400 at any level: the path holds %00, or a `%` without
/// two hex digits behind it.
Result<bool> normalize_target(std::string& target, PathNormalization level);

} // namespace weft::l7
