// SPDX-License-Identifier: Apache-2.0
#include "l7engine/filter/sanitize.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "l7engine/http/h1_rules.hpp"

namespace weft::l7 {

namespace {

constexpr std::array<std::string_view, 2> forged_prefixes = {"x-envoy-", "x-istio-"};
constexpr std::string_view forged_name = "x-forwarded-client-cert";
constexpr std::string_view forwarded_prefix = "x-forwarded-";
constexpr std::string_view real_address = "x-real-ip";

/// As an application sees names that makes variables of them: without case, and "_" is "-". `known` is lower case.
bool same_name(std::string_view name, std::string_view known) {
    return std::ranges::equal(name, known, [](char one, char other) {
        return one == '_' ? other == '-' : (one >= 'A' && one <= 'Z' ? one | 0x20 : one) == other;
    });
}

bool starts_with(std::string_view name, std::string_view prefix) {
    return same_name(name.substr(0, prefix.size()), prefix);
}

/// Every name that is looked for here begins with "x-": one comparison for nearly all fields.
bool is_extension(std::string_view name) {
    return name.size() >= 3 && (name[0] | 0x20) == 'x' && (name[1] == '-' || name[1] == '_');
}

bool is_no_trailer(std::string_view name) {
    return is_forged(name) ||
           (is_extension(name) && (starts_with(name, forwarded_prefix) || same_name(name, real_address)));
}

bool has_underscore(std::string_view name) {
    return name.find('_') != std::string_view::npos;
}

std::string with_dashes(std::string_view name) {
    std::string dashed(name);
    std::ranges::replace(dashed, '_', '-');
    return dashed;
}

bool any_underscore(const Headers& headers) {
    size_t index = 0;
    while (index < headers.size() && !has_underscore(headers.name(index)))
        ++index;
    return index < headers.size();
}

/// Content_Length, Transfer_Encoding ...: fields that only a codec may write, for whoever reads "_" as "-".
bool is_framing_twin(std::string_view name) {
    if (!has_underscore(name))
        return false;
    return h1::known_field(with_dashes(name)) != h1::Known::other;
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

LocalReply bad_request(const char* during) {
    return local_reply({.code = Code::invalid, .side = Side::downstream, .detail = 400, .during = during});
}

class Sanitize final : public Filter {
public:
    explicit Sanitize(const FilterSettings& settings)
        : underscores_(settings.underscore_names), normalization_(settings.path_normalization) {}
    std::string_view name() const override { return "sanitize"; }
    Outcome on_request(Exchange& exchange) override {
        exchange.viewed.reset();
        // Policy, route, metrics and application all see this one path (istio.md 1.5b).
        if (!normalize_target(exchange.request.path, normalization_))
            return bad_request("path");
        Headers& headers = exchange.request.headers;
        if (underscores_ == UnderscoreNames::reject && any_underscore(headers))
            return bad_request("header name");
        remove_all(headers, [this](std::string_view name) {
            return is_forged(name) || is_framing_twin(name) ||
                   (underscores_ == UnderscoreNames::drop && has_underscore(name));
        });
        return Continue{};
    }

private:
    const UnderscoreNames underscores_;
    const PathNormalization normalization_;
};

} // namespace

bool is_forged(std::string_view name) {
    return is_extension(name) &&
           (same_name(name, forged_name) ||
            std::ranges::any_of(forged_prefixes, [&](std::string_view prefix) { return starts_with(name, prefix); }));
}

void sanitize_trailers(Trailers& trailers, UnderscoreNames underscores) {
    remove_all(trailers, [underscores](std::string_view name) {
        if (!has_underscore(name))
            return is_no_trailer(name);
        return underscores != UnderscoreNames::allow || is_no_trailer(name) ||
               h1::is_forbidden_trailer(with_dashes(name));
    });
}

std::unique_ptr<Filter> make_sanitize(const FilterSettings& settings) {
    return std::make_unique<Sanitize>(settings);
}

} // namespace weft::l7
