// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "agent/source/kinds.hpp"
#include "agent/source/value.hpp"

namespace weft::agent {

/// That object as JSON for parse_object(), without what decoding it leaves out (its status, others' annotations, what
/// others manage): it means the same. One line.
[[nodiscard]] std::string kept_text(const Value& object, const KindInfo& kind, const std::string& version);

/// A fifth of it: there may be thousands, and hardly ever is one asked for. Equal texts have equal ones.
[[nodiscard]] std::string pack(const std::string& text);
/// Empty: `packed` is not what pack() has made.
[[nodiscard]] std::string unpack(const std::string& packed);

} // namespace weft::agent
