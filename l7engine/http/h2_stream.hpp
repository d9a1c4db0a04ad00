// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "config/base/slice.hpp"
#include "l7engine/http/codec.hpp"

namespace weft::l7::h2 {

/// One stream. Lives in its connection's table; nghttp2 holds a pointer to it from the head on until it closes.
///
///   open -> over (reset, refused: no verb, no event more) -> gone
///   open -> closed (both sides ended well; the owner has not consumed all) -> gone
struct Stream {
    enum class Sending : uint8_t { head, body, ended };

    StreamId id = 0;
    int32_t wire = 0; ///< its number; client side: 0 until the head is sent

    bool over = false;
    bool reset_by_owner = false;
    bool closed = false;

    // receiving
    bool head_received = false; ///< the final one
    bool remote_ended = false;
    bool head_request = false;
    bool tunnel = false;      ///< extended CONNECT
    bool tunnel_open = false; ///< ... and accepted by us: each side ends for itself
    uint32_t informational_heads = 0;
    uint64_t unconsumed = 0;
    uint64_t received_before = 0; ///< client side: bytes of the connection when the head was sent

    // sending
    Sending sending = Sending::head;
    bool discard_body = false;    ///< the reply to HEAD: data is taken and dropped
    std::optional<uint64_t> left; ///< of Content-Length
    std::vector<Slice> outgoing;  ///< taken, not yet in a frame
    size_t outgoing_bytes = 0;
    bool end_after = false;           ///< END_STREAM after `outgoing`
    std::optional<Trailers> trailers; ///< to send after `outgoing`
    bool framing = false;             ///< nghttp2 has a DATA item
    bool queued = false;              ///< in the connection's list of streams to frame
    bool starved = false;             ///< was refused data
    bool listed = false;              ///< in the connection's list of streams to name
};

} // namespace weft::l7::h2
