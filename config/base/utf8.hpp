// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace weft {

/// How many bytes from the start are well-formed UTF-8 (Unicode 3.9: no overlong forms, no surrogates, nothing above
/// U+10FFFF). All of them if the text is.
[[nodiscard]] size_t valid_utf8_bytes(std::string_view text);

/// The text with a question mark in the place of each byte that is not UTF-8.
[[nodiscard]] std::string printable_utf8(std::string_view text);

} // namespace weft
