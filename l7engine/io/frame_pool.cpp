// SPDX-License-Identifier: Apache-2.0
#include "l7engine/io/frame_pool.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "config/base/poison.hpp"

namespace weft::l7 {
namespace {

constexpr size_t class_bytes = 64;
constexpr size_t classes = 64;                       ///< frames above 4 KiB go to malloc each time
constexpr size_t cached_bytes_max = 4 * 1024 * 1024; ///< per thread; what comes back above it is freed

struct FreeFrame {
    FreeFrame* next;
};

/// Trivially destructible, so that a frame released late in a thread's life still finds it.
struct Pool {
    FreeFrame* lists[classes];
    size_t cached_bytes;
    size_t live_bytes;
    size_t largest_frame;
    bool closed;
};
constinit thread_local Pool pool{};

/// Frees the lists when the thread ends.
struct Closer {
    bool registered = false;
    ~Closer() {
        pool.closed = true;
        for (FreeFrame*& list : pool.lists) {
            while (list != nullptr) {
                FreeFrame* frame = list;
                list = frame->next;
                unpoison(frame, class_bytes);
                std::free(frame);
            }
        }
    }
};
thread_local Closer closer;

size_t class_of(size_t size) { return (size + class_bytes - 1) / class_bytes - 1; }

} // namespace

void* FramePool::allocate(size_t size) {
    const size_t index = class_of(size);
    pool.live_bytes += size;
    pool.largest_frame = std::max(pool.largest_frame, size);
    const size_t rounded = (index + 1) * class_bytes;
    if (index < classes && pool.lists[index] != nullptr) {
        FreeFrame* frame = pool.lists[index];
        pool.lists[index] = frame->next;
        pool.cached_bytes -= rounded;
        unpoison(frame, rounded);
        return frame;
    }
    closer.registered = true;
    void* frame = std::malloc(rounded);
    if (frame == nullptr)
        throw std::bad_alloc();
    return frame;
}

void FramePool::release(void* frame, size_t size) noexcept {
    const size_t index = class_of(size);
    const size_t rounded = (index + 1) * class_bytes;
    pool.live_bytes -= size;
    if (index >= classes || pool.closed || pool.cached_bytes + rounded > cached_bytes_max) {
        std::free(frame);
        return;
    }
    auto* free_frame = static_cast<FreeFrame*>(frame);
    free_frame->next = pool.lists[index];
    pool.lists[index] = free_frame;
    pool.cached_bytes += rounded;
    // A coroutine resumed after its end must fail loudly in sanitized builds.
    poison(free_frame + 1, rounded - sizeof(FreeFrame));
}

size_t FramePool::live_bytes() { return pool.live_bytes; }
size_t FramePool::largest_frame() { return pool.largest_frame; }

} // namespace weft::l7
