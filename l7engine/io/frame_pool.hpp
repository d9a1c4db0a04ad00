// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace weft::l7 {

/// Coroutine frames of this thread: blocks of its slabs (config/base/slab.hpp), counted.
class FramePool {
public:
    static void* allocate(size_t size);
    static void release(void* frame, size_t size) noexcept;
    /// Bytes of live frames of this thread; tests bound them per connection and per exchange.
    [[nodiscard]] static size_t live_bytes();
    /// The largest frame that this thread ever made.
    [[nodiscard]] static size_t largest_frame();
};

} // namespace weft::l7
