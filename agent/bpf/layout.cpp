// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf/layout.hpp"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <string_view>

namespace weft::agent::bpf {
namespace {

constexpr int type_depth_max = 8;

/// FNV-1a: the number is compared on one machine only and guards against mistakes, not against an attacker.
class Hash {
public:
    void add(uint64_t number) {
        for (int shift = 0; shift < 64; shift += 8)
            add_byte(static_cast<uint8_t>(number >> shift));
    }
    void add(std::string_view text) {
        for (const char character : text)
            add_byte(static_cast<uint8_t>(character));
        add_byte(0);
    }
    [[nodiscard]] uint64_t value() const { return value_; }

private:
    void add_byte(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3ULL; }
    uint64_t value_ = 0xcbf29ce484222325ULL;
};

void add_type(Hash& hash, const btf& types, uint32_t id, int depth) {
    const int resolved = btf__resolve_type(&types, id);
    if (resolved <= 0 || depth > type_depth_max)
        return;
    const auto number = static_cast<uint32_t>(resolved);
    const btf_type* type = btf__type_by_id(&types, number);
    hash.add(btf_kind(type));
    hash.add(static_cast<uint64_t>(btf__resolve_size(&types, number)));
    if (btf_is_array(type))
        add_type(hash, types, btf_array(type)->type, depth + 1);
    if (!btf_is_composite(type))
        return;
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
        const btf_member& member = btf_members(type)[i];
        hash.add(btf__name_by_offset(&types, member.name_off));
        hash.add(btf_member_bit_offset(type, i));
        add_type(hash, types, member.type, depth + 1);
    }
}

template <class Each>
void for_each_pinned_map(const bpf_object& object, Each each) {
    const bpf_map* map = nullptr;
    while ((map = bpf_object__next_map(&object, map)) != nullptr) {
        if (!bpf_map__is_internal(map))
            each(*map);
    }
}

MapShape shape_of(const bpf_map& map) {
    return {.name = bpf_map__name(&map),
            .type = static_cast<uint32_t>(bpf_map__type(&map)),
            .key_bytes = bpf_map__key_size(&map),
            .value_bytes = bpf_map__value_size(&map),
            .entries_max = bpf_map__max_entries(&map),
            .flags = bpf_map__map_flags(&map)};
}

} // namespace

std::vector<MapShape> map_shapes(const bpf_object& object) {
    std::vector<MapShape> shapes;
    for_each_pinned_map(object, [&](const bpf_map& map) { shapes.push_back(shape_of(map)); });
    return shapes;
}

uint64_t layout_hash(const bpf_object& object) {
    Hash hash;
    const btf* types = bpf_object__btf(&object);
    for_each_pinned_map(object, [&](const bpf_map& map) {
        const MapShape shape = shape_of(map);
        hash.add(shape.name);
        for (const uint32_t number : {shape.type, shape.key_bytes, shape.value_bytes, shape.entries_max, shape.flags})
            hash.add(number);
        if (types != nullptr) {
            add_type(hash, *types, bpf_map__btf_key_type_id(&map), 0);
            add_type(hash, *types, bpf_map__btf_value_type_id(&map), 0);
        }
    });
    return hash.value();
}

} // namespace weft::agent::bpf
