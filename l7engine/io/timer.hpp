// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstdint>

#include "config/base/error.hpp"

namespace weft::l7 {

/// A point on the worker's clock (milliseconds, monotonic); `never` waits for ever.
using Deadline = uint64_t;
inline constexpr Deadline never = UINT64_MAX;

/// One timer: intrusive, owned by whoever waits, re-armed without allocation. Destroying it disarms it.
class Timer {
public:
    Timer() = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    virtual ~Timer();
    virtual void expired() = 0;
    [[nodiscard]] bool armed() const { return wheel_ != nullptr; }
    /// While it is armed.
    [[nodiscard]] Deadline deadline() const { return deadline_; }

private:
    friend class TimerWheel;
    class TimerWheel* wheel_ = nullptr;
    Timer* next_ = nullptr;
    Timer** previous_ = nullptr;
    Deadline deadline_ = never;
};

/// Hierarchical wheel, 1 ms ticks, O(1) arm and disarm, cost of an idle stretch independent of its length. One per
/// worker.
///
/// Level k holds the timers whose deadline differs from the clock first in byte k: within a level no slot wraps, and
/// everything of a lower level is due before anything of a higher one. `far_` differs above the last level (49 days).
class TimerWheel {
public:
    explicit TimerWheel(uint64_t now_ms) : now_ms_(now_ms) {}
    TimerWheel(const TimerWheel&) = delete;
    TimerWheel& operator=(const TimerWheel&) = delete;
    /// Disarms what is left.
    ~TimerWheel();
    /// Arms or re-arms. `never` disarms.
    void arm(Timer& timer, Deadline deadline);
    void disarm(Timer& timer);
    /// Runs what is due; returns how many. A timer armed from expired() for the past runs in the next call.
    size_t advance(uint64_t now_ms);
    /// Milliseconds until the next timer can be due; UINT64_MAX if none is armed. May be early, never late.
    [[nodiscard]] uint64_t next_in_ms() const;
    [[nodiscard]] uint64_t now_ms() const { return now_ms_; }
    [[nodiscard]] size_t size() const { return size_; }

private:
    static constexpr unsigned level_bits = 8;
    static constexpr unsigned slots = 1U << level_bits;
    static constexpr unsigned levels = 4;
    static constexpr unsigned words = slots / 64;
    static_assert(levels * words <= 32);
    static void link(Timer& timer, Timer** head);
    void insert(Timer& timer);
    void set_occupied(unsigned level, unsigned slot, bool is);
    void unlink(Timer& timer);
    Timer* take_slot(unsigned level, unsigned slot);
    void collect_until(uint64_t now_ms, Timer** tail);
    struct Next {
        uint64_t at_ms = UINT64_MAX; ///< start of the first occupied slot
        unsigned level = levels;     ///< `levels` stands for far_
        unsigned slot = 0;
    };
    [[nodiscard]] Next next_slot() const;
    void clear(Timer*& list);

    Timer* wheel_[levels][slots] = {};
    uint64_t occupied_[levels][words] = {};
    uint32_t occupied_words_ = 0; ///< a bit for each word of them, the first level's lowest
    Timer* far_ = nullptr;
    Timer* due_ = nullptr;     ///< armed for the past: the next advance() runs them
    Timer* running_ = nullptr; ///< what the current advance() still has to run
    uint64_t now_ms_;
    size_t size_ = 0;
};

} // namespace weft::l7
