// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <malloc.h>

#include <cstddef>

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#include <sanitizer/allocator_interface.h>
#define WEFT_TEST_SANITIZED 1
#endif

namespace weft::l7::test {

/// Bytes of the heap that are in use now: what a test bounds.
[[nodiscard]] inline size_t allocated_bytes() {
#ifdef WEFT_TEST_SANITIZED
    return __sanitizer_get_current_allocated_bytes();
#else
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#endif
}

} // namespace weft::l7::test
