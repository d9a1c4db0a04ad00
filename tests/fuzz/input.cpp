// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/input.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace weft::l7::fuzz {

Input::Input(const uint8_t* data, size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto take = [&text]() -> size_t {
        if (text.empty())
            return 0;
        const auto byte = static_cast<unsigned char>(text.front());
        text.remove_prefix(1);
        return byte;
    };
    options_ = static_cast<uint8_t>(take());
    for (size_t& cut : cuts_) {
        const size_t high = take();
        cut = high << 8 | take();
    }
    bytes_ = text;
}

test::Pieces Input::cut(std::string_view text) const {
    std::array<size_t, cuts_max> places{};
    std::ranges::transform(cuts_, places.begin(), [&](size_t place) { return place % (text.size() + 1); });
    std::ranges::sort(places);
    test::Pieces pieces;
    size_t begin = 0;
    for (const size_t place : places) {
        pieces.push_back(text.substr(begin, place - begin));
        begin = place;
    }
    pieces.push_back(text.substr(begin));
    std::erase_if(pieces, [](std::string_view piece) { return piece.empty(); });
    return pieces;
}

void violated(std::string_view property, std::string_view because) {
    (void)std::fprintf(stderr, "VIOLATED: %.*s\n%.*s\n", static_cast<int>(property.size()), property.data(),
                       static_cast<int>(because.size()), because.data());
    std::abort();
}

} // namespace weft::l7::fuzz
