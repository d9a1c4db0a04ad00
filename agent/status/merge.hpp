// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/status/wanted.hpp"
#include "config/base/json.hpp"

/// From what an object's status is and what it shall say to what is to be sent. Pure. What others wrote stays as it is.
namespace weft::agent::status {

inline constexpr size_t parents_max = 32; ///< of a route's status, with those of other controllers

/// How a status is written.
enum class Method : uint8_t {
    /// PUT of the whole object as it was read: refused (409) if somebody has written it since.
    replace,
    /// Server-side apply of our conditions alone: they are a map by type there, and each has its owner.
    apply,
};
[[nodiscard]] Method method_of(std::string_view kind);

/// The object that was asked for is no more the one that was compiled: another uid or generation, or it goes away.
[[nodiscard]] bool is_outdated(const Json& live, const WantedStatus& wanted);

/// `live` with the lines in its status; nullopt: it has them. A condition keeps its lastTransitionTime while its status
/// is the same; otherwise it is `now_s`, seconds since 1970.
[[nodiscard]] std::optional<Json> merged(const Json& live, const WantedStatus& wanted,
                                         const std::vector<StatusLine>& lines, int64_t now_s);
/// The same as the body of an apply. No line: it lets go of what was ours.
[[nodiscard]] std::optional<Json> applied(const Json& live, const WantedStatus& wanted,
                                          const std::vector<StatusLine>& lines, int64_t now_s);

} // namespace weft::agent::status
