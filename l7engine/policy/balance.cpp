// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/balance.hpp"

#include <algorithm>
#include <numeric>

namespace weft::l7 {

uint64_t RandomState::next() {
    value += 0x9e3779b97f4a7c15ULL;
    uint64_t mixed = value;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
    return mixed ^ (mixed >> 31);
}

size_t RandomState::below(size_t bound) {
    // Multiply-shift over 32 bits: no division; the bias is below 2^-16 for any number of endpoints we accept.
    return static_cast<size_t>(((next() >> 32) * static_cast<uint64_t>(bound)) >> 32);
}

std::optional<size_t> WeightedChoice::pick(std::span<const config::WeightedCluster> backends, RandomState& random) {
    if (!std::ranges::equal(shares_, backends, {}, &Share::weight, &config::WeightedCluster::weight))
        start(backends, random);
    return next();
}

void WeightedChoice::start(std::span<const config::WeightedCluster> backends, RandomState& random) {
    shares_.clear();
    uint64_t total = 0;
    uint64_t divisor = 0;
    for (const auto& backend : backends) {
        shares_.push_back({.weight = backend.weight, .current = 0});
        total += backend.weight;
        divisor = std::gcd(divisor, uint64_t{backend.weight});
    }
    if (total == 0)
        return;
    for (size_t left = random.below(std::min(total / divisor, start_max)); left > 0; --left)
        (void)next();
}

std::optional<size_t> WeightedChoice::next() {
    int64_t total = 0;
    Share* best = nullptr;
    for (auto& share : shares_) {
        if (share.weight == 0)
            continue;
        share.current += share.weight;
        total += share.weight;
        if (best == nullptr || share.current > best->current)
            best = &share;
    }
    if (best == nullptr)
        return std::nullopt;
    best->current -= total;
    return static_cast<size_t>(best - shares_.data());
}

EndpointPair draw_two(size_t count, RandomState& random) {
    const size_t first = random.below(count);
    if (count == 1)
        return {first, first};
    const size_t second = random.below(count - 1);
    return {first, second >= first ? second + 1 : second};
}

} // namespace weft::l7
