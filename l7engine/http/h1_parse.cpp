// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h1_message.hpp"

#include <algorithm>

namespace weft::l7::h1 {
namespace {

constexpr std::string_view crlf = "\r\n";
constexpr size_t version_bytes = 8; ///< "HTTP/1.1"

void note_expect(RawHead& head, std::string_view value) {
    for_each_element(value, [&](std::string_view element) {
        if (equal_ignoring_case(element, "100-continue"))
            head.expect_continue = true;
        else
            head.expect_other = true;
        return true;
    });
}

void note_te(RawHead& head, std::string_view value) {
    for_each_element(value, [&](std::string_view element) {
        head.te_trailers = head.te_trailers || equal_ignoring_case(element, "trailers");
        return true;
    });
}

/// Blanks around it are spaces and tabs as everywhere, but tabs behind the digits some readers refuse: so do we.
std::string_view length_text(std::string_view untrimmed) {
    const size_t digits_end = untrimmed.find_last_not_of(" \t") + 1;
    return untrimmed.find('\t', digits_end) == std::string_view::npos ? trim(untrimmed) : untrimmed;
}

void note_field(RawHead& head, std::string_view name, std::string_view untrimmed) {
    const std::string_view value = trim(untrimmed);
    switch (known_field(name)) {
    case Known::host:
        ++head.host_count;
        head.host = value;
        return;
    case Known::content_length:
        ++head.content_length_count;
        head.content_length = length_text(untrimmed);
        return;
    case Known::transfer_encoding: return head.codings.add(value);
    case Known::connection: return head.connection.add(value);
    case Known::upgrade:
        ++head.upgrade_count;
        head.upgrade = value;
        return;
    case Known::expect: return note_expect(head, value);
    case Known::te: return note_te(head, value);
    case Known::keep_alive:
    case Known::proxy_connection: return;
    case Known::other: return head.headers.add_held(head.text, name, value);
    }
}

/// "HTTP/" DIGIT "." DIGIT
bool parse_version(std::string_view text, RawHead& head) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (text.size() != version_bytes || !text.starts_with("HTTP/") || !digit(text[5]) || text[6] != '.' ||
        !digit(text[7]))
        return false;
    head.major = static_cast<uint8_t>(text[5] - '0');
    head.minor = static_cast<uint8_t>(text[7] - '0');
    return true;
}

/// method SP request-target SP HTTP-version: single spaces, and nothing else (RFC 9112 3).
Result<void> parse_request_line(std::string_view line, RawHead& head) {
    const size_t first = token_size(line);
    const size_t last = line.rfind(' ');
    if (first == 0 || last == std::string_view::npos || line[first] != ' ' || last <= first + 1 ||
        !parse_version(line.substr(last + 1), head))
        return refuse(400, "request line");
    head.method = line.substr(0, first);
    head.target = line.substr(first + 1, last - first - 1);
    if (head.method == "PRI" || head.target.find(' ') != std::string_view::npos)
        return refuse(400, "request line"); // PRI: the preface of HTTP/2, which is no version that we might take here
    return {};
}

/// HTTP-version SP 3DIGIT [SP reason]: a missing reason with its space is harmless and common.
Result<void> parse_status_line(std::string_view line, RawHead& head) {
    constexpr size_t end = version_bytes + 4;
    if (line.size() < end || !parse_version(line.substr(0, version_bytes), head) || line[version_bytes] != ' ' ||
        (line.size() > end && line[end] != ' '))
        return refuse(400, "status line");
    for (const char c : line.substr(version_bytes + 1, 3)) {
        if (c < '0' || c > '9')
            return refuse(400, "status line");
        head.status = static_cast<uint16_t>(head.status * 10 + (c - '0'));
    }
    return {};
}

/// field-name ":" OWS field-value OWS: no blank before the colon.
Result<void> parse_field(std::string_view line, const H1Settings& settings, RawHead& head) {
    const size_t size = token_size(line);
    if (size == 0 || size == line.size() || line[size] != ':')
        return refuse(400, "field");
    if (++head.field_count > settings.headers_max)
        return refuse(431, "too many headers");
    if (size > header_name_bytes_max)
        return refuse(431, "header name");
    note_field(head, line.substr(0, size), line.substr(size + 1));
    return {};
}

} // namespace

Result<void> parse_head(std::string_view text, bool is_request, const H1Settings& settings, RawHead& head) {
    head.text = text;
    head.headers.hold(text);
    std::string_view rest = text;
    const auto next_line = [&rest] {
        const size_t end = std::min(rest.find('\r'), rest.size());
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + crlf.size(), rest.size()));
        return line;
    };
    const std::string_view first = next_line();
    if (const Result<void> begun = is_request ? parse_request_line(first, head) : parse_status_line(first, head);
        !begun)
        return begun;
    while (rest.size() > crlf.size()) {
        if (const Result<void> field = parse_field(next_line(), settings, head); !field)
            return field;
    }
    return rest == crlf ? Result<void>() : refuse(400, "head"); // two readers must agree on where it ends
}

} // namespace weft::l7::h1
