// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace weft::l7 {

/// Returns the end of the copy. (std::ranges::copy of text is a loop over its bytes.)
inline char* copy_text(char* to, std::string_view text) {
    if (!text.empty())
        std::memcpy(to, text.data(), text.size());
    return to + text.size();
}

/// ASCII case-insensitive equality: header names, hosts.
[[nodiscard]] bool equal_ignoring_case(std::string_view left, std::string_view right);

/// Header fields in the order received, names in the case received, compared without case. All bytes and fields live in
/// one block of the object itself, which comes from the thread's free list unless it is large. Views stay valid until
/// the next change.
class Headers {
public:
    Headers() = default;
    Headers(const Headers& other);
    Headers(Headers&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    Headers& operator=(const Headers& other);
    Headers& operator=(Headers&& other) noexcept {
        if (this != &other) {
            clear();
            block_ = std::exchange(other.block_, nullptr);
        }
        return *this;
    }
    ~Headers() { clear(); }

    void add(std::string_view name, std::string_view value);
    /// A field that is safe to write as it is, and none of framing or of the connection: a codec has read it from the
    /// wire, or both texts are our own. What add() and set() bring is not.
    void add_checked(std::string_view name, std::string_view value);
    /// set() of such a field.
    void set_checked(std::string_view name, std::string_view value);
    /// Copies a whole head in one piece, of which add_held() makes fields without copying again. For an empty object.
    void hold(std::string_view text);
    /// As add_checked(); `name` and `value` are parts of `text`, which was given to hold().
    void add_held(std::string_view text, std::string_view name, std::string_view value);
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

    [[nodiscard]] size_t size() const { return block_ == nullptr ? 0 : block_->field_count; }
    [[nodiscard]] bool empty() const { return size() == 0; }
    [[nodiscard]] std::string_view name(size_t index) const { return name_of(block_->fields()[index]); }
    [[nodiscard]] std::string_view value(size_t index) const { return value_of(block_->fields()[index]); }
    [[nodiscard]] bool is_checked(size_t index) const { return block_->fields()[index].checked != 0; }
    /// The field as HTTP/1 writes it, "name: value" and CRLF, if it stands so in the block; else empty. Lines of fields
    /// that came in one head are adjacent in memory.
    [[nodiscard]] std::string_view line(size_t index) const {
        const Field& field = block_->fields()[index];
        return field.line == 0 ? std::string_view() : text(field.name_offset, field.name_size + field.value_size + 4);
    }
    /// Sum of name and value lengths.
    [[nodiscard]] size_t bytes() const;

private:
    struct Field {
        uint32_t name_offset;
        uint32_t name_size : 30;
        uint32_t checked : 1;
        uint32_t line : 1; ///< ": " and CRLF stand behind name and value
        uint32_t value_offset, value_size;
    };
    /// A header, then the fields, then the text.
    struct Block {
        uint32_t field_capacity, field_count = 0;
        uint32_t text_capacity, text_size = 0;

        [[nodiscard]] Field* fields() { return reinterpret_cast<Field*>(this + 1); }
        [[nodiscard]] char* text() { return reinterpret_cast<char*>(fields() + field_capacity); }
    };
    struct SmallBlock;

    static Block* make_block(size_t fields, size_t bytes);
    static void drop(Block* block);
    [[nodiscard]] static Block* copy_of(Block* block, size_t fields, size_t bytes);

    [[nodiscard]] std::string_view text(size_t offset, size_t size) const { return {block_->text() + offset, size}; }
    [[nodiscard]] std::string_view name_of(const Field& field) const {
        return text(field.name_offset, field.name_size);
    }
    [[nodiscard]] std::string_view value_of(const Field& field) const {
        return text(field.value_offset, field.value_size);
    }
    [[nodiscard]] std::span<Field> fields() const {
        return block_ == nullptr ? std::span<Field>() : std::span(block_->fields(), block_->field_count);
    }
    void push(const Field& field);
    void replace(std::string_view name, std::string_view value, bool checked);
    Field append(std::string_view name, std::string_view value);
    /// Drops the bytes that set() and remove() left behind, once they outweigh the fields.
    void compact();

    Block* block_ = nullptr;
};

} // namespace weft::l7
