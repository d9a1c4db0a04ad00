// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "config/base/error.hpp"
#include "config/base/slice.hpp"

namespace weft::l7::tls {

/// What a client says in the clear before a handshake (RFC 8446 4.1.2): all that routing, policy and metrics may know
/// of a connection that is passed through untouched.
struct ClientHello {
    std::string server_name; ///< host_name of RFC 6066 3, lower-case, without a trailing dot; empty: none
    bool operator==(const ClientHello&) const = default;
};

/// A hello that is longer than this, its record heads included, is refused: browsers with post-quantum keys need 2 KiB.
inline constexpr size_t client_hello_bytes_max = 32 * 1024;
/// Whole records are copied again at each call, until the hello is whole: nobody needs more than a few.
inline constexpr size_t client_hello_records_max = 16;

/// Reads a ClientHello from the first bytes of a connection; it may be split over several records. nullopt: more bytes
/// are needed. Errors: Code::malformed for what is no ClientHello, Code::too_large above the limits. Pure; never looks
/// at bytes behind the hello. A server name that is no host name is an error, never an empty name.
[[nodiscard]] Result<std::optional<ClientHello>> read_client_hello(Bytes bytes);

} // namespace weft::l7::tls
