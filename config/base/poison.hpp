// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#endif

namespace weft {

/// Memory on a free list is out of bounds: AddressSanitizer reports its use. Nothing in other builds.
inline void poison([[maybe_unused]] void* memory, [[maybe_unused]] size_t size) {
#if __has_feature(address_sanitizer)
    ASAN_POISON_MEMORY_REGION(memory, size);
#endif
}
inline void unpoison([[maybe_unused]] void* memory, [[maybe_unused]] size_t size) {
#if __has_feature(address_sanitizer)
    ASAN_UNPOISON_MEMORY_REGION(memory, size);
#endif
}

/// Mapped memory whose pointers count: LeakSanitizer looks for them only where it is told to, beyond the heap.
inline void search_for_leaks([[maybe_unused]] void* memory, [[maybe_unused]] size_t size) {
#if __has_feature(address_sanitizer)
    __lsan_register_root_region(memory, size);
#endif
}
inline void forget_for_leaks([[maybe_unused]] void* memory, [[maybe_unused]] size_t size) {
#if __has_feature(address_sanitizer)
    __lsan_unregister_root_region(memory, size);
#endif
}

} // namespace weft
