// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/reset_checks.hpp"

#include <cstdint>

namespace weft::l7 {

void ResetChecks::expired() {
    WaitingReceives& old = lists_[1 - young_];
    old.wake(SIZE_MAX);
    if (!lists_[young_].empty())
        timers_.arm(*this, timers_.now_ms() + after_ms);
    young_ = 1 - young_;
}

} // namespace weft::l7
