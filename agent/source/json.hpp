// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <string_view>

#include "agent/source/value.hpp"

namespace weft::agent {

/// One JSON text, as the API server writes it. Members named `managedFields` are left out: they are half of most
/// objects, and nobody reads them. Nodes and depth are bounded by limits.hpp whatever the text is. The fault says what
/// is wrong with the text as a whole.
[[nodiscard]] std::expected<Value, Fault> parse_json(std::string_view text);

} // namespace weft::agent
