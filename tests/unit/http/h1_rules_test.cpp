// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h1_rules.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weft::l7::h1 {
namespace {

TEST(H1Rules, FindControlFindsTheFirstAtEveryPlace) {
    for (size_t size = 0; size <= 20; ++size) {
        for (size_t at = 0; at < size; ++at) {
            for (int c = 0; c < 256; ++c) {
                std::string text(size, 'x');
                text[at] = static_cast<char>(c);
                const bool control = (c < 0x20 && c != '\t') || c == 0x7f;
                ASSERT_EQ(find_control(text), control ? at : size) << c << " at " << at << " of " << size;
            }
        }
    }
}

TEST(H1Rules, FindControlPassesTabsAndHighBytesBeforeIt) {
    for (size_t at = 0; at < 40; ++at) {
        std::string text;
        for (size_t i = 0; i < 40; ++i)
            text += i % 3 == 0 ? '\t' : i % 3 == 1 ? '\xff' : '\x80';
        text[at] = '\x1f';
        ASSERT_EQ(find_control(text), at);
    }
    EXPECT_EQ(find_control("\t\t\t\t\t\t\t\t\t\t"), 10U);
}

TEST(H1Rules, ChunkLines) {
    const auto size = [](std::string_view line) {
        return parse_chunk_line(line).value_or(ChunkLine{.size = 999}).size;
    };
    EXPECT_EQ(size("0"), 0U);
    EXPECT_EQ(size("aF"), 0xafU);
    EXPECT_EQ(size("7fffffffffffffff"), 0x7fffffffffffffffU);
    EXPECT_EQ(size("8000000000000000"), 999U);
    EXPECT_EQ(size("1;a;b=c;d=\"e;\\\"f\""), 1U);
    EXPECT_EQ(parse_chunk_line("1;ab")->extension_bytes, 3U);
    for (const char* bad : {"", "g", "1g", "1 ", " 1", "1;", "1;=a", "1;a=", "1;a b", "1; a", "1;a= b", "1;a=\"",
                            "1;a=\"\\\"", "1;a=\"b\"c", "+1", "-1", "1,2"})
        EXPECT_EQ(size(bad), 999U) << bad;
}

TEST(H1Rules, ContentLengths) {
    EXPECT_EQ(parse_content_length("0"), 0U);
    EXPECT_EQ(parse_content_length("0000000000000000000000000000000000000012"), 12U);
    EXPECT_EQ(parse_content_length("1152921504606846976"), uint64_t{1} << 60);
    for (const char* bad : {"", "1152921504606846977", "18446744073709551616", "99999999999999999999999999999", "+1",
                            "-1", " 1", "1 ", "1,1", "0x1", "1e3"})
        EXPECT_EQ(parse_content_length(bad), std::nullopt) << bad;
}

TEST(H1Rules, KnownFields) {
    EXPECT_EQ(known_field("Transfer-ENCODING"), Known::transfer_encoding);
    EXPECT_EQ(known_field("keep-alive"), Known::keep_alive);
    EXPECT_EQ(known_field("Connection"), Known::connection);
    EXPECT_EQ(known_field("Connectiox"), Known::other);
    EXPECT_EQ(known_field("User-Agent"), Known::other);
    EXPECT_EQ(known_field(""), Known::other);
}

} // namespace
} // namespace weft::l7::h1
