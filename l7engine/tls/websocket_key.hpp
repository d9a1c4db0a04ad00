// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace weft::l7::tls {

/// What a server answers to a Sec-WebSocket-Key: base64 of the SHA-1 of key and GUID (RFC 6455 4.2.2). No secret: it
/// shows that the server knows WebSocket. Here since OpenSSL has the hash. Any thread.
[[nodiscard]] std::string websocket_accept(std::string_view key);

/// A fresh Sec-WebSocket-Key (RFC 6455 4.1): 16 random bytes in base64.
[[nodiscard]] std::string make_websocket_key();

} // namespace weft::l7::tls
