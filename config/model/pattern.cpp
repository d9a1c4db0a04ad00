// SPDX-License-Identifier: Apache-2.0
#include "config/model/pattern.hpp"

#include "config/model/limits.hpp"

namespace weft::config {
namespace {

constexpr std::string_view one_segment = "{*}";
constexpr std::string_view any_segments = "{**}";

/// RFC 3986 pchar without `*`, plus `=`: what Istio's validator accepts in a literal segment.
bool is_literal(char c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return std::string_view("-._~%!$&'()+,;:@=").find(c) != std::string_view::npos;
}

std::optional<std::string> segment_fault(std::string_view segment, bool& any_seen) {
    if (segment == one_segment || segment == any_segments) {
        if (any_seen)
            return "{**} must be the last operator of a path template";
        any_seen = segment == any_segments;
        return std::nullopt;
    }
    if (segment.empty())
        return "a path template cannot hold an empty segment";
    for (const char c : segment) {
        if (c == '{' || c == '}' || c == '*')
            return "an operator {*} or {**} must fill its whole segment, and * cannot stand beside it";
        if (!is_literal(c))
            return "a literal segment of a path template holds a character that no path segment can";
    }
    return std::nullopt;
}

std::optional<std::string> template_fault(std::string_view text) {
    // Leading and trailing slashes are outside the check of empty segments.
    if (text.starts_with('/'))
        text.remove_prefix(1);
    if (text.ends_with('/'))
        text.remove_suffix(1);
    bool any_seen = false;
    while (true) {
        const size_t slash = text.find('/');
        if (auto fault = segment_fault(text.substr(0, slash), any_seen))
            return fault;
        if (slash == std::string_view::npos)
            return std::nullopt;
        text.remove_prefix(slash + 1);
    }
}

} // namespace

StringPattern parse_string_pattern(std::string_view text) {
    using enum StringPattern::Kind;
    if (text == "*")
        return {present, ""};
    if (text.starts_with('*'))
        return {suffix, std::string(text.substr(1))};
    if (text.ends_with('*'))
        return {prefix, std::string(text.substr(0, text.size() - 1))};
    return {exact, std::string(text)};
}

bool is_path_template(std::string_view text) {
    return text.find(one_segment) != std::string_view::npos || text.find(any_segments) != std::string_view::npos;
}

std::optional<std::string> path_fault(std::string_view text) {
    if (text.empty())
        return "a path cannot be empty";
    if (text.size() > limits::text_bytes_max)
        return "a path is too long";
    if (is_path_template(text))
        return template_fault(text);
    if (text.find_first_of("{}") != std::string_view::npos)
        return "braces in a path are only allowed as the operators {*} and {**}";
    return std::nullopt;
}

PathPattern parse_path_pattern(std::string_view text) {
    if (is_path_template(text))
        return {.is_template = true, .text = {}, .pattern = std::string(text)};
    return {.is_template = false, .text = parse_string_pattern(text), .pattern = {}};
}

} // namespace weft::config
