// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/base/json.hpp"

namespace weft::agent::ctl {

/// Aligned columns; the last one is not padded. No rows: nothing.
[[nodiscard]] std::string table(const std::vector<std::string>& head,
                                const std::vector<std::vector<std::string>>& rows);

/// Bytes that could move a terminal's cursor become '?': names and messages come from manifests.
[[nodiscard]] std::string printable(std::string_view text);

/// The status for people: faults first, then the state of engine and node, then pods and objects.
[[nodiscard]] std::string status_text(const Json& status);

} // namespace weft::agent::ctl
