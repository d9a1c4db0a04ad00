// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/flood.hpp"

#include <algorithm>

namespace weft::l7 {

void FloodGuard::flooded(uint32_t pod_id, uint64_t now_ms) {
    if (rules_.pause_ms == 0)
        return;
    Record& record = pods_[pod_id];
    ++record.floods;
    record.last_ms = now_ms;
    record.next_turn_ms = std::max(record.next_turn_ms, now_ms + pause_ms(record));
}

uint64_t FloodGuard::pause_ms(const Record& record) const {
    uint64_t factor = 1;
    for (uint64_t flood = 1; flood < record.floods && factor < rules_.pause_max_factor; ++flood)
        factor *= 2;
    return rules_.pause_ms * factor;
}

std::optional<uint64_t> FloodGuard::next_turn(uint32_t pod_id, uint64_t now_ms) {
    const auto found = pods_.find(pod_id);
    if (found == pods_.end())
        return now_ms;
    Record& record = found->second;
    const uint64_t turn_ms = std::max(now_ms, record.next_turn_ms);
    if (turn_ms - now_ms > rules_.wait_ms_max())
        return std::nullopt;
    record.next_turn_ms = turn_ms + pause_ms(record);
    return turn_ms;
}

void FloodGuard::forget_old(uint64_t now_ms) {
    if (pods_.empty())
        return;
    const uint64_t remembered_ms = std::max(rules_.remembered_ms, rules_.wait_ms_max());
    std::erase_if(pods_, [&](const auto& one) { return one.second.last_ms + remembered_ms <= now_ms; });
}

} // namespace weft::l7
