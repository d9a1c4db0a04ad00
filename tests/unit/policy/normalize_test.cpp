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
        {"/%", "/%", "/%", "/%"},
        {"/%4", "/%4", "/%4", "/%4"},
        {"/%4g", "/%4g", "/%4g", "/%4g"},
        {"/%%361", "/%61", "/%61", "/%61"}, // what comes out of an escape starts no other one
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

TEST(NormalizeTarget, nul_is_refused_at_every_level) {
    for (const auto level : {none, base, merge_slashes, decode_and_merge_slashes}) {
        for (const std::string& target : {std::string("/a%00b"), std::string("/%00"), std::string("/a\0b", 4)}) {
            std::string copy = target;
            const auto result = normalize_target(copy, level);
            ASSERT_FALSE(result.has_value());
            EXPECT_EQ(result.error().code, Code::malformed);
            EXPECT_EQ(result.error().detail, 400);
        }
        EXPECT_EQ(normalized("/a?b=%00", level), "/a?b=%00");
    }
}

/// Whoever normalizes what is canonical already changes nothing; and the result never climbs.
TEST(NormalizeTarget, is_stable_for_all_short_paths) {
    constexpr std::string_view pieces[] = {"/", ".", "..", "a", "\\", "%2e", "%2f", "%41", "//"};
    constexpr size_t count = std::size(pieces);
    for (size_t code = 0; code < count * count * count * count * count; ++code) {
        std::string path = "/";
        for (size_t rest = code, i = 0; i < 5; ++i, rest /= count)
            path += pieces[rest % count];
        for (const auto level : {base, merge_slashes, decode_and_merge_slashes}) {
            const std::string once = normalized(path, level);
            ASSERT_EQ(normalized(once, level), once) << path;
            ASSERT_TRUE(once.starts_with('/')) << path;
            ASSERT_EQ((once + "/").find("/../"), std::string::npos) << path;
            ASSERT_EQ((once + "/").find("/./"), std::string::npos) << path;
            ASSERT_EQ(once.find('\\'), std::string::npos) << path;
        }
    }
}

} // namespace
} // namespace weft::l7
