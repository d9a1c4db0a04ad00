// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/frame_pool.hpp"

#include <algorithm>

#include "config/base/slab.hpp"

namespace weft::l7 {
namespace {

struct Counts {
    size_t live_bytes;
    size_t largest_frame;
};
constinit thread_local Counts counts{};

} // namespace

void* FramePool::allocate(size_t size) {
    counts.live_bytes += size;
    counts.largest_frame = std::max(counts.largest_frame, size);
    return SlabPool::allocate(size);
}

void FramePool::release(void* frame, size_t size) noexcept {
    counts.live_bytes -= size;
    SlabPool::release(frame, size);
}

size_t FramePool::live_bytes() {
    return counts.live_bytes;
}
size_t FramePool::largest_frame() {
    return counts.largest_frame;
}

} // namespace weft::l7
