// SPDX-License-Identifier: Apache-2.0
#include "agent/heap.hpp"

#include <malloc.h>

namespace weft::agent {
namespace {

constexpr int apart_bytes_min = 128 << 10; ///< fixed: the library would raise it with each large block that is freed

} // namespace

void keep_heap_small() {
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, apart_bytes_min);
    mallopt(M_MXFAST, 0); // else each larger block first merges all small ones that were freed
}

void give_back_heap() {
    malloc_trim(0);
}

} // namespace weft::agent
