// SPDX-License-Identifier: Apache-2.0
#include "l7engine/filter/sanitize.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "l7engine/filter/registry.hpp"
#include "l7engine/policy/normalize.hpp"

namespace weft::l7 {

namespace {

constexpr std::array<std::string_view, 2> forged_prefixes = {"x-envoy-", "x-istio-"};
constexpr std::string_view forged_name = "x-forwarded-client-cert";
constexpr std::string_view forwarded_prefix = "x-forwarded-";
constexpr std::string_view real_address = "x-real-ip";

bool starts_with(std::string_view name, std::string_view prefix) {
    return equal_ignoring_case(name.substr(0, prefix.size()), prefix);
}

/// Every name that is looked for here begins with "x-": one comparison for nearly all fields.
bool is_extension(std::string_view name) {
    return name.size() >= 3 && (name[0] | 0x20) == 'x' && name[1] == '-';
}

bool is_no_trailer(std::string_view name) {
    return is_forged(name) ||
           (is_extension(name) && (starts_with(name, forwarded_prefix) || equal_ignoring_case(name, real_address)));
}

/// Removes the fields whose name is such.
template <class Such>
void remove_all(Headers& headers, Such such) {
    for (size_t index = 0; index < headers.size();) {
        if (such(headers.name(index)))
            headers.remove(std::string(headers.name(index))); // a copy: remove() moves the bytes of the view
        else
            ++index;
    }
}

class Sanitize final : public Filter {
public:
    std::string_view name() const override { return "sanitize"; }
    Outcome on_request(Exchange& exchange) override {
        // Policy, route, metrics and application all see this one path (istio.md 1.5b, Istio's default level).
        if (!normalize_target(exchange.request.path, PathNormalization::base))
            return Reply{.status = 400, .flags = ResponseFlags::named("DPE"), .details = "path_not_canonical"};
        remove_all(exchange.request.headers, is_forged);
        return Continue{};
    }
};

} // namespace

bool is_forged(std::string_view name) {
    return is_extension(name) &&
           (equal_ignoring_case(name, forged_name) ||
            std::ranges::any_of(forged_prefixes, [&](std::string_view prefix) { return starts_with(name, prefix); }));
}

void sanitize_trailers(Trailers& trailers) {
    remove_all(trailers, is_no_trailer);
}

std::unique_ptr<Filter> make_sanitize(const FilterSettings&) {
    return std::make_unique<Sanitize>();
}

} // namespace weft::l7
