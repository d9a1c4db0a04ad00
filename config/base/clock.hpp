// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <ctime>

namespace weft {

/// CLOCK_MONOTONIC in nanoseconds: the clock of bpf_ktime_get_ns().
[[nodiscard]] inline uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<uint64_t>(now.tv_nsec);
}
[[nodiscard]] inline uint64_t monotonic_ms() {
    return monotonic_ns() / 1'000'000U;
}

} // namespace weft
