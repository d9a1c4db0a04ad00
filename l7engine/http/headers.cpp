// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/headers.hpp"

#include <algorithm>
#include <cassert>
#include <limits>

namespace weft::l7 {
namespace {

/// Below this, bytes left behind by set() and remove() are not worth a copy.
constexpr size_t garbage_bytes_max = 1024;

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

} // namespace

bool equal_ignoring_case(std::string_view left, std::string_view right) {
    return left.size() == right.size() &&
           std::equal(left.begin(), left.end(), right.begin(), [](char a, char b) { return lower(a) == lower(b); });
}

void Headers::add(std::string_view name, std::string_view value) {
    fields_.push_back(append(name, value));
}

void Headers::add_checked(std::string_view name, std::string_view value) {
    fields_.push_back(append(name, value));
    fields_.back().checked = 1;
}

void Headers::set(std::string_view name, std::string_view value) {
    const auto named = [&](const Field& field) {
        return equal_ignoring_case(text(field.name_offset, field.name_size), name);
    };
    const auto first = std::find_if(fields_.begin(), fields_.end(), named);
    if (first == fields_.end())
        return add(name, value);
    fields_.erase(std::remove_if(first + 1, fields_.end(), named), fields_.end());
    *first = append(name, value);
    compact();
}

size_t Headers::remove(std::string_view name) {
    const size_t removed = std::erase_if(fields_, [&](const Field& field) {
        return equal_ignoring_case(text(field.name_offset, field.name_size), name);
    });
    if (removed > 0)
        compact();
    return removed;
}

void Headers::clear() {
    block_.clear();
    fields_.clear();
}

void Headers::reserve(size_t fields, size_t bytes) {
    fields_.reserve(fields);
    block_.reserve(bytes);
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
    for (const Field& field : fields_) {
        if (field.name_size == name.size() && equal_ignoring_case(text(field.name_offset, field.name_size), name))
            return text(field.value_offset, field.value_size);
    }
    return std::nullopt;
}

std::optional<std::string_view> Headers::joined(std::string_view name, std::string& scratch) const {
    std::optional<std::string_view> first;
    bool several = false;
    for (size_t i = 0; i < fields_.size(); ++i) {
        if (!equal_ignoring_case(this->name(i), name))
            continue;
        if (!first) {
            first = value(i);
            continue;
        }
        if (!several)
            scratch.assign(*first);
        several = true;
        scratch.append(",").append(value(i));
    }
    return several ? std::optional<std::string_view>(scratch) : first;
}

std::string_view Headers::name(size_t index) const {
    return text(fields_[index].name_offset, fields_[index].name_size);
}

std::string_view Headers::value(size_t index) const {
    return text(fields_[index].value_offset, fields_[index].value_size);
}

size_t Headers::bytes() const {
    size_t sum = 0;
    for (const Field& field : fields_)
        sum += size_t{field.name_size} + field.value_size;
    return sum;
}

std::string_view Headers::text(uint32_t offset, uint32_t size) const {
    return std::string_view(block_).substr(offset, size);
}

Headers::Field Headers::append(std::string_view name, std::string_view value) {
    const size_t offset = block_.size();
    const size_t needed = offset + name.size() + value.size();
    assert(needed <= static_cast<size_t>(std::numeric_limits<int32_t>::max()));
    if (needed > block_.capacity()) {
        // The arguments may be views of our own block: it must outlive the copy.
        std::string larger;
        larger.reserve(std::max(needed, 2 * block_.capacity()));
        larger.append(block_).append(name).append(value);
        block_.swap(larger);
    } else {
        block_.append(name).append(value);
    }
    return {.name_offset = static_cast<uint32_t>(offset),
            .name_size = static_cast<uint32_t>(name.size()) & (UINT32_MAX >> 1),
            .checked = 0,
            .value_offset = static_cast<uint32_t>(offset + name.size()),
            .value_size = static_cast<uint32_t>(value.size())};
}

void Headers::compact() {
    const size_t live = bytes();
    if (block_.size() <= 2 * live + garbage_bytes_max)
        return;
    std::string packed;
    packed.reserve(live);
    for (Field& field : fields_) {
        const auto offset = static_cast<uint32_t>(packed.size());
        packed.append(text(field.name_offset, field.name_size)).append(text(field.value_offset, field.value_size));
        field.name_offset = offset;
        field.value_offset = offset + field.name_size;
    }
    block_.swap(packed);
}

} // namespace weft::l7
