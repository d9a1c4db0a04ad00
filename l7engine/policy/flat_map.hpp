// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "config/base/net.hpp"

namespace weft::l7 {

/// FNV-1a, one byte at a time, so that a walk along a path has the hash of each prefix on the way.
struct TextHash {
    uint64_t state = 0xcbf29ce484222325ULL;

    constexpr void add(char c) { state = (state ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL; }
    [[nodiscard]] constexpr uint64_t value() const { return state ^ (state >> 29); }
};

[[nodiscard]] constexpr uint64_t flat_hash(std::string_view text) {
    TextHash hash;
    for (const char c : text)
        hash.add(c);
    return hash.value();
}
[[nodiscard]] constexpr uint64_t flat_hash(uint32_t number) {
    const uint64_t mixed = (number + 1) * 0x9e3779b97f4a7c15ULL;
    return mixed ^ (mixed >> 32);
}
[[nodiscard]] inline uint64_t flat_hash(const IpAddress& address) {
    return std::hash<IpAddress>{}(address);
}
[[nodiscard]] inline uint64_t flat_hash(const SocketAddress& address) {
    return std::hash<SocketAddress>{}(address);
}

/// Built once, then read by all workers: open addressing over a dense array of entries, in the order of insertion.
/// Keys come from the snapshot, never from a client, so nobody can provoke collisions.
template <class Key, class Value>
class FlatMap {
public:
    /// The value of `key`, made if it is new.
    Value& operator[](const Key& key) {
        if ((entries_.size() + 1) * 2 > slots_.size())
            grow();
        const uint64_t hash = flat_hash(key);
        uint32_t& slot = slots_[position(key, hash)];
        if (slot == 0) {
            entries_.push_back(Entry{hash, key, Value{}});
            slot = static_cast<uint32_t>(entries_.size());
        }
        return entries_[slot - 1].value;
    }

    [[nodiscard]] const Value* find(const Key& key) const { return find(key, flat_hash(key)); }
    /// With the hash of `key` known already.
    [[nodiscard]] const Value* find(const Key& key, uint64_t hash) const {
        if (entries_.empty())
            return nullptr;
        const uint32_t slot = slots_[position(key, hash)];
        return slot == 0 ? nullptr : &entries_[slot - 1].value;
    }
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    [[nodiscard]] size_t size() const { return entries_.size(); }

    template <class Function>
    void for_each(Function&& function) {
        for (auto& entry : entries_)
            function(entry.key, entry.value);
    }

private:
    struct Entry {
        uint64_t hash;
        Key key;
        Value value;
    };

    /// The slot of `key`, or the free one where it belongs. At most half of the slots are taken: it ends.
    [[nodiscard]] size_t position(const Key& key, uint64_t hash) const {
        const size_t mask = slots_.size() - 1;
        size_t at = static_cast<size_t>(hash) & mask;
        while (slots_[at] != 0) {
            const Entry& entry = entries_[slots_[at] - 1];
            if (entry.hash == hash && entry.key == key)
                break;
            at = (at + 1) & mask;
        }
        return at;
    }

    void grow() {
        slots_.assign(std::bit_ceil((entries_.size() + 1) * 4), 0);
        const size_t mask = slots_.size() - 1;
        for (uint32_t i = 0; i < entries_.size(); ++i) {
            size_t at = static_cast<size_t>(entries_[i].hash) & mask;
            while (slots_[at] != 0)
                at = (at + 1) & mask;
            slots_[at] = i + 1;
        }
    }

    std::vector<Entry> entries_;
    std::vector<uint32_t> slots_; ///< entry index + 1; 0: free
};

} // namespace weft::l7
