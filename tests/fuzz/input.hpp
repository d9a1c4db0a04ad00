// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tests/unit/http/trace.hpp"

/// What all fuzz programs share: how an input is laid out, and how a broken property ends the program.
namespace weft::l7::fuzz {

/// One byte of options, three places to cut (two bytes each), then the bytes that a peer sends. A short input leaves
/// the rest zero.
class Input {
public:
    Input(const uint8_t* data, size_t size);

    [[nodiscard]] bool option(int bit) const { return (options_ >> bit & 1) != 0; }
    [[nodiscard]] std::string_view bytes() const { return bytes_; }
    /// `text` cut at the places that the input names.
    [[nodiscard]] test::Pieces cut(std::string_view text) const;

private:
    static constexpr size_t cuts_max = 3;

    uint8_t options_ = 0;
    std::array<size_t, cuts_max> cuts_{};
    std::string_view bytes_;
};

/// Prints which property does not hold and why, and ends the program.
[[noreturn]] void violated(std::string_view property, std::string_view because);

inline void require(bool holds, std::string_view property, std::string_view because = {}) {
    if (!holds)
        violated(property, because);
}

/// Above this an input is not fed byte by byte: that costs more than another input finds.
inline constexpr size_t bytewise_bytes_max = 256;

/// What is forwarded may have fields that were not there (host, framing, connection): a head with as many as are read
/// has no room for them.
inline constexpr size_t forwarded_fields_max = 97;

/// Runs `feed(pieces)` on `text` whole, cut, and byte by byte if it is short: each must return the same string, or one
/// that `alike` takes for the same.
std::string same_at_every_cut(
    const Input& input, std::string_view text, const std::invocable<const test::Pieces&> auto& feed,
    bool (*alike)(const std::string& whole, const std::string& cut) = [](const std::string&, const std::string&) {
        return false;
    }) {
    const auto compare = [alike](const std::string& whole, const std::string& cut) {
        require(cut == whole || alike(whole, cut), "the same however it is cut", "whole:\n" + whole + "\ncut:\n" + cut);
    };
    std::string whole = feed(test::Pieces{text});
    compare(whole, feed(input.cut(text)));
    if (text.size() <= bytewise_bytes_max) {
        test::Pieces bytes;
        for (size_t i = 0; i < text.size(); ++i)
            bytes.push_back(text.substr(i, 1));
        compare(whole, feed(bytes));
    }
    return whole;
}

} // namespace weft::l7::fuzz

/// What a fuzz program is: libFuzzer or replay.cpp calls it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
