// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/flood.hpp"

#include <algorithm>

namespace weft::l7 {

void FloodGuard::flooded(const FloodSource& source, uint64_t now_ms) {
    if (rules_.pause_ms == 0)
        return;
    if (!sources_.contains(source))
        make_room();
    Record& record = sources_[source];
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

std::optional<uint64_t> FloodGuard::next_turn(const FloodSource& source, uint64_t now_ms) {
    const auto found = sources_.find(source);
    if (found == sources_.end())
        return now_ms;
    Record& record = found->second;
    const uint64_t turn_ms = std::max(now_ms, record.next_turn_ms);
    if (turn_ms - now_ms > rules_.wait_ms_max)
        return std::nullopt;
    record.next_turn_ms = turn_ms + pause_ms(record);
    return turn_ms;
}

void FloodGuard::forget_old(uint64_t now_ms) {
    if (!sources_.empty())
        std::erase_if(sources_, [&](const auto& one) { return one.second.last_ms + rules_.remembered_ms <= now_ms; });
}

void FloodGuard::forget_pod(uint32_t pod_id) {
    std::erase_if(sources_, [&](const auto& one) { return one.first.pod_id == pod_id; });
}

void FloodGuard::make_room() {
    if (sources_.size() < rules_.sources_max || sources_.empty())
        return;
    sources_.erase(std::ranges::min_element(sources_, {}, [](const auto& one) { return one.second.last_ms; }));
}

} // namespace weft::l7
