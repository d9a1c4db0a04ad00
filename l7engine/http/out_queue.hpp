// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "config/base/slab.hpp"
#include "config/base/slice.hpp"

namespace weft::l7 {

using SliceList = std::vector<Slice, SlabAllocator<Slice>>;

/// Empties a list that is used again and again: the room of one burst of small slices does not stay with it.
void clear_slices(SliceList& slices);

/// What a codec wants written: its own small pieces (heads, chunk framing) in reference-counted blocks, and slices of
/// bodies as they came. The bytes of a piece stay where they are until sent() has passed them, so a write may be under
/// way while more is added. An empty queue holds no block and a short list. Bounded by the codec's owner, who stops
/// sending while pending() is long.
class OutQueue {
public:
    OutQueue() = default;
    OutQueue(const OutQueue&) = delete;
    OutQueue& operator=(const OutQueue&) = delete;
    ~OutQueue() { release_block(); }

    /// Room for `bytes_max` in one piece; commit() says how many were written.
    [[nodiscard]] char* reserve(size_t bytes_max);
    void commit(size_t bytes);
    void append(std::string_view text);
    void append(Slice&& data);

    [[nodiscard]] std::span<const Slice> pending() const { return std::span(slices_).subspan(first_); }
    void sent(size_t bytes);
    [[nodiscard]] bool empty() const { return first_ == slices_.size(); }

private:
    struct Block;
    struct SmallBlock;
    class Owner;

    static Block* make_block(size_t bytes_max);
    void release_block();

    SliceList slices_;
    size_t first_ = 0; ///< slices before it are sent
    Block* block_ = nullptr;
    size_t used_ = 0;           ///< bytes of block_
    bool last_is_ours_ = false; ///< the last slice ends at used_ of block_
};

} // namespace weft::l7
