// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h2_frame_cutter.hpp"

#include <gtest/gtest.h>

#include "tests/unit/http/h2_frames.hpp"

namespace weft::l7::test {
namespace {

/// Where frames end within `bytes`, fed in pieces of that size.
std::vector<size_t> frame_ends(std::string_view bytes, size_t preface_bytes, size_t piece_bytes) {
    h2::FrameCutter cutter(preface_bytes);
    std::vector<size_t> ends;
    size_t at = 0;
    while (at < bytes.size()) {
        const std::string_view piece = bytes.substr(at, piece_bytes - at % piece_bytes);
        const size_t used = cutter.next(piece);
        at += used;
        if (used < piece.size() || at == bytes.size())
            ends.push_back(at);
    }
    return ends;
}

TEST(H2FrameCutter, StopsWhereFramesEnd) {
    const std::string frames = ping() + data(1, "") + data(1, std::string(70000, 'x')) + ping();
    EXPECT_EQ(frame_ends(frames, 0, frames.size()), (std::vector<size_t>{17, 26, 70035, 70052}));
    const std::string greeting = NGHTTP2_CLIENT_MAGIC + settings_frame({}) + ping();
    EXPECT_EQ(frame_ends(greeting, NGHTTP2_CLIENT_MAGIC_LEN, greeting.size()), (std::vector<size_t>{24, 33, 50}));
}

TEST(H2FrameCutter, PiecesThatEndWithinAHeader) {
    const std::string frames = ping() + data(1, "hello") + ping();
    for (size_t piece = 2; piece < frames.size(); ++piece) {
        for (const size_t end : frame_ends(frames, 0, piece))
            EXPECT_TRUE(end == 17 || end == 31 || end == 48) << end << " in pieces of " << piece;
    }
}

/// What a frame does must not depend on whether the one before has been answered already.
TEST(H2FrameCutter, AFrameBehindAResetOrAGoaway) {
    const std::string malformed = headers(1, get({{"A", "upper case"}}));
    for (const std::string& input :
         {malformed + headers(1, {{"a", "b"}}), malformed + data(1, "x"), malformed + window_update(1, 0),
          goaway(0, 0) + "no frame at all", goaway(0, 0) + headers(1, get())})
        EXPECT_EQ(h2_serve_all_ways(input).find("DIFFERENT"), std::string::npos) << h2_serve_all_ways(input);
}

} // namespace
} // namespace weft::l7::test
