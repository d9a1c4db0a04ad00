// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace weft {

/// Blocks of this thread, packed by size into slabs: no header per block, and a slab without a live block goes back to
/// the kernel. For what is made and dropped with every request, and for what ten thousand idle connections have each: a
/// free list keeps the memory of the busiest moment, and malloc a heap that its last block holds open.
///
///   no slab ──map──▶ has room ◀──▶ full
///      ▲                │ last block released
///      └──unmap── empty (the class's only one with room: stays; else kept for any class, up to slabs_kept_max)
///
/// A block is released on the thread that allocated it, also late in that thread's life (asserted).
class SlabPool {
public:
    static constexpr size_t slab_bytes = 32 * 1024;
    static constexpr size_t block_bytes_max = 4096; ///< larger ones go to malloc each time
    static constexpr size_t slabs_kept_max = 16;    ///< empty ones, per thread

    /// Aligned as by malloc. Throws std::bad_alloc.
    [[nodiscard]] static void* allocate(size_t size);
    /// `size`: as it was allocated.
    static void release(void* block, size_t size) noexcept;
    /// Of this thread's slabs, empty ones included.
    [[nodiscard]] static size_t mapped_bytes();
};

/// A base of classes whose objects come from the slabs. A class that is deleted by its base needs a virtual destructor
/// there, as always: so the size is its own.
struct InSlab {
    static void* operator new(size_t size) { return SlabPool::allocate(size); }
    static void operator delete(void* object, size_t size) noexcept { SlabPool::release(object, size); }
};

/// For short containers that come and go with every request.
template <class T>
struct SlabAllocator {
    using value_type = T;
    SlabAllocator() = default;
    template <class Other>
    SlabAllocator(const SlabAllocator<Other>&) {}
    [[nodiscard]] T* allocate(size_t count) { return static_cast<T*>(SlabPool::allocate(count * sizeof(T))); }
    void deallocate(T* first, size_t count) noexcept { SlabPool::release(first, count * sizeof(T)); }
    bool operator==(const SlabAllocator&) const = default;
};

} // namespace weft
