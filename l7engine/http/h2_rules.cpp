// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h2_rules.hpp"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <utility>

#include "l7engine/http/h1_rules.hpp"

namespace weft::l7::h2 {
namespace {

using h1::Known;
using h1::refuse;

constexpr size_t field_overhead_bytes = 32; ///< RFC 9113 6.5.2
constexpr uint16_t switching_protocols = 101;

std::unexpected<Error> malformed(const char* during) {
    return fail(Code::malformed, during, NGHTTP2_PROTOCOL_ERROR);
}

bool is_lower_token(std::string_view name) {
    return h1::is_token(name) && std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

/// RFC 9113 8.2.1: not even optional whitespace at the ends.
bool is_bare_value(std::string_view value) {
    return h1::is_field_value(value) && h1::trim(value).size() == value.size();
}

Result<void> set_once(std::optional<std::string>& field, std::string_view value, const char* during) {
    if (field)
        return malformed(during);
    field = value;
    return {};
}

/// "200"; RFC 9110 15: three digits.
std::optional<uint16_t> parse_status(std::string_view text) {
    const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (text.size() != 3 || !digits || text[0] == '0')
        return std::nullopt;
    return static_cast<uint16_t>((text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0'));
}

} // namespace

/// An idle connection keeps nothing of its last head.
void BlockReader::forget() {
    pseudo_ = {};
    host_.reset();
    cookie_.reset();
}

void BlockReader::start(Kind kind) {
    kind_ = kind;
    fault_.reset();
    bytes_ = fields_ = 0;
    regular_seen_ = false;
    forget();
    content_length_.reset();
    te_trailers_ = expect_continue_ = expect_other_ = false;
    headers_ = {};
}

void BlockReader::add(std::string_view name, std::string_view value) {
    if (fault_)
        return;
    if (const Result<void> checked = check(name, value); !checked)
        fault_ = checked.error();
}

Result<void> BlockReader::check(std::string_view name, std::string_view value) {
    if (const Result<void> sized = check_size(name, value); !sized)
        return sized;
    if (!is_bare_value(value))
        return malformed("header value");
    if (name.starts_with(':'))
        return add_pseudo(name, value);
    regular_seen_ = true;
    if (!is_lower_token(name))
        return malformed("header name");
    ++fields_;
    return add_field(name, value);
}

Result<void> BlockReader::check_size(std::string_view name, std::string_view value) {
    bytes_ += name.size() + value.size() + field_overhead_bytes;
    const size_t bytes_max = kind_ == Kind::trailers ? settings_.trailer_bytes_max : settings_.head_bytes_max;
    if (bytes_ > bytes_max || name.size() > h1::header_name_bytes_max)
        return refuse(431, kind_ == Kind::trailers ? "trailer size" : "header size");
    if (fields_ >= settings_.headers_max && !name.starts_with(':') && !(cookie_ && name == "cookie"))
        return refuse(431, "header count");
    return {};
}

Result<void> BlockReader::add_pseudo(std::string_view name, std::string_view value) {
    if (regular_seen_ || kind_ == Kind::trailers)
        return malformed("pseudo-header after a field");
    if (kind_ == Kind::response)
        return name == ":status" ? set_once(pseudo_.status, value, ":status twice") : malformed("pseudo-header");
    if (name == ":method")
        return set_once(pseudo_.method, value, ":method twice");
    if (name == ":path")
        return set_once(pseudo_.path, value, ":path twice");
    if (name == ":scheme")
        return set_once(pseudo_.scheme, value, ":scheme twice");
    if (name == ":authority")
        return set_once(pseudo_.authority, value, ":authority twice");
    if (name == ":protocol")
        return set_once(pseudo_.protocol, value, ":protocol twice");
    return malformed("pseudo-header");
}

Result<void> BlockReader::add_field(std::string_view name, std::string_view value) {
    const bool request = kind_ == Kind::request;
    switch (h1::known_field(name)) {
    case Known::connection:
    case Known::keep_alive:
    case Known::proxy_connection:
    case Known::transfer_encoding:
    case Known::upgrade: return malformed("connection-specific field");
    case Known::te:
        if (!equal_ignoring_case(value, "trailers"))
            return malformed("te");
        te_trailers_ = true;
        return {};
    case Known::host: return request ? set_once(host_, value, "host twice") : Result<void>{};
    case Known::expect: return request ? add_expect(value) : Result<void>{};
    case Known::content_length: return kind_ == Kind::trailers ? Result<void>{} : add_content_length(value);
    case Known::other: break;
    }
    if (kind_ == Kind::trailers && h1::is_forbidden_trailer(name))
        return {};
    if (request && name == "cookie") {
        if (cookie_) {
            --fields_;
            cookie_->append("; ").append(value); // RFC 9113 8.2.3
        } else {
            cookie_ = value;
        }
        return {};
    }
    headers_.add(name, value);
    return {};
}

Result<void> BlockReader::add_content_length(std::string_view value) {
    const std::optional<uint64_t> length = h1::parse_content_length(value);
    if (!length || content_length_)
        return malformed("content-length");
    content_length_ = length;
    return {};
}

Result<void> BlockReader::add_expect(std::string_view value) {
    const bool known = equal_ignoring_case(value, "100-continue");
    expect_continue_ = expect_continue_ || known;
    expect_other_ = expect_other_ || !known;
    return {};
}

/// :authority and Host say the same, or one of them is absent (RFC 9113 8.3.1).
Result<void> BlockReader::set_authority(Head& head) const {
    if (!pseudo_.authority && !host_)
        return malformed("no :authority");
    if (pseudo_.authority && host_ && !equal_ignoring_case(*pseudo_.authority, *host_))
        return malformed("host differs from :authority");
    head.authority = pseudo_.authority ? *pseudo_.authority : *host_;
    return h1::is_authority(head.authority) ? Result<void>{} : malformed(":authority");
}

Result<void> BlockReader::set_target(Head& head) const {
    if (!pseudo_.scheme || !pseudo_.path)
        return malformed("pseudo-header missing");
    for (const char* known : {"http", "https"}) {
        if (equal_ignoring_case(*pseudo_.scheme, known))
            head.scheme = known;
    }
    if (!equal_ignoring_case(*pseudo_.scheme, head.scheme))
        return malformed(":scheme");
    if (const Result<void> authority = set_authority(head); !authority)
        return authority;
    if (pseudo_.path->size() > settings_.path_bytes_max)
        return refuse(414, ":path");
    const bool asterisk = *pseudo_.path == "*" && *pseudo_.method == "OPTIONS";
    if (!h1::is_target(*pseudo_.path) || (!asterisk && !pseudo_.path->starts_with('/')))
        return malformed(":path");
    head.path = *pseudo_.path;
    return {};
}

Result<void> BlockReader::set_connect(Head& head) const {
    if (!pseudo_.protocol) {
        if (pseudo_.scheme || pseudo_.path || !pseudo_.authority)
            return malformed("connect");
        return refuse(404, "connect"); // no tunnels: nothing here can be connected to
    }
    if (!pseudo_.authority || content_length_)
        return malformed("connect");
    if (const Result<void> target = set_target(head); !target)
        return target;
    if (!equal_ignoring_case(*pseudo_.protocol, "websocket"))
        return refuse(501, ":protocol");
    head.method = "GET";
    head.upgrade = "websocket";
    return {};
}

Result<Head> BlockReader::finish_request(bool last) {
    if (fault_)
        return std::unexpected(*fault_);
    if (!pseudo_.method || !h1::is_token(*pseudo_.method))
        return malformed(":method");
    Head head;
    head.method = *pseudo_.method;
    const bool connect = head.method == "CONNECT";
    if (!connect && pseudo_.protocol)
        return malformed(":protocol");
    if (const Result<void> target = connect ? set_connect(head) : set_target(head); !target)
        return std::unexpected(target.error());
    if (last && content_length_.value_or(0) > 0)
        return malformed("content-length");
    if (connect && last)
        return malformed("connect that ends at once"); // a tunnel into which nothing can go
    if (!connect && !h1::is_allowed_method(head.method))
        return refuse(400, ":method");
    if (head.method == "TRACE" && !last)
        return refuse(400, "trace with a body"); // RFC 9110 9.3.8
    if (expect_other_)
        return refuse(417, "expect");
    head.expect_continue = expect_continue_ && !last;
    head.content_length = content_length_;
    if (te_trailers_)
        headers_.add("te", "trailers");
    if (cookie_)
        headers_.add("cookie", *std::exchange(cookie_, std::nullopt));
    head.headers = std::move(headers_);
    forget();
    return head;
}

Result<Head> BlockReader::finish_response(bool tunnel) {
    if (fault_)
        return std::unexpected(*fault_);
    const std::optional<uint16_t> status = parse_status(pseudo_.status.value_or(""));
    if (!status || *status == switching_protocols) // RFC 9113 8.6
        return malformed(":status");
    Head head;
    head.status = *status;
    if (head.is_informational() && content_length_)
        return malformed("content-length of an informational reply");
    if (head.status == 204 && content_length_.value_or(0) > 0)
        return malformed("content-length of a reply without a body");
    const bool accepted = tunnel && head.status / 100 == 2;
    if (accepted)
        head.status = switching_protocols;
    else if (head.status != 204)
        head.content_length = content_length_;
    head.headers = std::move(headers_);
    forget();
    return head;
}

Result<Trailers> BlockReader::finish_trailers() {
    if (fault_)
        return std::unexpected(*fault_);
    return std::move(headers_);
}

} // namespace weft::l7::h2
