// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/source/limits.hpp"
#include "agent/source/value.hpp"

namespace weft::agent {

/// Where a value stands. Lives on the stack of the decoders and becomes text only if there is a fault to report.
class Path {
public:
    Path(const Path* parent, std::string_view name) : parent_(parent), name_(name) {}
    Path(const Path* parent, size_t index) : parent_(parent), index_(static_cast<int64_t>(index)) {}
    [[nodiscard]] std::string text() const;

private:
    const Path* parent_;
    std::string_view name_;
    int64_t index_ = -1;
};

/// Collects the faults of one object, up to a limit.
class Faults {
public:
    enum class UnknownFields : uint8_t { refused, ignored };
    explicit Faults(UnknownFields unknown = UnknownFields::refused) : unknown_(unknown) {}

    /// A field that nobody has read: a fault, or not.
    void add_unknown(const Path& path) {
        if (unknown_ == UnknownFields::refused)
            add(path, "is not a known field");
    }
    void add(const Path& path, std::string message) { push(path, std::move(message), false); }
    /// Valid, but not served by this release.
    void unsupported(const Path& path, std::string message) { push(path, std::move(message), true); }
    void push(Fault fault) {
        if (list_.size() < limits::faults_per_object_max)
            list_.push_back(std::move(fault));
    }
    [[nodiscard]] bool empty() const { return list_.empty(); }
    [[nodiscard]] std::vector<Fault> take() { return std::move(list_); }

private:
    void push(const Path& path, std::string message, bool unsupported);
    std::vector<Fault> list_;
    UnknownFields unknown_;
};

/// The bad value for a message, quoted and shortened, without control characters.
[[nodiscard]] std::string quoted(std::string_view text);

using NameRule = bool (*)(std::string_view);

/// Strict view of one map: every member must be read or ignored by name, or finish() reports it as unknown.
/// Null counts as absent, as it does for the Kubernetes API server. Lives as long as the Value and Path that it views.
class Fields {
public:
    Fields(const Value& value, const Path& path, Faults& faults);

    /// Marks the member as known; nullptr if absent or null.
    const Value* find(std::string_view name);
    [[nodiscard]] bool has(std::string_view name) { return find(name) != nullptr; }
    [[nodiscard]] Path at(std::string_view name) const { return {&path_, name}; }
    [[nodiscard]] const Path& path() const { return path_; }
    [[nodiscard]] Faults& faults() { return faults_; }
    void fault(std::string_view name, std::string message) { faults_.add(at(name), std::move(message)); }

    std::optional<std::string> text(std::string_view name);
    /// Text that keeps the rule; `what` names it in the message ("a DNS label").
    std::optional<std::string> text(std::string_view name, NameRule rule, const char* what);
    std::string required_text(std::string_view name, NameRule rule, const char* what);
    std::optional<std::string> one_of(std::string_view name, std::initializer_list<std::string_view> values);
    std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most);
    std::optional<bool> boolean(std::string_view name);
    std::map<std::string, std::string> texts(std::string_view name); ///< a map of strings
    void ignore(std::initializer_list<std::string_view> names);
    void finish();

    /// Visits a list's items with their paths. Returns how many there are; 0 if absent or no list.
    template <class F>
    size_t each(std::string_view name, size_t most, F&& visit) {
        const Path list_path = at(name);
        const Value* list = list_of(name, list_path, most);
        if (list == nullptr)
            return 0;
        for (size_t i = 0; i < list->items.size(); ++i) {
            const Path item(&list_path, i);
            visit(list->items[i], item);
        }
        return list->items.size();
    }
    /// The same for lists of maps: visit(Fields&), then finish().
    template <class F>
    size_t each_map(std::string_view name, size_t most, F&& visit) {
        return each(name, most, [&](const Value& item, const Path& path) {
            Fields fields(item, path, faults_);
            visit(fields);
            fields.finish();
        });
    }
    /// Reads a map member: visit(Fields&), then finish(). False if absent.
    template <class F>
    bool map(std::string_view name, F&& visit) {
        const Value* value = find(name);
        if (value == nullptr)
            return false;
        const Path member = at(name);
        Fields fields(*value, member, faults_);
        visit(fields);
        fields.finish();
        return true;
    }
    template <class F>
    void required_map(std::string_view name, F&& visit) {
        if (!map(name, visit))
            fault(name, "is required");
    }

private:
    const Value* list_of(std::string_view name, const Path& path, size_t most);

    const Value& value_;
    const Path& path_;
    Faults& faults_;
    std::vector<bool> known_;
};

/// A list item that must be text; faults and gives nothing otherwise.
std::optional<std::string> text_of(const Value& value, const Path& path, Faults& faults);

} // namespace weft::agent
