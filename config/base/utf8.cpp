// SPDX-License-Identifier: Apache-2.0
#include "config/base/utf8.hpp"

#include <cstdint>

namespace weft {
namespace {

/// What a first byte asks for: how many bytes follow, and the range of the second, which rules out overlong forms,
/// surrogates and what is too large.
struct Sequence {
    size_t more = 0;
    uint8_t least = 0x80;
    uint8_t most = 0xbf;
};

bool sequence_of(uint8_t first, Sequence& out) {
    if (first >= 0xc2 && first <= 0xdf)
        out = {.more = 1};
    else if (first >= 0xe0 && first <= 0xef)
        out = {.more = 2,
               .least = static_cast<uint8_t>(first == 0xe0 ? 0xa0 : 0x80),
               .most = static_cast<uint8_t>(first == 0xed ? 0x9f : 0xbf)};
    else if (first >= 0xf0 && first <= 0xf4)
        out = {.more = 3,
               .least = static_cast<uint8_t>(first == 0xf0 ? 0x90 : 0x80),
               .most = static_cast<uint8_t>(first == 0xf4 ? 0x8f : 0xbf)};
    else
        return false;
    return true;
}

} // namespace

size_t valid_utf8_bytes(std::string_view text) {
    const auto byte = [&](size_t at) { return static_cast<uint8_t>(text[at]); };
    size_t at = 0;
    while (at < text.size()) {
        if (byte(at) < 0x80) {
            ++at;
            continue;
        }
        Sequence wanted;
        if (!sequence_of(byte(at), wanted) || text.size() - at <= wanted.more || byte(at + 1) < wanted.least ||
            byte(at + 1) > wanted.most)
            return at;
        for (size_t i = 2; i <= wanted.more; ++i)
            if (byte(at + i) < 0x80 || byte(at + i) > 0xbf)
                return at;
        at += wanted.more + 1;
    }
    return at;
}

std::string printable_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const size_t good = valid_utf8_bytes(text);
        out += text.substr(0, good);
        text.remove_prefix(good);
        if (!text.empty()) {
            out += '?';
            text.remove_prefix(1);
        }
    }
    return out;
}

} // namespace weft
