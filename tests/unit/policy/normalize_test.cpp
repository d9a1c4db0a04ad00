// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/normalize.hpp"

#include <gtest/gtest.h>

namespace weft::l7 {
namespace {

using enum PathNormalization;

std::string normalized(std::string target, PathNormalization level) {
    const std::string before = target;
    const auto changed = normalize_target(target, level);
    EXPECT_TRUE(changed.has_value()) << before;
    EXPECT_EQ(*changed, target != before) << before;
    return target;
}

TEST(NormalizeTarget, every_level) {
    struct Row {
        std::string_view target, base, merged, decoded;
    };
    constexpr Row rows[] = {
        {"/", "/", "/", "/"},
        {"/a/b?c=/../d", "/a/b?c=/../d", "/a/b?c=/../d", "/a/b?c=/../d"},
        {"/a/./b", "/a/b", "/a/b", "/a/b"},
        {"/a/../b", "/b", "/b", "/b"},
        {"/a/b/..", "/a/", "/a/", "/a/"},
        {"/a/b/.", "/a/b/", "/a/b/", "/a/b/"},
        {"/../../a", "/a", "/a", "/a"},
        {"/..", "/", "/", "/"},
        {"/.", "/", "/", "/"},
        {"/a/..b/.c/...", "/a/..b/.c/...", "/a/..b/.c/...", "/a/..b/.c/..."},
        {"/a/%2e%2E/b", "/b", "/b", "/b"},
        {"/a/%2e./b", "/b", "/b", "/b"},
        {"/%61%62%7e%2D%5f%39", "/ab~-_9", "/ab~-_9", "/ab~-_9"},
        {"/a%20b%3fc%25", "/a%20b%3fc%25", "/a%20b%3fc%25", "/a%20b%3fc%25"},
        {"/%2561", "/%2561", "/%2561", "/%2561"}, // decoded once only
        {"/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a"},
        {"/a\\b", "/a/b", "/a/b", "/a/b"},
        {"/a\\..\\b", "/b", "/b", "/b"},
        {"//a///b", "//a///b", "/a/b", "/a/b"},
        {"/a//../b", "/a/b", "/b", "/b"},
        {"/a%2fb", "/a%2fb", "/a%2fb", "/a/b"},
        {"/a%2F..%5cb", "/a%2F..%5cb", "/a%2F..%5cb", "/b"},
        {"/a%2F%2Fb", "/a%2F%2Fb", "/a%2F%2Fb", "/a/b"},
        {"/a/../b#/../c", "/b#/../c", "/b#/../c", "/b#/../c"},
        {"/a/..?%61", "/?%61", "/?%61", "/?%61"},
        {"*", "*", "*", "*"},
        {"", "", "", ""},
        {"?a", "?a", "?a", "?a"},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(normalized(std::string(row.target), none), row.target);
        EXPECT_EQ(normalized(std::string(row.target), base), row.base) << row.target;
        EXPECT_EQ(normalized(std::string(row.target), merge_slashes), row.merged) << row.target;
        EXPECT_EQ(normalized(std::string(row.target), decode_and_merge_slashes), row.decoded) << row.target;
    }
}

/// A `%` without two hex digits behind it would begin an escape once those behind it have been decoded.
TEST(NormalizeTarget, nul_and_bad_escapes_are_refused_at_every_level) {
    using namespace std::string_literals;
    const std::string refused[] = {"/a%00b"s,   "/%00"s,       "/a\0b"s,     "/%%0000"s,        "/%%300b"s,
                                   "/%"s,       "/%4"s,        "/%4g"s,      "/%g4"s,           "/a%/b"s,
                                   "/%%361"s,   "/%%361dmin"s, "/a/%%32fb"s, "/%%25"s,          "/a%?b"s,
                                   "/a%2?f=e"s, "/a%2#fe"s,    "/%25%"s,     "/%2%65%2%65/ad"s, "/pub/%2%65%65"s};
    for (const auto level : {none, base, merge_slashes, decode_and_merge_slashes}) {
        for (const std::string& target : refused) {
            std::string copy = target;
            const auto result = normalize_target(copy, level);
            ASSERT_FALSE(result.has_value()) << target;
            EXPECT_EQ(result.error().code, Code::malformed);
            EXPECT_EQ(result.error().detail, 400);
        }
        EXPECT_EQ(normalized("/a?b=%00&c=%&d=%2%65", level), "/a?b=%00&c=%&d=%2%65");
    }
}

/// For all paths of a few pieces: whoever normalizes what is canonical already changes nothing, the result never
/// climbs, and no escape of an unreserved character is left or made.
TEST(NormalizeTarget, is_stable_for_all_short_paths) {
    constexpr std::string_view pieces[] = {"/",   ".",   "..", "a", "\\", "%2e", "%2f",
                                           "%41", "%25", "//", "%", "%2", "%3",  "65"};
    constexpr size_t count = std::size(pieces);
    size_t accepted = 0;
    for (size_t code = 0; code < count * count * count * count * count; ++code) {
        std::string path = "/";
        for (size_t rest = code, i = 0; i < 5; ++i, rest /= count)
            path += pieces[rest % count];
        for (const auto level : {base, merge_slashes, decode_and_merge_slashes}) {
            std::string once = path;
            if (!normalize_target(once, level))
                continue;
            ++accepted;
            ASSERT_EQ(normalized(once, level), once) << path;
            ASSERT_TRUE(once.starts_with('/')) << path;
            ASSERT_EQ((once + "/").find("/../"), std::string::npos) << path;
            ASSERT_EQ((once + "/").find("/./"), std::string::npos) << path;
            ASSERT_EQ(once.find('\\'), std::string::npos) << path;
            for (const std::string_view escape : {"%2e", "%41", "%65", "%36"})
                ASSERT_EQ(once.find(escape), std::string::npos) << path;
        }
    }
    EXPECT_GT(accepted, size_t{100'000});
}

} // namespace
} // namespace weft::l7
