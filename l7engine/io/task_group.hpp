// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstddef>

#include "l7engine/io/task.hpp"

namespace weft::l7 {

/// Runs detached tasks and waits for them. The group must outlive its tasks: its owner joins it before it dies
/// (asserted). One thread.
class TaskGroup {
public:
    TaskGroup() = default;
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;
    ~TaskGroup();

    /// Starts the task at once, on the caller's stack, until its first suspension.
    void spawn(Task<void> task);
    [[nodiscard]] size_t size() const { return size_; }

    /// Resumes when no task is left (at once after the last one's frame is gone). One waiter.
    struct Join {
        TaskGroup& group;
        bool await_ready() const noexcept { return group.size_ == 0; }
        void await_suspend(std::coroutine_handle<> waiter) noexcept { group.waiter_ = waiter; }
        void await_resume() const noexcept {}
    };
    [[nodiscard]] Join join() { return Join{*this}; }

private:
    friend class detail::Promise<void>;
    /// What runs next: whoever waits in join(), if this was the last task.
    std::coroutine_handle<> ended();

    size_t size_ = 0;
    std::coroutine_handle<> waiter_;
};

} // namespace weft::l7
