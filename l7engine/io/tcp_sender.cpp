// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <utility>

#include "config/base/free_list.hpp"
#include "l7engine/io/tcp_socket.hpp"
#include "l7engine/io/worker.hpp"

namespace weft::l7 {
namespace {

constexpr size_t send_slices_max = 32;
constexpr size_t send_bytes_max = size_t{1} << 30; ///< a completion counts in 31 bits
constexpr size_t messages_kept_max = 256;

} // namespace

/// One send, from the thread's free list: what the kernel reads, who waits for it, and until when.
struct TcpSender::Message final : Timer {
    Message(TcpSender& of, std::coroutine_handle<> waiting, std::span<const Slice> slices, Result<size_t>& result);
    void expired() override {
        late = true;
        sender.cancel();
    }
    TcpSender& sender;
    std::coroutine_handle<> writer;
    Result<size_t>& out;
    msghdr header{};
    size_t bytes = 0;
    bool late = false;
    std::array<iovec, send_slices_max> parts; // NOLINT: filled up to header.msg_iovlen
};

TcpSender::Message::Message(TcpSender& of, std::coroutine_handle<> waiting, std::span<const Slice> slices,
                            Result<size_t>& result)
    : sender(of), writer(waiting), out(result) {
    size_t count = 0;
    for (const Slice& slice : slices) {
        if (count == send_slices_max || bytes == send_bytes_max)
            break;
        if (slice.empty())
            continue;
        const size_t length = std::min(slice.size(), send_bytes_max - bytes);
        // The kernel only reads; iovec has no const form.
        parts[count++] = {.iov_base = const_cast<std::byte*>(slice.data()), .iov_len = length};
        bytes += length;
    }
    header.msg_iov = parts.data();
    header.msg_iovlen = count;
}

bool TcpSender::refuse(std::span<const Slice> slices, Result<size_t>& out) const {
    assert(!in_flight() && "one writer at a time");
    if (failed_) {
        out = std::unexpected(error_);
        return true;
    }
    if (fin_wanted_) {
        out = fail(Code::invalid, "write_after_shutdown");
        return true;
    }
    out = 0U;
    return std::ranges::all_of(slices, [](const Slice& slice) { return slice.empty(); });
}

void TcpSender::wait(std::coroutine_handle<> writer, std::span<const Slice> slices, Deadline deadline,
                     Result<size_t>& out) {
    message_ = FreeList<Message, messages_kept_max>::make(*this, writer, slices, out);
    canceling_ = false;
    socket_.ring().send(socket_.descriptor(), message_->header, *this);
    if (deadline != never)
        socket_.worker().timers().arm(*message_, deadline);
}

void TcpSender::complete(int32_t result, [[maybe_unused]] bool more, Slice /*buffer*/) {
    assert(!more);
    if ((result == -EAGAIN || result == -EINTR) && !canceling_)
        return socket_.ring().send(socket_.descriptor(), message_->header, *this);
    message_->out = outcome(result);
    socket_.worker().resume_soon(message_->writer);
    FreeList<Message, messages_kept_max>::destroy(std::exchange(message_, nullptr)); // disarms
    if (fin_wanted_ && !failed_)
        send_fin();
    socket_.settle();
}

Result<size_t> TcpSender::outcome(int32_t result) {
    if (failed_) // stopped meanwhile
        return std::unexpected(error_);
    if (result > 0 && (!message_->late || static_cast<size_t>(result) == message_->bytes))
        return static_cast<size_t>(result);
    if (message_->late)
        return fail_with(Error{.code = Code::timeout, .during = "write"});
    return fail_with(send_error(-result));
}

Error TcpSender::send_error(int error_number) {
    // Not EPIPE: then a FIN came before the reset, or the error was told to a receive.
    if (error_number != EPIPE && error_number != ECANCELED)
        socket_.receiver.broken(error_number);
    Error error = from_errno(error_number, "write");
    if (error_number == ETIMEDOUT || error_number == ENOTCONN || error_number == EHOSTUNREACH ||
        error_number == ENETUNREACH)
        error.code = Code::reset; // the kernel gave up on the peer: not one of our deadlines
    return error;
}

std::unexpected<Error> TcpSender::fail_with(Error error) {
    failed_ = true;
    error_ = error;
    return std::unexpected(error);
}

void TcpSender::cancel() {
    if (message_ != nullptr && !std::exchange(canceling_, true))
        socket_.ring().cancel(*this);
}

/// The writer hears of it with the completion: until then the kernel may read its slices.
void TcpSender::stop(Error why) {
    failed_ = true;
    error_ = why;
    cancel();
    if (ready != nullptr)
        ready->stop(why);
}

void TcpSender::shutdown() {
    if (!std::exchange(fin_wanted_, true) && !in_flight() && !failed_)
        send_fin();
}

void TcpSender::send_fin() {
    if (!std::exchange(fin_sent_, true))
        socket_.ring().shutdown(socket_.descriptor(), SHUT_WR);
}

} // namespace weft::l7
