// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/normalize.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include "tests/fuzz/input.hpp"

/// The path normaliser against a slow one that works on a list of characters and a list of segments.
namespace weft::l7::fuzz {
namespace {

constexpr std::string_view unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

/// The number that two hex digits after a `%` stand for.
std::optional<char> decoded(const std::string& path, size_t at) {
    const std::string digits = path.substr(at + 1, 2);
    if (digits.size() < 2 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        return std::nullopt;
    return static_cast<char>(std::stoi(digits, nullptr, 16));
}

/// nullopt: refused.
std::optional<std::string> decode_once(const std::string& path, PathNormalization level) {
    std::string out;
    for (size_t at = 0; at < path.size(); ++at) {
        if (path[at] == '\0')
            return std::nullopt;
        if (path[at] != '%') {
            out += path[at] == '\\' ? '/' : path[at];
            continue;
        }
        const std::optional<char> c = decoded(path, at);
        if (!c || *c == '\0')
            return std::nullopt;
        const bool slash = (*c == '/' || *c == '\\') && level == PathNormalization::decode_and_merge_slashes;
        if (slash)
            out += '/';
        else if (unreserved.find(*c) != std::string_view::npos)
            out += *c;
        else
            out += path.substr(at, 3);
        at += 2;
    }
    return out;
}

/// What stands between the slashes behind the first.
std::vector<std::string> split(const std::string& path) {
    std::vector<std::string> segments(1);
    for (const char c : path.substr(1)) {
        if (c == '/')
            segments.emplace_back();
        else
            segments.back() += c;
    }
    return segments;
}

std::string resolve_dots(const std::string& path) {
    std::vector<std::string> kept;
    const std::vector<std::string> segments = split(path);
    for (size_t i = 0; i < segments.size(); ++i) {
        const bool dots = segments[i] == "." || segments[i] == "..";
        if (segments[i] == ".." && !kept.empty())
            kept.pop_back();
        if (!dots)
            kept.push_back(segments[i]);
        else if (i + 1 == segments.size())
            kept.emplace_back(); // a folder: ends in a slash
    }
    std::string out;
    for (const std::string& segment : kept)
        out += "/" + segment;
    return out;
}

std::optional<std::string> slow_normalize(const std::string& target, PathNormalization level) {
    const size_t end = std::min(target.find_first_of("?#"), target.size());
    const std::string path = target.substr(0, end);
    std::optional<std::string> out = decode_once(path, level);
    if (!out)
        return std::nullopt;
    if (level == PathNormalization::none || path.empty() || path[0] != '/')
        return target;
    out = resolve_dots(*out);
    if (level != PathNormalization::base) {
        for (size_t at = out->find("//"); at != std::string::npos; at = out->find("//"))
            out->erase(at, 1);
    }
    return *out + target.substr(end);
}

void check(const std::string& target, PathNormalization level) {
    std::string fast = target;
    const Result<bool> changed = normalize_target(fast, level);
    const std::optional<std::string> slow = slow_normalize(target, level);
    require(changed.has_value() == slow.has_value(), "refused by both or by none", target);
    if (!slow)
        return;
    require(fast == *slow, "the same path as the slow way", fast + "\nnot\n" + *slow);
    require(*changed == (fast != target), "says whether it changed the target", target);
    std::string again = fast;
    const Result<bool> changed_again = normalize_target(again, level);
    require(changed_again && !*changed_again && again == fast, "normal is normal", fast + "\nthen\n" + again);
}

} // namespace
} // namespace weft::l7::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using enum weft::l7::PathNormalization;
    const weft::l7::fuzz::Input input(data, size);
    for (const auto level : {none, base, merge_slashes, decode_and_merge_slashes})
        weft::l7::fuzz::check(std::string(input.bytes()), level);
    return 0;
}
