// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/timer.hpp"

#include <bit>
#include <cassert>
#include <utility>

namespace weft::l7 {

Timer::~Timer() {
    if (wheel_ != nullptr)
        wheel_->disarm(*this);
}

TimerWheel::~TimerWheel() {
    for (auto& level : wheel_) {
        for (Timer*& slot : level)
            clear(slot);
    }
    clear(far_);
    clear(due_);
    clear(running_);
}

void TimerWheel::clear(Timer*& list) {
    for (Timer* timer = std::exchange(list, nullptr); timer != nullptr; timer = std::exchange(timer->next_, nullptr))
        timer->wheel_ = nullptr;
}

void TimerWheel::arm(Timer& timer, Deadline deadline) {
    assert(timer.wheel_ == nullptr || timer.wheel_ == this);
    if (timer.wheel_ != nullptr)
        disarm(timer);
    if (deadline == never)
        return;
    timer.deadline_ = deadline;
    timer.wheel_ = this;
    ++size_;
    if (deadline <= now_ms_)
        link(timer, &due_);
    else
        insert(timer);
}

void TimerWheel::disarm(Timer& timer) {
    if (timer.wheel_ == nullptr)
        return;
    assert(timer.wheel_ == this);
    unlink(timer);
    timer.wheel_ = nullptr;
    --size_;
}

size_t TimerWheel::advance(uint64_t now_ms) {
    // Late arming from a callback lands in due_, which is taken aside here: one call always ends.
    Timer** tail = &running_;
    while (due_ != nullptr) {
        Timer& timer = *due_;
        unlink(timer);
        link(timer, tail);
        tail = &timer.next_;
    }
    if (now_ms > now_ms_)
        collect_until(now_ms, tail);
    size_t ran = 0;
    for (; running_ != nullptr; ++ran) {
        Timer& timer = *running_;
        disarm(timer);
        timer.expired();
    }
    return ran;
}

uint64_t TimerWheel::next_in_ms() const {
    if (due_ != nullptr)
        return 0;
    const Next next = next_slot();
    return next.at_ms == UINT64_MAX ? UINT64_MAX : next.at_ms - now_ms_;
}

/// Moves the clock slot by occupied slot and gathers what is due, in order, without running any of it: callbacks see
/// the final time and a wheel at rest.
void TimerWheel::collect_until(uint64_t now_ms, Timer** tail) {
    for (Next next = next_slot(); next.at_ms <= now_ms && next.at_ms != UINT64_MAX; next = next_slot()) {
        now_ms_ = next.at_ms;
        Timer* timer = next.level == levels ? std::exchange(far_, nullptr) : take_slot(next.level, next.slot);
        while (timer != nullptr) {
            Timer* following = std::exchange(timer->next_, nullptr);
            if (timer->deadline_ <= now_ms_) {
                link(*timer, tail);
                tail = &timer->next_;
            } else {
                insert(*timer);
            }
            timer = following;
        }
    }
    now_ms_ = now_ms;
}

void TimerWheel::link(Timer& timer, Timer** head) {
    timer.next_ = *head;
    if (timer.next_ != nullptr)
        timer.next_->previous_ = &timer.next_;
    timer.previous_ = head;
    *head = &timer;
}

void TimerWheel::insert(Timer& timer) {
    const uint64_t differs = timer.deadline_ ^ now_ms_;
    const unsigned level = (63U - static_cast<unsigned>(std::countl_zero(differs))) / level_bits;
    if (level >= levels)
        return link(timer, &far_);
    const unsigned slot = (timer.deadline_ >> (level * level_bits)) % slots;
    link(timer, &wheel_[level][slot]);
    set_occupied(level, slot, true);
}

void TimerWheel::set_occupied(unsigned level, unsigned slot, bool is) {
    uint64_t& word = occupied_[level][slot / 64];
    const uint64_t bit = uint64_t{1} << (slot % 64);
    word = is ? word | bit : word & ~bit;
    const uint32_t of_word = 1U << (level * words + slot / 64);
    occupied_words_ = word != 0 ? occupied_words_ | of_word : occupied_words_ & ~of_word;
}

void TimerWheel::unlink(Timer& timer) {
    *timer.previous_ = timer.next_;
    if (timer.next_ != nullptr) {
        timer.next_->previous_ = timer.previous_;
    } else {
        // The last of a list whose head is a slot: the slot is empty now.
        Timer** const first = &wheel_[0][0];
        if (timer.previous_ >= first && timer.previous_ < first + levels * slots) {
            const auto index = static_cast<size_t>(timer.previous_ - first);
            set_occupied(static_cast<unsigned>(index / slots), static_cast<unsigned>(index % slots), false);
        }
    }
    timer.next_ = nullptr;
    timer.previous_ = nullptr;
}

Timer* TimerWheel::take_slot(unsigned level, unsigned slot) {
    set_occupied(level, slot, false);
    return std::exchange(wheel_[level][slot], nullptr);
}

TimerWheel::Next TimerWheel::next_slot() const {
    if (occupied_words_ != 0) {
        const auto first = static_cast<unsigned>(std::countr_zero(occupied_words_));
        const unsigned level = first / words;
        const unsigned word = first % words;
        const unsigned slot = word * 64 + static_cast<unsigned>(std::countr_zero(occupied_[level][word]));
        const unsigned shift = level * level_bits;
        const uint64_t above = now_ms_ >> (shift + level_bits) << (shift + level_bits);
        return {.at_ms = above + (uint64_t{slot} << shift), .level = level, .slot = slot};
    }
    if (far_ == nullptr)
        return {};
    constexpr unsigned all_bits = levels * level_bits;
    return {.at_ms = ((now_ms_ >> all_bits) + 1) << all_bits};
}

} // namespace weft::l7
