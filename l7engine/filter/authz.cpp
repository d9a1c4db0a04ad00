// SPDX-License-Identifier: Apache-2.0
#include "l7engine/filter/authz.hpp"

#include <algorithm>

#include "l7engine/filter/registry.hpp"

namespace weft::l7 {

namespace {

/// Facts of an exchange as policies read them. `destination` is what the client dialled. X-Forwarded-For is parsed only
/// for policies that read it.
AuthzInput authz_input(Exchange& exchange, bool reads_remote, uint32_t trusted_hops) {
    AuthzInput input;
    input.judged = exchange.judged;
    input.sni = exchange.sni;
    input.sni_unknown = exchange.sni_unknown;
    input.peer = exchange.peer.address.address;
    input.remote = input.peer;
    if (exchange.judged == Judged::request) {
        input.request = exchange.request_view();
        if (reads_remote)
            input.remote = remote_address(exchange.request.headers, input.peer, trusted_hops);
    }
    input.destination = exchange.destination.address;
    input.destination_port = exchange.destination.port;
    input.identify(exchange.peer.workload);
    return input;
}

bool reads_remote(const SnapshotView& view, std::span<const config::Guard> guards) {
    return std::ranges::any_of(guards, [&](const config::Guard& guard) {
        return guard.policies < view.snapshot().policy_sets.size() && view.authorizer(guard.policies).reads_remote();
    });
}

AuthzVerdict judge_named(Exchange& exchange, uint32_t trusted_hops) {
    // Without a frontend the router answers 404; nothing is forwarded, so nothing is judged.
    if (exchange.frontend == nullptr || exchange.frontend->policies == config::none)
        return {.allowed = true};
    const Authorizer& authorizer = exchange.view->authorizer(exchange.frontend->policies);
    return authorizer.judge(authz_input(exchange, authorizer.reads_remote(), trusted_hops));
}

AuthzVerdict judge_unnamed(Exchange& exchange, uint32_t trusted_hops) {
    const auto guards = exchange.view->guards(*exchange.pod, exchange.destination.port);
    if (guards.empty())
        return {.allowed = true};
    const bool remote = reads_remote(*exchange.view, guards);
    return judge_guards(exchange.view->snapshot(), guards, authz_input(exchange, remote, trusted_hops));
}

class Authz final : public Filter {
public:
    explicit Authz(const FilterSettings& settings) : trusted_hops_(settings.trusted_hops) {}

    std::string_view name() const override { return "authz"; }

    Outcome on_request(Exchange& exchange) override {
        if (const std::optional<LocalReply> refusal = judge_arrival(exchange, trusted_hops_))
            return *refusal;
        return Continue{};
    }

private:
    uint32_t trusted_hops_;
};

/// Do the pod's guards stand for the dialled service, too? Then its own policies were judged already (by name), and
/// nobody else's count. Any other service that leads to this pod, with or without policies, is no way around them.
bool was_judged_by_name(const Exchange& exchange, std::span<const config::Guard> guards) {
    const config::Frontend* dialled = exchange.frontend;
    return dialled != nullptr && std::ranges::any_of(guards, [&](const config::Guard& guard) {
               return guard.frontend < exchange.view->snapshot().frontends.size() &&
                      &exchange.view->snapshot().frontends[guard.frontend] == dialled &&
                      guard.policies == dialled->policies;
           });
}

} // namespace

std::optional<LocalReply> judge_arrival(Exchange& exchange, uint32_t trusted_hops) {
    // A pod or service that this snapshot does not know cannot be judged: refused, not passed.
    if (exchange.pod == nullptr)
        return local_reply(no_configuration());
    const AuthzVerdict verdict = exchange.direction == Direction::outbound ? judge_named(exchange, trusted_hops)
                                                                           : judge_unnamed(exchange, trusted_hops);
    if (!verdict.allowed)
        return local_reply(denied_by_policy());
    return std::nullopt;
}

std::optional<LocalReply> judge_endpoint(Exchange& exchange, uint32_t trusted_hops) {
    if (exchange.direction != Direction::outbound || !exchange.choice.endpoint)
        return std::nullopt;
    const config::Endpoint& endpoint = exchange.choice.cluster->endpoints[*exchange.choice.endpoint];
    if (endpoint.local_pod == 0)
        return std::nullopt;
    const config::LocalPod* pod = exchange.view->pod(endpoint.local_pod);
    if (pod == nullptr)
        return local_reply(no_configuration());
    if (judge_pod(exchange, *pod, endpoint.address, trusted_hops))
        return std::nullopt;
    return local_reply(denied_by_policy());
}

bool judge_pod(Exchange& exchange, const config::LocalPod& pod, const SocketAddress& address, uint32_t trusted_hops) {
    const auto guards = exchange.view->guards(pod, address.port);
    if (guards.empty() || was_judged_by_name(exchange, guards))
        return true;
    AuthzInput input = authz_input(exchange, reads_remote(*exchange.view, guards), trusted_hops);
    input.destination = address.address;
    input.destination_port = address.port; // what a guard of every port judges by
    return judge_guards(exchange.view->snapshot(), guards, input).allowed;
}

std::unique_ptr<Filter> make_authz(const FilterSettings& settings) {
    return std::make_unique<Authz>(settings);
}

} // namespace weft::l7
