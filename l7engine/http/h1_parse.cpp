// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h1_message.hpp"

#include <llhttp.h>

namespace weft::l7::h1 {
namespace {

/// What llhttp's callbacks work on. Text arrives whole (the head is one block), but possibly in adjacent pieces.
struct Tokens {
    RawHead& head;
    const H1Settings& settings;
    std::string_view name, value;
    Error error{};
    bool refused = false;
    bool complete = false;

    int abort(std::unexpected<Error> refusal) {
        error = refusal.error();
        refused = true;
        return HPE_USER;
    }
};

Tokens& tokens_of(llhttp_t* parser) {
    return *static_cast<Tokens*>(parser->data);
}

int extend(std::string_view& text, const char* at, size_t size) {
    if (!text.empty() && text.data() + text.size() != at)
        return HPE_USER;
    text = text.empty() ? std::string_view(at, size) : std::string_view(text.data(), text.size() + size);
    return 0;
}

int on_method(llhttp_t* parser, const char* at, size_t size) {
    return extend(tokens_of(parser).head.method, at, size);
}
int on_url(llhttp_t* parser, const char* at, size_t size) {
    return extend(tokens_of(parser).head.target, at, size);
}
int on_name(llhttp_t* parser, const char* at, size_t size) {
    return extend(tokens_of(parser).name, at, size);
}
int on_value(llhttp_t* parser, const char* at, size_t size) {
    return extend(tokens_of(parser).value, at, size);
}

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

void note_field(RawHead& head, std::string_view name, std::string_view value) {
    switch (known_field(name)) {
    case Known::host:
        ++head.host_count;
        head.host = value;
        return;
    case Known::content_length:
        ++head.content_length_count;
        head.content_length = value;
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

/// Names are tokens: llhttp sees to that (tested for every byte). Values hold no control character: the reader does.
int on_value_complete(llhttp_t* parser) {
    Tokens& tokens = tokens_of(parser);
    if (++tokens.head.field_count > tokens.settings.headers_max)
        return tokens.abort(refuse(431, "too many headers"));
    if (tokens.name.size() > header_name_bytes_max)
        return tokens.abort(refuse(431, "header name"));
    note_field(tokens.head, tokens.name, trim(tokens.value));
    tokens.name = tokens.value = {};
    return 0;
}

/// Pauses: bodies are not llhttp's.
int on_head_complete(llhttp_t* parser) {
    tokens_of(parser).complete = true;
    return HPE_PAUSED;
}

llhttp_settings_t make_callbacks() {
    llhttp_settings_t callbacks{};
    llhttp_settings_init(&callbacks);
    callbacks.on_method = on_method;
    callbacks.on_url = on_url;
    callbacks.on_header_field = on_name;
    callbacks.on_header_value = on_value;
    callbacks.on_header_value_complete = on_value_complete;
    callbacks.on_headers_complete = on_head_complete;
    return callbacks;
}

const llhttp_settings_t callbacks = make_callbacks();

/// "HTTP/" DIGIT "." DIGIT
bool is_version(std::string_view text) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    return text.size() == 8 && text.starts_with("HTTP/") && digit(text[5]) && text[6] == '.' && digit(text[7]);
}

/// The first line again, exactly: llhttp takes several spaces, "GET /" without a version, RTSP/ and ICE/.
Result<void> check_request_line(std::string_view line, const RawHead& head) {
    const size_t first = line.find(' ');
    const size_t last = line.rfind(' ');
    // Both are views of this line: where they are says what they are.
    if (first == std::string_view::npos || first == last || head.method.data() != line.data() ||
        head.method.size() != first || head.target.data() != line.data() + first + 1 ||
        head.target.size() != last - first - 1 || !is_version(line.substr(last + 1)))
        return refuse(400, "request line");
    return {};
}

/// A status line has the same looseness. A missing reason with its space is harmless and common.
Result<void> check_status_line(std::string_view line) {
    if (line.size() < 12 || !is_version(line.substr(0, 8)) || line[8] != ' ' || (line.size() > 12 && line[12] != ' '))
        return refuse(400, "status line");
    return {};
}

/// Versions unknown to llhttp stop it; they deserve their own status if they are versions at all.
int32_t status_of(llhttp_errno reason, std::string_view first_line) {
    const bool known_form = first_line.size() > 8 && is_version(first_line.substr(first_line.size() - 8));
    return reason == HPE_INVALID_VERSION && known_form ? 505 : 400;
}

} // namespace

Result<void> parse_head(std::string_view text, bool is_request, const H1Settings& settings, RawHead& head) {
    head.text = text;
    head.headers.hold(text);
    Tokens tokens{.head = head, .settings = settings, .name = {}, .value = {}};
    llhttp_t parser;
    llhttp_init(&parser, is_request ? HTTP_REQUEST : HTTP_RESPONSE, &callbacks);
    parser.data = &tokens;
    const llhttp_errno reason = llhttp_execute(&parser, text.data(), text.size());
    const std::string_view first_line = text.substr(0, text.find('\r'));
    if (tokens.refused)
        return std::unexpected(tokens.error);
    // Two readers must agree on where the head ends.
    if (reason != HPE_PAUSED || !tokens.complete || llhttp_get_error_pos(&parser) != text.data() + text.size())
        return refuse(status_of(reason, first_line), "head");
    head.major = parser.http_major;
    head.minor = parser.http_minor;
    head.status = parser.status_code;
    return is_request ? check_request_line(first_line, head) : check_status_line(first_line);
}

} // namespace weft::l7::h1
