// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "l7engine/http/codec.hpp"

namespace weft::l7 {

/// What one peer may cost us before its connection ends with GOAWAY(ENHANCE_YOUR_CALM). `during` of the Error is the
/// name in quotes. Counted over the whole connection: there is no clock here.
struct H2Budgets {
    /// "rapid reset": streams reset before their reply began, by the peer or by us on its account; beyond this many,
    /// and beyond half of all streams.
    uint32_t premature_resets_max = 500;
    uint32_t continuations_max = 8;     ///< "continuation flood": frames of one header block
    uint32_t control_frames_max = 1000; ///< "control frame flood": acknowledgements, resets ... not yet written
    uint32_t empty_data_frames_max = 1; ///< "empty data flood": in a row, without END_STREAM
    uint32_t window_updates_per_data_frame = 10; ///< "window update flood": allowed per DATA frame sent
    uint32_t idle_frames_per_stream = 100;       ///< "idle frame flood": PRIORITY, resets of nothing
    uint32_t settings_entries_max = 32;          ///< "ENHANCE_YOUR_CALM": in one SETTINGS frame
};

/// Limits of one HTTP/2 connection. Sizes in bytes.
struct H2Settings {
    uint32_t streams_max = 100; ///< at a time; a server announces it and refuses more, a client opens no more
    /// Client side: requests on one connection; the default is where stream numbers end.
    uint32_t streams_per_connection_max = 1U << 30;
    uint32_t stream_window_bytes = 256 * 1024;      ///< of a body received and not consumed()
    uint32_t connection_window_bytes = 1024 * 1024; ///< of all bodies together
    uint32_t head_bytes_max = 60 * 1024;            ///< names, values and 32 per field (RFC 9113 10.5.1); above: 431
    uint32_t headers_max = 100;                     ///< fields; all cookie crumbs count as one; above: 431
    uint32_t path_bytes_max = 16 * 1024;            ///< above: 414
    uint32_t trailer_bytes_max = 8 * 1024;
    uint32_t informational_heads_max = 8; ///< client side: 1xx before the final head
    /// Unwritten bytes beyond which send_data() takes nothing; at half of them next_writable() goes on.
    size_t pending_bytes_max = 128 * 1024;
    /// Unwritten bytes beyond which receive() takes nothing: heads and acknowledgements do not obey flow control.
    size_t backlog_bytes_max = 1024 * 1024;
    H2Budgets budgets;
};

/// Both sides: many streams at a time; DATA shares the buffers it came in and those it goes out from; pending() stays
/// in place until sent(), also while more is sent.
/// - A stream's fault is on_reset() and RST_STREAM; a connection's fault is an Error of receive(), with a GOAWAY in
///   pending(), and all streams are over without further events.
/// - Code of an on_reset(): `reset` by the peer, `refused` and retryable if it did not process the request,
/// `malformed`,
///   `too_large` or `invalid` by us, `eof` if the connection ended.
/// - The owner calls consumed() for all data of a stream that ended well, also after its last event, or else reset().
/// - receive() takes all bytes, or none while more than `backlog_bytes_max` are not written.
/// - drain() of a server sends GOAWAY(2^31-1) and a PING; its acknowledgement, or a second drain(), brings the final
///   GOAWAY. finished() is true once the last stream has ended after that.

/// Server side: receives requests. A malformed head is reset with PROTOCOL_ERROR. What is well-formed and refused, the
/// codec answers itself, without a body: 431 and 414 for size, 400 for a method that is not allowed or TRACE with a
/// body, 404 for CONNECT, 417 for an expectation other than 100-continue, 501 for an extended CONNECT of another
/// protocol than websocket. The owner learns of each by on_reset(). A reply that ends before its request resets the
/// stream with NO_ERROR: nothing more comes of that request.
[[nodiscard]] std::unique_ptr<Codec> make_h2_server_codec(const H2Settings& settings);

/// Client side: sends requests. Code::unavailable from open() or send_head(): at the peer's MAX_CONCURRENT_STREAMS,
/// after its GOAWAY, at the end of the stream numbers, while more than `backlog_bytes_max` are not written; the stream
/// of a refused head is over. A Head with upgrade "websocket" becomes an extended CONNECT, or Code::refused if the peer
/// has not announced it; other upgrades are left out.
[[nodiscard]] std::unique_ptr<Codec> make_h2_client_codec(const H2Settings& settings);

} // namespace weft::l7
