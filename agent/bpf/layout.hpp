// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct bpf_object;

namespace weft::agent::bpf {

struct MapShape {
    std::string name;
    uint32_t type = 0;
    uint32_t key_bytes = 0;
    uint32_t value_bytes = 0;
    uint32_t entries_max = 0;
    uint32_t flags = 0;
};

/// The maps of an opened object that are pinned by name (not .rodata), in the object's order.
[[nodiscard]] std::vector<MapShape> map_shapes(const bpf_object& object);

/// One number over the shape of every pinned map and, from BTF, the name, place and size of every member of its key
/// and value: programs and maps with different numbers do not fit together, even if the sizes agree. The object must
/// not be loaded yet.
[[nodiscard]] uint64_t layout_hash(const bpf_object& object);

} // namespace weft::agent::bpf
