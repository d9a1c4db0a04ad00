// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/signal.hpp"

#include <cassert>
#include <utility>

#include "l7engine/io/worker.hpp"

namespace weft::l7 {

Signal::~Signal() {
    assert(waiting_ == 0 && "a signal dies after those who wait for it");
}

Signal::Wait::~Wait() {
    assert(!waiter_ && "a coroutine frame was destroyed while it waited for a signal");
}

void Signal::Wait::await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    previous_ = signal_.last_;
    (previous_ != nullptr ? previous_->next_ : signal_.first_) = this;
    signal_.last_ = this;
    ++signal_.waiting_;
    queued_ = true;
    signal_.worker_.timers().arm(*this, until_.deadline);
    if (until_.cancel == nullptr)
        return;
    until_.cancel->attach(*this);
    if (until_.cancel->canceled())
        cancel();
}

void Signal::Wait::expired() {
    finish(fail(Code::timeout, "wait"));
}

void Signal::Wait::cancel() {
    finish(fail(Code::canceled, "wait"));
}

void Signal::Wait::finish(Result<void> result) {
    assert(queued_);
    (previous_ != nullptr ? previous_->next_ : signal_.first_) = next_;
    (next_ != nullptr ? next_->previous_ : signal_.last_) = previous_;
    next_ = previous_ = nullptr;
    queued_ = false;
    --signal_.waiting_;
    signal_.worker_.timers().disarm(*this);
    if (until_.cancel != nullptr)
        until_.cancel->detach();
    result_ = result;
    signal_.worker_.resume_soon(waiter_);
}

bool Signal::notify_one() {
    if (first_ == nullptr)
        return false;
    first_->finish({});
    return true;
}

void Signal::notify_all() {
    while (notify_one()) {
    }
}

void Signal::fail_all(Error error) {
    while (first_ != nullptr)
        first_->finish(std::unexpected(error));
}

} // namespace weft::l7
