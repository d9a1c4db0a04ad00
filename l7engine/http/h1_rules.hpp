// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "config/base/error.hpp"

/// The strictness that the tokenizer lacks: pure functions over text, shared by both directions of HTTP/1.
namespace weft::l7::h1 {

inline constexpr size_t connection_options_max = 32; ///< elements of all Connection fields together
inline constexpr size_t host_bytes_max = 262;        ///< 255 of a name, ":" and a port
inline constexpr size_t header_name_bytes_max = 4096;
inline constexpr size_t chunk_size_digits_max = 16;

/// A refusal; `status` is what a server answers. The side is filled in by the codec.
[[nodiscard]] std::unexpected<Error> refuse(int32_t status, const char* during);

/// -1: none.
[[nodiscard]] int hex_digit(char c);
/// Offset of the first control character except HTAB (DEL included), or the size of the text.
[[nodiscard]] size_t find_control(std::string_view text);
[[nodiscard]] bool is_token(std::string_view text);
/// A field value that may be written: no control character, so that nobody's bytes become a header line.
[[nodiscard]] inline bool is_field_value(std::string_view text) {
    return find_control(text) == text.size();
}
/// Removes SP and HTAB at both ends: nothing else is optional whitespace.
[[nodiscard]] std::string_view trim(std::string_view text);

/// Calls `visit(element)` for each trimmed element of a comma-separated list, empty ones included, until it is false.
template <class Visit>
bool for_each_element(std::string_view list, Visit visit) {
    while (true) {
        const size_t comma = list.find(',');
        if (!visit(trim(list.substr(0, comma))))
            return false;
        if (comma == std::string_view::npos)
            return true;
        list.remove_prefix(comma + 1);
    }
}

/// Fields that belong to the connection or to the framing: never in Head::headers, never written from there.
enum class Known : uint8_t {
    other,
    te,
    host,
    expect,
    upgrade,
    connection,
    keep_alive,
    content_length,
    proxy_connection,
    transfer_encoding,
};
[[nodiscard]] Known known_field(std::string_view name);
/// Names that a trailer section must not carry (RFC 9110 6.5.1): framing, routing, authentication, conditions, content.
[[nodiscard]] bool is_forbidden_trailer(std::string_view name);

/// One Content-Length: digits only, at most 2^60.
[[nodiscard]] std::optional<uint64_t> parse_content_length(std::string_view value);
/// Host or the authority of a target: IPv4, [IPv6] or a name, with an optional port. No user, no percent, no list.
[[nodiscard]] bool is_authority(std::string_view authority);
/// Only characters of a request target; no fragment, no %00 in the path.
[[nodiscard]] bool is_target(std::string_view target);
[[nodiscard]] bool is_allowed_method(std::string_view method);

struct Target {
    std::string_view authority; ///< absolute-form only
    std::string_view path;      ///< with query; may start with "?" in absolute-form: a "/" is missing then
};
/// Splits a request target of origin-form, absolute-form or "*"; nullopt: no form that this method may have.
[[nodiscard]] std::optional<Target> split_target(std::string_view target, std::string_view method);

/// The codings of all Transfer-Encoding lines.
struct TransferCodings {
    unsigned count = 0;
    unsigned chunked = 0;
    bool last_is_chunked = false;
    bool malformed = false;

    void add(std::string_view value);
    [[nodiscard]] bool present() const { return count > 0 || malformed; }
    /// Ok: exactly "chunked". Else 501 for codings that we do not have, 400 for bad framing.
    [[nodiscard]] Result<void> check() const;
};

/// The options of all Connection lines.
struct ConnectionOptions {
    std::vector<std::string_view> nominated; ///< names to remove; nearly always none
    size_t elements = 0;
    bool close = false;
    bool keep_alive = false;
    bool upgrade = false;
    bool malformed = false; ///< no token, too many, or a field that must not be removed

    void add(std::string_view value);

private:
    bool add_element(std::string_view element);
};

struct ChunkLine {
    uint64_t size = 0;
    size_t extension_bytes = 0;
};
/// A chunk-size line without its CRLF (RFC 9112 7.1); no whitespace is optional here.
[[nodiscard]] std::optional<ChunkLine> parse_chunk_line(std::string_view line);

struct FieldLine {
    std::string_view name, value;
};
/// "name: value" without its CRLF.
[[nodiscard]] std::optional<FieldLine> parse_field_line(std::string_view line);

} // namespace weft::l7::h1
