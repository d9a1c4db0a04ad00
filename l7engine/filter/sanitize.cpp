// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "l7engine/filter/registry.hpp"
#include "l7engine/policy/normalize.hpp"

namespace weft::l7 {

namespace {

/// Fields that a mesh writes itself and trusts: from a client they would forge telemetry, identity or routing
/// (hostile-input.md N08, N10; istio.md 5.5).
constexpr std::array<std::string_view, 2> forged_prefixes = {"x-envoy-", "x-istio-"};
constexpr std::string_view forged_name = "x-forwarded-client-cert";

bool is_forged(std::string_view name) {
    // Every such name begins with "x-": one comparison for nearly all fields.
    if (name.size() < 3 || (name[0] | 0x20) != 'x' || name[1] != '-')
        return false;
    return equal_ignoring_case(name, forged_name) || std::ranges::any_of(forged_prefixes, [&](auto prefix) {
               return name.size() >= prefix.size() && equal_ignoring_case(name.substr(0, prefix.size()), prefix);
           });
}

class Sanitize final : public Filter {
public:
    std::string_view name() const override { return "sanitize"; }
    Outcome on_request(Exchange& exchange) override {
        // Policy, route, metrics and application all see this one path (istio.md 1.5b, Istio's default level).
        if (!normalize_target(exchange.request.path, PathNormalization::base))
            return Reply{.status = 400, .flags = ResponseFlags::named("DPE"), .details = "path_not_canonical"};
        Headers& headers = exchange.request.headers;
        for (size_t index = 0; index < headers.size();) {
            if (!is_forged(headers.name(index))) {
                ++index;
                continue;
            }
            // A copy: remove() moves the bytes that the view refers to.
            headers.remove(std::string(headers.name(index)));
        }
        return Continue{};
    }
};

} // namespace

std::unique_ptr<Filter> make_sanitize(const FilterSettings&) { return std::make_unique<Sanitize>(); }

} // namespace weft::l7
