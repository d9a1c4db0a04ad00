// SPDX-License-Identifier: Apache-2.0
#include "config/base/slab.hpp"

#include <sys/mman.h>

#include <cassert>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <new>
#include <utility>

#include "config/base/poison.hpp"

namespace weft {
namespace {

constexpr size_t step_bytes = 16; ///< between two classes, and what blocks are aligned to
constexpr size_t classes = SlabPool::block_bytes_max / step_bytes;

struct FreeBlock {
    FreeBlock* next;
};

struct Pool;

/// The head of a slab; its blocks follow. Slabs are aligned to their size, so a block's address says which is its own.
struct alignas(step_bytes) Slab {
    Pool* pool;
    Slab* next;          ///< in the list of its class, or of the empty ones
    Slab** previous;     ///< nullptr: it is full
    FreeBlock* released; ///< blocks to use again, the last one first
    std::byte* fresh;    ///< blocks from here on were never used, and their memory was never touched
    uint32_t live;
    uint32_t index; ///< of its class

    [[nodiscard]] std::byte* begin() { return reinterpret_cast<std::byte*>(this + 1); }
    [[nodiscard]] std::byte* end() { return reinterpret_cast<std::byte*>(this) + SlabPool::slab_bytes; }
};

/// Trivially destructible, so that a block released late in a thread's life still finds it.
struct Pool {
    Slab* with_room[classes];
    Slab* empty;
    size_t empty_count;
    size_t mapped;
    bool closed;
};
constinit thread_local Pool pool{};

size_t class_of(size_t size) {
    return (size + step_bytes - 1) / step_bytes - 1;
}
size_t bytes_of(size_t index) {
    return (index + 1) * step_bytes;
}

void link(Slab& slab, Slab** head) {
    slab.next = std::exchange(*head, &slab);
    slab.previous = head;
    if (slab.next != nullptr)
        slab.next->previous = &slab.next;
}

void unlink(Slab& slab) {
    *slab.previous = slab.next;
    if (slab.next != nullptr)
        slab.next->previous = slab.previous;
    slab.previous = nullptr;
}

void* map_slab() {
    void* mapping = mmap(nullptr, 2 * SlabPool::slab_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        throw std::bad_alloc();
    auto* const first = static_cast<std::byte*>(mapping);
    const size_t before = -reinterpret_cast<uintptr_t>(mapping) % SlabPool::slab_bytes;
    if (before > 0)
        munmap(first, before);
    munmap(first + before + SlabPool::slab_bytes, SlabPool::slab_bytes - before);
    search_for_leaks(first + before, SlabPool::slab_bytes);
    pool.mapped += SlabPool::slab_bytes;
    return first + before;
}

void unmap(Slab& slab) {
    unpoison(&slab, SlabPool::slab_bytes);
    forget_for_leaks(&slab, SlabPool::slab_bytes);
    pool.mapped -= SlabPool::slab_bytes;
    munmap(&slab, SlabPool::slab_bytes);
}

Slab& make_slab(size_t index) {
    void* memory = pool.empty;
    if (memory != nullptr) {
        unlink(*pool.empty);
        --pool.empty_count;
    } else {
        memory = map_slab();
    }
    Slab& slab = *::new (memory) Slab{};
    slab.pool = &pool;
    slab.fresh = slab.begin();
    slab.index = static_cast<uint32_t>(index);
    poison(slab.begin(), SlabPool::slab_bytes - sizeof(Slab));
    link(slab, &pool.with_room[index]);
    return slab;
}

/// Its class has another with room, or the thread is about to end.
void retire(Slab& slab) {
    unlink(slab);
    if (pool.closed || pool.empty_count == SlabPool::slabs_kept_max)
        return unmap(slab);
    link(slab, &pool.empty);
    ++pool.empty_count;
}

/// Unmaps what is empty when the thread ends; what is not goes with its last block.
struct Closer {
    bool registered = false;
    ~Closer() {
        pool.closed = true;
        for (Slab* slab : pool.with_room) {
            while (slab != nullptr) {
                Slab* const following = slab->next;
                if (slab->live == 0)
                    retire(*slab);
                slab = following;
            }
        }
        while (pool.empty != nullptr) {
            Slab& slab = *pool.empty;
            unlink(slab);
            unmap(slab);
        }
    }
};
thread_local Closer closer;

void* from_malloc(size_t size) {
    void* block = std::malloc(size);
    if (block == nullptr)
        throw std::bad_alloc();
    return block;
}

} // namespace

void* SlabPool::allocate(size_t size) {
    const size_t index = class_of(size);
    if (index >= classes)
        return from_malloc(size);
    Slab* slab = pool.with_room[index];
    if (slab == nullptr) [[unlikely]] {
        closer.registered = true;
        slab = &make_slab(index);
    }
    const size_t bytes = bytes_of(index);
    void* block = slab->released;
    if (block != nullptr) {
        unpoison(block, bytes);
        slab->released = slab->released->next;
    } else {
        block = std::exchange(slab->fresh, slab->fresh + bytes);
        unpoison(block, bytes);
    }
    ++slab->live;
    if (slab->released == nullptr && static_cast<size_t>(slab->end() - slab->fresh) < bytes)
        unlink(*slab);
    return block;
}

void SlabPool::release(void* block, size_t size) noexcept {
    const size_t index = class_of(size);
    if (index >= classes)
        return std::free(block);
    auto& slab = *reinterpret_cast<Slab*>(reinterpret_cast<uintptr_t>(block) & ~(slab_bytes - 1));
    assert(slab.pool == &pool && slab.index == index);
    auto* const free_block = static_cast<FreeBlock*>(block);
    free_block->next = std::exchange(slab.released, free_block);
    poison(free_block, bytes_of(index));
    if (slab.previous == nullptr)
        link(slab, &pool.with_room[index]);
    const bool only = pool.with_room[index] == &slab && slab.next == nullptr;
    if (--slab.live == 0 && (!only || pool.closed))
        retire(slab);
}

size_t SlabPool::mapped_bytes() {
    return pool.mapped;
}

} // namespace weft
