// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace weft::config {

/// Of all our programs; they are built and shipped together.
inline constexpr std::string_view version = "0.1.0";

} // namespace weft::config
