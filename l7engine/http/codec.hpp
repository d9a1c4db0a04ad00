// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "config/base/error.hpp"
#include "config/base/slice.hpp"
#include "l7engine/http/head.hpp"

namespace weft::l7 {

/// HTTP/1: 1, 2, 3 ... per message pair. HTTP/2: the stream's number (client side: if heads are sent in the order of
/// open(); a name of the stream in any case).
using StreamId = uint32_t;

/// What a codec tells its owner, in the order of the wire, only from inside Codec::receive(). `last` means that nothing
/// follows on this side of the stream. Several informational heads may precede the final one.
class Events {
public:
    virtual void on_head(StreamId stream, Head&& head, bool last) = 0;
    /// `data` shares the receive buffer: keep it as short as possible.
    virtual void on_data(StreamId stream, Slice&& data, bool last) = 0;
    /// Always last.
    virtual void on_trailers(StreamId stream, Trailers&& trailers) = 0;
    /// The stream is over, nothing more comes or goes on it. Without an on_head before: the codec refused the head.
    /// `detail` of the Error is the HTTP/2 error code, or from 400 on the status that the codec has answered itself;
    /// `retryable`: the peer says that it did not process the request. `unanswered`: it says nothing at all.
    virtual void on_reset(StreamId stream, Error error) = 0;
    /// The peer serves no stream above `last`.
    virtual void on_goaway(StreamId last) = 0;

protected:
    ~Events() = default;
};

/// Bytes in, events out, bytes out: no socket, no clock, no coroutine. One per connection, on its worker's thread.
/// HTTP/1 is HTTP/2 with one stream at a time: the next pipelined request is not parsed until the previous reply ended.
///
/// Errors of receive() are the peer's fault; `detail` of the Error is the HTTP status that a server answers with
/// (400, 426, 431, 501, 505 ...), and after it finished() is true: answer, then close, parse nothing more.
class Codec {
public:
    virtual ~Codec() = default;

    /// Takes bytes; returns how many were used. Fewer than given means: the codec waits for our side (HTTP/1: the
    /// reply to the current request); call again with the rest then. `bytes` shares its buffer with the events' slices.
    virtual Result<size_t> receive(const Slice& bytes, Events& events) = 0;
    /// The peer sent its FIN: ends a body that is delimited by close, or is an error (Code::eof).
    virtual Result<void> receive_eof(Events& events) = 0;
    /// Client side: the id for the next request. Code::unavailable if the connection takes no more.
    virtual Result<StreamId> open() = 0;
    /// Client side: open() would succeed now.
    [[nodiscard]] virtual bool has_room() const { return true; }
    /// The peer has said what it takes (HTTP/2: its first SETTINGS): before that an extended CONNECT is
    /// Code::unavailable.
    [[nodiscard]] virtual bool knows_peer() const { return true; }
    /// ... and has acknowledged what we take (HTTP/2: our SETTINGS).
    [[nodiscard]] virtual bool settled() const { return true; }
    /// For a peer that has not settled() in its time (RFC 9113 6.5.3): GOAWAY(SETTINGS_TIMEOUT) is in pending(), the
    /// codec is finished() and all streams are over without further events.
    virtual void settings_timed_out() {}
    virtual Result<void> send_head(StreamId stream, const Head& head, bool last) = 0;
    /// May take less than given (flow control): returns how much; `last` counts only if all was taken. HTTP/1 takes
    /// all. After less than all, the stream is named by next_writable() when it can take more.
    virtual Result<size_t> send_data(StreamId stream, Slice data, bool last) = 0;
    /// A stream whose data was refused and that can take more now, in turn; call until nullopt, after receive() and
    /// after sent(). Each refusal is answered once.
    [[nodiscard]] virtual std::optional<StreamId> next_writable() { return std::nullopt; }
    virtual Result<void> send_trailers(StreamId stream, const Trailers& trailers) = 0;
    /// HTTP/1: the connection is finished. HTTP/2: RST_STREAM.
    virtual void reset(StreamId stream, Error error) = 0;
    /// The owner is done with that much of the stream's body: reopens the window (HTTP/2).
    virtual void consumed(StreamId stream, size_t bytes) = 0;
    /// Take no further stream: HTTP/1 says Connection: close with the next head sent, HTTP/2 sends GOAWAY. An HTTP/2
    /// server gives streams that are under way a round trip first; a second call ends that at once.
    virtual void drain() = 0;
    /// Bytes to write, in order. Valid until sent() or the next verb.
    [[nodiscard]] virtual std::span<const Slice> pending() const = 0;
    /// That many bytes of pending() are written.
    virtual void sent(size_t bytes) = 0;
    /// HTTP/1: no message has begun on the receiving side; blank lines between requests are none. HTTP/2: no stream is
    /// open.
    [[nodiscard]] virtual bool between_messages() const = 0;
    /// Nothing more can come or go: close once pending() is empty.
    [[nodiscard]] virtual bool finished() const = 0;
};

} // namespace weft::l7
