// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace weft::agent::bpf {

/// One BPF map by descriptor (borrowed: the datapath's object owns it), values as bytes. It counts the entries that
/// it puts and removes, so that usage needs no walk: right for maps that only the agent writes. Agent thread only.
class RawMap {
public:
    RawMap() = default;
    RawMap(int fd, uint32_t key_bytes);

    /// False: no such key.
    [[nodiscard]] bool get(const void* key, void* value) const;
    /// 0 or errno.
    [[nodiscard]] int put(const void* key, const void* value);
    /// 0 or errno; a missing key is 0.
    [[nodiscard]] int remove(const void* key);
    /// Calls `each` with every key. The map must not change meanwhile. Bounded by the map's size.
    void for_each_key(const std::function<void(const void*)>& each) const;
    /// Walks the map to learn how many entries it has (adoption).
    void recount();

    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] uint32_t entries() const { return entries_; }

private:
    int fd_ = -1;
    uint32_t key_bytes_ = 0;
    uint32_t entries_ = 0;
};

/// The same with types of bpf/abi.h.
template <class Key, class Value>
class Map : public RawMap {
public:
    Map() = default;
    explicit Map(int fd) : RawMap(fd, sizeof(Key)) {}

    [[nodiscard]] bool get(const Key& key, Value& value) const { return RawMap::get(&key, &value); }
    [[nodiscard]] int put(const Key& key, const Value& value) { return RawMap::put(&key, &value); }
    [[nodiscard]] int remove(const Key& key) { return RawMap::remove(&key); }
    /// A copy of all entries.
    [[nodiscard]] std::vector<std::pair<Key, Value>> entries_copy() const {
        std::vector<std::pair<Key, Value>> out;
        for_each_key([&](const void* raw) {
            std::pair<Key, Value> entry{*static_cast<const Key*>(raw), Value{}};
            if (get(entry.first, entry.second))
                out.push_back(entry);
        });
        return out;
    }
};

} // namespace weft::agent::bpf
