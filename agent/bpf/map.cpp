// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf/map.hpp"

#include <bpf/bpf.h>

#include <cerrno>

namespace weft::agent::bpf {

RawMap::RawMap(int fd, uint32_t key_bytes) : fd_(fd), key_bytes_(key_bytes) {}

bool RawMap::get(const void* key, void* value) const {
    return bpf_map_lookup_elem(fd_, key, value) == 0;
}

int RawMap::put(const void* key, const void* value) {
    // Two calls for an existing key: the only way to learn which of both it was without a race or a walk.
    if (bpf_map_update_elem(fd_, key, value, BPF_NOEXIST) == 0) {
        ++entries_;
        return 0;
    }
    if (errno != EEXIST)
        return errno;
    return bpf_map_update_elem(fd_, key, value, BPF_EXIST) == 0 ? 0 : errno;
}

int RawMap::remove(const void* key) {
    if (bpf_map_delete_elem(fd_, key) == 0) {
        entries_ -= entries_ > 0 ? 1 : 0;
        return 0;
    }
    return errno == ENOENT ? 0 : errno;
}

void RawMap::for_each_key(const std::function<void(const void*)>& each) const {
    // 8-byte aligned storage, since callers see it as their key type.
    std::vector<uint64_t> current((key_bytes_ + 7) / 8);
    std::vector<uint64_t> next(current.size());
    const void* previous = nullptr;
    while (bpf_map_get_next_key(fd_, previous, next.data()) == 0) {
        each(next.data());
        current = next;
        previous = current.data();
    }
}

void RawMap::recount() {
    entries_ = 0;
    for_each_key([this](const void*) { ++entries_; });
}

} // namespace weft::agent::bpf
