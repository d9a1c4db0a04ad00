// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "l7engine/http/codec.hpp"

namespace weft::l7 {

/// Limits and leniency of one HTTP/1 connection. Sizes in bytes.
struct H1Settings {
    size_t head_bytes_max = 60 * 1024;   ///< request or status line and all fields; above: 431
    size_t headers_max = 100;            ///< fields; above: 431
    size_t target_bytes_max = 16 * 1024; ///< above: 414
    size_t trailer_bytes_max = 8 * 1024;
    size_t chunk_extension_bytes_max = 4 * 1024; ///< per message
    size_t informational_heads_max = 8;          ///< client side: 1xx before the final head
    bool accept_http_10 = false;                 ///< otherwise 426
};

/// Both sides: bodies pass without copying; pending() stays in place until sent(), also while more is sent. A
/// WebSocket upgrade (RFC 6455 4) becomes a tunnel with a final head of status 101; until then nothing behind the
/// request is received. Other upgrades are not honoured: the request goes on as an ordinary one. A tunnel ends with
/// both sides' `last`; the owner sends the FIN that the peer is to see.

/// Server side: receives requests, sends responses. Strict: refuses whatever two readers could read differently.
/// - A refused head still opens a stream, the next id, for which no on_head came: the owner may answer on it. A refused
///   body is answered on its own stream if the reply had not begun. Either way the reply says Connection: close.
/// - After finished(), receive() takes bytes and ignores them.
/// - A reply sent before the request has come whole closes the connection.
/// - receive_eof() only after all bytes were taken; a client that has its whole request sent may still wait for the
///   answer. An answer without Content-Length to HTTP/1.0 ends by close: on reset() abort the connection then.
[[nodiscard]] std::unique_ptr<Codec> make_h1_server_codec(const H1Settings& settings);

/// Client side: sends requests, receives responses. Not reusable (finished()) whenever its state is in doubt: an early
/// reply, bytes that nobody asked for, a body where there is none. Errors of receive() have Side::upstream;
/// `unanswered` if no byte of a reply had come. After an early reply the rest of the request is refused:
/// Code::canceled.
[[nodiscard]] std::unique_ptr<Codec> make_h1_client_codec(const H1Settings& settings);

} // namespace weft::l7
