// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/tunnel.hpp"

#include "l7engine/filter/authz.hpp"
#include "l7engine/filter/router.hpp"
#include "l7engine/proxy/describe.hpp"
#include "l7engine/proxy/proxy.hpp"

namespace weft::l7 {

Tunnel::Tunnel(Proxy& proxy, std::unique_ptr<ByteStream> client, const Accepted& accepted, ServerName name)
    : Downstream(proxy, accepted), client_(std::move(client)), server_name_(std::move(name)) {
    client_->watch_peer(this);
}

Tunnel::~Tunnel() {
    if (series_ != nullptr)
        ++series_->counts.closed;
}

Task<void> Tunnel::run(std::unique_ptr<Tunnel> self, Slice first) {
    if (co_await self->connect())
        co_await self->relay(std::move(first));
    else
        self->client_->abort({.code = Code::unavailable, .side = Side::self, .during = "tunnel"}, true);
}

/// Judges, chooses and dials, as the filters do for a request. False: nobody to talk to, or the client is gone.
Task<bool> Tunnel::connect() {
    ViewPtr view = proxy_.view(); // what is chosen belongs to it
    std::optional<Exchange> x(described());
    if (!choose(*x))
        co_return false;
    for (uint32_t tries = 1;; ++tries) {
        UpstreamKey key{.pod_id = accepted_.pod_id, .address = x->choice.address, .client = {}};
        if (accepted_.direction == Direction::inbound)
            key.client = accepted_.client;
        const Until until(proxy_.worker().in_ms(proxy_.settings().connect_timeout_ms), &dial_);
        Result<std::unique_ptr<ByteStream>> stream =
            co_await proxy_.dial(key, accepted_.direction, x->peer.address, until);
        if (gone_) {
            if (stream)
                (*stream)->abort({.code = Code::canceled, .side = Side::self, .during = "tunnel"}, true);
            co_return false;
        }
        if (stream) { // a policy that came meanwhile has judged the endpoint: policy_changed()
            server_ = std::move(*stream);
            open_ = std::move(x->choice.open);
            proxy_.picker().endpoint_worked({x->pod_id, x->choice.address});
            open(*x, {});
            co_return true;
        }
        if (stream.error().side == Side::upstream && blames_endpoint(stream.error().detail) && x->choice.endpoint)
            proxy_.picker().endpoint_failed({x->pod_id, x->choice.address}, EndpointFailure::connect,
                                            proxy_.worker().now_ms());
        if (!may_try_again(stream.error(), tries)) {
            refuse(*x, local_reply(stream.error()));
            co_return false;
        }
        const SocketAddress failed = x->choice.address;
        const bool anew = proxy_.view() != view;
        if (anew) { // its policies and endpoints count from now on
            x.reset();
            view = proxy_.view();
            x.emplace(described());
        }
        if (!choose(*x) || (anew && x->choice.address == failed && !choose(*x)))
            co_return false;
        if (x->choice.address == failed) { // there is no other
            refuse(*x, local_reply(stream.error()));
            co_return false;
        }
        proxy_.counters().add(Counter::retries_connect);
    }
}

Task<void> Tunnel::relay(Slice first) {
    TcpCounts& counts = series_->counts;
    const ProxySettings& settings = proxy_.settings();
    relay_.emplace(proxy_.worker(), RelaySide{*client_, counts.sent_bytes}, RelaySide{*server_, counts.received_bytes},
                   RelaySettings{.idle_timeout_ms = settings.tunnel_idle_timeout_ms,
                                 .lost_timeout_ms = settings.linger_timeout_ms,
                                 .gather_bytes_max = settings.relay_bytes_max,
                                 .bulk = settings.bulk,
                                 .account = &use_.buffers},
                   settings.pipes.pipes_max == 0
                       ? std::nullopt
                       : std::optional(RelaySplicing{.pipes = proxy_.pipes(), .counters = proxy_.counters()}));
    const RelayEnd end = co_await relay_->run(std::move(first), {});
    switch (end) {
    case RelayEnd::finished: proxy_.counters().add(Counter::tunnels_finished); break;
    case RelayEnd::reset: proxy_.counters().add(Counter::tunnels_reset); break;
    case RelayEnd::idle: proxy_.counters().add(Counter::tunnel_timeouts); break;
    case RelayEnd::canceled: break; // counted by whoever cut it
    }
}

// ------------------------------------------------------------------ deciding

/// A connection as the chain's judges see it: an exchange without a request.
Exchange Tunnel::described() const {
    Exchange x{.view = proxy_.view().get()};
    x.judged = Judged::connection;
    x.sni = server_name_.text;
    x.sni_unknown = server_name_.unknown;
    describe(x, accepted_, proxy_);
    return x;
}

/// Where it goes: the pod that was named, or an endpoint of the service's own, since routes are for requests. Called
/// again, another endpoint.
bool Tunnel::choose(Exchange& x) {
    const uint32_t trusted_hops = proxy_.settings().filters.trusted_hops;
    const bool begun = x.choice.endpoint.has_value();
    std::optional<LocalReply> refusal = begun ? std::nullopt : judge_arrival(x, trusted_hops);
    if (!refusal && x.direction == Direction::inbound) {
        x.choice.address = x.destination;
        x.choice.open = x.picker->open(x.destination);
        return true;
    }
    if (!refusal && x.frontend == nullptr)
        refusal = local_reply(no_route());
    if (!refusal) {
        x.choice.cluster = x.view->cluster(x.frontend->cluster);
        refusal = x.choice.cluster == nullptr ? local_reply(no_healthy_upstream()) : choose_again(x, trusted_hops);
    }
    if (refusal) {
        refuse(x, *refusal);
        return false;
    }
    endpoint_ = x.choice.address;
    return true;
}

bool Tunnel::may_try_again(const Error& error, uint32_t tries) const {
    // A socket or a dial slot that is missing is our own trouble: it would be missing for the next endpoint, too.
    return error.side == Side::upstream && accepted_.direction == Direction::outbound &&
           tries < proxy_.settings().connect_tries_max;
}

/// A denial is no connection of the metrics' (istio.md 3.1: what a policy stops never reaches them).
void Tunnel::refuse(const Exchange& x, const LocalReply& why) {
    gone_ = true;
    if (why.status == 403) {
        const bool of_pod = x.choice.endpoint || x.direction == Direction::inbound;
        proxy_.counters().add(of_pod ? Counter::tunnels_denied_pod : Counter::tunnels_denied_frontend);
        return;
    }
    proxy_.counters().add(Counter::tunnels_unconnected);
    open(x, ResponseFlags::named(why.flag));
}

void Tunnel::open(const Exchange& x, ResponseFlags flags) {
    LabelFacts facts;
    facts.reporter = x.direction == Direction::outbound ? Reporter::waypoint : Reporter::destination;
    facts.protocol = RequestProtocol::tcp;
    facts.source = x.peer.workload;
    facts.destination = x.choice.workload;
    if (x.choice.cluster != nullptr)
        facts.service = ServiceName::of(*x.choice.cluster);
    else if (x.frontend != nullptr)
        facts.service = ServiceName::of(*x.frontend);
    facts.flags = flags;
    series_ = proxy_.tcp_stats().series_of(x.view->snapshot(), facts);
    ++series_->counts.opened;
    if (flags.empty())
        proxy_.counters().add(Counter::tunnels_opened);
}

// ------------------------------------------------------------------ from outside

void Tunnel::cut() {
    if (std::exchange(gone_, true))
        return;
    dial_.now();
    if (relay_)
        relay_->cut();
    else
        client_->abort({.code = Code::canceled, .side = Side::self, .during = "cut"}, true);
}

void Tunnel::policy_changed() {
    if (gone_ || is_still_allowed())
        return;
    proxy_.counters().add(Counter::policy_cut);
    cut();
}

bool Tunnel::is_still_allowed() const {
    Exchange x = described();
    return x.pod == nullptr || // its release is on its way, and ends this
           l7::is_still_allowed(x, endpoint_, proxy_.settings().filters.trusted_hops);
}

} // namespace weft::l7
