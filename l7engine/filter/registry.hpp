// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "l7engine/filter/filter.hpp"
#include "l7engine/policy/normalize.hpp"

namespace weft::l7 {

/// What becomes of a field whose name holds an underscore: many applications cannot tell "a_b" from "a-b". Whatever it
/// is, the underscore forms of what a mesh trusts and of framing are taken out.
enum class UnderscoreNames : uint8_t { allow, reject, drop };

/// What filters may be told at start. That forged fields of a client go (sanitize.hpp) is no matter of choice.
struct FilterSettings {
    std::string server_name = "istio-envoy"; ///< `server` of every response; empty: the backend's stays
    bool debug_headers = true;               ///< x-envoy-upstream-service-time
    uint32_t trusted_hops = 0;               ///< X-Forwarded-For elements to skip from the right for remote.ip
    UnderscoreNames underscore_names = UnderscoreNames::allow;
    PathNormalization path_normalization = PathNormalization::base;
    bool request_id = true;      ///< x-request-id for requests without one
    bool forwarded_proto = true; ///< x-forwarded-proto for requests without one
};

struct FilterEntry {
    std::string_view name;
    std::unique_ptr<Filter> (*make)(const FilterSettings&);
    bool outbound;
    bool inbound;
};

/// Every filter, in the order of requests (architecture 5). Adding one is a file, a line here and a test.
[[nodiscard]] std::span<const FilterEntry> filter_table();

// The makers, one per file.
[[nodiscard]] std::unique_ptr<Filter> make_sanitize(const FilterSettings& settings);
[[nodiscard]] std::unique_ptr<Filter> make_identify(const FilterSettings& settings);
[[nodiscard]] std::unique_ptr<Filter> make_authz(const FilterSettings& settings);
[[nodiscard]] std::unique_ptr<Filter> make_router(const FilterSettings& settings);

} // namespace weft::l7
