// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h1_rules.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "config/base/net.hpp"
#include "l7engine/http/headers.hpp"

namespace weft::l7::h1 {
namespace {

using Class = std::array<bool, 256>;

consteval Class letters_digits_and(std::string_view more) {
    Class table{};
    for (unsigned c = 0; c < 256; ++c)
        table[c] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    for (const char c : more)
        table[static_cast<unsigned char>(c)] = true;
    return table;
}

constexpr Class token_class = letters_digits_and("!#$%&'*+-.^_`|~");
/// unreserved and sub-delims of RFC 3986 without ",": two joined Host fields must not pass as one name.
constexpr Class name_class = letters_digits_and("-._~!$&'()*+;=");

/// RFC 3986 and what browsers and tools send unescaped in practice. Not: space, control, '#', above 0x7e.
consteval Class target_characters() {
    Class table{};
    for (unsigned c = 0x21; c < 0x7f; ++c)
        table[c] = c != '#';
    return table;
}
constexpr Class target_class = target_characters();

/// Looks at all bytes, also behind one that is not of the class: nearly always there is none.
bool all_of_class(std::string_view text, const Class& table) {
    bool all = true;
    for (const char c : text)
        all &= table[static_cast<unsigned char>(c)];
    return all;
}

/// Sixteen bytes at once, in whatever registers the machine has.
using Vector = unsigned char __attribute__((ext_vector_type(16)));
using Bits = bool __attribute__((ext_vector_type(16)));

/// A bit for each of the next sixteen bytes that is a control character except HTAB.
unsigned controls_in(const char* at) {
    Vector bytes;
    std::memcpy(&bytes, at, sizeof(bytes));
    const auto hits = ((bytes < Vector(0x20)) & (bytes != Vector('\t'))) | (bytes == Vector(0x7f));
    return std::bit_cast<uint16_t>(__builtin_convertvector(hits, Bits));
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_port(std::string_view text) {
    if (text.empty() || text.size() > 5 || !std::all_of(text.begin(), text.end(), is_digit))
        return false;
    unsigned port = 0;
    for (const char c : text)
        port = port * 10 + static_cast<unsigned>(c - '0');
    return port <= std::numeric_limits<uint16_t>::max();
}

/// Length of a quoted-string at the start of `text`, or 0. Control characters are already excluded.
size_t quoted_string_size(std::string_view text) {
    if (text.empty() || text.front() != '"')
        return 0;
    for (size_t i = 1; i < text.size(); ++i) {
        if (text[i] == '"')
            return i + 1;
        if (text[i] == '\\')
            ++i;
    }
    return 0;
}

size_t token_size(std::string_view text) {
    size_t size = 0;
    while (size < text.size() && token_class[static_cast<unsigned char>(text[size])])
        ++size;
    return size;
}

/// *( ";" name [ "=" value ] )
bool is_chunk_extension(std::string_view text) {
    while (!text.empty()) {
        if (text.front() != ';')
            return false;
        text.remove_prefix(1);
        const size_t name = token_size(text);
        if (name == 0)
            return false;
        text.remove_prefix(name);
        if (text.empty() || text.front() != '=')
            continue;
        text.remove_prefix(1);
        const size_t value = std::max(token_size(text), quoted_string_size(text));
        if (value == 0)
            return false;
        text.remove_prefix(value);
    }
    return true;
}

} // namespace

std::unexpected<Error> refuse(int32_t status, const char* during) {
    Code code = Code::malformed;
    if (status == 413 || status == 414 || status == 431)
        code = Code::too_large;
    else if (status != 400)
        code = Code::invalid;
    return fail(code, during, status);
}

int hex_digit(char c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

size_t find_control(std::string_view text) {
    static_assert(std::endian::native == std::endian::little, "the lowest set bit is the first byte");
    size_t i = 0;
    for (; i + sizeof(Vector) <= text.size(); i += sizeof(Vector)) {
        if (const unsigned hits = controls_in(text.data() + i); hits != 0)
            return i + static_cast<size_t>(std::countr_zero(hits));
    }
    const auto is_control = [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < 0x20 && byte != '\t') || byte == 0x7f;
    };
    while (i < text.size() && !is_control(text[i]))
        ++i;
    return i;
}

bool is_token(std::string_view text) {
    return !text.empty() && all_of_class(text, token_class);
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

Known known_field(std::string_view name) {
    const auto either = [&](std::string_view text, Known known) {
        return equal_ignoring_case(name, text) ? known : Known::other;
    };
    switch (name.size()) {
    case 2: return either("te", Known::te);
    case 4: return either("host", Known::host);
    case 6: return either("expect", Known::expect);
    case 7: return either("upgrade", Known::upgrade);
    case 10:
        return (name[0] | 0x20) == 'c' ? either("connection", Known::connection)
                                       : either("keep-alive", Known::keep_alive);
    case 14: return either("content-length", Known::content_length);
    case 16: return either("proxy-connection", Known::proxy_connection);
    case 17: return either("transfer-encoding", Known::transfer_encoding);
    default: return Known::other;
    }
}

bool is_forbidden_trailer(std::string_view name) {
    static constexpr std::string_view forbidden[] = {
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expires",
        "forwarded",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "retry-after",
        "set-cookie",
        "trailer",
        "vary",
        "warning",
        "www-authenticate",
    };
    const auto same = [&](std::string_view other) { return equal_ignoring_case(name, other); };
    return known_field(name) != Known::other || std::any_of(std::begin(forbidden), std::end(forbidden), same);
}

std::optional<uint64_t> parse_content_length(std::string_view value) {
    if (value.empty())
        return std::nullopt;
    uint64_t length = 0;
    for (const char c : value) {
        if (!is_digit(c))
            return std::nullopt;
        length = length * 10 + static_cast<uint64_t>(c - '0');
        // 2^60 * 10 still fits: checking after each digit is enough. Backends count in signed numbers.
        if (length > (uint64_t{1} << 60))
            return std::nullopt;
    }
    return length;
}

bool is_authority(std::string_view authority) {
    if (authority.empty() || authority.size() > host_bytes_max)
        return false;
    if (authority.front() == '[') {
        const size_t end = authority.find(']');
        if (end == std::string_view::npos)
            return false;
        const std::string_view inside = authority.substr(1, end - 1);
        const std::string_view rest = authority.substr(end + 1);
        const bool port = rest.empty() || (rest.front() == ':' && is_port(rest.substr(1)));
        return port && inside.find(':') != std::string_view::npos && IpAddress::parse(inside).has_value();
    }
    const size_t colon = authority.find(':');
    const std::string_view host = authority.substr(0, colon);
    return !host.empty() && all_of_class(host, name_class) &&
           (colon == std::string_view::npos || is_port(authority.substr(colon + 1)));
}

bool is_target(std::string_view target) {
    if (target.empty() || !all_of_class(target, target_class))
        return false;
    return target.substr(0, target.find('?')).find("%00") == std::string_view::npos;
}

bool is_allowed_method(std::string_view method) {
    static constexpr std::string_view allowed[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"};
    return std::find(std::begin(allowed), std::end(allowed), method) != std::end(allowed);
}

std::optional<Target> split_target(std::string_view target, std::string_view method) {
    if (!is_target(target))
        return std::nullopt;
    if (target.front() == '/')
        return Target{.authority = {}, .path = target};
    if (target == "*")
        return method == "OPTIONS" ? std::optional(Target{.authority = {}, .path = target}) : std::nullopt;
    // "https" on a connection without TLS would be a lie about the connection: refused with all other schemes.
    constexpr std::string_view scheme = "http://";
    if (!equal_ignoring_case(target.substr(0, scheme.size()), scheme))
        return std::nullopt;
    target.remove_prefix(scheme.size());
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    const Target split{.authority = target.substr(0, end), .path = target.substr(end)};
    return is_authority(split.authority) ? std::optional(split) : std::nullopt;
}

void TransferCodings::add(std::string_view value) {
    for_each_element(value, [&](std::string_view coding) {
        ++count;
        last_is_chunked = equal_ignoring_case(coding, "chunked");
        chunked += last_is_chunked ? 1 : 0;
        malformed = malformed || !is_token(coding);
        return true;
    });
}

Result<void> TransferCodings::check() const {
    if (malformed || !last_is_chunked || chunked != 1)
        return refuse(400, "transfer-encoding");
    if (count != 1)
        return refuse(501, "transfer-encoding");
    return {};
}

void ConnectionOptions::add(std::string_view value) {
    malformed = malformed || !for_each_element(value, [&](std::string_view element) { return add_element(element); });
}

bool ConnectionOptions::add_element(std::string_view element) {
    if (++elements > connection_options_max)
        return false;
    if (element.empty())
        return true; // RFC 9110 5.6.1: empty list elements are ignored
    if (!is_token(element))
        return false;
    if (equal_ignoring_case(element, "close")) {
        close = true;
        return true;
    }
    switch (known_field(element)) {
    case Known::keep_alive: keep_alive = true; return true;
    case Known::upgrade: upgrade = true; return true;
    case Known::host:
    case Known::content_length:
    case Known::transfer_encoding: return false; // would make the message mean something else to the next reader
    case Known::other: nominated.push_back(element); return true;
    case Known::te:
    case Known::expect:
    case Known::connection:
    case Known::proxy_connection: return true; // never forwarded as they are
    }
    return false;
}

std::optional<ChunkLine> parse_chunk_line(std::string_view line) {
    uint64_t size = 0;
    size_t digits = 0;
    while (digits < line.size() && hex_digit(line[digits]) >= 0) {
        if (digits == chunk_size_digits_max)
            return std::nullopt;
        size = size << 4 | static_cast<uint64_t>(hex_digit(line[digits]));
        ++digits;
    }
    const std::string_view extension = line.substr(digits);
    if (digits == 0 || size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ||
        !is_chunk_extension(extension))
        return std::nullopt;
    return ChunkLine{.size = size, .extension_bytes = extension.size()};
}

std::optional<FieldLine> parse_field_line(std::string_view line) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
        return std::nullopt;
    return FieldLine{.name = line.substr(0, colon), .value = trim(line.substr(colon + 1))};
}

} // namespace weft::l7::h1
