// SPDX-License-Identifier: Apache-2.0
#include "agent/source/json.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/source/limits.hpp"
#include "config/base/json.hpp"

namespace weft::agent {
namespace {

namespace dom = simdjson::dom;

constexpr size_t keys_compared_max = 32;  ///< of one map, each with each; more are sorted
constexpr size_t text_depth_max = 10'100; ///< API servers take 10,000; what is deeper than limits.hpp is not built
constexpr std::string_view number_characters = "-+.0123456789eE";
constexpr std::string_view left_out = "managedFields";
constexpr std::array object_names = {"name", "namespace", "uid", "resourceVersion"};

/// Two readers of a key that is given twice may believe different ones.
std::optional<std::string_view> key_given_twice(dom::object object) {
    std::vector<std::string_view> keys;
    for (const auto& [key, value] : object)
        if (key != left_out)
            keys.push_back(key);
    std::ranges::sort(keys);
    const auto found = std::ranges::adjacent_find(keys);
    return found == keys.end() ? std::nullopt : std::optional(*found);
}

std::string twice(std::string_view key) {
    return "the key \"" + std::string(key.substr(0, limits::shown_text_max)) + "\" twice in one object";
}

/// Values of what the library has read, of so many nodes at most. After build() is false, take_fault() says why.
class Builder {
public:
    explicit Builder(size_t nodes_max) : nodes_max_(nodes_max) {}

    /// `depth`: of maps and lists around it.
    [[nodiscard]] bool build(dom::element from, size_t depth, Value& to) {
        if (++nodes_ > nodes_max_)
            return refuse("more than " + std::to_string(nodes_max_) + " values");
        switch (from.type()) {
            using enum dom::element_type;
        case NULL_VALUE: break;
        case BOOL: set_boolean(from.get_bool().value_unsafe(), to); break;
        case INT64: set_integer(from.get_int64().value_unsafe(), to); break;
        case UINT64: // those that are no INT64
            to = {.type = Value::Type::real, .text = std::to_string(from.get_uint64().value_unsafe())};
            break;
        case DOUBLE: to = {.type = Value::Type::real, .text = text_of(from.get_double().value_unsafe())}; break;
        case STRING:
            to.type = Value::Type::text;
            to.text = from.get_string().value_unsafe();
            break;
        case ARRAY: return build_list(from.get_array().value_unsafe(), depth, to);
        case OBJECT: return build_map(from.get_object().value_unsafe(), depth, to);
        default: return refuse("a value of no known type"); // newer versions have one for large integers
        }
        return true;
    }
    [[nodiscard]] std::string take_fault() { return std::move(fault_); }

private:
    [[nodiscard]] bool refuse(std::string why) {
        fault_ = std::move(why);
        return false;
    }
    [[nodiscard]] bool may_nest(size_t depth) {
        return depth < limits::depth_max || refuse("nested deeper than " + std::to_string(limits::depth_max));
    }
    static void set_boolean(bool value, Value& to) {
        to = {.type = Value::Type::boolean, .boolean = value, .text = value ? "true" : "false"};
    }
    static void set_integer(int64_t value, Value& to) {
        to = {.type = Value::Type::integer, .integer = value, .text = std::to_string(value)};
    }
    /// Never as an integer is written.
    static std::string text_of(double value) {
        std::array<char, 32> digits{};
        std::string out(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
        return out.find_first_not_of("-0123456789") == std::string::npos ? out + ".0" : out;
    }
    [[nodiscard]] bool build_list(dom::array from, size_t depth, Value& to) {
        if (!may_nest(depth))
            return false;
        to.type = Value::Type::list;
        to.items.reserve(std::min(from.size(), nodes_max_ - nodes_));
        for (const dom::element item : from) {
            if (!build(item, depth + 1, to.items.emplace_back()))
                return false;
        }
        return true;
    }
    [[nodiscard]] bool build_map(dom::object from, size_t depth, Value& to) {
        if (!may_nest(depth))
            return false;
        const bool many = from.size() > keys_compared_max;
        if (const auto key = many ? key_given_twice(from) : std::nullopt)
            return refuse(twice(*key));
        to.type = Value::Type::map;
        const size_t room = std::min(from.size(), nodes_max_ - nodes_);
        to.keys.reserve(room);
        to.items.reserve(room);
        for (const auto& [key, value] : from) {
            if (key == left_out)
                continue;
            if (!many && std::ranges::find(to.keys, key) != to.keys.end())
                return refuse(twice(key));
            to.keys.emplace_back(key);
            if (!build(value, depth + 1, to.items.emplace_back()))
                return false;
        }
        return true;
    }

    const size_t nodes_max_;
    size_t nodes_ = 0;
    std::string fault_;
};

/// What is left of an object that is kept out.
Value names_of(dom::element object) {
    Value names{.type = Value::Type::map};
    for (const char* name : object_names) {
        std::string_view text;
        if (object["metadata"][name].get_string().get(text) != simdjson::SUCCESS)
            continue;
        names.keys.emplace_back(name);
        names.items.push_back({.type = Value::Type::text, .text = std::string(text)});
    }
    Value out{.type = Value::Type::map, .keys = {"metadata"}};
    out.items.push_back(std::move(names));
    return out;
}

void give(dom::element object, const TakeObject& take) {
    Builder builder(limits::nodes_per_object_max);
    Value value;
    if (builder.build(object, 0, value))
        take(std::move(value), "");
    else
        take(names_of(object), builder.take_fault());
}

/// The objects of a list or an event to `take`, in their order; what is around them as a Value.
std::expected<Value, Fault> build_around(dom::object root, const TakeObject& take) {
    if (const auto key = key_given_twice(root))
        return std::unexpected(Fault{.field = {}, .message = twice(*key)});
    Builder builder(limits::nodes_per_object_max);
    Value out{.type = Value::Type::map};
    for (const auto& [key, value] : root) {
        if (key == left_out)
            continue;
        out.keys.emplace_back(key);
        Value& item = out.items.emplace_back(); // a map has as many items as keys
        dom::array objects;
        if (key == "items" && value.get_array().get(objects) == simdjson::SUCCESS) {
            item.type = Value::Type::list;
            for (const dom::element object : objects)
                give(object, take);
        } else if (key == "object") {
            give(value, take);
        } else if (!builder.build(value, 1, item)) {
            return std::unexpected(Fault{.field = {}, .message = builder.take_fault()});
        }
    }
    return out;
}

/// Of more than 64 bits.
bool is_large_integer(std::string_view token) {
    const char* const end = token.data() + token.size();
    const auto fits = [&](auto value) {
        const auto [read, error] = std::from_chars(token.data(), end, value);
        return read != end || error != std::errc::result_out_of_range;
    };
    return !fits(int64_t{}) && (token.starts_with('-') || !fits(uint64_t{}));
}

/// Calls visit(token) for all of the text in pieces: texts, numbers, and all else byte by byte.
template <class F>
void each_token(std::string_view text, F&& visit) {
    for (size_t at = 0; at < text.size();) {
        const size_t from = at;
        if (text[at] == '"') {
            for (++at; at < text.size() && text[at] != '"'; ++at)
                at += text[at] == '\\' ? 1 : 0;
            at = std::min(at + 1, text.size());
        } else if (number_characters.contains(text[at])) {
            at = std::min(text.find_first_not_of(number_characters, at), text.size());
        } else {
            ++at;
        }
        visit(text.substr(from, at - from));
    }
}

/// The library has no type for integers of more than 64 bits, which API servers write for floats up to 1e21; for the
/// same with an exponent it has. Empty: there is none.
std::string with_large_integers_as_floats(std::string_view text) {
    static constexpr std::string_view exponent = "e0";
    size_t count = 0;
    each_token(text, [&](std::string_view token) { count += is_large_integer(token) ? 1 : 0; });
    std::string out;
    if (count == 0)
        return out;
    out.reserve(text.size() + count * exponent.size());
    each_token(text, [&](std::string_view token) {
        out += token;
        if (is_large_integer(token))
            out += exponent;
    });
    return out;
}

simdjson::error_code read(dom::parser& parser, std::string_view text, dom::element& root) {
    auto failed = parser.allocate(text.size(), text_depth_max);
    if (failed == simdjson::SUCCESS)
        failed = parser.parse(text.data(), text.size()).get(root);
    if (failed == simdjson::MEMALLOC)
        throw std::bad_alloc();
    return failed;
}

/// What a number that is too large for the library may be told as, whatever the version.
bool may_be_of_a_number(simdjson::error_code failed) {
    return failed != simdjson::CAPACITY && failed != simdjson::DEPTH_ERROR && failed != simdjson::UTF8_ERROR;
}

/// `take`: gets the objects; nullptr: they are values as any other.
std::expected<Value, Fault> parse(std::string_view text, const TakeObject* take) {
    if (text.empty())
        return std::unexpected(Fault{.field = {}, .message = "not JSON: it is empty"});
    dom::parser parser; // for each text: what a large one needed is not kept
    dom::element root;
    simdjson::error_code failed = read(parser, text, root);
    if (failed != simdjson::SUCCESS && may_be_of_a_number(failed)) {
        if (const std::string other = with_large_integers_as_floats(text); !other.empty()) {
            parser = dom::parser(); // not both at once
            failed = read(parser, other, root);
        }
    }
    if (failed != simdjson::SUCCESS)
        return std::unexpected(
            Fault{.field = {}, .message = std::string("not JSON: ") + simdjson::error_message(failed)});
    dom::object map;
    if (take != nullptr && root.get_object().get(map) == simdjson::SUCCESS)
        return build_around(map, *take);
    Builder builder(limits::nodes_per_file_max);
    Value out;
    if (!builder.build(root, 0, out))
        return std::unexpected(Fault{.field = {}, .message = builder.take_fault()});
    return out;
}

std::string quoted_text(const std::string& text) {
    return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

void write(const Value& value, std::string& out) {
    using enum Value::Type;
    switch (value.type) {
    case null: out += "null"; return;
    case boolean: out += value.boolean ? "true" : "false"; return;
    case integer: out += std::to_string(value.integer); return;
    case real: out += value.text; return;
    case text: out += quoted_text(value.text); return;
    case list:
    case map: break;
    }
    const bool named = value.type == Value::Type::map;
    out += named ? '{' : '[';
    for (size_t i = 0; i < value.items.size(); ++i) {
        if (i != 0)
            out += ',';
        if (named)
            out += quoted_text(value.keys[i]) + ':';
        write(value.items[i], out);
    }
    out += named ? '}' : ']';
}

} // namespace

std::expected<Value, Fault> parse_json(std::string_view text) {
    return parse(text, nullptr);
}

std::expected<Value, Fault> parse_json_objects(std::string_view text, const TakeObject& take) {
    return parse(text, &take);
}

std::string json_text(const Value& value) {
    std::string out;
    write(value, out);
    out.shrink_to_fit();
    return out;
}

} // namespace weft::agent
