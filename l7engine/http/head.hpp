// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "l7engine/http/headers.hpp"

namespace weft::l7 {

/// The head of a request (status == 0) or response, the same for HTTP/1 and HTTP/2. Framing and hop-by-hop fields
/// (Connection and what it names, Transfer-Encoding, Keep-Alive, Upgrade, Expect, Host, Content-Length ...) are not in
/// `headers`: the codec takes them out on receipt and puts its own in on sending.
struct Head {
    // request
    std::string method;    ///< case-sensitive token
    std::string path;      ///< origin-form with query ("/a?b"), or "*"
    std::string authority; ///< Host or :authority as received, port included
    std::string scheme = "http";
    /// Protocol asked for by a valid Upgrade request, else empty; only "websocket" (in lower case) is honoured. The
    /// extended CONNECT of HTTP/2 (RFC 8441) has the same form: method GET, upgrade "websocket"; and its acceptance is
    /// a *final* head of status 101, never 2xx. What only HTTP/1 has (Sec-WebSocket-Key and -Accept) the owner adds or
    /// removes between versions.
    std::string upgrade;
    bool expect_continue = false;
    // response
    uint16_t status = 0;

    /// Content-Length if the message carried one. Sending: absent and more to come means chunked (HTTP/1).
    std::optional<uint64_t> content_length;
    Headers headers;

    /// To become a tunnel, if the answer is 101: then data goes both ways, without framing, until each side ends its
    /// own. A request head that asks is never the last of its stream.
    [[nodiscard]] bool asks_for_tunnel() const { return upgrade == "websocket"; }
    [[nodiscard]] bool is_request() const { return status == 0; }
    [[nodiscard]] bool is_informational() const { return status >= 100 && status < 200; }
};

/// Trailer fields, forbidden names already dropped (RFC 9110 6.5.1).
using Trailers = Headers;

} // namespace weft::l7
