// SPDX-License-Identifier: Apache-2.0
#include "agent/source/yaml.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <sstream>
#include <unordered_set>
#include <utility>

#include "agent/source/limits.hpp"
#include "agent/source/names.hpp"
#include "config/base/utf8.hpp"

namespace weft::agent {

const char* describe(Value::Type type) {
    switch (type) {
        using enum Value::Type;
    case null: return "nothing";
    case boolean: return "a boolean";
    case integer: return "an integer";
    case real: return "a number";
    case text: return "a string";
    case list: return "a list";
    case map: return "a map";
    }
    return "";
}

namespace {

std::optional<bool> as_boolean(std::string_view text) {
    if (names::is_one_of(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"}))
        return true;
    if (names::is_one_of(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"}))
        return false;
    return std::nullopt;
}

/// Decimal, 0x, 0o, 0b and YAML 1.1 octal (leading zero), with underscores. Too large for 64 bits: not an integer.
std::optional<int64_t> as_integer(std::string_view text) {
    std::string digits;
    std::copy_if(text.begin(), text.end(), std::back_inserter(digits), [](char c) { return c != '_'; });
    const bool negative = digits.starts_with('-');
    if (negative || digits.starts_with('+'))
        digits.erase(0, 1);
    int base = 10;
    size_t prefix = 2;
    if (digits.starts_with("0x"))
        base = 16;
    else if (digits.starts_with("0o"))
        base = 8;
    else if (digits.starts_with("0b"))
        base = 2;
    else
        prefix = 0;
    if (base == 10 && digits.size() > 1 && digits[0] == '0')
        base = 8;
    digits.erase(0, prefix);
    if (negative)
        digits.insert(0, "-");
    int64_t value = 0;
    const auto* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value, base);
    if (error != std::errc{} || stop != end || digits.empty())
        return std::nullopt;
    return value;
}

bool is_real(std::string_view text) {
    if (names::is_one_of(text, {".inf", ".Inf", ".INF", "+.inf", "-.inf", ".nan", ".NaN", ".NAN"}))
        return true;
    if (text.starts_with('+') || text.starts_with('-'))
        text.remove_prefix(1);
    if (text.empty() || !(text[0] == '.' || (text[0] >= '0' && text[0] <= '9')))
        return false;
    double value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return stop == text.data() + text.size() && error != std::errc::invalid_argument;
}

void resolve_plain(Value& value) {
    using enum Value::Type;
    value.type = text;
    if (value.text.empty() || names::is_one_of(value.text, {"~", "null", "Null", "NULL"})) {
        value.type = null;
    } else if (const auto flag = as_boolean(value.text)) {
        value.type = boolean;
        value.boolean = *flag;
    } else if (const auto number = as_integer(value.text)) {
        value.type = integer;
        value.integer = *number;
    } else if (is_real(value.text)) {
        value.type = real;
    }
}

/// Builds Values from parser events. Once a limit is passed it only counts nothing more: memory stays bounded.
class Builder final : public YAML::EventHandler {
public:
    void OnDocumentStart(const YAML::Mark& mark) override {
        line_ = mark.line;
        // The library leaves a token that can begin nothing (a stray comma) where it is, and begins there for ever.
        if (mark.pos == last_start_)
            give_up("no valid YAML: nothing can begin here");
        last_start_ = mark.pos;
        stack_.clear();
        anchors_.clear();
        document_ = {};
    }
    void OnDocumentEnd() override {
        if (!failure_ && document_.root.type != Value::Type::null)
            documents_.push_back(std::move(document_));
        if (++documents_read_ > limits::documents_per_file_max) // empty ones too: each costs time
            give_up("more than " + std::to_string(limits::documents_per_file_max) + " documents");
    }
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        line_ = mark.line;
        finish(Value{.line = line()}, anchor);
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override;
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override;
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(mark, tag, anchor, Value::Type::list);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(mark, tag, anchor, Value::Type::map);
    }
    void OnMapEnd() override { close(); }

    [[nodiscard]] bool failed() const { return failure_.has_value(); }
    [[nodiscard]] std::expected<std::vector<YamlDocument>, Fault> take() {
        if (failure_)
            return std::unexpected(*failure_);
        return std::move(documents_);
    }

private:
    struct Frame {
        Value value;
        YAML::anchor_t anchor = 0;
        std::optional<std::string> key; ///< read, its value not yet
        std::vector<Value> merges;      ///< values of `<<`
        std::unordered_set<std::string> seen;
    };

    [[nodiscard]] uint32_t line() const { return static_cast<uint32_t>(std::max(line_, 0)) + 1; }
    void give_up(std::string message) {
        if (!failure_)
            failure_ = Fault{.field = {}, .message = "line " + std::to_string(line()) + ": " + std::move(message)};
    }
    void remark(std::string message);
    [[nodiscard]] std::string path() const;
    bool charge(size_t nodes, size_t bytes);
    void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Value::Type type);
    void close();
    void finish(Value value, YAML::anchor_t anchor);
    void merge(Frame& frame);
    void merge_one(Frame& frame, const Value& from);

    struct Anchored {
        Value value;
        size_t nodes = 0;
        size_t bytes = 0;
    };

    int line_ = 0;
    int last_start_ = -1;
    size_t documents_read_ = 0;
    size_t nodes_ = 0;
    size_t bytes_ = 0;
    std::vector<Frame> stack_;
    std::map<YAML::anchor_t, Anchored> anchors_;
    YamlDocument document_;
    std::vector<YamlDocument> documents_;
    std::optional<Fault> failure_;
};

void weigh(const Value& value, size_t& nodes, size_t& bytes) {
    ++nodes;
    bytes += value.text.size();
    for (const auto& key : value.keys)
        bytes += key.size();
    for (const auto& item : value.items)
        weigh(item, nodes, bytes);
}

std::string Builder::path() const {
    std::string out;
    for (const auto& frame : stack_) {
        if (frame.value.type == Value::Type::list)
            out += "[" + std::to_string(frame.value.items.size()) + "]";
        else if (frame.key)
            out += (out.empty() ? "" : ".") + *frame.key;
    }
    return out;
}

void Builder::remark(std::string message) {
    if (document_.faults.size() < limits::faults_per_object_max)
        document_.faults.push_back({.field = path(), .message = "line " + std::to_string(line()) + ": " + message});
}

bool Builder::charge(size_t nodes, size_t bytes) {
    nodes_ += nodes;
    bytes_ += bytes;
    if (nodes_ > limits::nodes_per_file_max)
        give_up("more than " + std::to_string(limits::nodes_per_file_max) + " values (aliases expanded)");
    else if (bytes_ > limits::text_per_file_max)
        give_up("more than " + std::to_string(limits::text_per_file_max) + " bytes of text (aliases expanded)");
    return !failure_;
}

void Builder::OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) {
    line_ = mark.line;
    if (failure_)
        return;
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) // an alias inside its own anchor: a cycle
        return give_up("an alias refers to a value that contains it");
    if (!charge(found->second.nodes, found->second.bytes))
        return;
    finish(found->second.value, 0);
}

void Builder::OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       const std::string& value) {
    line_ = mark.line;
    if (!charge(1, value.size()))
        return;
    Value out{.type = Value::Type::text, .line = line(), .text = value};
    if (tag == "?" || tag.empty() || tag == "tag:yaml.org,2002:int" || tag == "tag:yaml.org,2002:bool" ||
        tag == "tag:yaml.org,2002:float" || tag == "tag:yaml.org,2002:null")
        resolve_plain(out);
    else if (tag != "!" && tag != "tag:yaml.org,2002:str")
        remark("the tag " + tag.substr(0, limits::shown_text_max) + " is not known");
    finish(std::move(out), anchor);
}

void Builder::open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Value::Type type) {
    line_ = mark.line;
    if (failure_)
        return;
    if (stack_.size() >= limits::depth_max)
        return give_up("nested deeper than " + std::to_string(limits::depth_max) + " levels");
    if (tag != "?" && tag != "!" && !tag.empty() && tag != "tag:yaml.org,2002:map" && tag != "tag:yaml.org,2002:seq")
        remark("the tag " + tag.substr(0, limits::shown_text_max) + " is not known");
    if (!charge(1, 0))
        return;
    Frame frame;
    frame.value.type = type;
    frame.value.line = line();
    frame.anchor = anchor;
    stack_.push_back(std::move(frame));
}

void Builder::close() {
    if (failure_ || stack_.empty())
        return;
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    merge(frame);
    if (!failure_)
        finish(std::move(frame.value), frame.anchor);
}

void Builder::finish(Value value, YAML::anchor_t anchor) {
    if (failure_)
        return;
    if (anchor != 0) {
        Anchored anchored{.value = value};
        weigh(value, anchored.nodes, anchored.bytes);
        if (!charge(anchored.nodes, anchored.bytes)) // the copy is kept until the document ends
            return;
        anchors_[anchor] = std::move(anchored);
    }
    if (stack_.empty()) {
        document_.root = std::move(value);
        return;
    }
    Frame& top = stack_.back();
    if (top.value.type == Value::Type::list) {
        top.value.items.push_back(std::move(value));
    } else if (!top.key) {
        if (value.type == Value::Type::list || value.type == Value::Type::map)
            remark("a key must be a scalar");
        top.key = std::move(value.text);
    } else if (*top.key == "<<") {
        top.merges.push_back(std::move(value));
        top.key.reset();
    } else {
        if (!top.seen.insert(*top.key).second) {
            remark("the key is given twice");
        } else {
            top.value.keys.push_back(std::move(*top.key));
            top.value.items.push_back(std::move(value));
        }
        top.key.reset();
    }
}

void Builder::merge(Frame& frame) {
    for (const auto& from : frame.merges) {
        if (from.type == Value::Type::map) {
            merge_one(frame, from);
        } else if (from.type == Value::Type::list) {
            for (const auto& item : from.items)
                merge_one(frame, item);
        } else {
            remark("a merge key (<<) needs a map or a list of maps");
        }
    }
}

void Builder::merge_one(Frame& frame, const Value& from) {
    if (from.type != Value::Type::map)
        return remark("a merge key (<<) needs a map or a list of maps");
    for (size_t i = 0; i < from.keys.size(); ++i) {
        if (!frame.seen.insert(from.keys[i]).second)
            continue; // what is written wins over what is merged
        size_t nodes = 0;
        size_t bytes = 0;
        weigh(from.items[i], nodes, bytes);
        if (!charge(nodes, bytes))
            return;
        frame.value.keys.push_back(from.keys[i]);
        frame.value.items.push_back(from.items[i]);
    }
}

} // namespace

std::expected<std::vector<YamlDocument>, Fault> parse_yaml(std::string_view text) {
    if (text.size() > limits::file_bytes_max)
        return std::unexpected(
            Fault{.field = {}, .message = "larger than " + std::to_string(limits::file_bytes_max) + " bytes"});
    if (text.find('\0') != std::string_view::npos)
        return std::unexpected(Fault{.field = {}, .message = "contains a zero byte"});
    if (const size_t good = valid_utf8_bytes(text); good != text.size())
        return std::unexpected(Fault{.field = {},
                                     .message = "line " +
                                                std::to_string(std::ranges::count(text.substr(0, good), '\n') + 1) +
                                                ": a byte that is not UTF-8"});
    Builder builder;
    try { // yaml-cpp reports by throwing; nothing thrown leaves this function
        std::istringstream stream{std::string(text)};
        YAML::Parser parser(stream);
        while (!builder.failed() && parser.HandleNextDocument(builder)) {
        }
    } catch (const YAML::Exception& error) {
        return std::unexpected(Fault{
            .field = {}, .message = "line " + std::to_string(error.mark.line + 1) + ": no valid YAML: " + error.msg});
    }
    return builder.take();
}

} // namespace weft::agent
