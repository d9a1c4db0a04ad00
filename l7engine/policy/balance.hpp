// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "config/model/route.hpp"
#include "config/model/snapshot.hpp"

/// Which backend, which endpoint. Pure: all state belongs to the caller, one worker each.
namespace weft::l7 {

/// splitmix64. Deterministic for a seed; not for secrets.
struct RandomState {
    uint64_t value = 0;
    [[nodiscard]] uint64_t next();
    /// Uniform in [0, bound); bound > 0.
    [[nodiscard]] size_t below(size_t bound);
};

/// Smooth weighted round robin (nginx): over any sum(weights)/gcd(weights) picks in a row the split is exact, and equal
/// picks are spread out. It starts somewhere inside its period: otherwise each of many workers that see few requests
/// would give all of them to the heavy backends. The state of one rule on one worker; it outlives a snapshot change
/// that leaves the weights alone.
class WeightedChoice {
public:
    /// An index into `backends`; nullopt if there are none or all weights are zero (answer 500).
    [[nodiscard]] std::optional<size_t> pick(std::span<const config::WeightedCluster> backends, RandomState& random);

private:
    static constexpr uint64_t start_max = 4096; ///< picks to start with
    void start(std::span<const config::WeightedCluster> backends, RandomState& random);
    [[nodiscard]] std::optional<size_t> next();

    struct Share {
        uint32_t weight;
        int64_t current;
    };
    std::vector<Share> shares_;
};

/// The second and the first of two different random endpoints; equal if there is only one.
struct EndpointPair {
    size_t first = 0;
    size_t second = 0;
};
/// `count` > 0.
[[nodiscard]] EndpointPair draw_two(size_t count, RandomState& random);

/// A random index below `count` that is usable. After some draws that are not, the next usable one of the row: where
/// most are not, the first behind them get more than their share. nullopt: none is.
template <class Usable>
[[nodiscard]] std::optional<size_t> draw_usable(size_t count, Usable&& usable, RandomState& random) {
    constexpr unsigned draws_max = 8;
    for (unsigned draws = 0; draws < draws_max && count > 0; ++draws) {
        if (const size_t drawn = random.below(count); usable(drawn))
            return drawn;
    }
    const size_t start = count > 0 ? random.below(count) : 0;
    for (size_t step = 0; step < count; ++step) {
        if (const size_t index = (start + step) % count; usable(index))
            return index;
    }
    return std::nullopt;
}

struct PickedEndpoint {
    size_t index = 0;              ///< into the endpoints
    uint32_t* in_flight = nullptr; ///< its counter
};

/// The less busy of two. `counter(index)` is the number of requests that this worker has open on that endpoint, by
/// reference: asked once per endpoint that is considered.
template <class Counter>
[[nodiscard]] PickedEndpoint less_busy(EndpointPair pair, Counter&& counter) {
    const PickedEndpoint first{.index = pair.first, .in_flight = &counter(pair.first)};
    if (pair.second == pair.first)
        return first;
    const PickedEndpoint second{.index = pair.second, .in_flight = &counter(pair.second)};
    return *second.in_flight < *first.in_flight ? second : first;
}

/// Least requests of two choices among `count` endpoints; nullopt if there are none (answer 503).
template <class Counter>
[[nodiscard]] std::optional<PickedEndpoint> pick_endpoint(size_t count, Counter&& counter, RandomState& random) {
    if (count == 0)
        return std::nullopt;
    return less_busy(count == 1 ? EndpointPair{} : draw_two(count, random), counter);
}

/// The same among the usable ones; nullopt if none is.
template <class Counter, class Usable>
[[nodiscard]] std::optional<PickedEndpoint> pick_endpoint(size_t count, Counter&& counter, RandomState& random,
                                                          Usable&& usable) {
    const std::optional<size_t> first = draw_usable(count, usable, random);
    if (!first)
        return std::nullopt;
    const auto other = [&](size_t index) { return index != *first && usable(index); };
    const size_t second = draw_usable(count, other, random).value_or(*first);
    return less_busy({.first = *first, .second = second}, counter);
}

} // namespace weft::l7
