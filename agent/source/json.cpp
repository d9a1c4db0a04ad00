// SPDX-License-Identifier: Apache-2.0
#include "agent/source/json.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "agent/source/limits.hpp"
#include "config/base/json.hpp"

namespace weft::agent {
namespace {

/// Builds Values from the library's events; false from one of them ends the reading.
class Builder final : public nlohmann::json_sax<Json> {
public:
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
    bool string(string_t& value) override { return add({.type = Value::Type::text, .text = std::move(value)}); }
    bool binary(binary_t& /*value*/) override { return fail("binary data"); }
    bool start_object(size_t /*elements*/) override { return open(Value::Type::map); }
    bool start_array(size_t /*elements*/) override { return open(Value::Type::list); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& value) override {
        if (skipping_ > 0)
            return true;
        Value& map = *open_.back();
        skip_next_ = value == "managedFields";
        if (skip_next_)
            return true;
        // Two readers of a key that is given twice may believe different ones.
        if (std::ranges::find(map.keys, value) != map.keys.end())
            return fail("the key \"" + value.substr(0, limits::shown_text_max) + "\" twice in one object");
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
    bool add_integer(int64_t value) {
        return add({.type = Value::Type::integer, .integer = value, .text = std::to_string(value)});
    }
    bool add(Value value) {
        if (skipping_ > 0 || std::exchange(skip_next_, false))
            return true;
        return place(std::move(value)) != nullptr;
    }
    Value* place(Value value) {
        if (++nodes_ > limits::nodes_per_file_max) {
            fail("more than " + std::to_string(limits::nodes_per_file_max) + " values");
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
        if (skipping_ > 0 || std::exchange(skip_next_, false)) {
            ++skipping_;
            return true;
        }
        if (open_.size() >= limits::depth_max)
            return fail("nested deeper than " + std::to_string(limits::depth_max));
        Value* const value = place({.type = type});
        if (value != nullptr)
            open_.push_back(value); // stays in place: its parent gets no other item before it is closed
        return value != nullptr;
    }
    bool close() {
        if (skipping_ > 0)
            --skipping_;
        else
            open_.pop_back();
        return true;
    }

    Value root_;
    std::vector<Value*> open_; ///< outermost first
    size_t nodes_ = 0;
    size_t skipping_ = 0; ///< depth inside of what is left out
    bool skip_next_ = false;
    std::string fault_;
};

} // namespace

std::expected<Value, Fault> parse_json(std::string_view text) {
    Builder builder;
    if (!Json::sax_parse(text.begin(), text.end(), &builder))
        return std::unexpected(Fault{.field = {}, .message = builder.fault()});
    return builder.take();
}

} // namespace weft::agent
