// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"
#include "l7engine/io/reset_checks.hpp"
#include "l7engine/io/ring.hpp"
#include "l7engine/io/task_group.hpp"
#include "l7engine/io/timer.hpp"
#include "l7engine/io/waiting_receives.hpp"

namespace weft::l7 {

/// One thread's world: ring, clock, timers, ready queue, mailbox. Everything else of the engine hangs below a worker
/// and is touched by its thread only; post() is the one door from outside.
class Worker {
public:
    /// Must be created on the thread that runs it (SINGLE_ISSUER).
    [[nodiscard]] static Result<std::unique_ptr<Worker>> create(uint32_t index, const RingSettings& settings);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    [[nodiscard]] uint32_t index() const { return index_; }
    [[nodiscard]] Ring& ring() { return *ring_; }
    [[nodiscard]] TimerWheel& timers() { return timers_; }
    [[nodiscard]] TaskGroup& tasks() { return tasks_; }
    [[nodiscard]] WaitingReceives& buffer_waiters() { return buffer_waiters_; }
    [[nodiscard]] ResetChecks& reset_checks() { return reset_checks_; }
    /// The loop's cached clock, refreshed once per turn, behind the wait.
    [[nodiscard]] uint64_t now_ms() const { return now_ms_; }
    [[nodiscard]] Deadline in_ms(uint64_t delay) const { return delay < never - now_ms() ? now_ms() + delay : never; }

    /// Resumes the coroutine in this turn of the loop, after the completions. Worker's thread.
    void resume_soon(std::coroutine_handle<> coroutine) { ready_.push_back(coroutine); }

    /// Resumes it in the next turn, behind all that has completed until then.
    void resume_next_turn(std::coroutine_handle<> coroutine) { yielded_.push_back(coroutine); }

    /// Runs `work` on the worker's thread. Any thread. False once the worker has stopped, or if mailbox_max pieces of
    /// work already wait: the work is dropped then.
    bool post(std::move_only_function<void()> work);

    /// Loops until stop() and until no task and no operation is left. post() is open until then.
    void run();
    /// One turn: waits at most `timeout_ms`. For tests and for run().
    void turn(uint64_t timeout_ms);
    /// Any thread, also a signal handler.
    void stop();
    [[nodiscard]] bool stopping() const { return stopping_.load(std::memory_order_acquire); }

    /// Turns of the loop so far: what the heartbeat watches. Any thread.
    [[nodiscard]] uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }

private:
    class MailboxPoll;
    static constexpr size_t mailbox_max = 65536;
    static constexpr unsigned ready_rounds_max = 8; ///< then the ring is looked at again
    static constexpr uint64_t drain_ms_max = 5000;  ///< the destructor waits that long for the last completions

    Worker(uint32_t index, std::unique_ptr<Ring> ring, UniqueFd mailbox_event);
    void drain_mailbox();
    void run_ready();
    void wake();
    [[nodiscard]] bool finished();

    uint32_t index_;
    std::unique_ptr<Ring> ring_;
    uint64_t now_ms_;
    TimerWheel timers_; ///< its clock is behind while completions run
    WaitingReceives buffer_waiters_;
    ResetChecks reset_checks_{timers_};
    TaskGroup tasks_;
    std::vector<std::coroutine_handle<>> ready_;
    std::vector<std::coroutine_handle<>> resuming_;
    std::vector<std::coroutine_handle<>> yielded_; ///< since the last wait
    UniqueFd mailbox_event_;
    std::unique_ptr<MailboxPoll> mailbox_poll_;
    std::mutex mailbox_lock_;
    std::vector<std::move_only_function<void()>> mailbox_;
    bool mailbox_closed_ = false;
    std::atomic<bool> stopping_ = false;
    std::atomic<uint64_t> turns_ = 0;
};

/// co_await sleep(worker, 10): resumes after the delay.
class [[nodiscard]] Sleep : Timer {
public:
    Sleep(Worker& worker, uint64_t delay_ms) : worker_(worker), delay_ms_(delay_ms) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter);
    void await_resume() const noexcept {}

private:
    void expired() override;

    Worker& worker_;
    uint64_t delay_ms_;
    std::coroutine_handle<> waiter_;
};
[[nodiscard]] inline Sleep sleep(Worker& worker, uint64_t delay_ms) {
    return Sleep(worker, delay_ms);
}

/// co_await yield(worker): who has done much at a stretch lets the others go first.
class [[nodiscard]] Yield {
public:
    explicit Yield(Worker& worker) : worker_(worker) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) { worker_.resume_next_turn(waiter); }
    void await_resume() const noexcept {}

private:
    Worker& worker_;
};
[[nodiscard]] inline Yield yield(Worker& worker) {
    return Yield(worker);
}

/// Bytes that a reader has taken at a stretch. It yields after `stretch_bytes_max` of them, whatever it waited for
/// meanwhile: what a connection has sent in advance does not stop the others for longer than that takes.
class Stretch {
public:
    static constexpr size_t stretch_bytes_max = 64 * 1024;
    /// True: yield now.
    [[nodiscard]] bool takes(size_t bytes) {
        taken_ += bytes;
        if (taken_ < stretch_bytes_max)
            return false;
        taken_ = 0;
        return true;
    }

private:
    size_t taken_ = 0;
};

} // namespace weft::l7
