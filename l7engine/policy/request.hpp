// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "l7engine/http/head.hpp"

namespace weft::l7 {

/// What routing and authorization read of a request: views into its head. Valid as long as the head is not changed.
struct RequestView {
    std::string_view method;
    std::string_view target;    ///< path and query as the backend will see them
    std::string_view path;      ///< without query and fragment
    std::string_view query;     ///< without "?" and fragment, raw
    std::string_view authority; ///< port included
    std::string_view scheme = "http";
    std::string_view upgrade;
    std::optional<uint64_t> content_length;
    const Headers* headers = nullptr; ///< never null once used

    [[nodiscard]] static RequestView of(const Head& head);

    /// The value of a field as Envoy's header map would give it: repeated fields joined with ",", and the fields that
    /// the codec takes out of the headers (host, content-length, upgrade, the pseudo-headers) put back. `name` is
    /// lower-case. Absent: nullopt. `scratch` may hold the text of the answer.
    [[nodiscard]] std::optional<std::string_view> field(std::string_view name, std::string& scratch) const;

    /// The value of the first query parameter of that name, raw: neither "%41" nor "+" is decoded, as in Envoy's route
    /// matching. A parameter without "=" has the empty value.
    [[nodiscard]] std::optional<std::string_view> parameter(std::string_view name) const;
};

} // namespace weft::l7
