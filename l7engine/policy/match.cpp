// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/match.hpp"

#include <algorithm>
#include <array>

#include "l7engine/http/headers.hpp"

namespace weft::l7 {
namespace {

/// What {*} stands for: Envoy's class, pchar without `*` and `=`.
constexpr auto segment_bytes = [] {
    std::array<bool, 256> table{};
    for (const char c : std::string_view("-._~%!$&'()+,;:@"))
        table[static_cast<unsigned char>(c)] = true;
    for (unsigned c = '0'; c <= '9'; ++c)
        table[c] = true;
    for (unsigned c = 'a'; c <= 'z'; ++c)
        table[c] = table[c - 32] = true;
    return table;
}();

bool in_segment(char c) {
    return segment_bytes[static_cast<unsigned char>(c)];
}
bool in_segments(char c) {
    return c == '/' || in_segment(c);
}

template <class Equal>
bool matches_by(const config::StringPattern& pattern, std::string_view text, Equal&& equal) {
    using enum config::StringPattern::Kind;
    const std::string_view value = pattern.value;
    switch (pattern.kind) {
    case exact: return equal(text, value);
    case prefix: return text.size() >= value.size() && equal(text.substr(0, value.size()), value);
    case suffix: return text.size() >= value.size() && equal(text.substr(text.size() - value.size()), value);
    case present: return !text.empty();
    }
    return false;
}

} // namespace

bool matches(const config::StringPattern& pattern, std::string_view text) {
    return matches_by(pattern, text, [](std::string_view a, std::string_view b) { return a == b; });
}

bool matches_ignoring_case(const config::StringPattern& pattern, std::string_view text) {
    return matches_by(pattern, text, equal_ignoring_case);
}

bool matches(const config::PathPattern& pattern, std::string_view path) {
    return pattern.is_template ? matches_template(pattern.pattern, path) : matches(pattern.text, path);
}

bool matches_template(std::string_view pattern, std::string_view path) {
    constexpr std::string_view one_segment = "{*}";
    constexpr std::string_view any_segments = "{**}";
    while (!pattern.empty()) {
        if (pattern.starts_with(any_segments)) {
            // The last operator: what follows it is literal and fixed to the end.
            pattern.remove_prefix(any_segments.size());
            if (!path.ends_with(pattern))
                return false;
            path.remove_suffix(pattern.size());
            return std::ranges::all_of(path, in_segments);
        }
        if (pattern.starts_with(one_segment)) {
            pattern.remove_prefix(one_segment.size());
            const auto end = std::ranges::find_if_not(path, in_segment);
            if (end == path.begin())
                return false;
            path.remove_prefix(static_cast<size_t>(end - path.begin()));
        } else if (path.empty() || path.front() != pattern.front()) {
            return false;
        } else {
            pattern.remove_prefix(1);
            path.remove_prefix(1);
        }
    }
    return path.empty();
}

bool matches_glob(std::string_view pattern, std::string_view text) {
    const size_t first = pattern.find('*');
    if (first == std::string_view::npos)
        return pattern == text;
    if (!text.starts_with(pattern.substr(0, first)))
        return false;
    text.remove_prefix(first);
    pattern.remove_prefix(first + 1);
    const size_t last = pattern.rfind('*');
    const std::string_view tail = last == std::string_view::npos ? pattern : pattern.substr(last + 1);
    if (!text.ends_with(tail))
        return false;
    text.remove_suffix(tail.size());
    pattern.remove_suffix(tail.size());
    // Between the first and the last star the leftmost place of each piece is as good as any.
    while (!pattern.empty()) {
        const size_t star = pattern.find('*');
        const std::string_view piece = pattern.substr(0, star);
        const size_t at = text.find(piece);
        if (at == std::string_view::npos)
            return false;
        text.remove_prefix(at + piece.size());
        pattern.remove_prefix(star + 1);
    }
    return true;
}

} // namespace weft::l7
