// SPDX-License-Identifier: Apache-2.0
#include "config/wire/channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "config/base/clock.hpp"

namespace weft::wire {
namespace {

constexpr size_t length_bytes = 4;
constexpr size_t scm_fds_max = 253; ///< SCM_MAX_FD of the kernel
/// A body is read, and its memory taken, in steps of this size: a false length costs its sender the bytes, not us.
constexpr size_t read_step_bytes = 256U * 1024;

using ControlBuffer = std::array<std::byte, CMSG_SPACE(sizeof(int) * scm_fds_max)>;

Error error_of(Code code, const char* during) {
    return {.code = code, .detail = 0, .during = during};
}

/// Waits until the socket is ready for `events`. False: the deadline passed.
Result<bool> wait_until(int fd, short events, uint64_t deadline_ms, const char* during) {
    while (true) {
        const uint64_t now = monotonic_ms();
        const uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
        pollfd item{.fd = fd, .events = events, .revents = 0};
        const int ready = ::poll(&item, 1, static_cast<int>(std::min<uint64_t>(left, 1'000'000)));
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return std::unexpected(from_errno(errno, during));
        if (ready == 0 && monotonic_ms() >= deadline_ms)
            return false;
    }
}

} // namespace

FrameChannel::FrameChannel(UniqueFd socket, ChannelLimits limits) : socket_(std::move(socket)), limits_(limits) {
    limits_.fds_max = std::min(limits_.fds_max, scm_fds_max);
}

// ---------------------------------------------------------------- reading

Result<std::optional<Frame>> FrameChannel::read_some() {
    if (read_error_)
        return std::unexpected(*read_error_);
    const auto length = read_length();
    if (!length)
        return std::unexpected(length.error());
    if (!*length)
        return std::nullopt;
    const auto body = read_body();
    if (!body)
        return std::unexpected(body.error());
    if (!*body)
        return std::nullopt;
    length_have_ = body_size_ = body_have_ = 0;
    return std::exchange(incoming_, {});
}

Result<Frame> FrameChannel::receive(uint32_t timeout_ms) {
    const uint64_t deadline = monotonic_ms() + timeout_ms;
    while (true) {
        auto frame = read_some();
        if (!frame)
            return std::unexpected(frame.error());
        if (*frame)
            return std::move(**frame);
        const auto ready = wait_until(socket_.get(), POLLIN, deadline, "frame: receive");
        if (!ready)
            return break_read(ready.error());
        if (!*ready) {
            const Error timeout = error_of(Code::timeout, "frame: receive");
            return length_have_ == 0 ? std::unexpected(timeout) : break_read(timeout);
        }
    }
}

/// Reads never cross from one frame into the next: whatever descriptors a read brings belong to this frame.
Result<bool> FrameChannel::read_length() {
    while (length_have_ < length_bytes) {
        const auto count = read_into(length_ + length_have_, length_bytes - length_have_);
        if (!count)
            return std::unexpected(count.error());
        if (*count == 0)
            return false;
        length_have_ += *count;
    }
    if (body_have_ == 0) {
        body_size_ = 0;
        for (size_t i = 0; i < length_bytes; ++i)
            body_size_ |= std::to_integer<size_t>(length_[i]) << (8 * i);
        if (body_size_ > limits_.frame_bytes_max)
            return break_read(error_of(Code::too_large, "frame: length"));
    }
    return true;
}

Result<bool> FrameChannel::read_body() {
    while (body_have_ < body_size_) {
        const size_t step = std::min(body_size_ - body_have_, read_step_bytes);
        if (incoming_.bytes.size() < body_have_ + step)
            incoming_.bytes.resize(body_have_ + step);
        const auto count = read_into(reinterpret_cast<std::byte*>(incoming_.bytes.data()) + body_have_, step);
        if (!count)
            return std::unexpected(count.error());
        if (*count == 0)
            return false;
        body_have_ += *count;
    }
    incoming_.bytes.resize(body_size_);
    return true;
}

/// 0: nothing there now.
Result<size_t> FrameChannel::read_into(std::byte* out, size_t size) {
    alignas(cmsghdr) ControlBuffer control;
    iovec part{.iov_base = out, .iov_len = size};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    ssize_t count = 0;
    do
        count = ::recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (count < 0 && errno == EINTR);
    if (count < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return size_t{0};
        return break_read(from_errno(errno, "frame: receive"));
    }
    if (auto taken = take_fds(&header); !taken)
        return std::unexpected(taken.error());
    if (count == 0) {
        const bool between = length_have_ == 0;
        return break_read(between ? error_of(Code::eof, "frame: peer closed")
                                  : error_of(Code::malformed, "frame: truncated"));
    }
    return static_cast<size_t>(count);
}

/// Owns every descriptor that arrived before judging any: none can leak.
Result<void> FrameChannel::take_fds(const void* message_header) {
    auto* header = const_cast<msghdr*>(static_cast<const msghdr*>(message_header));
    std::vector<UniqueFd> arrived;
    for (cmsghdr* item = CMSG_FIRSTHDR(header); item != nullptr; item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
            arrived.emplace_back(fd);
        }
    }
    if ((header->msg_flags & MSG_CTRUNC) != 0)
        return break_read(error_of(Code::unavailable, "frame: control data truncated"));
    if (arrived.empty())
        return {};
    if (length_have_ != 0)
        return break_read(error_of(Code::malformed, "frame: stray descriptors"));
    if (arrived.size() > limits_.fds_max)
        return break_read(error_of(Code::too_large, "frame: descriptors"));
    incoming_.fds = std::move(arrived);
    return {};
}

std::unexpected<Error> FrameChannel::break_read(Error error) {
    read_error_ = error;
    incoming_ = {};
    return std::unexpected(error);
}

// ---------------------------------------------------------------- writing

Result<void> FrameChannel::queue(Bytes message, std::span<const int> fds) {
    if (write_error_)
        return std::unexpected(*write_error_);
    if (message.size() > limits_.frame_bytes_max)
        return fail(Code::too_large, "frame: length");
    if (fds.size() > scm_fds_max)
        return fail(Code::too_large, "frame: descriptors");
    if (queue_.size() >= limits_.queue_frames_max ||
        queued_bytes_ + length_bytes + message.size() > limits_.queue_bytes_max)
        return fail(Code::too_large, "frame: queue");
    Outgoing frame;
    frame.bytes.reserve(length_bytes + message.size());
    for (size_t i = 0; i < length_bytes; ++i)
        frame.bytes += static_cast<char>(message.size() >> (8 * i) & 0xff);
    frame.bytes += as_text(message);
    for (const int fd : fds) {
        const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (copy < 0)
            return std::unexpected(from_errno(errno, "frame: duplicate descriptor"));
        frame.fds.emplace_back(copy);
    }
    queued_bytes_ += frame.bytes.size();
    queue_.push_back(std::move(frame));
    return {};
}

Result<bool> FrameChannel::flush() {
    if (write_error_)
        return std::unexpected(*write_error_);
    while (!queue_.empty()) {
        Outgoing& frame = queue_.front();
        iovec part{.iov_base = frame.bytes.data() + front_sent_, .iov_len = frame.bytes.size() - front_sent_};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        alignas(cmsghdr) ControlBuffer control{};
        if (!frame.fds.empty()) {
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(sizeof(int) * frame.fds.size());
            cmsghdr* item = CMSG_FIRSTHDR(&header);
            item->cmsg_level = SOL_SOCKET;
            item->cmsg_type = SCM_RIGHTS;
            item->cmsg_len = CMSG_LEN(sizeof(int) * frame.fds.size());
            for (size_t i = 0; i < frame.fds.size(); ++i) {
                const int fd = frame.fds[i].get();
                std::memcpy(CMSG_DATA(item) + i * sizeof(int), &fd, sizeof(int));
            }
        }
        const ssize_t count = ::sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return false;
        if (count < 0)
            return break_write(from_errno(errno, "frame: send"));
        frame.fds.clear(); // they rode on the first byte
        front_sent_ += static_cast<size_t>(count);
        if (front_sent_ == frame.bytes.size()) {
            queued_bytes_ -= front_sent_;
            front_sent_ = 0;
            queue_.pop_front();
        }
    }
    return true;
}

Result<void> FrameChannel::send(Bytes message, std::span<const int> fds, uint32_t timeout_ms) {
    if (auto queued = queue(message, fds); !queued)
        return queued;
    const uint64_t deadline = monotonic_ms() + timeout_ms;
    while (true) {
        const auto done = flush();
        if (!done)
            return std::unexpected(done.error());
        if (*done)
            return {};
        const auto ready = wait_until(socket_.get(), POLLOUT, deadline, "frame: send");
        if (!ready)
            return break_write(ready.error());
        if (!*ready)
            return break_write(error_of(Code::timeout, "frame: send"));
    }
}

std::unexpected<Error> FrameChannel::break_write(Error error) {
    write_error_ = error;
    queue_.clear();
    queued_bytes_ = front_sent_ = 0;
    return std::unexpected(error);
}

} // namespace weft::wire
