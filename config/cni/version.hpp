// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

namespace weft::cni {

/// The name of the program, and the type of its entry in a network configuration.
inline constexpr const char* plugin_type = "weft-cni";
/// Versions of the CNI specification. 0.1.0 and 0.2.0 have no prevResult, hence no chain.
inline constexpr std::array<std::string_view, 5> versions = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

[[nodiscard]] constexpr bool supports(std::string_view version) {
    for (const std::string_view each : versions)
        if (each == version)
            return true;
    return false;
}

} // namespace weft::cni
