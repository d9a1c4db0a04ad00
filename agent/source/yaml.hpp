// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <string_view>
#include <vector>

#include "agent/source/value.hpp"

namespace weft::agent {

struct YamlDocument {
    Value root;
    std::vector<Fault> faults; ///< duplicate keys, unknown tags: the object in this document is refused
};

/// Every non-empty document of a file, with the scalar rules that kubectl applies (YAML 1.1 booleans and numbers, merge
/// keys). Memory and depth are bounded by limits.hpp whatever the text is. A syntax error or a limit refuses the file.
[[nodiscard]] std::expected<std::vector<YamlDocument>, Fault> parse_yaml(std::string_view text);

} // namespace weft::agent
