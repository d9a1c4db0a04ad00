// SPDX-License-Identifier: Apache-2.0
#include "agent/source/kept_text.hpp"

#include <utility>

#include "agent/source/decode.hpp"
#include "agent/source/json.hpp"

namespace weft::agent {
namespace {

void add(Value& map, std::string_view key, Value value) {
    map.keys.emplace_back(key);
    map.items.push_back(std::move(value));
}

Value text_of(std::string text) {
    return {.type = Value::Type::text, .text = std::move(text)};
}

Value read_annotations(const Value& annotations) {
    Value out{.type = Value::Type::map};
    for (size_t i = 0; i < annotations.keys.size(); ++i)
        if (is_read_annotation(annotations.keys[i]))
            add(out, annotations.keys[i], annotations.items[i]);
    return out;
}

} // namespace

std::string kept_text(const Value& object, const KindInfo& kind, const std::string& version) {
    Value out{.type = Value::Type::map};
    add(out, "apiVersion", text_of(*kind.group == 0 ? version : std::string(kind.group) + "/" + version));
    add(out, "kind", text_of(kind.kind));
    if (const Value* meta = object.find("metadata")) {
        Value kept{.type = Value::Type::map};
        for (size_t i = 0; i < meta->keys.size(); ++i) {
            if (meta->keys[i] == "annotations")
                add(kept, meta->keys[i], read_annotations(meta->items[i]));
            else if (meta->keys[i] != "managedFields")
                add(kept, meta->keys[i], meta->items[i]);
        }
        add(out, "metadata", std::move(kept));
    }
    if (const Value* spec = object.find("spec"))
        add(out, "spec", *spec);
    return json_text(out);
}

} // namespace weft::agent
