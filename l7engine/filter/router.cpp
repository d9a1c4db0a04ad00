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

bool EndpointPicker::choose(const SnapshotView& view, RouteChoice& choice, const Chooser& who) {
    choice.open.reset();
    const std::span<const config::Endpoint> all = choice.cluster->endpoints;
    const std::span<const config::Endpoint> endpoints = of_family(all, who.ipv4);
    const size_t start = static_cast<size_t>(endpoints.data() - all.data());
    const std::optional<PickedEndpoint> picked = pick(endpoints, start, choice.tried, who);
    if (!picked)
        return false;
    const config::Endpoint& endpoint = endpoints[picked->index];
    choice.endpoint = static_cast<uint32_t>(start + picked->index);
    choice.address = endpoint.address;
    choice.workload = view.workload(endpoint.workload);
    choice.open = count_in(*picked->in_flight);
    return true;
}

/// An index into `endpoints`, which begin at `start` of those that `tried` counts.
std::optional<PickedEndpoint> EndpointPicker::pick(std::span<const config::Endpoint> endpoints, size_t start,
                                                   std::span<const uint32_t> tried, const Chooser& who) {
    const auto counter = [&](size_t index) -> uint32_t& { return in_flight_[endpoints[index].address]; };
    const auto fresh = [&](size_t index) { return std::ranges::find(tried, start + index) == tried.end(); };
    const auto at = [&](size_t index) { return PodEndpoint{who.pod_id, endpoints[index].address}; };
    const auto fit = [&](size_t index) { return fresh(index) && !health_.is_ejected(at(index), who.now_ms); };
    if (health_.any(who.now_ms)) {
        if (const auto picked = pick_endpoint(endpoints.size(), counter, random_, fit)) {
            health_.chosen(at(picked->index), who.now_ms);
            return picked;
        }
    }
    // All that are left are ejected: they share the load as if none were, since one may work all the same.
    if (!tried.empty()) {
        if (const auto picked = pick_endpoint(endpoints.size(), counter, random_, fresh))
            return picked;
        // Each has been tried: not the last one again, if there is another.
        const auto other = [&](size_t index) { return start + index != tried.back(); };
        if (const auto picked = pick_endpoint(endpoints.size(), counter, random_, other))
            return picked;
    }
    return pick_endpoint(endpoints.size(), counter, random_);
}

uint32_t EndpointPicker::in_flight(const SocketAddress& endpoint) const {
    const auto found = in_flight_.find(endpoint);
    return found == in_flight_.end() ? 0 : found->second;
}

void EndpointPicker::forget_idle() {
    std::erase_if(in_flight_, [](const auto& entry) { return entry.second == 0; });
}

namespace {

std::optional<LocalReply> choose_endpoint(Exchange& exchange, uint32_t trusted_hops) {
    // The time of the request's start is good enough for a retry, too: what was ejected since then stays avoided.
    const Chooser who{
        .pod_id = exchange.pod_id, .ipv4 = exchange.destination.address.is_v4(), .now_ms = exchange.times.start_ms};
    if (!exchange.picker->choose(*exchange.view, exchange.choice, who))
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
        if (const std::optional<LocalReply> reply = choose_endpoint(exchange, trusted_hops_))
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
        const uint32_t table = exchange.view->route_table(frontend, client_namespace);
        if (table == config::none) {
            exchange.choice.cluster = exchange.view->cluster(frontend.cluster);
            if (exchange.choice.cluster == nullptr)
                return local_reply(no_healthy_upstream());
            return std::nullopt;
        }
        const std::optional<RouteHit> hit = exchange.view->router(table).route(exchange.request_view());
        if (!hit)
            return local_reply(no_route());
        const config::RouteRule& rule = exchange.view->rule(table, *hit);
        exchange.choice.rule = &rule;
        const std::optional<size_t> share = exchange.picker->share(table, hit->rule, rule.backends);
        if (share)
            exchange.choice.cluster = exchange.view->cluster(rule.backends[*share].cluster);
        if (exchange.choice.cluster == nullptr)
            return local_reply(invalid_backend());
        return std::nullopt;
    }

    uint32_t trusted_hops_;
};

} // namespace

std::optional<LocalReply> choose_again(Exchange& exchange, uint32_t trusted_hops) {
    if (exchange.choice.endpoint)
        exchange.choice.tried.push_back(*exchange.choice.endpoint);
    return choose_endpoint(exchange, trusted_hops);
}

std::unique_ptr<Filter> make_router(const FilterSettings& settings) {
    return std::make_unique<RouterFilter>(settings);
}

} // namespace weft::l7
