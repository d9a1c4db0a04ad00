// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/model/policy.hpp"

/// The written forms of policy values (istio.md 1.4, 1.5) as model values. Pure; for the compiler and the wire.
namespace weft::config {

/// `*` present, `*x` suffix, `x*` prefix, else exact. A leading star wins: `*x*` is the suffix `x*`.
/// Never call it with empty text: such a value is invalid.
[[nodiscard]] StringPattern parse_string_pattern(std::string_view text);

/// True if the text is meant as a template: it holds {*} or {**}.
[[nodiscard]] bool is_path_template(std::string_view text);

/// Why a path value, template or not, cannot be used, as one sentence; nullopt if it can.
[[nodiscard]] std::optional<std::string> path_fault(std::string_view text);

/// A path value that path_fault() accepts.
[[nodiscard]] PathPattern parse_path_pattern(std::string_view text);

} // namespace weft::config
