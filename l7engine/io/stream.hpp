// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <coroutine>
#include <span>
#include <utility>

#include "config/base/error.hpp"
#include "config/base/slice.hpp"
#include "l7engine/io/timer.hpp"

namespace weft::l7 {

class TcpSocket;

/// Hears that a stream's peer is lost (ByteStream::watch_peer).
class PeerWatcher {
public:
    virtual void peer_lost(const Error& why) = 0;

protected:
    ~PeerWatcher() = default;
};

/// A connected byte stream: a TCP socket, later TLS over one, or a scripted one in tests. One reader and one writer at
/// a time; reader and writer may be different coroutines of the same worker.
///
/// Life: an owner destroys a stream only when neither read nor write is awaited. The stream itself keeps whatever the
/// kernel may still touch alive until its last completion.
class ByteStream {
public:
    virtual ~ByteStream() = default;

    class [[nodiscard]] Read {
    public:
        Read(ByteStream& stream, Deadline deadline) : stream_(stream), deadline_(deadline) {}
        Read(const Read&) = delete;
        Read& operator=(const Read&) = delete;
        ~Read() { assert(!waiting_ && "a coroutine frame was destroyed while it read"); }
        bool await_ready() { return stream_.try_read(result_); }
        void await_suspend(std::coroutine_handle<> reader) {
            waiting_ = true;
            stream_.wait_read(reader, deadline_, result_);
        }
        Result<Slice> await_resume() {
            waiting_ = false;
            return std::move(result_);
        }

    private:
        bool waiting_ = false;
        ByteStream& stream_;
        Deadline deadline_;
        Result<Slice> result_;
    };
    /// The next bytes in order; an empty slice is the peer's FIN. Errors: reset, timeout, canceled. After an error or a
    /// FIN every later read gives the same, but for a timeout: it loses nothing, and reading may go on.
    [[nodiscard]] Read read(Deadline deadline = never) { return Read(*this, deadline); }

    class [[nodiscard]] Write {
    public:
        Write(ByteStream& stream, std::span<const Slice> slices, Deadline deadline)
            : stream_(stream), slices_(slices), deadline_(deadline) {}
        Write(const Write&) = delete;
        Write& operator=(const Write&) = delete;
        ~Write() { assert(!waiting_ && "a coroutine frame was destroyed while it wrote"); }
        bool await_ready() { return stream_.try_write(slices_, result_); }
        void await_suspend(std::coroutine_handle<> writer) {
            waiting_ = true;
            stream_.wait_write(writer, slices_, deadline_, result_);
        }
        Result<size_t> await_resume() {
            waiting_ = false;
            return result_;
        }

    private:
        bool waiting_ = false;
        ByteStream& stream_;
        std::span<const Slice> slices_;
        Deadline deadline_;
        Result<size_t> result_;
    };
    /// Writes a prefix of the slices, at least one byte (all of it unless very long); returns how much. The slices must
    /// stay as they are until it returns. Errors: reset, timeout, canceled; every later write gives the same then (also
    /// after a timeout: how much of the slices left is unknown).
    [[nodiscard]] Write write(std::span<const Slice> slices, Deadline deadline = never) {
        return Write(*this, slices, deadline);
    }

    /// Sends FIN after what was written.
    virtual void shutdown_write() = 0;
    /// Ends the stream now: whatever is awaited returns `why`. With `hard` the peer sees a reset, otherwise a FIN.
    virtual void abort(Error why, bool hard) = 0;
    /// Bytes received and not yet read.
    [[nodiscard]] virtual size_t buffered() const = 0;
    /// The peer's FIN or an error has already arrived behind the buffered bytes: not reusable.
    [[nodiscard]] virtual bool peer_closed() const = 0;
    /// A peer that is lost (a reset, a dead network; not a FIN) while no read is awaited is told to the watcher: at
    /// once, once, from the loop and never on the stack of a call to the stream. It is told too while bytes are
    /// unread, and while the peer is not received from because too many are. Reads go on as before: the unread bytes,
    /// then the error. An awaited read returns the error itself, and an abort() of ours is no loss: neither is told.
    /// To be set before the first read; nullptr ends it. peer_lost() may call anything of the stream, and destroy it.
    virtual void watch_peer(PeerWatcher* watcher) = 0;
    /// The socket whose bytes are the stream's, for those who move them in the kernel (Splice). nullptr: they are not
    /// (TLS, a script).
    [[nodiscard]] virtual TcpSocket* tcp_socket() { return nullptr; }

protected:
    virtual bool try_read(Result<Slice>& out) = 0;
    virtual void wait_read(std::coroutine_handle<> reader, Deadline deadline, Result<Slice>& out) = 0;
    virtual bool try_write(std::span<const Slice> slices, Result<size_t>& out) = 0;
    virtual void wait_write(std::coroutine_handle<> writer, std::span<const Slice> slices, Deadline deadline,
                            Result<size_t>& out) = 0;
};

} // namespace weft::l7
