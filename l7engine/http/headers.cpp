// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/headers.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#include "config/base/free_list.hpp"

namespace weft::l7 {
namespace {

/// The block of nearly every head.
constexpr size_t small_fields = 32;
constexpr size_t small_bytes = 1024;
constexpr size_t blocks_kept_max = 256;
/// Below this, bytes left behind by set() and remove() are not worth a copy.
constexpr size_t garbage_bytes_max = 1024;
constexpr size_t line_extra_bytes = 4; ///< ": " and CRLF

uint64_t load(const char* at) {
    uint64_t word = 0;
    std::memcpy(&word, at, sizeof(word));
    return word;
}

/// Do eight bytes differ in nothing but the case of letters?
bool same_letters(uint64_t left, uint64_t right) {
    constexpr uint64_t ones = 0x0101010101010101U;
    constexpr uint64_t case_bits = 0x20 * ones;
    constexpr uint64_t high = 0x80 * ones;
    const uint64_t different = left ^ right;
    if (different == 0)
        return true;
    if ((different & ~case_bits) != 0)
        return false;
    const uint64_t lower = left | case_bits;
    const uint64_t seven_bits = lower & ~high;
    const uint64_t letters = (seven_bits + (0x80 - 'a') * ones) & ~(seven_bits + (0x7f - 'z') * ones) & ~lower & high;
    return ((different << 2) & ~letters) == 0;
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

} // namespace

bool equal_ignoring_case(std::string_view left, std::string_view right) {
    if (left.size() != right.size())
        return false;
    size_t i = 0;
    for (; i + sizeof(uint64_t) <= left.size(); i += sizeof(uint64_t)) {
        if (!same_letters(load(left.data() + i), load(right.data() + i)))
            return false;
    }
    for (; i < left.size(); ++i) {
        if (lower(left[i]) != lower(right[i]))
            return false;
    }
    return true;
}

struct Headers::SmallBlock {
    SmallBlock() {} // NOLINT: its bytes are written before they are read
    Block header{.field_capacity = small_fields, .text_capacity = small_bytes};
    alignas(Field) char bytes[small_fields * sizeof(Field) + small_bytes];
};

Headers::Headers(const Headers& other) {
    if (!other.empty())
        block_ = copy_of(other.block_, 0, 0);
}

Headers& Headers::operator=(const Headers& other) {
    if (this != &other)
        *this = Headers(other);
    return *this;
}

void Headers::add(std::string_view name, std::string_view value) {
    push(append(name, value));
}

void Headers::add_checked(std::string_view name, std::string_view value) {
    Field field = append(name, value);
    field.checked = 1;
    push(field);
}

void Headers::hold(std::string_view text) {
    assert(block_ == nullptr);
    reserve(small_fields, text.size());
    copy_text(block_->text(), text);
    block_->text_size = static_cast<uint32_t>(text.size());
}

void Headers::add_held(std::string_view text, std::string_view name, std::string_view value) {
    const auto name_offset = static_cast<size_t>(name.data() - text.data());
    const size_t name_end = name_offset + name.size();
    const size_t value_offset = value.empty() ? name_end : static_cast<size_t>(value.data() - text.data());
    const size_t value_end = value_offset + value.size();
    assert(block_ != nullptr && text.size() <= block_->text_size && value_end <= text.size());
    const bool line = value_offset == name_end + 2 && text[name_end] == ':' && text[name_end + 1] == ' ' &&
                      value_end + 2 <= text.size() && text[value_end] == '\r' && text[value_end + 1] == '\n';
    push({.name_offset = static_cast<uint32_t>(name_offset),
          .name_size = static_cast<uint32_t>(name.size()) & (UINT32_MAX >> 2),
          .checked = 1,
          .line = line ? 1U : 0U,
          .value_offset = static_cast<uint32_t>(value_offset),
          .value_size = static_cast<uint32_t>(value.size())});
}

void Headers::set(std::string_view name, std::string_view value) {
    replace(name, value, false);
}

void Headers::set_checked(std::string_view name, std::string_view value) {
    replace(name, value, true);
}

void Headers::replace(std::string_view name, std::string_view value, bool checked) {
    const auto named = [&](const Field& field) {
        return field.name_size == name.size() && equal_ignoring_case(name_of(field), name);
    };
    const std::span<Field> all = fields();
    const auto first = std::ranges::find_if(all, named);
    if (first == all.end())
        return checked ? add_checked(name, value) : add(name, value);
    const auto index = static_cast<size_t>(first - all.begin());
    const auto rest = std::remove_if(first + 1, all.end(), named);
    block_->field_count = static_cast<uint32_t>(rest - all.begin());
    Field field = append(name, value); // may move the block
    field.checked = checked ? 1 : 0;
    block_->fields()[index] = field;
    compact();
}

size_t Headers::remove(std::string_view name) {
    const std::span<Field> all = fields();
    const auto rest =
        std::ranges::remove_if(all, [&](const Field& field) { return equal_ignoring_case(name_of(field), name); });
    if (!rest.empty()) {
        block_->field_count -= static_cast<uint32_t>(rest.size());
        compact();
    }
    return rest.size();
}

void Headers::clear() {
    if (block_ != nullptr)
        drop(std::exchange(block_, nullptr));
}

void Headers::reserve(size_t fields, size_t bytes) {
    if (block_ == nullptr) {
        block_ = make_block(fields, bytes);
    } else if (fields > block_->field_capacity || bytes > block_->text_capacity) {
        Block* old = std::exchange(block_, copy_of(block_, fields, bytes));
        drop(old);
    }
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
    for (const Field& field : fields()) {
        if (field.name_size == name.size() && equal_ignoring_case(name_of(field), name))
            return value_of(field);
    }
    return std::nullopt;
}

std::optional<std::string_view> Headers::joined(std::string_view name, std::string& scratch) const {
    std::optional<std::string_view> first;
    bool several = false;
    for (const Field& field : fields()) {
        if (field.name_size != name.size() || !equal_ignoring_case(name_of(field), name))
            continue;
        if (!first) {
            first = value_of(field);
            continue;
        }
        if (!several)
            scratch.assign(*first);
        several = true;
        scratch.append(",").append(value_of(field));
    }
    return several ? std::optional<std::string_view>(scratch) : first;
}

size_t Headers::bytes() const {
    size_t sum = 0;
    for (const Field& field : fields())
        sum += size_t{field.name_size} + field.value_size;
    return sum;
}

Headers::Block* Headers::make_block(size_t fields, size_t bytes) {
    if (fields <= small_fields && bytes <= small_bytes)
        return &FreeList<SmallBlock, blocks_kept_max>::make()->header;
    fields = std::max(fields, small_fields);
    bytes = std::max(bytes, small_bytes);
    assert(fields <= std::numeric_limits<int32_t>::max() && bytes <= std::numeric_limits<int32_t>::max());
    void* memory = std::malloc(sizeof(Block) + fields * sizeof(Field) + bytes);
    if (memory == nullptr)
        throw std::bad_alloc();
    return ::new (memory)
        Block{.field_capacity = static_cast<uint32_t>(fields), .text_capacity = static_cast<uint32_t>(bytes)};
}

void Headers::drop(Block* block) {
    if (block->field_capacity == small_fields && block->text_capacity == small_bytes)
        FreeList<SmallBlock, blocks_kept_max>::destroy(reinterpret_cast<SmallBlock*>(block));
    else
        std::free(block);
}

/// With room for that much at least.
Headers::Block* Headers::copy_of(Block* block, size_t fields, size_t bytes) {
    Block* copy = make_block(std::max<size_t>(fields, block->field_count), std::max<size_t>(bytes, block->text_size));
    copy->field_count = block->field_count;
    copy->text_size = block->text_size;
    std::memcpy(copy->fields(), block->fields(), block->field_count * sizeof(Field));
    std::memcpy(copy->text(), block->text(), block->text_size);
    return copy;
}

void Headers::push(const Field& field) {
    if (block_->field_count == block_->field_capacity)
        reserve(2 * size_t{block_->field_capacity}, block_->text_capacity);
    block_->fields()[block_->field_count++] = field;
}

/// The text of a line; the field is to be pushed.
Headers::Field Headers::append(std::string_view name, std::string_view value) {
    const size_t offset = block_ == nullptr ? 0 : block_->text_size;
    const size_t needed = offset + name.size() + value.size() + line_extra_bytes;
    Block* old = nullptr; // the arguments may be views of it
    if (block_ == nullptr)
        block_ = make_block(0, needed);
    else if (needed > block_->text_capacity)
        old = std::exchange(
            block_, copy_of(block_, block_->field_capacity, std::max(needed, 2 * size_t{block_->text_capacity})));
    char* at = block_->text() + offset;
    at = copy_text(at, name);
    *at++ = ':';
    *at++ = ' ';
    at = copy_text(at, value);
    *at++ = '\r';
    *at++ = '\n';
    block_->text_size = static_cast<uint32_t>(needed);
    if (old != nullptr)
        drop(old);
    return {.name_offset = static_cast<uint32_t>(offset),
            .name_size = static_cast<uint32_t>(name.size()) & (UINT32_MAX >> 2),
            .checked = 0,
            .line = 1,
            .value_offset = static_cast<uint32_t>(offset + name.size() + 2),
            .value_size = static_cast<uint32_t>(value.size())};
}

void Headers::compact() {
    if (block_->text_size <= garbage_bytes_max ||
        block_->text_size <= 2 * (bytes() + size() * line_extra_bytes) + garbage_bytes_max)
        return;
    Headers packed;
    for (const Field& field : fields()) {
        Field moved = packed.append(name_of(field), value_of(field));
        moved.checked = field.checked;
        packed.push(moved);
    }
    *this = std::move(packed);
}

} // namespace weft::l7
