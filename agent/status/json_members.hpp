// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/base/json.hpp"

/// Members of what an API server says; whatever it is, these do not throw. Anything missing or of another type is
/// empty.
namespace weft::agent::status {

/// A map, or an empty one.
[[nodiscard]] const Json& member(const Json& object, std::string_view name);
/// A list, or an empty one.
[[nodiscard]] const Json& list(const Json& object, std::string_view name);
[[nodiscard]] std::string text(const Json& object, std::string_view name);
/// Also of one that is written as text; 0 if it is none.
[[nodiscard]] int64_t number(const Json& object, std::string_view name);

/// A map, or an empty one where the text is none.
[[nodiscard]] Json parse(const std::string& body);
/// Text of manifests may hold any bytes: replaced, not thrown on.
[[nodiscard]] std::string text_of(const Json& json);

} // namespace weft::agent::status
