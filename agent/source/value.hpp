// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::agent {

/// One node of a manifest, as YAML or JSON gave it: what the strict decoders read. Plain data, owned by its parent.
struct Value {
    enum class Type : uint8_t { null, boolean, integer, real, text, list, map };

    Type type = Type::null;
    bool boolean = false;
    uint32_t line = 0; ///< 1-based; 0: unknown
    int64_t integer = 0;
    std::string text{};              ///< of text; of integer and real as YAML has it, or as JSON could
    std::vector<std::string> keys{}; ///< of a map, parallel to items, unique
    std::vector<Value> items{};

    /// The member of a map, or nullptr.
    [[nodiscard]] const Value* find(std::string_view key) const {
        for (size_t i = 0; i < keys.size(); ++i) {
            if (keys[i] == key)
                return &items[i];
        }
        return nullptr;
    }
};

/// A text of a map; empty if it is missing, is no text, or there is no map.
[[nodiscard]] inline std::string text_member(const Value* map, std::string_view name) {
    const Value* value = map == nullptr ? nullptr : map->find(name);
    return value != nullptr && value->type == Value::Type::text ? value->text : "";
}

/// "a string", "a list" ...: for fault messages.
[[nodiscard]] const char* describe(Value::Type type);

/// Why a file or one field of an object is refused.
struct Fault {
    std::string field;        ///< "spec.rules[0].matches[1].path.value"; empty: the whole
    std::string message;      ///< one sentence
    bool unsupported = false; ///< valid, but this release does not serve it: reason UnsupportedValue
    bool operator==(const Fault&) const = default;
};

} // namespace weft::agent
