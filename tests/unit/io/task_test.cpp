// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/task.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "l7engine/io/frame_pool.hpp"
#include "l7engine/io/task_group.hpp"

namespace weft::l7 {
namespace {

/// A place to stop at, resumed by hand.
struct Gate {
    std::coroutine_handle<> waiter;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) { waiter = handle; }
    void await_resume() const noexcept {}
    void open() { std::exchange(waiter, nullptr).resume(); }
};

Task<int> answer() {
    co_return 42;
}
Task<void> note(std::vector<int>& trace, int value) {
    trace.push_back(value);
    co_return;
}
Task<void> wait_then_note(Gate& gate, std::vector<int>& trace, int value) {
    co_await gate;
    trace.push_back(value);
}
Task<Result<int>> half(int value) {
    if (value % 2 != 0)
        co_return fail(Code::invalid, "half");
    co_return value / 2;
}
Task<Result<int>> quarter(int value, std::shared_ptr<int> witness) {
    const int once = co_await unwrap(co_await half(value));
    const int twice = co_await unwrap(co_await half(once));
    co_return twice + *witness;
}
Task<void> collect(Task<Result<int>> task, Result<int>& out) {
    out = co_await task;
}
Task<long> sum_of_ready_tasks(int count) {
    long sum = 0;
    for (int i = 0; i < count; ++i)
        sum += co_await answer();
    co_return sum;
}
Task<void> store(Task<long> task, long& out) {
    out = co_await task;
}
Task<void> join_then_note(TaskGroup& group, std::vector<int>& trace) {
    co_await group.join();
    trace.push_back(static_cast<int>(FramePool::live_bytes() > 0));
    trace.push_back(99);
}

TEST(task, is_lazy) {
    std::vector<int> trace;
    {
        const Task<void> unused = note(trace, 1);
        EXPECT_TRUE(unused.valid());
    }
    EXPECT_TRUE(trace.empty());
    EXPECT_EQ(FramePool::live_bytes(), 0U);
}

TEST(task, unwrap_returns_early_and_destroys_the_frame) {
    const auto witness = std::make_shared<int>(0);
    struct Case {
        int input;
        bool good;
        int value;
    };
    for (const Case& test : {Case{8, true, 2}, Case{6, false, 0}, Case{7, false, 0}}) {
        TaskGroup group;
        Result<int> out = -1;
        group.spawn(collect(quarter(test.input, witness), out));
        EXPECT_EQ(group.size(), 0U);
        EXPECT_EQ(out.has_value(), test.good) << test.input;
        if (test.good) {
            EXPECT_EQ(*out, test.value);
        } else {
            EXPECT_EQ(out.error().code, Code::invalid);
        }
        EXPECT_EQ(witness.use_count(), 1);
    }
    EXPECT_EQ(FramePool::live_bytes(), 0U);
}

TEST(task, a_million_ready_awaits_do_not_grow_the_stack) {
    long sum = 0;
    TaskGroup group;
    group.spawn(store(sum_of_ready_tasks(1'000'000), sum));
    EXPECT_EQ(sum, 42'000'000);
}

TEST(task_group, joins_after_the_last_task) {
    std::vector<int> trace;
    std::array<Gate, 3> gates;
    TaskGroup group;
    TaskGroup outer;
    for (int i = 0; i < 3; ++i)
        group.spawn(wait_then_note(gates[static_cast<size_t>(i)], trace, i));
    outer.spawn(join_then_note(group, trace));
    EXPECT_EQ(group.size(), 3U);
    gates[1].open();
    gates[0].open();
    EXPECT_EQ(trace, (std::vector{1, 0}));
    gates[2].open();
    EXPECT_EQ(trace, (std::vector{1, 0, 2, 1, 99}));
    EXPECT_EQ(group.size(), 0U);
    EXPECT_EQ(outer.size(), 0U);
    EXPECT_EQ(FramePool::live_bytes(), 0U);
}

Task<void> own_a_group(std::array<Gate, 2>& gates, std::vector<int>& trace) {
    TaskGroup group;
    group.spawn(wait_then_note(gates[0], trace, 1));
    group.spawn(wait_then_note(gates[1], trace, 2));
    co_await group.join();
    trace.push_back(3);
}

TEST(task_group, may_live_in_the_frame_that_joins_it) {
    std::vector<int> trace;
    std::array<Gate, 2> gates;
    TaskGroup outer;
    outer.spawn(own_a_group(gates, trace));
    gates[1].open();
    gates[0].open();
    EXPECT_EQ(trace, (std::vector{2, 1, 3}));
    EXPECT_EQ(outer.size(), 0U);
}

TEST(task_group, joins_at_once_when_empty) {
    std::vector<int> trace;
    TaskGroup group;
    TaskGroup outer;
    outer.spawn(join_then_note(group, trace));
    EXPECT_EQ(trace.back(), 99);
}

TEST(task_group_death, destroyed_with_tasks) {
    EXPECT_DEATH(
        {
            Gate gate;
            std::vector<int> trace;
            TaskGroup group;
            group.spawn(wait_then_note(gate, trace, 1));
        },
        "join it first");
}

TEST(frame_pool, reuses_and_counts) {
    void* first = FramePool::allocate(300);
    EXPECT_EQ(FramePool::live_bytes(), 300U);
    FramePool::release(first, 300);
    void* again = FramePool::allocate(301); // of the same size class
    EXPECT_EQ(first, again);
    FramePool::release(again, 301);
    EXPECT_EQ(FramePool::live_bytes(), 0U);
    void* huge = FramePool::allocate(100'000);
    EXPECT_GE(FramePool::largest_frame(), 100'000U);
    FramePool::release(huge, 100'000);
}

TEST(frame_pool, what_a_thread_kept_goes_with_it) {
    std::thread([] {
        std::vector<void*> frames;
        for (int i = 0; i < 100'000; ++i) // more than the slabs that are kept
            frames.push_back(FramePool::allocate(512));
        for (void* frame : frames)
            FramePool::release(frame, 512);
        EXPECT_EQ(FramePool::live_bytes(), 0U);
    }).join(); // LeakSanitizer sees what stays
}

} // namespace
} // namespace weft::l7
