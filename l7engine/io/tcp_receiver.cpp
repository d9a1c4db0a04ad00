// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "config/base/free_list.hpp"
#include "l7engine/io/tcp_socket.hpp"
#include "l7engine/io/worker.hpp"

namespace weft::l7 {
namespace {

constexpr size_t timers_kept_max = 256;

uint32_t bounded(size_t bytes) {
    return static_cast<uint32_t>(std::min<size_t>(bytes, UINT32_MAX));
}

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

TcpReceiver::~TcpReceiver() {
    assert(timer_ == nullptr);
}

struct TcpReceiver::ReadTimer final : Timer {
    explicit ReadTimer(TcpReceiver& of) : receiver(of) {}
    void expired() override { receiver.timed_out(); }
    TcpReceiver& receiver;
};

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
    if (deadline == never)
        return;
    timer_ = FreeList<ReadTimer, timers_kept_max>::make(*this);
    socket_.worker().timers().arm(*timer_, deadline);
}

void TcpReceiver::complete(int32_t result, bool more, Slice buffer) {
    if (!more)
        armed_ = canceling_ = false;
    if (!armed_ && reader_ && out_ == nullptr) // waits for just that
        hand_over(reader_);
    if (stopped_) {
        buffer = Slice(); // gives the buffer back before the ring can go
        return socket_.settle();
    }
    if (result > 0) {
        const size_t before = queue_.bytes();
        queue_.push(std::move(buffer), socket_.ring().free_buffers_percent());
        charge(before);
        if (more)
            socket_.worker().reset_checks().add(*this);
    } else {
        end_with(result);
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
    case ENOBUFS:
        leave_list();
        waits_for_buffers_ = true;
        return socket_.worker().buffer_waiters().add(*this);
    case ECANCELED: // our own: the watermark
    case EAGAIN:
    case EINTR: return; // armed again by regulate()
    default: error_ = connection_error(error_number, "read"); failed_ = ended_ = true;
    }
}

/// Gives the waiting reader what there is now.
void TcpReceiver::wake() {
    if (out_ == nullptr || (queue_.empty() && !ended_))
        return;
    const std::coroutine_handle<> reader = std::exchange(reader_, nullptr);
    take(*out_);
    hand_over(reader);
}

void TcpReceiver::hand_over(std::coroutine_handle<> reader) {
    reader_ = nullptr;
    out_ = nullptr;
    if (timer_ != nullptr)
        FreeList<ReadTimer, timers_kept_max>::destroy(std::exchange(timer_, nullptr)); // disarms
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
    if (armed_ && !paused_ && !held_ && !scarce && queue_.bytes() <= high_bytes_)
        return; // nearly always
    if (queue_.bytes() > (scarce ? scarce_bytes_ : high_bytes_))
        paused_ = true;
    else if (queue_.bytes() <= (scarce ? scarce_bytes_ : low_bytes_))
        paused_ = false;
    if (ended_)
        return;
    const bool rests = paused_ || held_;
    if (rests && armed_)
        cancel();
    else if (!rests && !armed_ && !waits_for_buffers_)
        arm();
    if (rests && !armed_ && watcher_ != nullptr && !poll_.in_flight && !poll_.used_up) {
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

bool TcpReceiver::hold() {
    assert(!reader_ && "one reader at a time");
    held_ = true;
    regulate();
    return !armed_;
}

void TcpReceiver::end_with(int32_t result) {
    if (result == 0 && broken_by_ == 0)
        ended_ = true;
    else
        fail_with(result == 0 ? broken_by_ : -result);
}

/// Buffers are free again, or it is time to ask for a reset: the receive that is armed anew gives it.
void TcpReceiver::go_on() {
    waits_for_buffers_ = false;
    if (!armed_)
        regulate();
    else if (socket_.ring().is_lost(socket_.descriptor()))
        cancel();
}

/// A timeout takes nothing away: the stream can be read again.
void TcpReceiver::timed_out() {
    *out_ = fail(Code::timeout, "read");
    hand_over(reader_);
}

void TcpReceiver::stop(Error why) {
    if (std::exchange(stopped_, true))
        return;
    leave_list();
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
    if (ready != nullptr)
        ready->stop(why);
}

} // namespace weft::l7
