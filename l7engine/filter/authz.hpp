// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "l7engine/filter/filter.hpp"

namespace weft::l7 {

/// Unnamed judgement of the chosen endpoint's own pod (architecture 3), since the server's side will not judge this
/// connection again: by all guards of a pod of this node, unless the policies of the dialled service are among them.
/// nullopt: nothing to judge, or allowed; else the refusal.
[[nodiscard]] std::optional<LocalReply> judge_endpoint(Exchange& exchange, uint32_t trusted_hops);

} // namespace weft::l7
