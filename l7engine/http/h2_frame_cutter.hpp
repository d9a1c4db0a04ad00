// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace weft::l7::h2 {

/// Where frames end (RFC 9113 4.1). nghttp2 gets one at a time, and what it says to one goes out before the next comes:
/// what a frame does to a stream that was just reset must not depend on the piece that it came in.
class FrameCutter {
public:
    /// `preface_bytes` come before the first frame.
    explicit FrameCutter(size_t preface_bytes) : left_(preface_bytes) {}

    /// How many of the bytes, at least one, belong to the frame under way. Takes note of them.
    [[nodiscard]] size_t next(std::string_view bytes);

private:
    static constexpr size_t header_bytes = 9;
    static constexpr size_t length_bytes = 3;

    size_t header_seen_ = 0;
    size_t length_ = 0; ///< as far as it was seen
    size_t left_;       ///< of the frame whose header is whole
};

} // namespace weft::l7::h2
