// SPDX-License-Identifier: Apache-2.0
#include "agent/source/revision.hpp"

#include <charconv>

#include "agent/source/own_status.hpp"

namespace weft::agent {

uint64_t parse_version(std::string_view text) {
    uint64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, number);
    return error == std::errc() && stopped == end ? number : 0;
}

Revision read_revision(const Value& object, const KindInfo& kind) {
    Revision out;
    const Value* meta = object.find("metadata");
    if (meta == nullptr || meta->type != Value::Type::map)
        return out;
    const auto text = [&](std::string_view name) {
        const Value* value = meta->find(name);
        return value != nullptr && value->type == Value::Type::text ? value->text : std::string();
    };
    out.uid = text("uid");
    out.newest = parse_version(text("resourceVersion"));
    out.version = out.newest;
    if (const Value* generation = meta->find("generation");
        generation != nullptr && generation->type == Value::Type::integer)
        out.generation = generation->integer;
    const auto lines = own_status(object, kind);
    out.own_status = digest(lines);
    out.programmed = says_programmed(lines, out.generation);
    return out;
}

} // namespace weft::agent
