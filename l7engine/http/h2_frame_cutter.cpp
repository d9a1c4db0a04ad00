// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h2_frame_cutter.hpp"

#include <algorithm>
#include <utility>

namespace weft::l7::h2 {

size_t FrameCutter::next(std::string_view bytes) {
    size_t used = 0;
    while (left_ == 0 && used < bytes.size() && header_seen_ < header_bytes) {
        if (header_seen_ < length_bytes)
            length_ = length_ << 8 | static_cast<unsigned char>(bytes[used]);
        ++header_seen_;
        ++used;
    }
    if (header_seen_ == header_bytes) {
        header_seen_ = 0;
        left_ = std::exchange(length_, 0);
    }
    const size_t payload = std::min(left_, bytes.size() - used);
    left_ -= payload;
    return used + payload;
}

} // namespace weft::l7::h2
