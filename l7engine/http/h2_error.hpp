// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "config/base/error.hpp"

/// HTTP/2 error codes (RFC 9113 7) and ours: pure tables.
namespace weft::l7::h2 {

/// "PROTOCOL_ERROR"; a literal, as Error::during wants it.
[[nodiscard]] const char* code_name(uint32_t code);
/// The code that tells the peer why we reset a stream.
[[nodiscard]] uint32_t code_for(const Error& error);
/// What a RST_STREAM of that code from the peer means. Only a client may send the request again.
[[nodiscard]] Error peer_reset(uint32_t code, Side peer);
/// What a reset on our account means: the peer broke a rule.
[[nodiscard]] Error peer_fault(uint32_t code, Side peer, const char* during);

} // namespace weft::l7::h2
