// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

/// The name rules of Kubernetes and of the Gateway API. Each accepts the whole text or not at all.
namespace weft::agent::names {

inline constexpr const char* gateway_group = "gateway.networking.k8s.io";

[[nodiscard]] bool is_group(std::string_view text);          ///< of an API; empty: core
[[nodiscard]] bool is_dns_label(std::string_view text);      ///< RFC 1123, 63 characters
[[nodiscard]] bool is_dns_subdomain(std::string_view text);  ///< RFC 1123, 253 characters
[[nodiscard]] bool is_path_segment(std::string_view text);   ///< Kubernetes object names without a stricter rule
[[nodiscard]] bool is_hostname(std::string_view text);       ///< Gateway API: subdomain, maybe "*." before it, no IP
[[nodiscard]] bool is_port_name(std::string_view text);      ///< IANA service name, 15 characters
[[nodiscard]] bool is_qualified_name(std::string_view text); ///< label and annotation keys
[[nodiscard]] bool is_label_value(std::string_view text);
[[nodiscard]] bool is_uid(std::string_view text); ///< of an object, 128 characters
[[nodiscard]] bool is_kind(std::string_view text);
[[nodiscard]] bool is_header_name(std::string_view text); ///< RFC 9110 token, 256 characters
[[nodiscard]] bool is_app_protocol(std::string_view text);
/// Characters that a Gateway API path value may hold.
[[nodiscard]] bool is_route_path(std::string_view text);
/// ASCII letters in lower case, everything else as it is.
[[nodiscard]] std::string lower_case(std::string text);
[[nodiscard]] bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words);
/// RFC 3339 date and time as Unix seconds.
[[nodiscard]] std::optional<int64_t> parse_time(std::string_view text);

} // namespace weft::agent::names
