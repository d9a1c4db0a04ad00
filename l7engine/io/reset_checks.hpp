// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "l7engine/io/timer.hpp"
#include "l7engine/io/waiting_receives.hpp"

namespace weft::l7 {

/// A multishot receive misses a reset that comes together with bytes: the kernel (seen on 6.18) takes one wake-up for
/// both, reads the bytes, and waits for an event that has been. Its reader would wait for ever. So every receive that
/// got bytes is asked once, after_ms to twice that later, whether its connection is lost. One worker's thread.
class ResetChecks final : Timer {
public:
    static constexpr uint64_t after_ms = 100;

    explicit ResetChecks(TimerWheel& timers) : timers_(timers) {}
    ~ResetChecks() override = default;
    /// It got bytes. Nothing if it is in a list already: cheap, for each time that bytes come.
    void add(WaitingReceive& receive) {
        if (receive.waiting())
            return;
        lists_[young_].add(receive);
        if (!armed())
            timers_.arm(*this, timers_.now_ms() + after_ms);
    }

private:
    void expired() override;

    TimerWheel& timers_;
    WaitingReceives lists_[2];
    unsigned young_ = 0; ///< which one is added to
};

} // namespace weft::l7
