// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/connection.hpp"

#include <algorithm>

#include "l7engine/filter/sanitize.hpp"
#include "l7engine/http/out_queue.hpp"
#include "l7engine/proxy/active_exchange.hpp"

namespace weft::l7 {

namespace {

size_t pending_bytes(const Codec& codec) {
    size_t sum = 0;
    for (const Slice& slice : codec.pending())
        sum += slice.size();
    return sum;
}

} // namespace

Connection::Connection(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted)
    : Downstream(proxy, accepted), stream_(std::move(stream)),
      codec_(make_h1_server_codec(proxy.settings().h1)), turn_(proxy.worker()), left_(proxy.worker()) {
    stream_->watch_peer(this);
    enter(Phase::idle);
    if (proxy.draining())
        drain();
}

// ------------------------------------------------------------------ codec events, inside receive()

void Connection::on_head(StreamId stream, Head&& head, bool last) {
    last_stream_ = stream;
    request_complete_ = last;
    next_exchange_ = exchange(stream, std::move(head), last);
}

void Connection::on_data(StreamId, Slice&& data, bool last) {
    if (!data.empty())
        body_.push_back(std::move(data));
    request_complete_ = request_complete_ || last;
    body_ended_ = body_ended_ || last;
}

void Connection::on_trailers(StreamId, Trailers&& trailers) {
    trailers_ = std::move(trailers);
    sanitize_trailers(*trailers_, proxy_.settings().filters.underscore_names);
    request_complete_ = true;
}

void Connection::on_reset(StreamId, Error error) { read_failed(error); }

// ------------------------------------------------------------------ the reader

Task<void> Connection::run(std::unique_ptr<Connection> self) {
    Connection& c = *self;
    for (;;) {
        Result<Slice> bytes = co_await c.stream_->read(c.phase_ == Phase::head ? c.head_deadline_ : never);
        if (!bytes && bytes.error().code == Code::timeout && c.phase_ == Phase::head && c.poison_head()) {
            co_await c.refuse_request({.code = Code::timeout, .side = Side::downstream, .during = "request head"});
            if (c.client_gone_)
                break;
            continue; // lingers, so that no reset eats the reply
        }
        if (!bytes) {
            c.read_failed(bytes.error());
            break;
        }
        if (bytes->empty()) {
            c.read_ended();
            break;
        }
        if (c.phase_ == Phase::closing && !c.linger(bytes->size()))
            break;
        while (!bytes->empty() && c.phase_ != Phase::closing && !c.client_gone_) {
            if (c.active_ != nullptr && c.active_->reply_given()) {
                // For the codec the reply has ended, and it would take the next request; but it is still being written.
                (void)co_await c.turn_.wait();
                continue;
            }
            const Result<size_t> taken = c.take(*bytes);
            if (!taken) {
                co_await c.refuse_request(taken.error());
                break;
            }
            if (!c.body_.empty() || c.body_ended_ || c.trailers_)
                co_await c.send_request_body();
            if (!bytes->empty() && c.active_ != nullptr)
                (void)co_await c.turn_.wait(); // pipelined: the next request waits for this reply
            else if (*taken == 0)
                break; // the codec wants nothing more
        }
    }
    co_await c.exchanges_.join();
}

Result<size_t> Connection::take(Slice& bytes) {
    const Result<size_t> used = codec_->receive(bytes, *this);
    if (!used) {
        request_bytes_ += bytes.size();
        return used;
    }
    bytes.remove_prefix(*used);
    touch();
    if (next_exchange_.valid()) {
        request_bytes_ += *used;
        enter(Phase::exchange);
        exchanges_.spawn(std::move(next_exchange_));
    } else if (active_ != nullptr) {
        active_->x.request_bytes += *used;
    } else {
        request_bytes_ += *used;
        // Blank lines are no beginning of a request: some clients send one behind a body.
        const bool begun = *used > 0 && !codec_->between_messages();
        if (begun && phase_ == Phase::idle) {
            head_deadline_ = proxy_.worker().in_ms(proxy_.settings().head_timeout_ms);
            enter(Phase::head);
        } else if (!begun && phase_ == Phase::head) {
            enter(Phase::idle);
        }
    }
    return used;
}

Task<void> Connection::send_request_body() {
    while (active_ != nullptr && !active_->body_allowed_)
        (void)co_await turn_.wait();
    if (active_ == nullptr || active_->body_lost_) {
        forget_body();
        co_return;
    }
    // The exchange does not end before the reader has left the backend.
    ActiveExchange& active = *active_;
    Upstream& upstream = *active.upstream_;
    active.reader_inside_ = true;
    active.body_begun_ = true;
    active.body_lost_ = !hand_over_body(upstream, active.upstream_stream_);
    while (!active.body_lost_ && !upstream.codec->pending().empty()) {
        const Result<size_t> wrote = co_await upstream.stream->write(upstream.codec->pending());
        // The backend may have answered before it closed: the exchange reads on and finds out.
        if (!wrote) {
            active.body_lost_ = true;
            break;
        }
        upstream.codec->sent(*wrote);
        touch();
    }
    active.reader_inside_ = false;
    left_.notify_all();
}

bool Connection::hand_over_body(Upstream& upstream, StreamId stream) {
    const bool ended = std::exchange(body_ended_, false);
    bool ok = true;
    for (size_t index = 0; ok && index < body_.size(); ++index)
        ok = upstream.codec->send_data(stream, std::move(body_[index]), ended && index + 1 == body_.size()).has_value();
    if (ok && ended && body_.empty())
        ok = upstream.codec->send_data(stream, {}, true).has_value();
    if (ok && trailers_)
        ok = upstream.codec->send_trailers(stream, *trailers_).has_value();
    forget_body();
    return ok;
}

void Connection::forget_body() {
    clear_slices(body_);
    trailers_.reset();
    body_ended_ = false;
}

void Connection::read_failed(const Error& error) {
    if (std::exchange(client_gone_, true))
        return; // whoever notices first
    if (active_ != nullptr)
        active_->client_gone(error);
}

void Connection::read_ended() {
    client_finished_ = true;
    if (phase_ == Phase::closing)
        return;
    const Result<void> ended = codec_->receive_eof(*this);
    if (active_ == nullptr)
        return;
    if (!ended || !request_complete_)
        active_->client_gone({.code = Code::eof, .side = Side::downstream, .during = "request"});
    else
        enter(Phase::exchange); // a half-close: the reply is still wanted, under a shorter limit
}

bool Connection::linger(size_t bytes) {
    lingered_bytes_ += bytes;
    return lingered_bytes_ <= proxy_.settings().linger_bytes_max;
}

bool Connection::poison_head() {
    // The codec answers only what it has refused, and knows no clock: a byte that no head may contain makes it refuse.
    static constexpr std::string_view nul("\0", 1);
    return !codec_->receive(Slice::of_static(nul), *this) && active_ == nullptr;
}

Task<void> Connection::refuse_request(Error error) {
    error.side = Side::downstream;
    const bool head_was_good = next_exchange_.valid();
    next_exchange_ = {};
    forget_body();
    if (active_ != nullptr) {
        count_refusal(local_reply(error).status);
        active_->request_failed(error);
        co_return;
    }
    const LocalReply reply = local_reply(error);
    count_refusal(reply.status);
    const StreamId stream = head_was_good ? last_stream_ : last_stream_ + 1;
    Head head = make_local_reply(reply.status, reply.body.size(), proxy_.http_date());
    if (!proxy_.settings().filters.server_name.empty())
        head.headers.set("server", proxy_.settings().filters.server_name);
    if (reply.status != 0 && codec_->send_head(stream, head, reply.body.empty())) {
        if (!reply.body.empty())
            (void)codec_->send_data(stream, Slice::of_static(reply.body), true);
        const size_t bytes = pending_bytes(*codec_);
        enter(Phase::exchange); // its clock runs: this client may not read
        co_await flush();
        record_refusal(client_gone_ ? 0 : reply.status, reply.flag, client_gone_ ? 0 : bytes);
    }
    if (!client_gone_)
        enter(Phase::closing);
}

/// A request that no filter saw is a request all the same.
void Connection::record_refusal(uint16_t status, std::string_view flag, size_t response_bytes) {
    const SnapshotView& view = *proxy_.view();
    const bool outbound = accepted_.direction == Direction::outbound;
    RequestRecord record;
    record.facts.reporter = outbound ? Reporter::waypoint : Reporter::destination;
    const config::LocalPod* pod = view.pod(accepted_.pod_id);
    const config::Frontend* frontend = outbound ? view.frontend(accepted_.frontend_id) : nullptr;
    if (pod != nullptr) {
        (outbound ? record.facts.source : record.facts.destination) = view.workload(pod->workload);
        if (!outbound)
            frontend = view.service_of(*pod, accepted_.destination.port);
    }
    if (!outbound)
        record.facts.source = view.workload(accepted_.client.address);
    if (frontend != nullptr)
        record.facts.service = ServiceName::of(*frontend);
    record.facts.response_code = status;
    record.facts.flags = ResponseFlags::named(flag);
    record.request_bytes = std::exchange(request_bytes_, 0);
    record.response_bytes = response_bytes;
    proxy_.stats().record(view.snapshot(), record);
}

void Connection::count_refusal(int32_t status) {
    static constexpr std::pair<int32_t, Counter> known[] = {
        {400, Counter::codec_400}, {408, Counter::codec_408}, {414, Counter::codec_414}, {417, Counter::codec_417},
        {426, Counter::codec_426}, {431, Counter::codec_431}, {501, Counter::codec_501}, {505, Counter::codec_505}};
    for (const auto& [code, counter] : known) {
        if (code == status) {
            proxy_.counters().add(counter);
            return;
        }
    }
    proxy_.counters().add(Counter::codec_other);
}

// ------------------------------------------------------------------ clock and end

uint64_t Connection::limit_ms() const {
    const ProxySettings& settings = proxy_.settings();
    switch (phase_) {
    case Phase::idle:
        return draining_ ? settings.drain_idle_ms : settings.idle_timeout_ms;
    case Phase::head:
        return never; // the read's own deadline
    case Phase::exchange:
        if (active_ == nullptr) // a refusal is on its way
            return std::min(settings.idle_timeout_ms, settings.exchange_idle_timeout_ms);
        return client_finished_ ? settings.half_closed_timeout_ms : settings.exchange_idle_timeout_ms;
    case Phase::closing:
        return settings.linger_timeout_ms;
    }
    return settings.idle_timeout_ms;
}

void Connection::enter(Phase phase) {
    phase_ = phase;
    touch();
    const uint64_t limit = limit_ms();
    const Deadline deadline = limit == never ? never : progress_ms_ + limit;
    // A timer that fires early looks again; so the wheel is touched only to fire sooner.
    if (deadline < armed_deadline_ || !armed())
        arm(deadline);
    if (phase == Phase::closing)
        stream_->shutdown_write();
}

void Connection::arm(Deadline deadline) {
    armed_deadline_ = deadline;
    proxy_.worker().timers().arm(*this, deadline);
}

void Connection::expired() {
    armed_deadline_ = never;
    const uint64_t limit = limit_ms();
    if (limit == never)
        return;
    if (proxy_.worker().now_ms() < progress_ms_ + limit) {
        arm(progress_ms_ + limit);
        return;
    }
    if (phase_ == Phase::exchange && active_ != nullptr) {
        active_->timed_out();
        touch();
        arm(progress_ms_ + limit);
        return;
    }
    if (phase_ == Phase::idle && !draining_)
        proxy_.counters().add(Counter::idle_timeouts);
    stream_->abort({.code = Code::timeout, .side = Side::downstream, .during = "idle"}, false);
}

void Connection::drain() {
    draining_ = true;
    codec_->drain();
    if (phase_ == Phase::idle)
        enter(Phase::idle);
}

void Connection::cut() {
    if (std::exchange(client_gone_, true))
        return;
    const Error why{.code = Code::canceled, .side = Side::downstream, .during = "cut"};
    if (active_ != nullptr) {
        if (active_->x.flags.empty())
            active_->x.flags.add(ResponseFlag::DC);
        active_->abandon("cut");
    }
    stream_->abort(why, true);
}

} // namespace weft::l7
