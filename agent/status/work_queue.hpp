// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <utility>

namespace weft::agent::status {

inline constexpr uint64_t work_retry_min_ms = 500; ///< after the first failure, then doubled
inline constexpr uint64_t work_retry_max_ms = 60'000;

/// What is to be done, by key: once each, however often it is asked for; what exactly is looked up when its time has
/// come, so that the newest wish wins. Failures put a key off, longer and longer, by chance. It holds no more keys than
/// there are objects. Pure; of one thread.
template <class Key>
class WorkQueue {
public:
    explicit WorkQueue(uint64_t seed) : random_(static_cast<std::minstd_rand::result_type>(seed)) {}

    /// To be done not before `due_ms`, nor before a failure of it allows; one that is queued keeps the sooner time. One
    /// that is under way is done again afterwards.
    void put(const Key& key, uint64_t due_ms) {
        Item& item = items_[key];
        due_ms = std::max(due_ms, item.not_before_ms);
        if (item.queued && item.due_ms <= due_ms)
            return;
        if (item.queued)
            order_.erase({item.due_ms, key});
        item.queued = true;
        item.due_ms = due_ms;
        order_.insert({due_ms, key});
    }
    /// One that is due and not under way; then done() or failed() for it.
    [[nodiscard]] std::optional<Key> take(uint64_t now_ms) {
        for (auto each = order_.begin(); each != order_.end() && each->first <= now_ms; ++each) {
            Item& item = items_.at(each->second);
            if (item.under_way)
                continue;
            Key key = each->second;
            order_.erase(each);
            item.queued = false;
            item.under_way = true;
            return key;
        }
        return std::nullopt;
    }
    void done(const Key& key) {
        const auto found = items_.find(key);
        if (found == items_.end())
            return;
        found->second.under_way = false;
        found->second.failures = 0;
        found->second.not_before_ms = 0;
        if (!found->second.queued)
            items_.erase(found);
    }
    /// It is done again later. `least_ms`: the server asked for that much.
    void failed(const Key& key, uint64_t now_ms, uint64_t least_ms) {
        const auto found = items_.find(key);
        if (found == items_.end())
            return;
        Item& item = found->second;
        item.under_way = false;
        uint64_t wait_ms = work_retry_min_ms;
        for (uint32_t i = 0; i < item.failures && wait_ms < work_retry_max_ms; ++i)
            wait_ms *= 2;
        ++item.failures;
        wait_ms = std::min(wait_ms, work_retry_max_ms);
        wait_ms = wait_ms / 2 + random_() % (wait_ms / 2 + 1);
        item.not_before_ms = now_ms + std::max(wait_ms, std::min(least_ms, work_retry_max_ms));
        if (item.queued)
            order_.erase({std::exchange(item.due_ms, 0), key});
        item.queued = false;
        put(key, item.not_before_ms);
    }
    /// Nothing is to be done any more; what is under way may still say so.
    void clear() {
        items_.clear();
        order_.clear();
    }
    /// When take() will have something; UINT64_MAX: not by time alone.
    [[nodiscard]] uint64_t due_ms() const {
        for (const auto& [due_ms, key] : order_)
            if (!items_.at(key).under_way)
                return due_ms;
        return UINT64_MAX;
    }
    [[nodiscard]] size_t size() const { return items_.size(); }

private:
    struct Item {
        uint64_t due_ms = 0;
        uint64_t not_before_ms = 0;
        uint32_t failures = 0;
        bool queued = false;
        bool under_way = false;
    };
    std::map<Key, Item> items_;
    std::set<std::pair<uint64_t, Key>> order_; ///< of those queued
    std::minstd_rand random_;
};

} // namespace weft::agent::status
