// SPDX-License-Identifier: Apache-2.0
#include "agent/source/json.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "agent/source/limits.hpp"
#include "config/base/json.hpp"

namespace weft::agent {
namespace {

constexpr size_t keys_compared_max = 32; ///< of one map, each with each; more are sorted
constexpr std::array object_names = {"name", "namespace", "uid", "resourceVersion"};

/// Builds Values from the library's events; false from one of them ends the reading.
class Builder final : public nlohmann::json_sax<Json> {
public:
    /// `take`: gets the objects; nullptr: they are values as any other.
    explicit Builder(const TakeObject* take) : take_(take) {}

    bool null() override { return add({}); }
    bool boolean(bool value) override {
        return add({.type = Value::Type::boolean, .boolean = value, .text = value ? "true" : "false"});
    }
    bool number_integer(number_integer_t value) override { return add_integer(value); }
    bool number_unsigned(number_unsigned_t value) override {
        if (std::in_range<int64_t>(value))
            return add_integer(static_cast<int64_t>(value));
        return add({.type = Value::Type::real, .text = std::to_string(value)});
    }
    bool number_float(number_float_t /*value*/, const string_t& text) override {
        return add({.type = Value::Type::real, .text = text});
    }
    bool string(string_t& value) override {
        note_name(value);
        return add({.type = Value::Type::text, .text = std::move(value)});
    }
    bool binary(binary_t& /*value*/) override { return fail("binary data"); }
    bool start_object(size_t /*elements*/) override { return open(Value::Type::map); }
    bool start_array(size_t /*elements*/) override { return open(Value::Type::list); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& value) override {
        note_key(value);
        if (skipping_ > 0 || !kept_out_.empty())
            return true;
        Value& map = *open_.back();
        skip_next_ = value == "managedFields";
        if (skip_next_)
            return true;
        if (map.keys.size() < keys_compared_max && std::ranges::find(map.keys, value) != map.keys.end())
            return refuse(twice(value));
        map.keys.push_back(std::move(value));
        return true;
    }
    bool parse_error(size_t position, const std::string& /*token*/,
                     const nlohmann::detail::exception& /*error*/) override {
        return fail("not JSON at byte " + std::to_string(position));
    }

    [[nodiscard]] Value take() { return std::move(root_); }
    [[nodiscard]] const std::string& fault() const { return fault_; }

private:
    bool fail(std::string what) {
        fault_ = std::move(what);
        return false;
    }
    /// Inside an object only that is kept out, and what is left of it read over. False: nothing more is to be read.
    bool refuse(std::string why) {
        if (object_depth_ == 0)
            return fail(std::move(why));
        kept_out_ = std::move(why);
        open_.resize(object_at_);
        object_ = {};
        skip_next_ = false;
        return true;
    }
    static std::string twice(std::string_view key) {
        return "the key \"" + std::string(key.substr(0, limits::shown_text_max)) + "\" twice in one object";
    }

    bool add_integer(int64_t value) {
        return add({.type = Value::Type::integer, .integer = value, .text = std::to_string(value)});
    }
    bool add(Value value) {
        if (is_left_out())
            return true;
        if (is_object_next()) { // no map, but whoever takes it knows what to say
            hold_place();
            (*take_)(std::move(value), "");
            return true;
        }
        return place(std::move(value)) != nullptr || fault_.empty();
    }
    [[nodiscard]] bool is_left_out() { return !kept_out_.empty() || skipping_ > 0 || std::exchange(skip_next_, false); }
    /// nullptr: refused.
    Value* place(Value value) {
        const size_t most = take_ == nullptr ? limits::nodes_per_file_max : limits::nodes_per_object_max;
        if (++nodes_ > most) {
            static_cast<void>(refuse("more than " + std::to_string(most) + " values"));
            return nullptr;
        }
        if (open_.empty()) {
            root_ = std::move(value);
            return &root_;
        }
        open_.back()->items.push_back(std::move(value));
        return &open_.back()->items.back();
    }
    bool open(Value::Type type) {
        ++depth_;
        if (is_left_out()) {
            skipping_ += kept_out_.empty() ? 1 : 0;
            return true;
        }
        if (is_object_next()) {
            begin_object(type);
            return true;
        }
        if (open_.size() >= limits::depth_max)
            return refuse("nested deeper than " + std::to_string(limits::depth_max));
        Value* const value = place({.type = type});
        if (value != nullptr)
            open_.push_back(value); // stays in place: its parent gets no other item before it is closed
        return value != nullptr || fault_.empty();
    }
    bool close() {
        --depth_;
        if (skipping_ > 0) {
            --skipping_;
        } else if (kept_out_.empty()) {
            if (const std::string* key = key_given_twice(*open_.back()); key != nullptr && !refuse(twice(*key)))
                return false;
            if (kept_out_.empty())
                open_.pop_back();
        }
        if (object_depth_ != 0 && depth_ < object_depth_)
            end_object_taken();
        return true;
    }
    /// Two readers of a key that is given twice may believe different ones. Of few keys key() has seen to it.
    static const std::string* key_given_twice(const Value& map) {
        if (map.keys.size() <= keys_compared_max)
            return nullptr;
        std::vector<const std::string*> sorted;
        sorted.reserve(map.keys.size());
        for (const std::string& key : map.keys)
            sorted.push_back(&key);
        const auto text = [](const std::string* key) -> const std::string& { return *key; };
        std::ranges::sort(sorted, {}, text);
        const auto found = std::ranges::adjacent_find(sorted, {}, text);
        return found == sorted.end() ? nullptr : *found;
    }

    // ---- objects of a list or an event

    /// What comes now is an item of the root's `items`, or the root's `object`.
    [[nodiscard]] bool is_object_next() const {
        if (take_ == nullptr || object_depth_ != 0 || open_.empty() || root_.keys.empty())
            return false;
        if (open_.size() == 1)
            return root_.keys.back() == "object";
        return open_.size() == 2 && root_.keys.back() == "items" && open_.back()->type == Value::Type::list;
    }
    /// A map has as many items as keys.
    void hold_place() {
        if (open_.size() == 1)
            root_.items.emplace_back();
    }
    void begin_object(Value::Type type) {
        hold_place();
        object_ = {.type = type};
        object_depth_ = depth_;
        object_at_ = open_.size();
        object_nodes_before_ = std::exchange(nodes_, 1);
        open_.push_back(&object_);
        names_ = {.type = Value::Type::map};
    }
    void end_object_taken() {
        if (!kept_out_.empty()) {
            object_ = {.type = Value::Type::map, .keys = {"metadata"}};
            object_.items.push_back(std::move(names_));
        }
        object_depth_ = 0;
        nodes_ = object_nodes_before_;
        (*take_)(std::exchange(object_, {}), std::exchange(kept_out_, {}));
    }
    void note_key(const std::string& key) {
        if (object_depth_ == 0 || depth_ > object_depth_ + 1)
            return;
        const bool own = depth_ == object_depth_;
        if (own)
            in_metadata_ = key == "metadata";
        const auto known = std::ranges::find(object_names, key);
        name_ = own || !in_metadata_ || known == object_names.end() ? nullptr : *known;
    }
    void note_name(const std::string& text) {
        if (object_depth_ == 0 || depth_ != object_depth_ + 1 || name_ == nullptr || names_.find(name_) != nullptr)
            return;
        names_.keys.emplace_back(name_);
        names_.items.push_back({.type = Value::Type::text, .text = text});
    }

    const TakeObject* const take_;
    Value root_;
    std::vector<Value*> open_; ///< outermost first
    size_t depth_ = 0;         ///< of open_, and of what is left out
    size_t nodes_ = 0;         ///< of the object, or of what is around them
    size_t skipping_ = 0;      ///< depth inside of what is left out
    bool skip_next_ = false;
    std::string fault_;

    Value object_;            ///< that is being read
    size_t object_depth_ = 0; ///< depth_ inside of it; 0: none is being read
    size_t object_at_ = 0;    ///< its place in open_
    size_t object_nodes_before_ = 0;
    std::string kept_out_;       ///< why nothing more of it is built
    Value names_;                ///< of its metadata
    bool in_metadata_ = false;   ///< its last key was "metadata"
    const char* name_ = nullptr; ///< one of object_names, whose value comes next
};

std::expected<Value, Fault> parse(std::string_view text, const TakeObject* take) {
    Builder builder(take);
    if (!Json::sax_parse(text.begin(), text.end(), &builder))
        return std::unexpected(Fault{.field = {}, .message = builder.fault()});
    return builder.take();
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
