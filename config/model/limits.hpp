// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// What one snapshot may hold. The engine refuses a snapshot above any of these and keeps the last good one.
namespace weft::config::limits {

inline constexpr size_t workloads_max = 262'144;
inline constexpr size_t clusters_max = 262'144;
inline constexpr size_t endpoints_max = 65'536;         ///< per cluster
inline constexpr size_t frontends_max = 65'536;         ///< WEFT_SERVICES_MAX
inline constexpr size_t pods_max = 1024;                ///< WEFT_PODS_MAX
inline constexpr size_t addresses_max = 64;             ///< per workload or frontend
inline constexpr size_t inbound_ports_max = 65'536;     ///< per pod
inline constexpr size_t guards_max = frontends_max + 1; ///< per inbound port
inline constexpr size_t consumer_routes_max = 1024;     ///< per frontend

inline constexpr size_t route_tables_max = 262'144;
inline constexpr size_t route_entries_max = 262'144; ///< per table
inline constexpr size_t route_rules_max = 262'144;   ///< per table
inline constexpr size_t route_pairs_max = 64;        ///< headers, or queries, of one match
inline constexpr size_t route_hostnames_max = 64;    ///< per entry
inline constexpr size_t route_backends_max = 64;     ///< per rule
inline constexpr size_t route_path_bytes_max = 1024;
inline constexpr uint32_t route_weight_max = 1'000'000;

inline constexpr size_t policies_max = 262'144;
inline constexpr size_t policy_sets_max = 262'144;
inline constexpr size_t policies_per_set_max = policies_max; ///< per action
inline constexpr size_t policy_rules_max = 512;
inline constexpr size_t policy_parts_max = 512;   ///< from, to or when of one rule
inline constexpr size_t policy_values_max = 4096; ///< values, or not-values, of one field

/// Service ids: 127.0.0.0/16 stays the applications' own (bpf/abi.h WEFT_SERVICE_ID_MIN, WEFT_SERVICE_IDS_MAX).
inline constexpr uint32_t service_id_min = 0x0001'0000;
inline constexpr uint32_t service_id_max = 0x00ff'ffff;

inline constexpr size_t text_bytes_max = 8192; ///< any name, host, pattern, header value

} // namespace weft::config::limits
