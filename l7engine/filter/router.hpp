// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "l7engine/filter/filter.hpp"
#include "l7engine/policy/balance.hpp"
#include "l7engine/policy/health.hpp"

namespace weft::l7 {

/// Who asks for an endpoint.
struct Chooser {
    uint32_t pod_id = 0; ///< whose connections go there
    bool ipv4 = true;    ///< the family that the client dialled
    uint64_t now_ms = 0;
};

/// A worker's balancing state: weighted shares per rule, open requests and health per endpoint. Owned by the worker's
/// proxy.
class EndpointPicker {
public:
    explicit EndpointPicker(uint64_t seed) : random_{seed} {}

    /// Index into the rule's backends, nullopt: none has weight.
    [[nodiscard]] std::optional<size_t> share(uint32_t table, uint32_t rule,
                                              std::span<const config::WeightedCluster> backends);
    /// Chooses an endpoint of the choice's cluster, fills the choice and counts it as open. Those in choice.tried are
    /// avoided, and so are those that are ejected, as long as there is another. False: the cluster has none. One
    /// look-up per endpoint that is considered, none when the request ends.
    [[nodiscard]] bool choose(const SnapshotView& view, RouteChoice& choice, const Chooser& who);

    /// Outcomes of requests to endpoints of clusters: of the failure of one that has not begun to answer, and of an
    /// answer that has begun. Cheap unless an endpoint is in trouble.
    void endpoint_failed(const PodEndpoint& endpoint, EndpointFailure failure, uint64_t now_ms) {
        health_.failed(endpoint, failure, now_ms);
    }
    void endpoint_worked(const PodEndpoint& endpoint) { health_.worked(endpoint); }
    [[nodiscard]] const EndpointHealth& health() const { return health_; }

    [[nodiscard]] OpenRequest open(const SocketAddress& endpoint) { return count_in(in_flight_[endpoint]); }
    [[nodiscard]] uint32_t in_flight(const SocketAddress& endpoint) const;
    /// Forgets endpoints without open requests: on a new snapshot, so that the table stays as small as the cluster.
    void forget_idle();
    [[nodiscard]] size_t known_endpoints() const { return in_flight_.size(); }

private:
    static OpenRequest count_in(uint32_t& count) { return OpenRequest(&++count); }
    [[nodiscard]] std::optional<PickedEndpoint> pick(std::span<const config::Endpoint> endpoints, size_t start,
                                                     std::span<const uint32_t> tried, const Chooser& who);

    RandomState random_;
    /// By table and rule of the current snapshot. After a change a slot may serve another rule: harmless, since a
    /// state whose weights differ starts again and one whose weights are equal is as good as any.
    std::vector<std::vector<WeightedChoice>> shares_;
    std::unordered_map<SocketAddress, uint32_t> in_flight_; ///< OpenRequests point into it
    EndpointHealth health_;
};

/// Another endpoint after the chosen one failed the request, judged again. nullopt: exchange.choice is set, to an
/// endpoint that was tried before if there is no other.
[[nodiscard]] std::optional<LocalReply> choose_again(Exchange& exchange, uint32_t trusted_hops);

} // namespace weft::l7
