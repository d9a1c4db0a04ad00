// SPDX-License-Identifier: Apache-2.0
#include "agent/status/json_members.hpp"

#include <charconv>

namespace weft::agent::status {
namespace {

const Json* find(const Json& object, std::string_view name) {
    if (!object.is_object())
        return nullptr;
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
}

} // namespace

const Json& member(const Json& object, std::string_view name) {
    static const Json empty = Json::object();
    const Json* found = find(object, name);
    return found != nullptr && found->is_object() ? *found : empty;
}

const Json& list(const Json& object, std::string_view name) {
    static const Json empty = Json::array();
    const Json* found = find(object, name);
    return found != nullptr && found->is_array() ? *found : empty;
}

std::string text(const Json& object, std::string_view name) {
    const Json* found = find(object, name);
    return found != nullptr && found->is_string() ? found->get<std::string>() : "";
}

int64_t number(const Json& object, std::string_view name) {
    const Json* found = find(object, name);
    if (found == nullptr)
        return 0;
    if (found->is_number_integer())
        return found->get<int64_t>();
    const std::string written = text(object, name);
    int64_t out = 0;
    std::from_chars(written.data(), written.data() + written.size(), out);
    return out;
}

Json parse(const std::string& body) {
    Json out = Json::parse(body, nullptr, false);
    return out.is_object() ? std::move(out) : Json::object();
}

std::string text_of(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

} // namespace weft::agent::status
