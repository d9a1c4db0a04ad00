// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace weft {

using Bytes = std::span<const std::byte>;

[[nodiscard]] inline Bytes as_bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
}
[[nodiscard]] inline std::string_view as_text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Owner of the memory behind slices: a worker's buffer pool, or the heap. Not thread-safe: a slice is dropped on the
/// thread of its owner.
class BufferOwner {
public:
    virtual void retain(void* token) noexcept = 0;
    virtual void release(void* token) noexcept = 0;

protected:
    ~BufferOwner() = default;
};

/// A move-only, reference-counted view of bytes. Dropping the last slice of a buffer gives the buffer back.
/// A slice without an owner views static memory.
class [[nodiscard]] Slice {
public:
    Slice() = default;
    /// Takes over one reference on `token`.
    Slice(BufferOwner* owner, void* token, Bytes bytes) : owner_(owner), token_(token), bytes_(bytes) {}
    Slice(Slice&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), token_(std::exchange(other.token_, nullptr)),
          bytes_(std::exchange(other.bytes_, {})) {}
    Slice& operator=(Slice&& other) noexcept {
        if (this != &other) {
            drop();
            owner_ = std::exchange(other.owner_, nullptr);
            token_ = std::exchange(other.token_, nullptr);
            bytes_ = std::exchange(other.bytes_, {});
        }
        return *this;
    }
    Slice(const Slice&) = delete;
    Slice& operator=(const Slice&) = delete;
    ~Slice() { drop(); }

    /// A slice of static memory (a literal).
    [[nodiscard]] static Slice of_static(std::string_view text) { return {nullptr, nullptr, as_bytes(text)}; }
    /// A heap copy. Off the request path, or where the bytes must outlive their buffer.
    [[nodiscard]] static Slice copy_of(Bytes bytes);
    [[nodiscard]] static Slice copy_of(std::string_view text) { return copy_of(as_bytes(text)); }

    /// A second reference on `[offset, offset+length)`.
    [[nodiscard]] Slice share(size_t offset, size_t length) const {
        if (owner_ != nullptr)
            owner_->retain(token_);
        return {owner_, token_, bytes_.subspan(offset, length)};
    }
    /// Splits off the first `length` bytes.
    [[nodiscard]] Slice split_front(size_t length) {
        Slice front = share(0, length);
        bytes_ = bytes_.subspan(length);
        return front;
    }
    void remove_prefix(size_t length) { bytes_ = bytes_.subspan(length); }

    [[nodiscard]] Bytes bytes() const { return bytes_; }
    [[nodiscard]] std::string_view text() const { return as_text(bytes_); }
    [[nodiscard]] const std::byte* data() const { return bytes_.data(); }
    [[nodiscard]] size_t size() const { return bytes_.size(); }
    [[nodiscard]] bool empty() const { return bytes_.empty(); }

private:
    void drop() noexcept {
        if (owner_ != nullptr)
            owner_->release(token_);
    }

    BufferOwner* owner_ = nullptr;
    void* token_ = nullptr;
    Bytes bytes_;
};

} // namespace weft
