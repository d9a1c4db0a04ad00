// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "config/base/slice.hpp"

namespace weft::l7 {

/// Bytes received and not yet read, in order. Nothing is allocated while it is empty.
///
/// A peer that sends many small segments must not hold a whole ring buffer with each: behind the first few, small
/// slices are copied together into heap chunks, so memory stays near the number of bytes, which the watermark bounds.
/// And whoever reads slowly must not take the ring's buffers from all others: the fewer are free, the fewer one queue
/// holds; the rest of what it has is copied. So it is the slow stream that pays for the copies.
class ReceiveQueue {
public:
    ReceiveQueue() = default;
    ReceiveQueue(const ReceiveQueue&) = delete;
    ReceiveQueue& operator=(const ReceiveQueue&) = delete;
    ~ReceiveQueue() { clear(); }

    /// `free_percent`: of the ring's buffers.
    void push(Slice slice, uint32_t free_percent);
    /// Not on an empty queue.
    [[nodiscard]] Slice pop();
    void clear();
    [[nodiscard]] bool empty() const { return first_ == nullptr; }
    [[nodiscard]] size_t bytes() const { return bytes_; }
    /// Slices held; tests bound it.
    [[nodiscard]] size_t slices() const { return slices_; }

private:
    struct Node;
    struct Chunk;
    class ChunkOwner;
    static constexpr size_t small_slices_max = 4; ///< from here on small slices are copied together
    static constexpr size_t small_slice_bytes = 2048;
    static constexpr size_t chunk_bytes = 16384;
    [[nodiscard]] bool copies(size_t size, uint32_t free_percent) const;
    void append_copy(Bytes bytes);
    void append(Slice slice, Chunk* chunk);

    Node* first_ = nullptr;
    Node* last_ = nullptr;
    size_t bytes_ = 0;
    size_t slices_ = 0;
};

} // namespace weft::l7
