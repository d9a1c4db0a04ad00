// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "config/model/policy.hpp"

/// The string forms of policies (istio.md 1.4, 1.5). All linear in the text.
namespace weft::l7 {

/// Case-sensitive; `present` wants a non-empty text.
[[nodiscard]] bool matches(const config::StringPattern& pattern, std::string_view text);
/// The same for hosts: ASCII case does not count.
[[nodiscard]] bool matches_ignoring_case(const config::StringPattern& pattern, std::string_view text);
/// `path` without query and fragment.
[[nodiscard]] bool matches(const config::PathPattern& pattern, std::string_view path);
/// A template with {*} and {**} against the whole path.
[[nodiscard]] bool matches_template(std::string_view pattern, std::string_view path);
/// `*` anywhere stands for any text; the whole text must match.
[[nodiscard]] bool matches_glob(std::string_view pattern, std::string_view text);

} // namespace weft::l7
