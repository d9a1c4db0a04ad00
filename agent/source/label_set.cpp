// SPDX-License-Identifier: Apache-2.0
#include "agent/source/label_set.hpp"

#include <algorithm>
#include <functional>

namespace weft::agent {
namespace {

size_t hash_of(const Labels& labels) {
    constexpr size_t odd = 0x9e3779b97f4a7c15;
    size_t out = labels.size();
    for (const auto& [key, value] : labels)
        out = ((out ^ std::hash<std::string>()(key)) * odd ^ std::hash<std::string>()(value)) * odd;
    return out;
}

} // namespace

void LabelPool::share(LabelSet& labels) {
    if (!labels.labels_)
        return;
    const size_t hash = hash_of(*labels.labels_);
    const auto [first, last] = sets_.equal_range(hash);
    for (auto each = first; each != last; ++each) {
        const std::shared_ptr<const Labels> there = each->second.lock();
        if (there && *there == *labels.labels_) {
            labels.labels_ = there;
            return;
        }
    }
    if (sets_.size() >= sweep_at_)
        sweep();
    sets_.emplace(hash, labels.labels_);
}

void LabelPool::sweep() {
    std::erase_if(sets_, [](const auto& each) { return each.second.expired(); });
    sweep_at_ = std::max(sweep_min, 2 * sets_.size());
}

} // namespace weft::agent
