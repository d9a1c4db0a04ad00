// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/base/json.hpp"

namespace weft::agent::check {

enum class Level : uint8_t {
    ok,
    warning, ///< Weft runs, and something that is named does not work
    failed,  ///< Weft does not run, or not as it should
    skipped  ///< not looked at, which is named too
};
[[nodiscard]] const char* name(Level level);

/// What was looked at, and what was found. All texts are one line.
struct Finding {
    std::string check; ///< "bpffs"
    Level level = Level::ok;
    std::string detail;
    std::string remedy; ///< what to do about it; empty if there is nothing to do
    bool operator==(const Finding&) const = default;
};

/// Any failed?
[[nodiscard]] bool has_failed(const std::vector<Finding>& findings);
/// {"checks": [{"check", "status", "detail", "remedy"}], "failed": n, "warnings": n}
[[nodiscard]] Json to_json(const std::vector<Finding>& findings);

} // namespace weft::agent::check
