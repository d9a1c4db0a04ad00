// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/base/slice.hpp"
#include "l7engine/http/headers.hpp"

/// gRPC as a reading of heads, trailers and bytes of bodies (gRPC over HTTP/2): no codec of its own. Pure.
namespace weft::l7 {

/// The codes that a proxy says or looks for; all are 0 to grpc_status::last.
namespace grpc_status {
inline constexpr uint32_t ok = 0;
inline constexpr uint32_t unknown = 2;
inline constexpr uint32_t deadline_exceeded = 4;
inline constexpr uint32_t permission_denied = 7;
inline constexpr uint32_t unimplemented = 12;
inline constexpr uint32_t internal = 13;
inline constexpr uint32_t unavailable = 14;
inline constexpr uint32_t unauthenticated = 16;
inline constexpr uint32_t last = 16;
} // namespace grpc_status

/// "application/grpc", alone or followed by "+" and a coding, as Envoy tells gRPC; without case. Not
/// application/grpc-web.
[[nodiscard]] bool is_grpc(std::string_view content_type);
/// By the content-type among the fields.
[[nodiscard]] bool is_grpc(const Headers& headers);

/// What an HTTP status means where a gRPC client waits for the answer: the table of the gRPC specification, but for
/// 408 and 504, which are our own deadlines: DEADLINE_EXCEEDED.
[[nodiscard]] uint32_t grpc_status_of_http(uint16_t status);

/// The grpc-status among the fields of a head (a reply of trailers only) or of trailers. None: nullopt. Anything but a
/// code that exists: unknown, as clients take it; so a backend cannot make as many metric series as it likes.
[[nodiscard]] std::optional<uint32_t> read_grpc_status(const Headers& headers);

/// grpc-timeout, "100m": 1 to 8 digits and a unit; part of a millisecond counts as a whole one. 0 is a deadline that
/// has passed. nullopt: malformed; then there is no deadline of ours, as in Envoy, and the backend judges the field.
[[nodiscard]] std::optional<uint64_t> parse_grpc_timeout(std::string_view value);

/// Percent-encoding of grpc-message: printable ASCII but "%" stays.
[[nodiscard]] std::string encode_grpc_message(std::string_view text);

/// Counts the messages of one direction of a call as its body passes, cut anywhere. Keeps no byte of it. A peer that
/// sends no gRPC makes it stop: what counted so far stays.
class GrpcMessages {
public:
    void pass(Bytes body);

    /// Whose first byte has passed: what istio_request_messages_total and its sister count, as Envoy does.
    [[nodiscard]] uint64_t begun() const { return begun_; }
    [[nodiscard]] uint64_t complete() const { return complete_; }
    /// The body may end here.
    [[nodiscard]] bool between_messages() const { return begun_ == complete_ && !malformed_; }
    /// A flag byte that no gRPC message has.
    [[nodiscard]] bool malformed() const { return malformed_; }

private:
    void take_prefix(uint8_t byte);

    uint64_t begun_ = 0;
    uint64_t complete_ = 0;
    uint32_t payload_left_ = 0; ///< while the prefix comes: its length so far
    uint8_t prefix_bytes_ = 0;  ///< of the message that has begun
    bool malformed_ = false;
};

} // namespace weft::l7
