// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace weft {

/// What went wrong, in the words that a proxy acts on. One sentence each; never extended by text.
enum class Code : uint8_t {
    invalid,     ///< the caller's argument or the peer's message breaks a contract
    malformed,   ///< bytes that no grammar of ours accepts
    too_large,   ///< a named limit was reached
    timeout,     ///< a deadline passed
    refused,     ///< the peer or the kernel said no (ECONNREFUSED, EPERM)
    reset,       ///< the peer cut the connection
    eof,         ///< the stream ended where more was required
    tls,         ///< a TLS failure
    denied,      ///< policy said no
    unavailable, ///< a resource of ours is missing or exhausted
    canceled,    ///< we stopped it ourselves
    kernel,      ///< a system call failed in a way not listed above; `detail` is errno
};

enum class Side : uint8_t { self, downstream, upstream };

/// The error of the data path: small, trivially copyable, never allocates.
/// `detail` is errno, an HTTP status or a protocol code; `during` is a string literal ("connect").
struct [[nodiscard]] Error {
    Code code = Code::invalid;
    Side side = Side::self;
    bool retryable = false;  ///< the peer has not processed the request
    bool unanswered = false; ///< nothing came back since it went out: it may have been processed, or not
    int32_t detail = 0;
    const char* during = "";
};
static_assert(sizeof(Error) == 16);

template <class T>
using Result = std::expected<T, Error>;

/// The enumerator's name ("too_large").
[[nodiscard]] const char* name(Code code);
/// "connect: refused (Connection refused)"; for logs and command-line messages, not for the request path.
[[nodiscard]] std::string to_string(const Error& error);
/// Maps errno to the closest Code.
[[nodiscard]] Error from_errno(int error_number, const char* during, Side side = Side::self);

[[nodiscard]] inline std::unexpected<Error> fail(Code code, const char* during, int32_t detail = 0) {
    return std::unexpected(Error{.code = code, .detail = detail, .during = during});
}

} // namespace weft
