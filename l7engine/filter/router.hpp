// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "l7engine/filter/filter.hpp"
#include "l7engine/policy/balance.hpp"

namespace weft::l7 {

/// A worker's balancing state: weighted shares per rule and open requests per endpoint. Owned by the worker's proxy.
class EndpointPicker {
public:
    explicit EndpointPicker(uint64_t seed) : random_{seed} {}

    /// Index into the rule's backends, nullopt: none has weight.
    [[nodiscard]] std::optional<size_t> share(uint32_t table, uint32_t rule,
                                              std::span<const config::WeightedCluster> backends);
    /// Chooses an endpoint of the choice's cluster, fills the choice and counts it as open; `exclude` just failed.
    /// False: none is ready. One look-up per endpoint that is considered, none when the request ends.
    [[nodiscard]] bool choose(const SnapshotView& view, RouteChoice& choice, bool ipv4,
                              std::optional<uint32_t> exclude);

    [[nodiscard]] OpenRequest open(const SocketAddress& endpoint) { return count_in(in_flight_[endpoint]); }
    [[nodiscard]] uint32_t in_flight(const SocketAddress& endpoint) const;
    /// Forgets endpoints without open requests: on a new snapshot, so that the table stays as small as the cluster.
    void forget_idle();
    [[nodiscard]] size_t known_endpoints() const { return in_flight_.size(); }

private:
    static OpenRequest count_in(uint32_t& count) { return OpenRequest(&++count); }

    RandomState random_;
    /// By table and rule of the current snapshot. After a change a slot may serve another rule: harmless, since a
    /// state whose weights differ starts again and one whose weights are equal is as good as any.
    std::vector<std::vector<WeightedChoice>> shares_;
    std::unordered_map<SocketAddress, uint32_t> in_flight_; ///< OpenRequests point into it
};

/// A second endpoint after the first could not be reached, judged again. nullopt: exchange.choice is set.
[[nodiscard]] std::optional<LocalReply> choose_again(Exchange& exchange, uint32_t trusted_hops);

} // namespace weft::l7
