// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/task_group.hpp"

#include <cassert>
#include <exception>
#include <utility>

namespace weft::l7 {

/// The coroutine that owns one detached task. It destroys itself, and with it the task's frame, before the group hears
/// of the end: whoever waits in join() finds nothing left.
struct TaskGroup::Detached {
    class promise_type {
    public:
        promise_type(TaskGroup& group, Task<void>&) : group_(group) {}
        static void* operator new(size_t size) { return FramePool::allocate(size); }
        static void operator delete(void* frame, size_t size) noexcept { FramePool::release(frame, size); }

        Detached get_return_object() { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        struct FinalAwaiter {
            bool await_ready() noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) noexcept {
                TaskGroup& group = self.promise().group_;
                self.destroy();
                return group.ended();
            }
            void await_resume() noexcept {}
        };
        FinalAwaiter final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() noexcept { std::terminate(); }

    private:
        TaskGroup& group_;
    };
};

TaskGroup::~TaskGroup() { assert(size_ == 0 && "a task group dies after its tasks: join it first"); }

void TaskGroup::spawn(Task<void> task) {
    assert(task.valid());
    ++size_;
    run(*this, std::move(task));
}

TaskGroup::Detached TaskGroup::run([[maybe_unused]] TaskGroup& group, Task<void> task) { co_await task; }

std::coroutine_handle<> TaskGroup::ended() {
    --size_;
    if (size_ != 0 || !waiter_)
        return std::noop_coroutine();
    return std::exchange(waiter_, nullptr);
}

} // namespace weft::l7
