// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/normalize.hpp"

#include <optional>
#include <string_view>

#include "l7engine/http/h1_rules.hpp"

namespace weft::l7 {
namespace {

/// The byte that the escape at the front stands for; nullopt if no whole escape is there.
std::optional<char> escape_at_front(std::string_view text) {
    if (text.size() < 3 || text[0] != '%')
        return std::nullopt;
    const int high = h1::hex_digit(text[1]);
    const int low = h1::hex_digit(text[2]);
    if (high < 0 || low < 0)
        return std::nullopt;
    return static_cast<char>(high * 16 + low);
}

bool is_unreserved(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

/// Nearly all paths: nothing in them could be refused, or changed at any level. One look at each byte.
bool is_plain(std::string_view path) {
    bool behind_slash = false;
    for (const char c : path) {
        if (c == '%' || c == '\\' || c == '\0' || (behind_slash && (c == '.' || c == '/')))
            return false;
        behind_slash = c == '/';
    }
    return true;
}

/// A `%` that begins no escape could begin one when what stands behind it has been decoded ("%2%65" is "%2e" then), and
/// the next reader would see another path than we do.
Result<void> check_escapes(std::string_view path) {
    for (size_t at = path.find('%'); at != std::string_view::npos; at = path.find('%', at + 1)) {
        const auto byte = escape_at_front(path.substr(at));
        if (!byte)
            return fail(Code::malformed, "path holds a % that begins no escape", 400);
        if (*byte == '\0')
            return fail(Code::malformed, "path holds %00", 400);
    }
    if (path.find('\0') != std::string_view::npos)
        return fail(Code::malformed, "path holds a zero byte", 400);
    return {};
}

/// Decodes once, left to right: a character that comes out of an escape never starts another one.
std::string decode(std::string_view path, PathNormalization level) {
    std::string out;
    out.reserve(path.size());
    while (!path.empty()) {
        const auto byte = escape_at_front(path);
        const bool slash =
            byte && (*byte == '/' || *byte == '\\') && level == PathNormalization::decode_and_merge_slashes;
        if (byte && (is_unreserved(*byte) || slash)) {
            out += *byte == '\\' ? '/' : *byte;
            path.remove_prefix(3);
        } else {
            out += path.front() == '\\' ? '/' : path.front();
            path.remove_prefix(1);
        }
    }
    return out;
}

std::string merge_slashes(std::string_view path) {
    std::string out;
    out.reserve(path.size());
    for (const char c : path) {
        if (c != '/' || !out.ends_with('/'))
            out += c;
    }
    return out;
}

/// RFC 3986 5.2.4. Above the root there is nothing: "/../a" is "/a".
std::string remove_dot_segments(std::string_view path) {
    std::string out;
    out.reserve(path.size());
    while (!path.empty()) {
        const size_t end = path.find('/', 1);
        const std::string_view segment = path.substr(0, end); // with its leading slash
        const bool last = end == std::string_view::npos;
        if (segment == "/..")
            out.resize(out.empty() ? 0 : out.rfind('/'));
        else if (segment != "/.")
            out += segment;
        if (last && (segment == "/." || segment == "/.."))
            out += '/';
        path.remove_prefix(segment.size());
    }
    return out;
}

} // namespace

Result<bool> normalize_target(std::string& target, PathNormalization level) {
    const size_t end = target.find_first_of("?#");
    const std::string_view path = std::string_view(target).substr(0, end);
    if (is_plain(path))
        return false;
    if (const Result<void> good = check_escapes(path); !good)
        return std::unexpected(good.error());
    if (level == PathNormalization::none || !path.starts_with('/'))
        return false;
    std::string canonical = decode(path, level);
    canonical = remove_dot_segments(canonical);
    if (level >= PathNormalization::merge_slashes)
        canonical = merge_slashes(canonical); // behind the dots, as Envoy does: "/a//../b" is "/a/b", not "/b"
    if (canonical == path)
        return false;
    target.replace(0, path.size(), canonical);
    return true;
}

} // namespace weft::l7
