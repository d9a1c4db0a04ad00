// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h2_fields.hpp"

#include <charconv>

#include "l7engine/http/h1_rules.hpp"

namespace weft::l7::h2 {
namespace {

using h1::Known;

constexpr size_t field_overhead_bytes = 32;
/// Shorter ones could be guessed through the compression (RFC 7541 7.1.3).
constexpr size_t indexed_cookie_bytes_min = 20;

uint8_t* bytes_of(std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data())); // nghttp2 only reads
}

bool is_secret(std::string_view name, std::string_view value) {
    return equal_ignoring_case(name, "authorization") ||
           (value.size() < indexed_cookie_bytes_min && equal_ignoring_case(name, "cookie"));
}

bool is_sendable_request(const Head& head) {
    const bool path = head.path == "*" ? head.method == "OPTIONS" : head.path.starts_with('/');
    return h1::is_token(head.method) && head.method != "CONNECT" && path && h1::is_target(head.path) &&
           h1::is_authority(head.authority) && (head.scheme == "http" || head.scheme == "https");
}

} // namespace

void FieldList::clear() {
    fields_.clear();
    bytes_ = 0;
}

void FieldList::add(std::string_view name, std::string_view value) {
    bytes_ += name.size() + value.size() + field_overhead_bytes;
    const uint8_t flags = is_secret(name, value) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    fields_.push_back({.name = bytes_of(name),
                       .value = bytes_of(value),
                       .namelen = name.size(),
                       .valuelen = value.size(),
                       .flags = flags});
}

void FieldList::add_number(std::string_view name, uint64_t value, Digits& digits) {
    const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    add(name, {digits.data(), static_cast<size_t>(end - digits.data())});
}

Result<void> FieldList::add_headers(const Headers& headers, bool request) {
    bool te = false;
    for (size_t i = 0; i < headers.size(); ++i) {
        const std::string_view name = headers.name(i);
        const std::string_view value = h1::trim(headers.value(i));
        if (!h1::is_token(name) || !h1::is_field_value(value))
            return fail(Code::invalid, "header to send");
        const Known known = h1::known_field(name);
        if (known == Known::other)
            add(name, value);
        else if (known == Known::te)
            te = te || (request && equal_ignoring_case(value, "trailers"));
    }
    if (te)
        add("te", "trailers");
    return bytes_ <= sent_head_bytes_max ? Result<void>{} : fail(Code::too_large, "head to send");
}

Result<void> FieldList::set_request(const Head& head, bool tunnel, bool last) {
    clear();
    if (!is_sendable_request(head))
        return fail(Code::invalid, "request to send");
    add(":method", tunnel ? "CONNECT" : std::string_view(head.method));
    if (tunnel)
        add(":protocol", "websocket");
    add(":scheme", head.scheme);
    add(":authority", head.authority);
    add(":path", head.path);
    if (head.content_length && !tunnel)
        add_number("content-length", *head.content_length, length_);
    if (head.expect_continue && !last)
        add("expect", "100-continue");
    return add_headers(head.headers, true);
}

Result<void> FieldList::set_response(const Head& head, bool tunnel) {
    clear();
    const bool accepts = tunnel && head.status == 101;
    if (head.status < 100 || head.status > 999 || (head.status == 101 && !tunnel))
        return fail(Code::invalid, "status to send");
    add_number(":status", accepts ? 200 : head.status, status_);
    if (head.content_length && !head.is_informational() && head.status != 204)
        add_number("content-length", *head.content_length, length_);
    return add_headers(head.headers, false);
}

Result<void> FieldList::set_trailers(const Trailers& trailers) {
    clear();
    for (size_t i = 0; i < trailers.size(); ++i) {
        const std::string_view name = trailers.name(i);
        const std::string_view value = h1::trim(trailers.value(i));
        if (!h1::is_token(name) || !h1::is_field_value(value))
            return fail(Code::invalid, "trailer to send");
        if (!h1::is_forbidden_trailer(name))
            add(name, value);
    }
    return bytes_ <= sent_head_bytes_max ? Result<void>{} : fail(Code::too_large, "trailers to send");
}

void FieldList::set_status(uint16_t status) {
    clear();
    add_number(":status", status, status_);
    add("content-length", "0");
}

} // namespace weft::l7::h2
