// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "config/base/slice.hpp"

namespace weft::l7 {

/// What the first bytes of a client say about the protocol of a connection whose port declares none.
enum class Sniffed : uint8_t {
    more,  ///< a prefix of something that we know: look again with more bytes
    http1, ///< a request line with an HTTP/1 version, or one too long to be anything else
    http2, ///< the client connection preface (RFC 9113 3.4)
    tls,   ///< a handshake record with a ClientHello (RFC 8446 5.1); read it with tls::read_client_hello()
    tcp,   ///< nothing that we know
};

/// A first line longer than this is taken for HTTP/1 if it began like a request: its codec refuses it properly.
inline constexpr size_t sniff_bytes_max = 8192;

/// RFC 9113 3.4.
inline constexpr std::string_view http2_preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pure; `bytes` are all that the client has sent so far. The answer for a longer input never contradicts an answer
/// other than `more`, so the bytes may come in any pieces.
[[nodiscard]] Sniffed sniff(Bytes bytes);

} // namespace weft::l7
