// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/task_group.hpp"

#include <cassert>
#include <utility>

namespace weft::l7 {

std::coroutine_handle<>
detail::Promise<void>::FinalAwaiter::await_suspend(std::coroutine_handle<Promise> self) noexcept {
    TaskGroup* const group = self.promise().group_;
    if (group == nullptr)
        return self.promise().continuation();
    self.destroy();
    return group->ended();
}

TaskGroup::~TaskGroup() {
    assert(size_ == 0 && "a task group dies after its tasks: join it first");
}

void TaskGroup::spawn(Task<void> task) {
    assert(task.valid());
    ++size_;
    const Task<void>::Handle own = std::exchange(task.handle_, nullptr);
    own.promise().detach_into(*this);
    own.resume();
}

std::coroutine_handle<> TaskGroup::ended() {
    --size_;
    if (size_ != 0 || !waiter_)
        return std::noop_coroutine();
    return std::exchange(waiter_, nullptr);
}

} // namespace weft::l7
