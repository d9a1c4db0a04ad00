// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <memory>

#include "config/base/error.hpp"
#include "config/base/slice.hpp"

namespace weft::l7 {

/// One operation in flight: its address is the submission's user_data. It owns every byte that the kernel may touch and
/// must live until its last completion (`more` false). complete() runs from Ring::wait(), never inside a submit.
class Completion {
public:
    /// `result`: bytes, a descriptor, or a negative errno. `more`: further completions of this submission follow.
    /// `buffer`: the received bytes of a buffer-selecting receive.
    virtual void complete(int32_t result, bool more, Slice buffer) = 0;

protected:
    ~Completion() = default;
};

struct RingSettings {
    uint32_t entries = 1024; ///< submission queue; completion queue is 8 times that
    uint32_t buffers = 1024; ///< provided receive buffers, a power of two
    uint32_t buffer_bytes = 8192;
};

/// Milliseconds of the monotonic clock that goes with the ring: real time, or the simulation's.
[[nodiscard]] uint64_t ring_clock_ms();

/// May io_uring_enter be called again after this errno? The others mean a broken ring: the process ends, with a line in
/// the log, rather than turn for ever.
[[nodiscard]] constexpr bool enter_error_passes(int error_number) {
    switch (error_number) {
    case EINTR:
    case ETIME:
    case EAGAIN:
    case EBUSY:
    case ENOMEM: return true;
    default: return false;
    }
}

/// What a ring did so far. Read by its thread.
struct RingCounts {
    uint64_t completions = 0;
    uint64_t buffer_shortages = 0; ///< receives that ended with -ENOBUFS
    uint64_t buffer_copies = 0;    ///< receives copied to the heap because few buffers were free
    uint64_t close_failures = 0;
};

/// One io_uring with its provided-buffer ring (SINGLE_ISSUER, DEFER_TASKRUN, registered ring descriptor), restricted to
/// the operations below. One thread, which also made it.
/// tests/support/sim_ring.cpp implements the same class over simulated sockets and is linked instead.
/// Memory handed to an operation (send bytes, sockaddr) must stay valid until its last completion.
///
/// Buffers are never exhausted by slow consumers: while fewer than a quarter of them is free, received bytes come as
/// exact-size heap copies and their buffer goes back at once. So after each wait() a quarter is free, however many
/// slices are held, and -ENOBUFS means only that one batch had more data than buffers. That is the last resort, since
/// it strikes whoever receives next: receive queues copy before, by free_buffers_percent().
/// The kernel is offered few of the free ones, the last ones used: small traffic stays in few pages, warm in the cache.
/// It is offered more as soon as a batch takes most of them.
/// Slices of a ring die before it (asserted).
class Ring {
public:
    /// Error: Code::kernel/refused with errno; `during` names the step ("io_uring_setup", ...).
    [[nodiscard]] static Result<std::unique_ptr<Ring>> create(const RingSettings& settings);
    ~Ring();
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    void accept_multishot(int listener, Completion& completion);
    void accept_one(int listener, Completion& completion);
    /// Picks provided buffers. -ENOBUFS ends the multishot: back-pressure, not failure; wait in
    /// Worker::buffer_waiters().
    void receive_multishot(int socket, Completion& completion);
    /// MSG_NOSIGNAL | MSG_WAITALL; may still be short on error. `message` must live until completion.
    void send(int socket, const msghdr& message, Completion& completion);
    void connect(int socket, const sockaddr* address, socklen_t length, Completion& completion);
    /// Readable/error event of a descriptor, once (eventfd of the mailbox).
    void poll_readable(int descriptor, Completion& completion);
    /// Error of a socket, or the end of both its directions, once. Result: the poll mask; POLLERR stands for the error,
    /// which stays for the next operation.
    void poll_error(int socket, Completion& completion);
    /// At once: the socket has an error, or both its directions have ended.
    [[nodiscard]] bool is_lost(int socket) const;
    /// Until a receive or a send on that socket would not wait (also: for its error or its end), once.
    void poll_receive(int socket, Completion& completion);
    void poll_send(int socket, Completion& completion);
    /// Asks for cancellation of everything submitted with `target`; its completion still comes (-ECANCELED or another).
    void cancel(Completion& target);
    /// At once, not queued.
    void shutdown(int socket, int how);
    /// At once: small writes are not held back (TCP_NODELAY); a later close sends a reset (SO_LINGER 0).
    void no_delay(int socket);
    void reset_on_close(int socket);
    /// At once: plain calls on the socket do not wait from now on (O_NONBLOCK). Operations of the ring still do.
    void non_blocking(int socket);
    /// At once: moves bytes between a pipe and a socket, one of them `from`, the other `to`, without copying them
    /// (splice(2)). Bytes, at most `bytes_max`; 0: the end of `from`; or a negative errno, never -EINTR. -EAGAIN:
    /// nothing to move, no room, or the next byte is one that cannot be spliced (urgent data). Both do not block.
    [[nodiscard]] int32_t splice(int from, int to, size_t bytes_max);
    /// At once: the kernel's name for a socket (SO_COOKIE); 0, which no socket has: unknown.
    [[nodiscard]] uint64_t socket_cookie(int socket) const;
    /// Fire and forget, with the next submission; counted if it fails.
    void close(int descriptor);

    /// Submits, waits for a completion or `timeout_ms` (UINT64_MAX: for ever, 0: only what is there), collects all
    /// completions. Whoever keeps a clock looks at it now: those that run may take times from it.
    void collect(uint64_t timeout_ms);
    /// Runs what was collected; returns how many.
    size_t run_collected();
    /// Both.
    size_t wait(uint64_t timeout_ms) {
        collect(timeout_ms);
        return run_collected();
    }

    /// Gives memory of buffers back to the kernel that nobody has used since the last call, and offers fewer of them
    /// again. Now and then.
    void trim();

    /// Share of provided buffers that are free, in percent; and their number.
    [[nodiscard]] uint32_t free_buffers_percent() const;
    [[nodiscard]] uint32_t free_buffers() const;
    /// Operations whose last completion has not run yet.
    [[nodiscard]] size_t in_flight() const;
    [[nodiscard]] const RingCounts& counts() const;

private:
    struct State;
    explicit Ring(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace weft::l7
