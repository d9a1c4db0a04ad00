// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

namespace weft {

/// Off the request path only: manifests, status, command output. This is the one place that includes the library.
using Json = nlohmann::ordered_json;

} // namespace weft
