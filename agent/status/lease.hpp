// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/base/json.hpp"

namespace weft::agent::status {

/// spec of a Lease of coordination.k8s.io/v1. Times are kept as written: nobody's clock is compared with another's.
struct LeaseRecord {
    std::string holder; ///< empty: nobody's
    int32_t duration_s = 0;
    std::string acquired;
    std::string renewed;
    int32_t transitions = 0;
    bool operator==(const LeaseRecord&) const = default;
};

/// A Lease as the API server has it.
struct Lease {
    std::string name;
    std::string resource_version;
    LeaseRecord record;
    std::string in_force; ///< annotation weftmesh.io/in-force; empty: none
};

inline constexpr const char* in_force_annotation = "weftmesh.io/in-force";

/// nullopt: it is no Lease.
[[nodiscard]] std::optional<Lease> read_lease(const Json& object);
/// Body of a POST, or of a merge patch if `resource_version` is not empty: then it is refused (409) where the Lease has
/// another one.
[[nodiscard]] Json lease_body(const std::string& name, const std::string& ns, const LeaseRecord& record,
                              const std::string& resource_version);

/// Kubernetes' MicroTime, "2006-01-02T15:04:05.000000Z", of microseconds since 1970.
[[nodiscard]] std::string micro_time(int64_t unix_us);
/// Kubernetes' Time, "2006-01-02T15:04:05Z", of seconds since 1970.
[[nodiscard]] std::string time_text(int64_t unix_s);

} // namespace weft::agent::status
