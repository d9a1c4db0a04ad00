// SPDX-License-Identifier: Apache-2.0
#include "config/base/log.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "config/base/json.hpp"

namespace weft::log {
namespace {

/// What one call writes to stderr, without the time.
std::string line_of(bool json, std::string_view value) {
    start("test", Level::info, json);
    ::testing::internal::CaptureStderr();
    warn("something_happened", kv("value", value), kv("count", 7), kv("yes", true));
    return ::testing::internal::GetCapturedStderr();
}

TEST(Log, text_quotes_what_is_not_plain) {
    struct Row {
        std::string_view value, written;
    };
    const Row rows[] = {
        {"plain", "value=plain"},
        {"10.0.0.1:80/a_b-c", "value=10.0.0.1:80/a_b-c"},
        {"", R"(value="")"},
        {"two words", R"(value="two words")"},
        {"a=b", R"(value="a=b")"},
        {R"(say "hi")", R"(value="say \"hi\"")"},
        {R"(back\slash)", R"(value="back\\slash")"},
        {"line\nbreak", R"(value="line\u000abreak")"},
        {"\x1b[31mred", R"(value="\u001b[31mred")"},
        {std::string_view("nul\0", 4), R"(value="nul\u0000")"},
        {"\x7f", R"(value="\u007f")"},
        {"{fmt} {}", R"(value="{fmt} {}")"},
        {"%v %t", R"(value="%v %t")"},
        {"\xc3\xbc", "value=\"\xc3\xbc\""},
        {"\xf0\x9f\x98\x80", "value=\"\xf0\x9f\x98\x80\""},
        {"\xff", R"(value="\u00ff")"},
        {"\xc3", R"(value="\u00c3")"},
        {"\xc0\xaf", R"(value="\u00c0\u00af")"},
        {"\xed\xa0\x80", R"(value="\u00ed\u00a0\u0080")"},
        {"\xc2\x9b"
         "31m",
         R"(value="\u00c2\u009b31m")"},
    };
    for (const auto& row : rows) {
        const std::string line = line_of(false, row.value);
        EXPECT_NE(line.find(" warning test: something_happened " + std::string(row.written) + " count=7 yes=true\n"),
                  std::string::npos)
            << line;
        EXPECT_EQ(std::ranges::count(line, '\n'), 1) << line;
    }
}

TEST(Log, json_is_json_whatever_the_value) {
    for (const std::string_view value : {"\xff\xfe", "\xe2\x82", "\xf5\x80\x80\x80", "a\xc3"}) {
        const std::string line = line_of(true, value);
        EXPECT_FALSE(Json::parse(line, nullptr, false).is_discarded()) << line;
    }
    for (const std::string_view value :
         {"plain", "", "two words", R"(say "hi" \ )", "line\nbreak\ttab\r", "\x1b[0m", "{}%v", "\xc3\xbc"}) {
        const std::string line = line_of(true, value);
        const Json parsed = Json::parse(line, nullptr, false);
        ASSERT_FALSE(parsed.is_discarded()) << line;
        EXPECT_EQ(parsed["event"], "something_happened");
        EXPECT_EQ(parsed["process"], "test");
        EXPECT_EQ(parsed["value"], std::string(value));
        EXPECT_EQ(parsed["count"], "7");
        EXPECT_TRUE(parsed.contains("time"));
    }
}

TEST(Log, levels) {
    start("test", Level::warn, false);
    ::testing::internal::CaptureStderr();
    debug("no");
    info("no");
    error("yes");
    const std::string text = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(text.find("no"), std::string::npos);
    EXPECT_NE(text.find("test: yes"), std::string::npos);
    Level level = Level::warn;
    EXPECT_TRUE(parse_level("debug", level));
    EXPECT_EQ(level, Level::debug);
    EXPECT_TRUE(parse_level("error", level));
    EXPECT_FALSE(parse_level("Error", level));
    EXPECT_FALSE(parse_level("", level));
    EXPECT_EQ(level, Level::error);
}

} // namespace
} // namespace weft::log
