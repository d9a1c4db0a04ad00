// SPDX-License-Identifier: Apache-2.0
#include "agent/source/fields.hpp"

#include <algorithm>

namespace weft::agent {

std::string Path::text() const {
    std::string out = parent_ == nullptr ? "" : parent_->text();
    if (index_ >= 0)
        return out + "[" + std::to_string(index_) + "]";
    if (name_.find_first_of("./") != std::string_view::npos) // a label or annotation key
        return out + "[" + std::string(name_) + "]";
    if (!out.empty() && !name_.empty())
        out += '.';
    return out + std::string(name_);
}

void Faults::push(const Path& path, std::string message, bool unsupported) {
    push({.field = path.text(), .message = std::move(message), .unsupported = unsupported});
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text.substr(0, limits::shown_text_max))
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return out + (text.size() > limits::shown_text_max ? "...\"" : "\"");
}

std::optional<std::string> text_of(const Value& value, const Path& path, Faults& faults) {
    if (value.type == Value::Type::text)
        return value.text;
    const bool scalar = value.type != Value::Type::list && value.type != Value::Type::map;
    faults.add(path, std::string("must be a string, not ") + describe(value.type) +
                         (scalar && !value.text.empty() ? " (put " + quoted(value.text) + " in quotes)" : ""));
    return std::nullopt;
}

Fields::Fields(const Value& value, const Path& path, Faults& faults)
    : value_(value), path_(path), faults_(faults), known_(value.keys.size()) {
    if (value.type != Value::Type::map && value.type != Value::Type::null)
        faults.add(path, std::string("must be a map, not ") + describe(value.type));
    if (value.type == Value::Type::null)
        faults.add(path, "must not be empty");
}

const Value* Fields::find(std::string_view name) {
    if (value_.type != Value::Type::map)
        return nullptr;
    for (size_t i = 0; i < value_.keys.size(); ++i) {
        if (value_.keys[i] == name) {
            known_[i] = true;
            return value_.items[i].type == Value::Type::null ? nullptr : &value_.items[i];
        }
    }
    return nullptr;
}

std::optional<std::string> Fields::text(std::string_view name) {
    const Value* value = find(name);
    return value == nullptr ? std::nullopt : text_of(*value, at(name), faults_);
}

std::optional<std::string> Fields::text(std::string_view name, NameRule rule, const char* what) {
    auto value = text(name);
    if (value && !rule(*value)) {
        fault(name, quoted(*value) + " is not " + what);
        return std::nullopt;
    }
    return value;
}

std::string Fields::required_text(std::string_view name, NameRule rule, const char* what) {
    if (!has(name)) {
        fault(name, "is required");
        return {};
    }
    return text(name, rule, what).value_or("");
}

std::optional<std::string> Fields::one_of(std::string_view name, std::initializer_list<std::string_view> values) {
    auto value = text(name);
    if (!value || std::find(values.begin(), values.end(), *value) != values.end())
        return value;
    std::string known;
    for (const auto& item : values)
        known += (known.empty() ? "" : ", ") + std::string(item);
    fault(name, quoted(*value) + " is not one of " + known);
    return std::nullopt;
}

std::optional<int64_t> Fields::integer(std::string_view name, int64_t least, int64_t most) {
    const Value* value = find(name);
    if (value == nullptr)
        return std::nullopt;
    if (value->type != Value::Type::integer) {
        fault(name, std::string("must be an integer, not ") + describe(value->type));
        return std::nullopt;
    }
    if (value->integer < least || value->integer > most) {
        fault(name,
              std::to_string(value->integer) + " is outside " + std::to_string(least) + ".." + std::to_string(most));
        return std::nullopt;
    }
    return value->integer;
}

std::optional<bool> Fields::boolean(std::string_view name) {
    const Value* value = find(name);
    if (value == nullptr)
        return std::nullopt;
    if (value->type != Value::Type::boolean) {
        fault(name, std::string("must be true or false, not ") + describe(value->type));
        return std::nullopt;
    }
    return value->boolean;
}

std::map<std::string, std::string> Fields::texts(std::string_view name) {
    std::map<std::string, std::string> out;
    const Value* value = find(name);
    if (value == nullptr)
        return out;
    const Path member = at(name);
    if (value->type != Value::Type::map) {
        faults_.add(member, std::string("must be a map, not ") + describe(value->type));
        return out;
    }
    for (size_t i = 0; i < value->keys.size(); ++i) {
        const Path item(&member, value->keys[i]);
        if (value->items[i].type == Value::Type::null)
            out.emplace(value->keys[i], "");
        else if (auto text = text_of(value->items[i], item, faults_))
            out.emplace(value->keys[i], std::move(*text));
    }
    return out;
}

void Fields::ignore(std::initializer_list<std::string_view> names) {
    for (const auto& name : names)
        find(name);
}

void Fields::finish() {
    for (size_t i = 0; i < known_.size(); ++i) {
        if (!known_[i])
            faults_.add_unknown(Path(&path_, value_.keys[i]));
    }
}

const Value* Fields::list_of(std::string_view name, const Path& path, size_t most) {
    const Value* value = find(name);
    if (value == nullptr)
        return nullptr;
    if (value->type != Value::Type::list) {
        faults_.add(path, std::string("must be a list, not ") + describe(value->type));
        return nullptr;
    }
    if (value->items.size() > most) {
        faults_.add(path, "has " + std::to_string(value->items.size()) + " entries; at most " + std::to_string(most) +
                              " are allowed");
        return nullptr;
    }
    return value;
}

} // namespace weft::agent
