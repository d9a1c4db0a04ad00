// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "l7engine/filter/registry.hpp"
#include "l7engine/http/head.hpp"

namespace weft::l7 {

/// Fields that a mesh writes itself and trusts: from a client they would forge telemetry, identity or routing
/// (hostile-input.md N08, N10; istio.md 5.5). "_" counts as "-".
[[nodiscard]] bool is_forged(std::string_view name);

/// Takes out of a request's trailers what no trailer of a client may say: the above, and what belongs to the head and
/// to the proxies on the way (x-forwarded-*, x-real-ip). No filter sees trailers, and a backend may merge them into the
/// head. UnderscoreNames::reject drops here: the head has long been passed on.
void sanitize_trailers(Trailers& trailers, UnderscoreNames underscores);

} // namespace weft::l7
