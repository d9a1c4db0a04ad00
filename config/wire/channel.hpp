// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/base/error.hpp"
#include "config/base/slice.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::wire {

/// One message with the descriptors that came with it.
struct Frame {
    std::string bytes;
    std::vector<UniqueFd> fds;
};

struct ChannelLimits {
    size_t frame_bytes_max = 64U * 1024 * 1024; ///< of one message, both ways
    size_t fds_max = 253;                       ///< received with one frame; the kernel's own limit (SCM_MAX_FD)
    size_t queue_bytes_max = 80U * 1024 * 1024; ///< queued and not yet written: one largest frame and some small ones
    size_t queue_frames_max = 4096;
};

/// Frames over one connected Unix stream socket: a 4-byte little-endian length, then the message; descriptors ride on
/// the first byte. Owned by one connection. One thread may read while another writes; each side is one thread's.
///
/// After an error of one direction that direction is finished: every later call gives the same error; close the
/// channel. The errors, by (code, during):
///   eof "frame: peer closed" (between frames) · malformed "frame: truncated" (inside one) ·
///   too_large "frame: length" · too_large "frame: descriptors" · malformed "frame: stray descriptors" (not on the
///   first byte) · unavailable "frame: control data truncated" (MSG_CTRUNC: no room for descriptors here) · timeout
///   "frame: receive" / "frame: send" · too_large "frame: queue" (the only one that breaks nothing).
class FrameChannel {
public:
    explicit FrameChannel(UniqueFd socket, ChannelLimits limits = {});

    /// Takes what is there without waiting. A whole frame, or nullopt: wait until fd() is readable, then call again.
    /// Call until nullopt before polling.
    Result<std::optional<Frame>> read_some();
    /// Waits for one frame. After a timeout *between* frames the channel is still good, inside one it is broken.
    Result<Frame> receive(uint32_t timeout_ms);

    /// Puts a frame behind those not yet written; `fds` are duplicated, the caller keeps its own.
    Result<void> queue(Bytes message, std::span<const int> fds);
    /// Writes without waiting. True: all is written; false: wait until fd() is writable.
    Result<bool> flush();
    /// queue(), then flush() until all is written. A timeout leaves a half-written frame: the direction is broken.
    Result<void> send(Bytes message, std::span<const int> fds, uint32_t timeout_ms);

    [[nodiscard]] int fd() const { return socket_.get(); }
    [[nodiscard]] bool wants_write() const { return !queue_.empty(); }
    [[nodiscard]] size_t queued_bytes() const { return queued_bytes_; }

private:
    struct Outgoing {
        std::string bytes; ///< length and message
        std::vector<UniqueFd> fds;
    };
    Result<size_t> read_into(std::byte* out, size_t size);
    Result<void> take_fds(const void* message_header);
    Result<bool> read_length();
    Result<bool> read_body();
    std::unexpected<Error> break_read(Error error);
    std::unexpected<Error> break_write(Error error);

    UniqueFd socket_;
    ChannelLimits limits_;

    // reading
    std::byte length_[4] = {};
    size_t length_have_ = 0;
    size_t body_size_ = 0;
    size_t body_have_ = 0;
    Frame incoming_;
    std::optional<Error> read_error_;

    // writing
    std::deque<Outgoing> queue_;
    size_t front_sent_ = 0; ///< bytes of the first queued frame that are written
    size_t queued_bytes_ = 0;
    std::optional<Error> write_error_;
};

} // namespace weft::wire
