// SPDX-License-Identifier: Apache-2.0
#include "config/base/utf8.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weft {
namespace {

TEST(Utf8, whole_texts_are_valid) {
    for (const std::string text : {"", "plain", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf",
                                   "\xee\x80\x80", "\xf4\x8f\xbf\xbf",
                                   "\xef\xbb\xbf"
                                   "a"})
        EXPECT_EQ(valid_utf8_bytes(text), text.size()) << text;
}

TEST(Utf8, stops_at_the_first_bad_byte) {
    const std::string bad[] = {
        "\x80",             // goes on with nothing before it
        "\xff",             // never valid
        "\xc0\xaf",         // overlong
        "\xc1\xbf",         // overlong
        "\xe0\x9f\xbf",     // overlong
        "\xf0\x8f\xbf\xbf", // overlong
        "\xed\xa0\x80",     // surrogate
        "\xf4\x90\x80\x80", // above U+10FFFF
        "\xf5\x80\x80\x80", // above U+10FFFF
        "\xc3",             // cut
        "\xe2\x82",         // cut
        "\xf0\x9f\x98",     // cut
        "\xe2\x28\xa1",     // second byte
        "\xe2\x82\x28",     // third byte
        "\xf0\x9f\x98\x28", // fourth byte
    };
    for (const std::string& sequence : bad) {
        const std::string text = "a\xc3\xa9" + sequence + (sequence.size() < 4 ? "" : "z");
        EXPECT_EQ(valid_utf8_bytes(text), 3U) << testing::PrintToString(sequence);
    }
}

TEST(Utf8, bad_bytes_are_shown_as_question_marks) {
    EXPECT_EQ(printable_utf8("caf\xc3\xa9"), "caf\xc3\xa9");
    EXPECT_EQ(printable_utf8("a\xff\xc3(\xe2\x82"), "a?\?(?\?");
}

} // namespace
} // namespace weft
