// SPDX-License-Identifier: Apache-2.0
#include "l7engine/filter/router.hpp"

#include <algorithm>

#include "l7engine/filter/authz.hpp"
#include "l7engine/filter/registry.hpp"

namespace weft::l7 {

namespace {

/// As without Weft, a client of an IPv4 address reaches an IPv4 endpoint: the application must not see another family.
/// Only a cluster without one gives the other. The agent sorts endpoints by address: IPv4 comes first.
std::span<const config::Endpoint> of_family(std::span<const config::Endpoint> endpoints, bool ipv4) {
    const auto border =
        std::ranges::partition_point(endpoints, [](const auto& endpoint) { return endpoint.address.address.is_v4(); });
    const auto count = static_cast<size_t>(border - endpoints.begin());
    const auto same = ipv4 ? endpoints.first(count) : endpoints.subspan(count);
    return same.empty() ? endpoints : same;
}

} // namespace

std::optional<size_t> EndpointPicker::share(uint32_t table, uint32_t rule,
                                            std::span<const config::WeightedCluster> backends) {
    if (shares_.size() <= table)
        shares_.resize(table + 1);
    if (shares_[table].size() <= rule)
        shares_[table].resize(rule + 1);
    return shares_[table][rule].pick(backends, random_);
}

bool EndpointPicker::choose(const SnapshotView& view, RouteChoice& choice, bool ipv4, std::optional<uint32_t> exclude) {
    choice.open.reset();
    const std::span<const config::Endpoint> all = choice.cluster->endpoints;
    const std::span<const config::Endpoint> endpoints = of_family(all, ipv4);
    const size_t start = static_cast<size_t>(endpoints.data() - all.data());
    const auto counter = [&](size_t index) -> uint32_t& { return in_flight_[endpoints[index].address]; };
    const bool is_here = exclude && *exclude >= start && *exclude - start < endpoints.size();
    const std::optional<size_t> avoid = is_here ? std::optional<size_t>(*exclude - start) : std::nullopt;
    const std::optional<PickedEndpoint> picked = pick_endpoint(endpoints, counter, random_, avoid);
    if (!picked)
        return false;
    const config::Endpoint& endpoint = endpoints[picked->index];
    choice.endpoint = static_cast<uint32_t>(start + picked->index);
    choice.address = endpoint.address;
    choice.workload = view.workload(endpoint.workload);
    choice.open = count_in(*picked->in_flight);
    return true;
}

uint32_t EndpointPicker::in_flight(const SocketAddress& endpoint) const {
    const auto found = in_flight_.find(endpoint);
    return found == in_flight_.end() ? 0 : found->second;
}

void EndpointPicker::forget_idle() {
    std::erase_if(in_flight_, [](const auto& entry) { return entry.second == 0; });
}

namespace {

std::optional<LocalReply> choose_endpoint(Exchange& exchange, std::optional<uint32_t> failed, uint32_t trusted_hops) {
    if (!exchange.picker->choose(exchange.view, exchange.choice, exchange.destination.address.is_v4(), failed))
        return local_reply(no_healthy_upstream());
    const std::optional<LocalReply> refusal = judge_endpoint(exchange, trusted_hops);
    if (refusal)
        exchange.choice.open.reset(); // it sees nothing of this request
    return refusal;
}

class RouterFilter final : public Filter {
public:
    explicit RouterFilter(const FilterSettings& settings) : trusted_hops_(settings.trusted_hops) {}

    std::string_view name() const override { return "router"; }

    Outcome on_request(Exchange& exchange) override {
        if (exchange.direction == Direction::inbound)
            return to_pod(exchange);
        if (exchange.frontend == nullptr)
            return local_reply(no_route());
        if (std::optional<LocalReply> reply = choose_cluster(exchange))
            return *reply;
        if (const std::optional<LocalReply> reply = choose_endpoint(exchange, std::nullopt, trusted_hops_))
            return *reply;
        return Continue{};
    }

private:
    /// The client named a pod: there is nothing to choose.
    static Outcome to_pod(Exchange& exchange) {
        exchange.choice.address = exchange.destination;
        exchange.choice.open = exchange.picker->open(exchange.destination);
        return Continue{};
    }

    static std::optional<LocalReply> choose_cluster(Exchange& exchange) {
        const config::Frontend& frontend = *exchange.frontend;
        const std::string_view client_namespace =
            exchange.peer.workload == nullptr ? std::string_view() : std::string_view(exchange.peer.workload->ns);
        const uint32_t table = exchange.view.route_table(frontend, client_namespace);
        if (table == config::none) {
            exchange.choice.cluster = exchange.view.cluster(frontend.cluster);
            if (exchange.choice.cluster == nullptr)
                return local_reply(no_healthy_upstream());
            return std::nullopt;
        }
        const std::optional<RouteHit> hit = exchange.view.router(table).route(exchange.request_view());
        if (!hit)
            return local_reply(no_route());
        const config::RouteRule& rule = exchange.view.rule(table, *hit);
        exchange.choice.rule = &rule;
        const std::optional<size_t> share = exchange.picker->share(table, hit->rule, rule.backends);
        if (share)
            exchange.choice.cluster = exchange.view.cluster(rule.backends[*share].cluster);
        if (exchange.choice.cluster == nullptr)
            return local_reply(invalid_backend());
        return std::nullopt;
    }

    uint32_t trusted_hops_;
};

} // namespace

std::optional<LocalReply> choose_again(Exchange& exchange, uint32_t trusted_hops) {
    return choose_endpoint(exchange, exchange.choice.endpoint, trusted_hops);
}

std::unique_ptr<Filter> make_router(const FilterSettings& settings) { return std::make_unique<RouterFilter>(settings); }

} // namespace weft::l7
