// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/base/json.hpp"

/// Reading JSON of others without a throw, bounded in depth: the library writes and destroys by recursion.
namespace weft::cni {

inline constexpr size_t depth_max = 64;

/// nullopt: no JSON text, or nested deeper than depth_max. Members keep their order.
[[nodiscard]] std::optional<Json> parse(std::string_view text);
/// The member, or null if `value` is no object or has none of that name.
[[nodiscard]] const Json* member(const Json& value, const char* name);
/// The member's text; nullopt: there is none of that name, or it is no text.
[[nodiscard]] std::optional<std::string> text_of(const Json& value, const char* name);
/// A whole number from 0 to UINT32_MAX; nullopt: anything else.
[[nodiscard]] std::optional<uint32_t> number_of(const Json& value, const char* name);

} // namespace weft::cni
