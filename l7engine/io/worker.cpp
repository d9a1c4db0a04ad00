// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/worker.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

namespace weft::l7 {

/// Watches the mailbox's eventfd; one poll is in flight as long as the worker lives.
class Worker::MailboxPoll final : public Completion {
public:
    explicit MailboxPoll(Worker& worker) : worker_(worker) {}
    void start() {
        worker_.ring_->poll_readable(worker_.mailbox_event_.get(), *this);
        in_flight_ = true;
    }
    void stop() {
        if (in_flight_ && !std::exchange(stopped_, true))
            worker_.ring_->cancel(*this);
    }
    [[nodiscard]] bool in_flight() const { return in_flight_; }
    void complete(int32_t /*result*/, bool /*more*/, Slice /*buffer*/) override {
        in_flight_ = false;
        worker_.drain_mailbox();
        if (!stopped_)
            start();
    }

private:
    Worker& worker_;
    bool in_flight_ = false;
    bool stopped_ = false;
};

Result<std::unique_ptr<Worker>> Worker::create(uint32_t index, const RingSettings& settings) {
    auto ring = Ring::create(settings);
    if (!ring)
        return std::unexpected(ring.error());
    UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event)
        return std::unexpected(from_errno(errno, "eventfd"));
    return std::unique_ptr<Worker>(new Worker(index, std::move(*ring), std::move(event)));
}

Worker::Worker(uint32_t index, std::unique_ptr<Ring> ring, UniqueFd mailbox_event)
    : index_(index), ring_(std::move(ring)), now_ms_(ring_clock_ms()), timers_(now_ms_),
      mailbox_event_(std::move(mailbox_event)), mailbox_poll_(std::make_unique<MailboxPoll>(*this)) {
    mailbox_poll_->start();
}

Worker::~Worker() {
    {
        const std::lock_guard lock(mailbox_lock_);
        mailbox_closed_ = true;
        mailbox_.clear();
    }
    mailbox_poll_->stop();
    // What streams that died a moment ago left in flight was cancelled: only their last completions are missing.
    const uint64_t limit = ring_clock_ms() + drain_ms_max;
    while (ring_->in_flight() > 0 && ring_clock_ms() < limit)
        turn(10);
    assert(ring_->in_flight() == 0 && "a worker dies after its streams, acceptors and tasks");
}

void Worker::run() {
    while (!finished())
        turn(UINT64_MAX);
    while (ring_->in_flight() > 0)
        turn(UINT64_MAX);
    ring_->wait(0); // closes that were queued last
}

/// True once nothing is left to do after stop(); the mailbox is closed then and its poll cancelled.
bool Worker::finished() {
    if (!stopping() || tasks_.size() > 0 || !ready_.empty() || !yielded_.empty() || ring_->in_flight() > 1)
        return false;
    {
        const std::lock_guard lock(mailbox_lock_);
        if (!mailbox_.empty())
            return false;
        mailbox_closed_ = true;
    }
    mailbox_poll_->stop();
    return true;
}

void Worker::turn(uint64_t timeout_ms) {
    turns_.fetch_add(1, std::memory_order_relaxed);
    uint64_t limit = std::min(timeout_ms, timers_.next_in_ms());
    if (!buffer_waiters_.empty())
        limit = std::min<uint64_t>(limit, 1);
    ring_->collect(ready_.empty() && yielded_.empty() ? limit : 0);
    now_ms_ = ring_clock_ms(); // before anything runs: times that begin now begin now, not when the loop fell asleep
    ring_->run_collected();
    timers_.advance(now_ms_);
    ready_.insert(ready_.end(), yielded_.begin(), yielded_.end());
    yielded_.clear();
    run_ready();
    if (!buffer_waiters_.empty())
        buffer_waiters_.wake(ring_->free_buffers());
}

void Worker::run_ready() {
    for (unsigned round = 0; round < ready_rounds_max && !ready_.empty(); ++round) {
        std::swap(ready_, resuming_);
        for (const std::coroutine_handle<> coroutine : resuming_)
            coroutine.resume();
        resuming_.clear();
    }
}

bool Worker::post(std::move_only_function<void()> work) {
    {
        const std::lock_guard lock(mailbox_lock_);
        if (mailbox_closed_ || mailbox_.size() >= mailbox_max)
            return false;
        mailbox_.push_back(std::move(work));
        if (mailbox_.size() > 1)
            return true; // whoever made it non-empty has woken the loop
    }
    wake();
    return true;
}

void Worker::stop() {
    stopping_.store(true, std::memory_order_release);
    wake();
}

void Worker::wake() {
    const uint64_t one = 1;
    // A full counter (EAGAIN) is readable too: the loop wakes all the same.
    [[maybe_unused]] const ssize_t written = ::write(mailbox_event_.get(), &one, sizeof one);
}

void Worker::drain_mailbox() {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t taken = ::read(mailbox_event_.get(), &count, sizeof count);
    std::vector<std::move_only_function<void()>> work;
    {
        const std::lock_guard lock(mailbox_lock_);
        work.swap(mailbox_);
    }
    for (auto& piece : work)
        piece();
}

void Sleep::await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    worker_.timers().arm(*this, worker_.in_ms(delay_ms_));
}

void Sleep::expired() {
    worker_.resume_soon(waiter_);
}

} // namespace weft::l7
