// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/random.h>

#include <cstdint>

#include "config/base/clock.hpp"

namespace weft {

/// For what shall differ from process to process and is no secret; never waits.
[[nodiscard]] inline uint64_t any_seed() {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = monotonic_ns();
    return seed;
}

} // namespace weft
