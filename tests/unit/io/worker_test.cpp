// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/worker.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "l7engine/io/signal.hpp"
#include "tests/unit/io/world.hpp"

namespace weft::l7 {
namespace {

Task<void> wait_for(Signal& signal, Deadline deadline, int id, std::vector<std::pair<int, Result<void>>>& out) {
    const Result<void> result = co_await signal.wait(deadline);
    out.emplace_back(id, result);
}
Task<void> nap(Worker& worker, uint64_t delay_ms, uint64_t& slept_ms) {
    const uint64_t start = worker.now_ms();
    co_await sleep(worker, delay_ms);
    slept_ms = worker.now_ms() - start;
}
Task<void> stop_after(Worker& worker, uint64_t delay_ms) {
    co_await sleep(worker, delay_ms);
    worker.stop();
}

TEST(ring, refuses_settings_that_the_kernel_would) {
    struct Case {
        RingSettings settings;
        std::string during;
    };
    for (const Case& test : {Case{{.entries = 0}, "ring_entries"}, Case{{.entries = 1U << 20U}, "ring_entries"},
                             Case{{.buffers = 100}, "ring_buffers"}, Case{{.buffers = 0}, "ring_buffers"},
                             Case{{.buffer_bytes = 0}, "ring_buffer_bytes"}}) {
        const auto ring = Ring::create(test.settings);
        ASSERT_FALSE(ring.has_value());
        EXPECT_EQ(ring.error().during, test.during);
        EXPECT_EQ(ring.error().code, Code::invalid);
    }
}

TEST(ring, knows_which_errors_of_enter_pass) {
    for (const int passes : {EINTR, ETIME, EAGAIN, EBUSY, ENOMEM})
        EXPECT_TRUE(enter_error_passes(passes)) << passes;
    for (const int broken : {EBADF, EBADFD, EBADR, EEXIST, EFAULT, EINVAL, ENXIO, EOPNOTSUPP, EPERM, 0})
        EXPECT_FALSE(enter_error_passes(broken)) << broken;
}

/// The kernel refuses a thread that did not make the ring, as it would refuse a ring that is lost.
TEST(ring_death, a_ring_that_the_kernel_refuses_ends_the_process) {
    auto worker = make_worker();
    EXPECT_DEATH(std::thread([&] { worker->ring().wait(0); }).join(), "io_uring_enter_failed.*errno=");
}

TEST(ring, wait_without_anything_returns_in_time) {
    auto worker = make_worker();
    const uint64_t start = monotonic_ms();
    worker->turn(0);
    EXPECT_LT(monotonic_ms() - start, 1000U);
    worker->turn(30);
    const uint64_t took = monotonic_ms() - start;
    EXPECT_GE(took, 29U);
    EXPECT_LT(took, 5000U);
    EXPECT_EQ(worker->turns(), 2U);
}

/// Holds all that comes.
struct Hoard final : Completion {
    Hoard(Ring& of, int from) : ring(of), socket(from) { ring.receive_multishot(socket, *this); }
    void complete(int32_t result, bool more, Slice buffer) override {
        if (!buffer.empty())
            held.push_back(std::move(buffer));
        ended = result == 0;
        if (!more && !ended)
            ring.receive_multishot(socket, *this);
    }
    Ring& ring;
    int socket;
    std::vector<Slice> held;
    bool ended = false;
};

size_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    size_t pages = 0;
    statm >> pages >> pages;
    return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

TEST(ring, memory_of_buffers_that_nobody_uses_goes_back) {
    constexpr size_t wanted = 700; // more than are offered at first; fewer than would be copied
    auto ring = Ring::create(RingSettings{});
    ASSERT_TRUE(ring.has_value());
    auto [near, far] = socket_pair();
    Hoard hoard(**ring, far.get());
    const std::string bytes(16 * 1024, 'x');
    for (int round = 0; round < 3; ++round) {
        while (hoard.held.size() < wanted) {
            (void)send(near.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
            (*ring)->wait(1);
            (*ring)->trim(); // takes nothing from what is held
        }
        for (const Slice& slice : hoard.held)
            ASSERT_EQ(slice.text().find_first_not_of('x'), std::string_view::npos);
        const size_t full = resident_bytes();
        hoard.held.clear();
        for (int turn = 0; turn < 16; ++turn)
            (*ring)->trim();
        EXPECT_LT(resident_bytes() + 4 * 1024 * 1024, full) << round;
        EXPECT_EQ((*ring)->free_buffers(), RingSettings{}.buffers);
    }
    near.reset();
    while (!hoard.ended) {
        hoard.held.clear();
        (*ring)->wait(1);
    }
    hoard.held.clear();
}

TEST(signal, wakes_in_order_of_arrival) {
    auto worker = make_worker();
    Signal signal(*worker);
    std::vector<std::pair<int, Result<void>>> out;
    for (int id = 0; id < 4; ++id)
        worker->tasks().spawn(wait_for(signal, never, id, out));
    EXPECT_EQ(signal.waiting(), 4U);
    EXPECT_TRUE(signal.notify_one());
    EXPECT_TRUE(out.empty()) << "nobody runs inside notify";
    worker->turn(0);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].first, 0);
    signal.notify_all();
    worker->turn(0);
    ASSERT_EQ(out.size(), 4U);
    for (int id = 0; id < 4; ++id) {
        EXPECT_EQ(out[static_cast<size_t>(id)].first, id);
        EXPECT_TRUE(out[static_cast<size_t>(id)].second.has_value());
    }
    EXPECT_FALSE(signal.notify_one());
}

TEST(signal, deadlines_take_the_late_ones_out_of_the_queue) {
    auto worker = make_worker();
    Signal signal(*worker);
    std::vector<std::pair<int, Result<void>>> out;
    worker->tasks().spawn(wait_for(signal, never, 0, out));
    worker->tasks().spawn(wait_for(signal, worker->in_ms(10), 1, out));
    worker->tasks().spawn(wait_for(signal, 0, 2, out)); // already past
    worker->tasks().spawn(wait_for(signal, never, 3, out));
    ASSERT_TRUE(turn_until(*worker, [&] { return out.size() == 2; }));
    EXPECT_EQ(out[0].first, 2);
    EXPECT_EQ(out[1].first, 1);
    for (const auto& [id, result] : out) {
        ASSERT_FALSE(result.has_value());
        EXPECT_EQ(result.error().code, Code::timeout);
    }
    signal.fail_all(Error{.code = Code::unavailable, .during = "drain"});
    worker->turn(0);
    ASSERT_EQ(out.size(), 4U);
    EXPECT_EQ(out[2].first, 0);
    EXPECT_EQ(out[3].first, 3);
    EXPECT_EQ(out[3].second.error().code, Code::unavailable);
}

TEST(signal, a_notify_beats_a_deadline_of_the_same_turn) {
    auto worker = make_worker();
    Signal signal(*worker);
    std::vector<std::pair<int, Result<void>>> out;
    worker->tasks().spawn(wait_for(signal, 0, 0, out));
    signal.notify_one();
    worker->turn(0);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_TRUE(out[0].second.has_value());
    EXPECT_EQ(worker->timers().size(), 0U);
}

TEST(worker, sleeps) {
    auto worker = make_worker();
    uint64_t slept = 0;
    worker->tasks().spawn(nap(*worker, 25, slept));
    ASSERT_TRUE(finish_tasks(*worker));
    EXPECT_GE(slept, 25U);
    EXPECT_LT(slept, 5000U);
}

/// A time that begins with a completion begins then, not when the loop fell asleep.
TEST(worker, completions_see_the_time_at_which_they_run) {
    auto worker = make_worker();
    worker->turn(0);
    const uint64_t start_ms = worker->now_ms();
    uint64_t seen_ms = 0;
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        worker->post([&] { seen_ms = worker->now_ms(); });
    });
    while (seen_ms == 0)
        worker->turn(1'000);
    other.join();
    EXPECT_GE(seen_ms, start_ms + 49);
}

TEST(worker, a_deadline_beyond_the_end_of_time_is_never) {
    auto worker = make_worker();
    EXPECT_EQ(worker->in_ms(UINT64_MAX), never);
    EXPECT_EQ(worker->in_ms(UINT64_MAX - 5), never);
}

TEST(worker, posts_from_many_threads_run_here_in_order) {
    auto worker = make_worker();
    constexpr int threads = 4;
    constexpr int each = 5000;
    std::vector<std::vector<int>> seen(threads);
    const auto here = std::this_thread::get_id();
    size_t total = 0;
    std::vector<std::jthread> posters;
    for (int thread = 0; thread < threads; ++thread) {
        posters.emplace_back([&, thread] {
            for (int i = 0; i < each; ++i) {
                const bool taken = worker->post([&, thread, i] {
                    EXPECT_EQ(std::this_thread::get_id(), here);
                    seen[static_cast<size_t>(thread)].push_back(i);
                    ++total;
                });
                EXPECT_TRUE(taken);
            }
        });
    }
    ASSERT_TRUE(turn_until(*worker, [&] { return total == threads * each; }));
    for (const auto& list : seen) {
        ASSERT_EQ(list.size(), static_cast<size_t>(each));
        EXPECT_TRUE(std::ranges::is_sorted(list));
    }
}

TEST(worker, the_mailbox_is_bounded) {
    auto worker = make_worker();
    size_t taken = 0;
    size_t ran = 0;
    while (taken < 1'000'000 && worker->post([&ran] { ++ran; }))
        ++taken;
    EXPECT_EQ(taken, 65'536U);
    ASSERT_TRUE(turn_until(*worker, [&] { return ran == taken; }));
    EXPECT_TRUE(worker->post([&ran] { ++ran; }));
    ASSERT_TRUE(turn_until(*worker, [&] { return ran == taken + 1; }));
}

TEST(worker, run_ends_after_stop_and_its_last_task) {
    auto worker = make_worker();
    uint64_t slept = 0;
    worker->tasks().spawn(stop_after(*worker, 5));
    worker->tasks().spawn(nap(*worker, 40, slept));
    worker->run();
    EXPECT_GE(slept, 40U);
    EXPECT_EQ(worker->ring().in_flight(), 0U);
    EXPECT_FALSE(worker->post([] {})) << "a stopped worker takes no work";
}

TEST(worker, stop_from_another_thread_wakes_a_sleeping_loop) {
    std::atomic<Worker*> published = nullptr;
    std::atomic<bool> worked = false;
    std::jthread thread([&] {
        auto worker = make_worker();
        published = worker.get();
        published.notify_one();
        worker->run();
        worked = true;
    });
    published.wait(nullptr);
    Worker* worker = published;
    EXPECT_TRUE(worker->post([worker] { worker->stop(); }));
    thread.join();
    EXPECT_TRUE(worked);
}

TEST(worker, dies_with_unread_mail) {
    auto worker = make_worker();
    const auto witness = std::make_shared<int>(1);
    EXPECT_TRUE(worker->post([witness] {}));
    worker.reset();
    EXPECT_EQ(witness.use_count(), 1);
}

TEST(signal_death, a_frame_that_waits_is_not_destroyed) {
    EXPECT_DEATH(
        {
            auto worker = make_worker();
            Signal signal(*worker);
            {
                Signal::Wait wait = signal.wait(never);
                wait.await_suspend(std::noop_coroutine());
            }
        },
        "frame was destroyed while it waited");
}

} // namespace
} // namespace weft::l7
