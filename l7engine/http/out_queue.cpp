// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/out_queue.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>

#include "config/base/free_list.hpp"

namespace weft::l7 {
namespace {

/// The block of nearly every message, from the thread's free list; a longer head gets a block of its own size.
constexpr size_t block_bytes_min = 1000;
constexpr size_t blocks_kept_max = 256;
/// Sent slices are moved out of the way beyond this many.
constexpr size_t sent_slices_max = 32;
constexpr size_t slices_kept_max = 64;
constexpr size_t slices_min = 4; ///< room that is made at once: head, body, and their ends

} // namespace

/// A header, then `capacity` bytes.
struct OutQueue::Block {
    size_t references;
    size_t capacity;

    char* bytes() { return reinterpret_cast<char*>(this + 1); }
};

/// A block of the least size.
struct OutQueue::SmallBlock {
    SmallBlock() {} // NOLINT: its bytes are written before they are read
    Block header{.references = 1, .capacity = block_bytes_min};
    char bytes[block_bytes_min];
};

class OutQueue::Owner final : public BufferOwner {
public:
    void retain(void* token) noexcept override { ++static_cast<Block*>(token)->references; }
    void release(void* token) noexcept override {
        auto* block = static_cast<Block*>(token);
        if (--block->references > 0)
            return;
        if (block->capacity == block_bytes_min)
            FreeList<SmallBlock, blocks_kept_max>::destroy(reinterpret_cast<SmallBlock*>(block));
        else
            std::free(block);
    }

    static Owner instance;
};

OutQueue::Owner OutQueue::Owner::instance;

void clear_slices(SliceList& slices) {
    slices.clear();
    if (slices.capacity() > slices_kept_max)
        SliceList().swap(slices);
}

OutQueue::Block* OutQueue::make_block(size_t bytes_max) {
    if (bytes_max <= block_bytes_min)
        return &FreeList<SmallBlock, blocks_kept_max>::make()->header;
    void* memory = std::malloc(sizeof(Block) + bytes_max);
    if (memory == nullptr)
        throw std::bad_alloc();
    return ::new (memory) Block{.references = 1, .capacity = bytes_max};
}

char* OutQueue::reserve(size_t bytes_max) {
    if (block_ == nullptr || block_->capacity - used_ < bytes_max) {
        release_block();
        block_ = make_block(bytes_max);
    }
    return block_->bytes() + used_;
}

void OutQueue::commit(size_t bytes) {
    assert(block_ != nullptr && bytes <= block_->capacity - used_);
    if (bytes == 0)
        return;
    const char* begin = block_->bytes() + used_;
    used_ += bytes;
    size_t size = bytes;
    if (last_is_ours_ && !empty()) {
        // Adjacent to the piece before: one longer slice, one iovec.
        begin = as_text(slices_.back().bytes()).data();
        size += slices_.back().size();
        slices_.pop_back();
    }
    ++block_->references;
    if (slices_.capacity() == 0)
        slices_.reserve(slices_min);
    slices_.emplace_back(&Owner::instance, block_, as_bytes({begin, size}));
    last_is_ours_ = true;
}

void OutQueue::append(std::string_view text) {
    std::memcpy(reserve(text.size()), text.data(), text.size());
    commit(text.size());
}

void OutQueue::append(Slice&& data) {
    if (data.empty())
        return;
    if (slices_.capacity() == 0)
        slices_.reserve(slices_min);
    slices_.push_back(std::move(data));
    last_is_ours_ = false;
}

void OutQueue::sent(size_t bytes) {
    while (bytes > 0) {
        assert(!empty());
        Slice& front = slices_[first_];
        if (bytes < front.size()) {
            front.remove_prefix(bytes);
            break;
        }
        bytes -= front.size();
        front = Slice{};
        ++first_;
    }
    if (empty()) {
        clear_slices(slices_);
        first_ = 0;
        release_block();
    } else if (first_ > sent_slices_max && first_ > slices_.size() / 2) {
        slices_.erase(slices_.begin(), slices_.begin() + static_cast<ptrdiff_t>(first_));
        first_ = 0;
    }
}

void OutQueue::release_block() {
    if (block_ != nullptr)
        Owner::instance.release(block_);
    block_ = nullptr;
    used_ = 0;
    last_is_ours_ = false;
}

} // namespace weft::l7
