// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/buffer_waiters.hpp"

namespace weft::l7 {

BufferWaiter::~BufferWaiter() {
    if (list_ != nullptr)
        list_->remove(*this);
}

void BufferWaiters::add(BufferWaiter& waiter) {
    if (waiter.list_ != nullptr)
        return;
    waiter.list_ = this;
    waiter.previous_ = last_;
    waiter.next_ = nullptr;
    (last_ != nullptr ? last_->next_ : first_) = &waiter;
    last_ = &waiter;
}

void BufferWaiters::remove(BufferWaiter& waiter) {
    if (waiter.list_ != this)
        return;
    (waiter.previous_ != nullptr ? waiter.previous_->next_ : first_) = waiter.next_;
    (waiter.next_ != nullptr ? waiter.next_->previous_ : last_) = waiter.previous_;
    waiter.list_ = nullptr;
}

void BufferWaiters::wake(size_t at_most) {
    for (; at_most > 0 && first_ != nullptr; --at_most) {
        BufferWaiter& waiter = *first_;
        remove(waiter);
        waiter.buffers_are_back();
    }
}

} // namespace weft::l7
