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
/// `exclude` is avoided as long as there is another endpoint. `count` > 0.
[[nodiscard]] EndpointPair draw_two(size_t count, std::optional<size_t> exclude, RandomState& random);

struct PickedEndpoint {
    size_t index = 0;              ///< into the endpoints
    uint32_t* in_flight = nullptr; ///< its counter
};

/// Least requests of two choices; nullopt if there are no endpoints (answer 503). `counter(index)` is the number of
/// requests that this worker has open on that endpoint, by reference: asked once per endpoint that is considered.
/// `exclude` (a retry: the endpoint that just failed) is avoided as long as there is another one.
template <class Counter>
[[nodiscard]] std::optional<PickedEndpoint> pick_endpoint(std::span<const config::Endpoint> endpoints,
                                                          Counter&& counter, RandomState& random,
                                                          std::optional<size_t> exclude) {
    if (endpoints.empty())
        return std::nullopt;
    if (endpoints.size() == 1)
        return PickedEndpoint{.index = 0, .in_flight = &counter(0)};
    const EndpointPair pair = draw_two(endpoints.size(), exclude, random);
    const PickedEndpoint first{.index = pair.first, .in_flight = &counter(pair.first)};
    if (pair.second == pair.first)
        return first;
    const PickedEndpoint second{.index = pair.second, .in_flight = &counter(pair.second)};
    return *second.in_flight < *first.in_flight ? second : first;
}

} // namespace weft::l7
