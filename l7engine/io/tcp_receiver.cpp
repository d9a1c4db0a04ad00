// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "l7engine/io/tcp_socket.hpp"
#include "l7engine/io/worker.hpp"

namespace weft::l7 {
namespace {

uint32_t bounded(size_t bytes) { return static_cast<uint32_t>(std::min<size_t>(bytes, UINT32_MAX)); }

/// However the connection was lost, its reader acts on one thing. ETIMEDOUT is the kernel giving up on the peer, not
/// one of our deadlines.
Error connection_error(int error_number, const char* during) {
    switch (error_number) {
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ENETRESET:
    case ENOTCONN: return Error{.code = Code::reset, .detail = error_number, .during = during};
    default: return from_errno(error_number, during);
    }
}

} // namespace

TcpReceiver::TcpReceiver(TcpSocket& socket, const TcpSettings& settings)
    : socket_(socket), account_(settings.account), high_bytes_(bounded(settings.receive_high_bytes)),
      low_bytes_(std::min(bounded(settings.receive_low_bytes), high_bytes_)),
      scarce_bytes_(std::min(bounded(settings.receive_scarce_bytes), low_bytes_)) {}

bool TcpReceiver::take(Result<Slice>& out) {
    assert(!reader_ && "one reader at a time");
    if (!queue_.empty()) {
        const size_t before = queue_.bytes();
        out = queue_.pop();
        charge(before);
        regulate();
        return true;
    }
    if (ended_) {
        if (failed_)
            out = std::unexpected(error_);
        else
            out = Slice();
        return true;
    }
    regulate(); // the first read arms
    return false;
}

void TcpReceiver::wait(std::coroutine_handle<> reader, Deadline deadline, Result<Slice>& out) {
    reader_ = reader;
    out_ = &out;
    if (deadline != never)
        socket_.worker().timers().arm(*this, deadline);
}

void TcpReceiver::complete(int32_t result, bool more, Slice buffer) {
    if (!more)
        armed_ = canceling_ = false;
    if (stopped_) {
        buffer = Slice(); // gives the buffer back before the ring can go
        return socket_.settle();
    }
    if (result > 0) {
        const size_t before = queue_.bytes();
        queue_.push(std::move(buffer), socket_.ring().free_buffers_percent());
        charge(before);
    } else if (result == 0) {
        ended_ = true;
    } else {
        fail_with(-result);
    }
    const bool read = waiting();
    wake();
    regulate();
    if (failed_ && !read)
        tell(error_); // may destroy this
}

void TcpReceiver::ErrorPoll::complete(int32_t result, [[maybe_unused]] bool more, Slice /*buffer*/) {
    assert(!more);
    in_flight = false;
    receiver.polled(result);
}

/// The error stays in the socket: once the unread bytes are read, the receive gives it.
void TcpReceiver::polled(int32_t result) {
    if (stopped_)
        return socket_.settle();
    if (armed_) // the receive tells, or the next pause polls again
        return;
    if (result > 0 && (result & POLLERR) != 0)
        return tell(Error{.code = Code::reset, .detail = ECONNRESET, .during = "read"});
    poll_.used_up = true; // both FINs: nothing else is to be seen
}

void TcpReceiver::tell(const Error& why) {
    if (PeerWatcher* watcher = std::exchange(watcher_, nullptr))
        watcher->peer_lost(why);
}

void TcpReceiver::fail_with(int error_number) {
    switch (error_number) {
    case ENOBUFS: return socket_.worker().buffer_waiters().add(*this);
    case ECANCELED: // our own: the watermark
    case EAGAIN:
    case EINTR: return; // armed again by regulate()
    default:
        error_ = connection_error(error_number, "read");
        failed_ = ended_ = true;
    }
}

/// Gives the waiting reader what there is now.
void TcpReceiver::wake() {
    if (!reader_ || (queue_.empty() && !ended_))
        return;
    const std::coroutine_handle<> reader = std::exchange(reader_, nullptr);
    take(*out_);
    hand_over(reader);
}

void TcpReceiver::hand_over(std::coroutine_handle<> reader) {
    reader_ = nullptr;
    out_ = nullptr;
    socket_.worker().timers().disarm(*this);
    socket_.worker().resume_soon(reader);
}

/// What the queue holds has changed.
void TcpReceiver::charge(size_t before) {
    if (account_ != nullptr)
        account_->bytes += queue_.bytes() - before; // modulo: it may be less
}

/// Keeps the receive armed between the watermarks, and only there.
void TcpReceiver::regulate() {
    const bool scarce = account_ != nullptr && account_->is_over();
    if (queue_.bytes() > (scarce ? scarce_bytes_ : high_bytes_))
        paused_ = true;
    else if (queue_.bytes() <= (scarce ? scarce_bytes_ : low_bytes_))
        paused_ = false;
    if (ended_)
        return;
    if (paused_ && armed_)
        cancel();
    else if (!paused_ && !armed_ && !BufferWaiter::waiting())
        arm();
    if (paused_ && !armed_ && watcher_ != nullptr && !poll_.in_flight && !poll_.used_up) {
        poll_.in_flight = true;
        socket_.ring().poll_error(socket_.descriptor(), poll_);
    }
}

void TcpReceiver::arm() {
    armed_ = true;
    socket_.ring().receive_multishot(socket_.descriptor(), *this);
}

void TcpReceiver::cancel() {
    if (!std::exchange(canceling_, true))
        socket_.ring().cancel(*this);
}

void TcpReceiver::buffers_are_back() { regulate(); }

/// A timeout takes nothing away: the stream can be read again.
void TcpReceiver::expired() {
    *out_ = fail(Code::timeout, "read");
    hand_over(reader_);
}

void TcpReceiver::stop(Error why) {
    if (std::exchange(stopped_, true))
        return;
    socket_.worker().buffer_waiters().remove(*this);
    const size_t before = queue_.bytes();
    queue_.clear();
    charge(before);
    error_ = why;
    failed_ = ended_ = true;
    wake();
    if (armed_)
        cancel();
    if (poll_.in_flight)
        socket_.ring().cancel(poll_);
}

} // namespace weft::l7
