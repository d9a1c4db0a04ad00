// SPDX-License-Identifier: Apache-2.0
#include "config/base/slice.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

namespace weft {
namespace {

/// One heap block: a count, then the bytes.
class HeapOwner final : public BufferOwner {
public:
    void retain(void* token) noexcept override { ++*static_cast<size_t*>(token); }
    void release(void* token) noexcept override {
        if (--*static_cast<size_t*>(token) == 0)
            std::free(token);
    }
};

HeapOwner heap_owner;

} // namespace

Slice Slice::copy_of(Bytes bytes) {
    if (bytes.empty())
        return {};
    void* block = std::malloc(sizeof(size_t) + bytes.size());
    if (block == nullptr)
        throw std::bad_alloc();
    *static_cast<size_t*>(block) = 1;
    auto* data = static_cast<std::byte*>(block) + sizeof(size_t);
    std::memcpy(data, bytes.data(), bytes.size());
    return {&heap_owner, block, {data, bytes.size()}};
}

} // namespace weft
