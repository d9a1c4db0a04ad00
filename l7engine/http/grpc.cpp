// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/grpc.hpp"

#include <algorithm>
#include <charconv>

namespace weft::l7 {
namespace {

constexpr std::string_view grpc_type = "application/grpc";
constexpr size_t timeout_digits_max = 8;
constexpr uint8_t prefix_size = 5; ///< a flag, then the length
constexpr uint8_t flag_max = 1;    ///< compressed

/// The whole text as a number; 8 digits at most, so that no unit overflows.
std::optional<uint64_t> parse_digits(std::string_view text) {
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    return whole && text.size() <= timeout_digits_max ? std::optional(number) : std::nullopt;
}

constexpr uint64_t divide_up(uint64_t number, uint64_t divisor) {
    return (number + divisor - 1) / divisor;
}

} // namespace

bool is_grpc(std::string_view content_type) {
    return equal_ignoring_case(content_type.substr(0, grpc_type.size()), grpc_type) &&
           (content_type.size() == grpc_type.size() || content_type[grpc_type.size()] == '+');
}

bool is_grpc(const Headers& headers) {
    const std::optional<std::string_view> type = headers.find("content-type");
    return type && is_grpc(*type);
}

uint32_t grpc_status_of_http(uint16_t status) {
    switch (status) {
    case 400: return grpc_status::internal;
    case 401: return grpc_status::unauthenticated;
    case 403: return grpc_status::permission_denied;
    case 404: return grpc_status::unimplemented;
    case 408:
    case 504: return grpc_status::deadline_exceeded;
    case 429:
    case 502:
    case 503: return grpc_status::unavailable;
    default: return grpc_status::unknown;
    }
}

std::optional<uint32_t> read_grpc_status(const Headers& headers) {
    const std::optional<std::string_view> text = headers.find("grpc-status");
    if (!text)
        return std::nullopt;
    const uint64_t code = parse_digits(*text).value_or(grpc_status::unknown);
    return code <= grpc_status::last ? static_cast<uint32_t>(code) : grpc_status::unknown;
}

std::optional<uint64_t> parse_grpc_timeout(std::string_view value) {
    if (value.empty())
        return std::nullopt;
    const std::optional<uint64_t> number = parse_digits(value.substr(0, value.size() - 1));
    if (!number)
        return std::nullopt;
    switch (value.back()) {
    case 'H': return *number * 3'600'000;
    case 'M': return *number * 60'000;
    case 'S': return *number * 1'000;
    case 'm': return *number;
    case 'u': return divide_up(*number, 1'000);
    case 'n': return divide_up(*number, 1'000'000);
    default: return std::nullopt;
    }
}

std::string encode_grpc_message(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string encoded;
    encoded.reserve(text.size());
    for (const char c : text) {
        if (c >= ' ' && c <= '~' && c != '%') {
            encoded += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        encoded.append({'%', digits[byte >> 4], digits[byte & 15U]});
    }
    return encoded;
}

void GrpcMessages::pass(Bytes body) {
    while (!body.empty() && !malformed_) {
        if (prefix_bytes_ < prefix_size) {
            take_prefix(std::to_integer<uint8_t>(body.front()));
            body = body.subspan(1);
        } else {
            const size_t size = std::min<size_t>(body.size(), payload_left_);
            payload_left_ -= static_cast<uint32_t>(size);
            body = body.subspan(size);
        }
        if (prefix_bytes_ == prefix_size && payload_left_ == 0) {
            ++complete_;
            prefix_bytes_ = 0;
        }
    }
}

void GrpcMessages::take_prefix(uint8_t byte) {
    if (prefix_bytes_ > 0) {
        payload_left_ = payload_left_ << 8 | byte;
    } else if (byte > flag_max) {
        malformed_ = true;
        return;
    } else {
        ++begun_;
        payload_left_ = 0;
    }
    ++prefix_bytes_;
}

} // namespace weft::l7
