// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>

#include "l7engine/io/pipe_pool.hpp"
#include "l7engine/io/stream.hpp"
#include "l7engine/io/tcp_socket.hpp"

namespace weft::l7 {

/// One direction between two TCP streams whose bytes the kernel moves: from the receive queue of `from` into a pipe,
/// and from there into the send queue of `to`. Whoever has one moves; while it lives `from` receives nothing into
/// buffers and `to` is written to by nobody else. Both streams outlive it, and so does the pool. One worker's thread.
///
/// Plain calls of splice(2), told when by polls on the ring: the ring's own splice is always run by a kernel thread.
class Splice {
public:
    /// Have both streams a socket of their own?
    [[nodiscard]] static bool possible(ByteStream& from, ByteStream& to);
    /// The pipe is one of the pool's, and goes back there.
    Splice(ByteStream& from, ByteStream& to, PipePool& pool, Pipe pipe);
    ~Splice();
    Splice(const Splice&) = delete;
    Splice& operator=(const Splice&) = delete;

    /// Until nothing is received into buffers any more. What came before is read from the stream as ever; fill() must
    /// wait until that is done.
    struct [[nodiscard]] Quiet {
        TcpReceiver& receiver;
        bool await_ready() { return receiver.hold(); }
        void await_suspend(std::coroutine_handle<> waiter) { receiver.wait_quiet(waiter); }
        void await_resume() {}
    };
    Quiet quiet() { return Quiet{from_.receiver}; }

    /// Until fill() would do something (also: meet the end); until drain() would. Errors: as TcpReady.
    [[nodiscard]] TcpReady readable(Deadline deadline) { return {from_, TcpReady::For::receive, deadline}; }
    [[nodiscard]] TcpReady writable() { return {to_, TcpReady::For::send, never}; }

    enum class Outcome : uint8_t {
        moved,       ///< some bytes
        not_now,     ///< nothing there, or no room
        fin,         ///< fill: the peer's; reading the stream says so too
        lost,        ///< the connection is; reading or writing the stream says so too
        unsupported, ///< fill: not by splice(2); nothing was taken
    };
    struct Step {
        Outcome outcome;
        size_t bytes = 0; ///< moved
    };
    /// Takes what was received, as far as the pipe has room.
    Step fill();
    /// Gives on what is in the pipe, as far as the socket has room.
    Step drain();
    /// Bytes in the pipe.
    [[nodiscard]] size_t held() const { return held_; }

private:
    TcpSocket& from_;
    TcpSocket& to_;
    PipePool& pool_;
    Pipe pipe_;
    size_t held_ = 0;
};

} // namespace weft::l7
