// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/receive_queue.hpp"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "config/base/free_list.hpp"

namespace weft::l7 {

/// A heap block that still takes bytes behind those that slices already show.
struct ReceiveQueue::Chunk {
    size_t references;
    size_t used;
    size_t capacity;
    std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
};

struct ReceiveQueue::Node {
    Slice slice;
    Chunk* chunk = nullptr; ///< the slice ends where the chunk's free room begins
    Node* next = nullptr;
};

class ReceiveQueue::ChunkOwner final : public BufferOwner {
public:
    void retain(void* token) noexcept override { ++static_cast<Chunk*>(token)->references; }
    void release(void* token) noexcept override {
        if (--static_cast<Chunk*>(token)->references == 0)
            std::free(token);
    }
    static ChunkOwner& instance() {
        static ChunkOwner owner;
        return owner;
    }
};

namespace {
constexpr size_t nodes_kept_max = 1024;

/// How many buffers one queue may hold. Below a half it is one: that is all that a reader needs who keeps up.
constexpr size_t whole_slices_max(uint32_t free_percent) {
    if (free_percent >= 75)
        return 64;
    return free_percent >= 50 ? 4 : 1;
}

} // namespace

bool ReceiveQueue::copies(size_t size, uint32_t free_percent) const {
    return slices_ >= whole_slices_max(free_percent) || (slices_ >= small_slices_max && size < small_slice_bytes);
}

void ReceiveQueue::push(Slice slice, uint32_t free_percent) {
    bytes_ += slice.size();
    if (copies(slice.size(), free_percent))
        append_copy(slice.bytes());
    else
        append(std::move(slice), nullptr);
}

void ReceiveQueue::append_copy(Bytes bytes) {
    if (last_ != nullptr && last_->chunk != nullptr) {
        Chunk& chunk = *last_->chunk;
        const size_t fits = std::min(bytes.size(), chunk.capacity - chunk.used);
        std::memcpy(chunk.data() + chunk.used, bytes.data(), fits);
        chunk.used += fits;
        const size_t shown = last_->slice.size() + fits;
        ++chunk.references;
        last_->slice = Slice(&ChunkOwner::instance(), &chunk, {last_->slice.data(), shown});
        bytes = bytes.subspan(fits);
    }
    if (bytes.empty())
        return;
    const size_t capacity = std::max(bytes.size(), chunk_bytes);
    void* memory = std::malloc(sizeof(Chunk) + capacity);
    if (memory == nullptr)
        throw std::bad_alloc();
    auto* chunk = ::new (memory) Chunk{.references = 1, .used = bytes.size(), .capacity = capacity};
    std::memcpy(chunk->data(), bytes.data(), bytes.size());
    append(Slice(&ChunkOwner::instance(), chunk, {chunk->data(), bytes.size()}), chunk);
}

void ReceiveQueue::append(Slice slice, Chunk* chunk) {
    Node* node = FreeList<Node, nodes_kept_max>::make(std::move(slice), chunk);
    (last_ != nullptr ? last_->next : first_) = node;
    last_ = node;
    ++slices_;
}

Slice ReceiveQueue::pop() {
    assert(first_ != nullptr);
    Node* node = first_;
    first_ = node->next;
    if (first_ == nullptr)
        last_ = nullptr;
    Slice slice = std::move(node->slice);
    FreeList<Node, nodes_kept_max>::destroy(node);
    bytes_ -= slice.size();
    --slices_;
    return slice;
}

void ReceiveQueue::clear() {
    while (first_ != nullptr)
        static_cast<void>(pop());
}

} // namespace weft::l7
