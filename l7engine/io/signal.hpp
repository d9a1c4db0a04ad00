// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>

#include "config/base/error.hpp"
#include "l7engine/io/cancel.hpp"
#include "l7engine/io/timer.hpp"

namespace weft::l7 {

class Worker;

/// A place where coroutines of one worker wait for each other, in order of arrival, each with a deadline.
/// Resumption is queued on the worker (never inside notify()), so callers keep their invariants.
class Signal {
public:
    explicit Signal(Worker& worker) : worker_(worker) {}
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;
    /// Nobody may be waiting (asserted).
    ~Signal();

    class [[nodiscard]] Wait : Timer, Cancel::Target {
    public:
        Wait(Signal& signal, Until until) : signal_(signal), until_(until) {}
        /// Not while the coroutine waits or is about to be resumed (asserted).
        ~Wait() override;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> waiter);
        /// Error: Code::timeout, Code::canceled, or what fail_all() said.
        Result<void> await_resume() noexcept {
            waiter_ = nullptr;
            return result_;
        }

    private:
        friend class Signal;
        void expired() override;
        void cancel() override;
        void finish(Result<void> result);
        Signal& signal_;
        Until until_;
        std::coroutine_handle<> waiter_;
        Result<void> result_;
        Wait* next_ = nullptr;
        Wait* previous_ = nullptr;
        bool queued_ = false;
    };

    [[nodiscard]] Wait wait(Until until = Until()) { return Wait(*this, until); }
    /// Wakes the one that waits longest; false if nobody does. There is no memory of a notify without a waiter.
    bool notify_one();
    void notify_all();
    void fail_all(Error error);
    [[nodiscard]] size_t waiting() const { return waiting_; }

private:
    Worker& worker_;
    Wait* first_ = nullptr;
    Wait* last_ = nullptr;
    size_t waiting_ = 0;
};

} // namespace weft::l7
