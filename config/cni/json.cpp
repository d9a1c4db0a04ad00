// SPDX-License-Identifier: Apache-2.0
#include "config/cni/json.hpp"

#include <utility>

namespace weft::cni {

std::optional<Json> parse(std::string_view text) {
    bool too_deep = false;
    const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t, Json&) {
        too_deep = too_deep || std::cmp_greater(depth, depth_max);
        return !too_deep; // what is too deep is not kept
    };
    Json value = Json::parse(text.begin(), text.end(), watch, false);
    if (value.is_discarded() || too_deep)
        return std::nullopt;
    return value;
}

const Json* member(const Json& value, const char* name) {
    if (!value.is_object())
        return nullptr;
    const auto found = value.find(name);
    return found == value.end() ? nullptr : &*found;
}

std::optional<std::string> text_of(const Json& value, const char* name) {
    const Json* const found = member(value, name);
    return found != nullptr && found->is_string() ? std::optional(found->get<std::string>()) : std::nullopt;
}

std::optional<uint32_t> number_of(const Json& value, const char* name) {
    const Json* const found = member(value, name);
    if (found == nullptr || !found->is_number_unsigned() || found->get<uint64_t>() > UINT32_MAX)
        return std::nullopt;
    return static_cast<uint32_t>(found->get<uint64_t>());
}

} // namespace weft::cni
