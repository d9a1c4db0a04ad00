// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/backoff.hpp"

#include <algorithm>
#include <utility>

namespace weft::agent::kube {

void Backoff::failed(bool answered) {
    if (std::exchange(last_answered_, answered) != answered)
        failures_ = 0;
    ++failures_;
}

uint64_t Backoff::wait_ms(uint64_t most_ms, std::optional<uint64_t> retry_after_ms) {
    uint64_t wait_ms = retry_min_ms;
    for (uint64_t i = 1; i < failures_ && wait_ms < most_ms; ++i)
        wait_ms *= 2;
    wait_ms = std::min(wait_ms, most_ms);
    return std::max(by_chance(wait_ms / 2, wait_ms), std::min(retry_after_ms.value_or(0), retry_after_max_ms));
}

uint64_t Backoff::by_chance(uint64_t least, uint64_t most) {
    return least + random_() % (most - least + 1);
}

} // namespace weft::agent::kube
