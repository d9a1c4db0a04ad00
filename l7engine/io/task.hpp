// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <optional>
#include <utility>

#include "config/base/error.hpp"
#include "l7engine/io/frame_pool.hpp"

namespace weft::l7 {

template <class T>
class Task;
class TaskGroup;

namespace detail {

/// What all promises share: lazy start, resume of the awaiting coroutine at the end, frames of the thread's free list.
class PromiseBase {
public:
    static void* operator new(size_t size) { return FramePool::allocate(size); }
    static void operator delete(void* frame, size_t size) noexcept { FramePool::release(frame, size); }

    std::suspend_always initial_suspend() noexcept { return {}; }
    struct FinalAwaiter {
        bool await_ready() noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
            return self.promise().continuation_;
        }
        void await_resume() noexcept {}
    };
    FinalAwaiter final_suspend() noexcept { return {}; }
    /// No exceptions of our own: a thrown one is a bug.
    void unhandled_exception() noexcept { std::terminate(); }
    void set_continuation(std::coroutine_handle<> next) { continuation_ = next; }
    [[nodiscard]] std::coroutine_handle<> continuation() const { return continuation_; }

private:
    std::coroutine_handle<> continuation_ = std::noop_coroutine();
};

template <class T>
class Promise : public PromiseBase {
public:
    Task<T> get_return_object();
    template <class U>
    void return_value(U&& value) {
        value_.emplace(std::forward<U>(value));
    }
    T take() { return std::move(*value_); }

private:
    std::optional<T> value_;
};

/// Its task may be a group's instead of an awaiting coroutine's: then the frame destroys itself at the end, before the
/// group hears of it, so that whoever waits in TaskGroup::join() finds nothing left.
template <>
class Promise<void> : public PromiseBase {
public:
    Task<void> get_return_object();
    struct FinalAwaiter {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept;
        void await_resume() noexcept {}
    };
    FinalAwaiter final_suspend() noexcept { return {}; }
    void return_void() {}
    void take() {}
    void detach_into(TaskGroup& group) { group_ = &group; }

private:
    TaskGroup* group_ = nullptr;
};

} // namespace detail

/// A lazy coroutine with one owner. It starts when awaited; destroying it destroys the frame, so nothing that is in
/// flight may refer to it (operations pin their own memory: class Completion in ring.hpp). Detached only into a
/// TaskGroup. Parameters are taken by value, or by reference to objects owned above the group. No capturing lambda
/// coroutines.
template <class T = void>
class [[nodiscard, clang::coro_return_type]] Task {
public:
    using promise_type = detail::Promise<T>;
    using Handle = std::coroutine_handle<promise_type>;

    Task() = default;
    explicit Task(Handle handle) : handle_(handle) {}
    Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Task& operator=(Task&& other) noexcept {
        if (this != &other) {
            destroy();
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;
    ~Task() { destroy(); }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
        handle_.promise().set_continuation(awaiting);
        return handle_;
    }
    T await_resume() { return handle_.promise().take(); }

    [[nodiscard]] bool valid() const { return static_cast<bool>(handle_); }
    [[nodiscard]] bool done() const { return handle_.done(); }

private:
    friend class TaskGroup;
    void destroy() {
        if (handle_) // a comparison would look into T's operators
            handle_.destroy();
    }
    Handle handle_ = nullptr;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() {
    return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() {
    return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

/// Early return: `auto n = co_await unwrap(co_await f());` inside a Task<Result<...>> either gives the value or ends
/// the coroutine with the error.
template <class T>
class [[nodiscard]] Unwrap {
public:
    explicit Unwrap(Result<T> result) : result_(std::move(result)) {}
    bool await_ready() const noexcept { return result_.has_value(); }
    template <class U>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<detail::Promise<Result<U>>> self) noexcept {
        self.promise().return_value(std::unexpected(result_.error()));
        return self.promise().continuation();
    }
    T await_resume() {
        if constexpr (!std::is_void_v<T>)
            return std::move(*result_);
    }

private:
    Result<T> result_;
};
template <class T>
Unwrap<T> unwrap(Result<T> result) {
    return Unwrap<T>(std::move(result));
}

} // namespace weft::l7
