// SPDX-License-Identifier: Apache-2.0
#include "l7engine/filter/registry.hpp"

namespace weft::l7 {

namespace {

constexpr FilterEntry table[] = {
    // Names that only we may write go before anything reads them.
    {.name = "sanitize", .make = make_sanitize, .outbound = true, .inbound = true},
    {.name = "authz", .make = make_authz, .outbound = true, .inbound = true},
    {.name = "identify", .make = make_identify, .outbound = true, .inbound = true},
    {.name = "router", .make = make_router, .outbound = true, .inbound = true},
};

} // namespace

std::span<const FilterEntry> filter_table() {
    return table;
}

} // namespace weft::l7
