// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "config/base/net.hpp"
#include "config/base/unique_fd.hpp"
#include "l7engine/io/buffer_account.hpp"
#include "l7engine/io/cancel.hpp"
#include "l7engine/io/stream.hpp"
#include "l7engine/io/task.hpp"

namespace weft::l7 {

class Worker;

/// Takes back the sockets of streams that ended, so that they need not be made anew. Worker's thread.
class SocketTaker {
public:
    /// A socket without operations in flight, connected or not; `tag` is what was given with it.
    virtual void take_back(UniqueFd socket, uint64_t tag) = 0;

protected:
    ~SocketTaker() = default;
};

/// Where a socket came from. A stream that was not aborted gives its socket back instead of closing it; without a
/// taker, or when the taker is gone, it is closed.
struct SocketHome {
    std::weak_ptr<SocketTaker> taker;
    uint64_t tag = 0;
};

struct TcpSettings {
    size_t receive_high_bytes = 256 * 1024; ///< received and unread above this: the multishot receive is cancelled
    size_t receive_low_bytes = 64 * 1024;   ///< below this it is armed again
    /// Both, while the account is over its maximum. What the kernel gives in one batch comes all the same.
    size_t receive_scarce_bytes = 8 * 1024;
    BufferAccount* account = nullptr; ///< charged with what is received and unread
};

/// A connected TCP socket on the worker's ring: multishot receive into provided buffers, queued and bounded; sends
/// through the ring. Receiving starts with the first read. Destroying it closes the socket (a FIN; a reset after
/// abort(hard)); what is in flight lives on until its last completion.
/// As everywhere in TCP, closing while received bytes are unread tells the peer a reset, and may cost it the last bytes
/// sent: who needs them delivered calls shutdown_write() and reads up to the FIN first.
[[nodiscard]] std::unique_ptr<ByteStream> make_tcp_stream(Worker& worker, UniqueFd socket, const TcpSettings& settings,
                                                          SocketHome home = {});

/// Undoes a connect (connect(2) with AF_UNSPEC), so that the socket can connect again: a peer that was still connected
/// sees a reset; the local port is free again, options and the kernel's marks stay. `done` gets the socket, or none if
/// the kernel refused; it runs once, never on the caller's stack.
void disconnect_tcp(Worker& worker, UniqueFd socket, std::move_only_function<void(UniqueFd)> done);

/// Connects a socket (made elsewhere) and gives the stream. Errors: refused, timeout, canceled, unavailable, kernel;
/// side upstream; the socket goes home then. TCP_NODELAY is set.
[[nodiscard]] Task<Result<std::unique_ptr<ByteStream>>> connect_tcp(Worker& worker, UniqueFd socket, SocketAddress peer,
                                                                    Until until, const TcpSettings& settings,
                                                                    SocketHome home = {});

/// Accepts on a listener with a multishot accept until destroyed. Descriptor shortage (EMFILE, ENFILE) is counted and
/// retried later, never fatal.
class Acceptor {
public:
    using Handler = std::move_only_function<void(UniqueFd socket)>;
    Acceptor(Worker& worker, UniqueFd listener, Handler handler);
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;
    /// Stops accepting. A connection accepted by the kernel in the meantime is still handed to no one: call
    /// stop() and wait for stopped() first where that matters (hand-over).
    ~Acceptor();

    /// No new accept is started; connections whose completion still comes are handed over. `stopped` runs after the
    /// last one, never on the caller's stack; our descriptor of the listener is closed then. May be called again, also
    /// after that: each `stopped` runs once, in order of the calls, unless the acceptor is destroyed first. The
    /// acceptor may be destroyed from `stopped` and from the handler.
    void stop(std::move_only_function<void()> stopped);
    /// Leaves who comes in the kernel's backlog until then; a later time of an earlier call holds. What is accepted at
    /// this moment is still handed over. After a pause one connection is accepted, and if that brings no new pause,
    /// all others.
    void pause(Deadline until);
    [[nodiscard]] int listener() const;
    [[nodiscard]] uint64_t shortages() const;

private:
    struct State;
    State* state_; ///< lives until its last completion
};

} // namespace weft::l7
