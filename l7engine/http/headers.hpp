// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::l7 {

/// ASCII case-insensitive equality: header names, hosts.
[[nodiscard]] bool equal_ignoring_case(std::string_view left, std::string_view right);

/// Header fields in the order received, names in the case received, compared without case. All bytes live in one block
/// of the object itself; views stay valid until the next change.
class Headers {
public:
    void add(std::string_view name, std::string_view value);
    /// A field that a codec has read from the wire: safe to write as it is. What add() and set() bring is not.
    void add_checked(std::string_view name, std::string_view value);
    /// Replaces every field of that name by one, at the place of the first.
    void set(std::string_view name, std::string_view value);
    /// Returns how many fields were removed.
    size_t remove(std::string_view name);
    void clear();
    void reserve(size_t fields, size_t bytes);

    /// The first field's value.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
    [[nodiscard]] bool contains(std::string_view name) const { return find(name).has_value(); }
    /// All values of that name joined with "," (Envoy getAllAsString): what policies compare. Absent: nullopt.
    /// `scratch` holds the text only if there are several fields.
    [[nodiscard]] std::optional<std::string_view> joined(std::string_view name, std::string& scratch) const;

    [[nodiscard]] size_t size() const { return fields_.size(); }
    [[nodiscard]] bool empty() const { return fields_.empty(); }
    [[nodiscard]] std::string_view name(size_t index) const;
    [[nodiscard]] std::string_view value(size_t index) const;
    [[nodiscard]] bool is_checked(size_t index) const { return fields_[index].checked != 0; }
    /// Sum of name and value lengths.
    [[nodiscard]] size_t bytes() const;

private:
    struct Field {
        uint32_t name_offset;
        uint32_t name_size : 31;
        uint32_t checked : 1;
        uint32_t value_offset, value_size;
    };
    [[nodiscard]] std::string_view text(uint32_t offset, uint32_t size) const;
    Field append(std::string_view name, std::string_view value);
    /// Drops the bytes that set() and remove() left behind, once they outweigh the fields.
    void compact();

    std::string block_;
    std::vector<Field> fields_;
};

} // namespace weft::l7
