// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <coroutine>
#include <optional>
#include <span>

#include "config/base/slab.hpp"
#include "l7engine/io/receive_queue.hpp"
#include "l7engine/io/ring.hpp"
#include "l7engine/io/tcp.hpp"
#include "l7engine/io/timer.hpp"
#include "l7engine/io/waiting_receives.hpp"

namespace weft::l7 {

class TcpSocket;

/// One wait until a socket could be received from or sent to, for a coroutine that moves the bytes itself (Splice).
/// Lives in its frame; one of each kind per socket.
class TcpReady final : public Completion, public Timer {
public:
    enum class For : uint8_t { receive, send };
    TcpReady(TcpSocket& socket, For what, Deadline deadline) : socket_(socket), what_(what), deadline_(deadline) {}
    TcpReady(const TcpReady&) = delete;
    TcpReady& operator=(const TcpReady&) = delete;
    ~TcpReady() override;

    bool await_ready();
    void await_suspend(std::coroutine_handle<> waiter);
    /// Errors: Code::timeout, or the reason of an abort. The end of the socket is none: moving bytes tells it.
    Result<void> await_resume();

    /// The waiter gets `why` with the completion.
    void stop(Error why);
    void complete(int32_t result, bool more, Slice buffer) override;
    void expired() override;

private:
    void cancel();
    [[nodiscard]] TcpReady*& place();

    TcpSocket& socket_;
    For what_;
    bool expired_ = false;
    bool canceling_ = false;
    Deadline deadline_;
    std::coroutine_handle<> waiter_;
    Result<void> result_; ///< an error: stopped
};

/// The receiving half: one multishot receive, the queue behind it, one waiting reader with its deadline.
///
///   idle ──arm──▶ armed ──above high──▶ pausing ──last completion──▶ idle ──below low──▶ armed
///                   └─────-ENOBUFS──▶ waiting for buffers ──▶ armed
///
/// While it is paused it would not see a reset: for a watcher it polls for one then. While it is held, somebody else
/// receives (Splice).
class TcpReceiver final : public Completion, public WaitingReceive {
public:
    TcpReceiver(TcpSocket& socket, const TcpSettings& settings);
    TcpReceiver(const TcpReceiver&) = delete;
    TcpReceiver& operator=(const TcpReceiver&) = delete;
    ~TcpReceiver();
    /// A result at once, or false: then wait().
    bool take(Result<Slice>& out);
    void wait(std::coroutine_handle<> reader, Deadline deadline, Result<Slice>& out);
    /// The waiting reader gets `why`, now and later; what is queued is dropped and the receive cancelled.
    void stop(Error why);
    [[nodiscard]] size_t buffered() const { return queue_.bytes(); }
    [[nodiscard]] bool ended() const { return ended_; }
    [[nodiscard]] bool in_flight() const { return armed_ || poll_.in_flight || ready != nullptr; }
    [[nodiscard]] bool waiting() const { return reader_ != nullptr; }
    void watch(PeerWatcher* watcher) { watcher_ = watcher; }

    /// No more is received into buffers until release(); what is queued can be read. False: the receive in flight has
    /// yet to end; then wait_quiet(). A reset is told to the watcher meanwhile.
    bool hold();
    void wait_quiet(std::coroutine_handle<> waiter) { reader_ = waiter; }
    void release() { held_ = false; } ///< the next read arms
    /// What somebody else's receive said (0: FIN, or a negative errno): later reads say the same.
    void end_with(int32_t result);
    /// A send had the socket's error, which the kernel tells once: what a receive shows as a FIN from now on is none.
    void broken(int error_number) { broken_by_ = error_number; }
    /// Set once reading has failed or was stopped.
    [[nodiscard]] std::optional<Error> failure() const { return failed_ ? std::optional(error_) : std::nullopt; }
    TcpReady* ready = nullptr; ///< who waits for bytes while it is held

    void complete(int32_t result, bool more, Slice buffer) override;
    void go_on() override;

private:
    /// One poll for an error of the socket. It stays when receiving goes on, and serves the next pause.
    struct ErrorPoll final : Completion {
        explicit ErrorPoll(TcpReceiver& of) : receiver(of) {}
        void complete(int32_t result, bool more, Slice buffer) override;
        TcpReceiver& receiver;
        bool in_flight = false;
        bool used_up = false; ///< came back without an error, and would again
    };
    /// Of a read that may not wait for ever; an idle connection holds none.
    struct ReadTimer;
    void timed_out();
    void arm();
    void cancel();
    void regulate();
    void fail_with(int error_number);
    void polled(int32_t result);
    void tell(const Error& why);
    void wake();
    void hand_over(std::coroutine_handle<> reader);
    void charge(size_t before);

    TcpSocket& socket_;
    ReceiveQueue queue_;
    std::coroutine_handle<> reader_;
    Result<Slice>* out_ = nullptr;
    ReadTimer* timer_ = nullptr; ///< only while a reader waits, if it has a deadline
    ErrorPoll poll_{*this};
    PeerWatcher* watcher_ = nullptr; ///< until it was told
    Error error_;                    ///< if failed_
    int broken_by_ = 0;              ///< errno; 0: not broken
    BufferAccount* const account_;
    uint32_t high_bytes_;
    uint32_t low_bytes_;
    uint32_t scarce_bytes_;
    bool armed_ = false; ///< the last completion of the receive is still to come
    bool canceling_ = false;
    bool waits_for_buffers_ = false;
    bool paused_ = false; ///< above the high watermark and not yet below the low one
    bool held_ = false;   ///< somebody else receives
    bool ended_ = false;  ///< FIN or error: nothing follows the queued bytes
    bool failed_ = false;
    bool stopped_ = false;
};

/// The sending half: at most one send, whose slices belong to the waiting writer until the completion. What belongs to
/// the send alone is in its message: an idle connection holds none.
class TcpSender final : public Completion {
public:
    explicit TcpSender(TcpSocket& socket) : socket_(socket) {}
    bool refuse(std::span<const Slice> slices, Result<size_t>& out) const;
    void wait(std::coroutine_handle<> writer, std::span<const Slice> slices, Deadline deadline, Result<size_t>& out);
    void shutdown();
    void stop(Error why);
    [[nodiscard]] bool in_flight() const { return message_ != nullptr || ready != nullptr; }
    /// What somebody else's send said: a negative errno, which every later write gives.
    void end_with(int32_t result) { static_cast<void>(fail_with(send_error(-result))); }
    /// Set once writing has failed or was stopped.
    [[nodiscard]] std::optional<Error> failure() const { return failed_ ? std::optional(error_) : std::nullopt; }
    TcpReady* ready = nullptr; ///< who waits for room

    void complete(int32_t result, bool more, Slice buffer) override;

private:
    struct Message;
    void cancel();
    Result<size_t> outcome(int32_t result);
    Error send_error(int error_number);
    std::unexpected<Error> fail_with(Error error);
    void send_fin();

    TcpSocket& socket_;
    Message* message_ = nullptr; ///< only while a send is in flight
    Error error_;                ///< if failed_
    bool failed_ = false;
    bool canceling_ = false; ///< the send that is in flight
    bool fin_wanted_ = false;
    bool fin_sent_ = false;
};

/// What the kernel may touch of one connected socket. Made and left by a stream; closes the descriptor, or gives it
/// back, and goes away after the last completion. Worker's thread.
class TcpSocket : public InSlab {
public:
    TcpSocket(Worker& worker, UniqueFd socket, const TcpSettings& settings, SocketHome home);
    TcpSocket(const TcpSocket&) = delete;
    TcpSocket& operator=(const TcpSocket&) = delete;

    void abort(Error why, bool hard);
    /// The stream dies: closes, and destroys this when nothing is in flight any more.
    void leave();
    /// To be called as the last thing wherever an operation has ended.
    void settle();

    [[nodiscard]] Worker& worker() { return worker_; }
    [[nodiscard]] Ring& ring();
    [[nodiscard]] int descriptor() const { return socket_.get(); }
    TcpReceiver receiver;
    TcpSender sender;

private:
    ~TcpSocket() = default;

    Worker& worker_;
    UniqueFd socket_;
    SocketHome home_;
    bool aborted_ = false;
    bool left_ = false;
};

} // namespace weft::l7
