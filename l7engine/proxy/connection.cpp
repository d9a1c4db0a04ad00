// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/connection.hpp"

#include <algorithm>
#include <cassert>

#include "l7engine/filter/sanitize.hpp"
#include "l7engine/http/sniff.hpp"
#include "l7engine/proxy/active_exchange.hpp"
#include "l7engine/proxy/describe.hpp"
#include "l7engine/proxy/wire_bytes.hpp"

namespace weft::l7 {

namespace {

Deadline after(uint64_t start_ms, uint64_t delay_ms) {
    return delay_ms < never - start_ms ? start_ms + delay_ms : never;
}

size_t pending_bytes(const Codec& codec) {
    size_t sum = 0;
    for (const Slice& slice : codec.pending())
        sum += slice.size();
    return sum;
}

} // namespace

Connection::Connection(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted)
    : Downstream(proxy, accepted), stream_(std::move(stream)), turn_(proxy.worker()) {
    stream_->watch_peer(this);
    enter(Phase::idle);
    if (proxy.draining())
        drain();
}

// ------------------------------------------------------------------ codec events, inside receive()

void Connection::on_head(StreamId stream, Head&& head, bool last) {
    last_stream_ = stream;
    Arrival& arrival = arrivals_.add();
    arrival.stream = stream;
    arrival.last = last;
    if (is_http2())
        arrival.request_bytes = wire_bytes(head);
    arrival.head = std::move(head);
    if (last)
        arrival.body.push({}, true);
}

void Connection::on_data(StreamId stream, Slice&& data, bool last) {
    if (ActiveExchange* active = exchange_of(stream))
        active->body_came(std::move(data), last);
    else if (Arrival* arrival = arrivals_.find(stream)) {
        arrival->request_bytes += is_http2() ? data.size() + h2_frame_head_bytes : 0;
        arrival->body.push(std::move(data), last);
    } else {
        codec_->consumed(stream, data.size());
    }
}

void Connection::on_trailers(StreamId stream, Trailers&& trailers) {
    sanitize_trailers(trailers, proxy_.settings().filters.underscore_names);
    if (ActiveExchange* active = exchange_of(stream))
        active->body_ended(std::move(trailers));
    else if (Arrival* arrival = arrivals_.find(stream))
        arrival->body.push_trailers(std::move(trailers));
}

void Connection::on_reset(StreamId stream, Error error) {
    if (ActiveExchange* active = exchange_of(stream))
        active->client_gone(error);
    else if (Arrival* arrival = arrivals_.find(stream))
        arrival->gone = error;
    else if (error.side == Side::downstream) { // a head that the codec refused, and answered if it has a status
        const auto status = static_cast<uint16_t>(error.detail >= 400 && error.detail < 600 ? error.detail : 0);
        count_refusal(status);
        record_refusal(status, "DPE", 0, 0);
    }
}

ActiveExchange* Connection::exchange_of(StreamId stream) const {
    for (ActiveExchange* active : exchanges_now_) {
        if (active->stream_ == stream)
            return active;
    }
    return nullptr;
}

size_t Connection::under_way() const {
    return exchanges_now_.size();
}

// ------------------------------------------------------------------ the reader

void Connection::start(std::unique_ptr<Connection> self, Slice first) {
    TaskGroup& tasks = self->proxy_.worker().tasks();
    tasks.spawn(run(std::move(self), first)); // takes it before it first waits
}

/// All that an idle connection has of frames: what is rare, or waits for anything but bytes, has one of its own.
Task<void> Connection::run(std::unique_ptr<Connection> self, Slice& first) {
    Connection& c = *self;
    Result<Slice> bytes = std::move(first);
    for (;;) {
        if (!bytes || bytes->empty())
            bytes = co_await c.stream_->read(c.phase_ == Phase::head ? c.head_deadline_ : never);
        const Next next = c.next(bytes);
        if (next == Next::http1)
            co_await c.serve_http1(std::move(*bytes));
        else if (next == Next::http2)
            co_await c.serve_http2(std::move(*bytes));
        else if (next == Next::refuse_late)
            co_await c.refuse_request({.code = Code::timeout, .side = Side::downstream, .during = "request head"});
        bytes = Slice();
        if (next == Next::end || next == Next::http2 || (next == Next::refuse_late && c.client_gone_))
            break; // else, refused: lingers, so that no reset eats the reply
    }
    co_await c.exchanges_.join();
}

Connection::Next Connection::next(Result<Slice>& bytes) {
    if (!bytes && bytes.error().code == Code::timeout && phase_ == Phase::head && poison_head())
        return Next::refuse_late;
    if (!bytes) {
        read_failed(bytes.error());
        return Next::end;
    }
    if (bytes->empty()) {
        read_ended();
        return Next::end;
    }
    if (codec_ == nullptr && !choose_codec(*bytes))
        return Next::read;
    if (is_http2())
        return Next::http2;
    return phase_ == Phase::closing && !linger(bytes->size()) ? Next::end : Next::http1;
}

Task<void> Connection::serve_http1(Slice bytes) {
    if (stretch_.takes(bytes.size()))
        co_await yield(proxy_.worker());
    while (!bytes.empty() && phase_ != Phase::closing && !client_gone_) {
        const ActiveExchange* active = only_exchange();
        const bool answered = active != nullptr && active->reply_given() && !active->is_tunnel();
        if (answered || (active != nullptr && active->body_is_full())) {
            // For the codec the reply has ended, and it would take the next request; but it is still being written.
            // Or the backend takes the body more slowly than the client sends it.
            (void)co_await turn_.wait();
            continue;
        }
        const Result<size_t> taken = take(bytes);
        if (!taken) {
            co_await refuse_request(taken.error());
            break;
        }
        if (!bytes.empty() && only_exchange() != nullptr)
            (void)co_await turn_.wait(); // pipelined: the next request waits for this reply
        else if (*taken == 0)
            break; // the codec wants nothing more
    }
}

/// HTTP/1 unless the bytes are HTTP/2's preface. False: they may still become it.
bool Connection::choose_codec(Slice& bytes) {
    if (is_http1_) {
        make_http1_codec();
        return true;
    }
    if (first_bytes_ != nullptr) {
        *first_bytes_ += bytes.text();
        bytes = Slice::copy_of(*first_bytes_);
    }
    const std::string_view text = bytes.text();
    if (text.size() < http2_preface.size() && http2_preface.starts_with(text)) {
        first_bytes_ = std::make_unique<std::string>(text);
        if (phase_ == Phase::idle) {
            head_deadline_ = proxy_.worker().in_ms(proxy_.settings().head_timeout_ms);
            enter(Phase::head);
        }
        return false;
    }
    first_bytes_.reset();
    if (text.starts_with(http2_preface)) {
        make_codec(make_h2_server_codec(proxy_.settings().h2_downstream));
        CodecWriter::Owner& owner = *this;
        writer_ = std::make_unique<CodecWriter>(proxy_.worker(), *stream_, *codec_, owner);
        enter(Phase::idle);
        settle_by_ = proxy_.worker().in_ms(proxy_.settings().settings_timeout_ms);
        arm(Timer::deadline());
        proxy_.counters().add(Counter::connections_http2);
    } else {
        make_http1_codec();
    }
    return true;
}

void Connection::make_codec(std::unique_ptr<Codec> codec) {
    codec_ = std::move(codec);
    if (draining_)
        codec_->drain();
}

void Connection::make_http1_codec() {
    is_http1_ = true;
    make_codec(make_h1_server_codec(proxy_.settings().h1));
}

/// Between two exchanges a codec holds nothing that a new one would not have.
void Connection::drop_http1_codec() {
    assert(codec_->between_messages() && codec_->pending().empty());
    codec_.reset();
    last_stream_ = 0;
}

Result<size_t> Connection::take(Slice& bytes) {
    ActiveExchange* const before = only_exchange();
    if (codec_ == nullptr) // pipelined
        make_http1_codec();
    const Result<size_t> used = codec_->receive(bytes, *this);
    if (!used) {
        request_bytes_ += bytes.size();
        return used;
    }
    bytes.remove_prefix(*used);
    touch();
    if (!arrivals_.empty()) {
        arrivals_.first()->request_bytes = std::exchange(request_bytes_, 0) + *used;
        begin_arrivals();
    } else if (before != nullptr) {
        before->x.request_bytes += *used;
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

/// Behind receive(): what runs now may use the codec.
void Connection::begin_arrivals() {
    for (Arrival* arrival = arrivals_.first(); arrival != nullptr; arrival = arrival->next) {
        enter(Phase::exchange);               // also after one that was over at once
        exchanges_.spawn(exchange(*arrival)); // takes it over before it first waits
    }
    arrivals_.clear();
}

void Connection::read_failed(const Error& error) {
    if (std::exchange(client_gone_, true))
        return; // whoever notices first
    for (ActiveExchange* active : exchanges_now_)
        active->client_gone(error);
    turn_.notify_all();
}

void Connection::write_failed(const Error& error) {
    read_failed(error); // whoever notices first: the client is gone
    stream_->abort(error, true);
}

void Connection::read_ended() {
    client_finished_ = true;
    if (phase_ == Phase::closing || codec_ == nullptr)
        return;
    const Result<void> ended = codec_->receive_eof(*this);
    ActiveExchange* active = only_exchange();
    if (active == nullptr)
        return;
    // Without window updates and acknowledgements HTTP/2 is over: who sends FIN wants no reply.
    if (is_http2() || !ended || !active->request_body_.complete())
        read_failed({.code = Code::eof, .side = Side::downstream, .during = "request"});
    else
        enter(Phase::exchange); // a half-close: the reply is still wanted, under a shorter limit
}

bool Connection::linger(size_t bytes) {
    lingered_bytes_ += bytes;
    const ProxySettings& settings = proxy_.settings();
    return lingered_bytes_ <= (flooded_ ? settings.flood_linger_bytes_max : settings.linger_bytes_max);
}

bool Connection::poison_head() {
    if (codec_ == nullptr)
        make_http1_codec();
    // The codec answers only what it has refused, and knows no clock: a byte that no head may contain makes it refuse.
    static constexpr std::string_view nul("\0", 1);
    return !codec_->receive(Slice::of_static(nul), *this) && exchanges_now_.empty();
}

Task<void> Connection::refuse_request(Error error) {
    error.side = Side::downstream;
    const bool head_was_good = !arrivals_.empty();
    arrivals_.clear();
    if (ActiveExchange* active = only_exchange()) {
        count_refusal(local_reply(error).status);
        active->request_failed(error);
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
        record_refusal(client_gone_ ? 0 : reply.status, reply.flag, std::exchange(request_bytes_, 0),
                       client_gone_ ? 0 : bytes);
    }
    if (!client_gone_)
        enter(Phase::closing);
}

/// A request that no filter saw is a request all the same.
void Connection::record_refusal(uint16_t status, std::string_view flag, uint64_t request_bytes, size_t response_bytes) {
    const ViewPtr view = proxy_.view();
    Exchange x{.view = view.get()};
    describe(x, accepted_, proxy_);
    RequestRecord record;
    record.facts.reporter = x.direction == Direction::outbound ? Reporter::waypoint : Reporter::destination;
    record.facts.source = x.peer.workload;
    record.facts.destination = x.choice.workload;
    if (x.frontend != nullptr)
        record.facts.service = ServiceName::of(*x.frontend);
    record.facts.response_code = status;
    record.facts.flags = ResponseFlags::named(flag);
    record.request_bytes = request_bytes;
    record.response_bytes = response_bytes;
    proxy_.stats().record(view->snapshot(), record);
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
        if (is_http2() && codec_->finished())
            return settings.linger_timeout_ms; // only the last words are still to be written
        return draining_ ? settings.drain_idle_ms : settings.idle_timeout_ms;
    case Phase::head: return never; // the read's own deadline
    case Phase::exchange:
        if (exchanges_now_.empty()) // a refusal is on its way
            return std::min(settings.idle_timeout_ms, settings.exchange_idle_timeout_ms);
        return client_finished_ ? settings.half_closed_timeout_ms : settings.exchange_idle_timeout_ms;
    case Phase::closing:
    case Phase::ending: return settings.linger_timeout_ms;
    }
    return settings.idle_timeout_ms;
}

void Connection::enter(Phase phase) {
    phase_ = phase;
    touch();
    uint64_t limit = limit_ms();
    if (phase == Phase::exchange)
        limit = std::min(limit, proxy_.settings().stall_timeout_ms);
    const Deadline deadline = after(progress_ms_, limit);
    // A timer that fires early looks again; so the wheel is touched only to fire sooner.
    if (!armed() || deadline < Timer::deadline())
        arm(deadline);
    if (phase == Phase::closing)
        stream_->shutdown_write();
}

void Connection::arm(Deadline deadline) {
    proxy_.worker().timers().arm(*this, std::min(deadline, settle_by_));
}

void Connection::expired() {
    if (proxy_.worker().now_ms() >= settle_by_)
        expire_settings();
    const uint64_t limit = limit_ms();
    if (phase_ == Phase::exchange && !exchanges_now_.empty())
        return expire_exchanges(limit);
    if (proxy_.worker().now_ms() < after(progress_ms_, limit))
        return arm(after(progress_ms_, limit));
    if (phase_ == Phase::idle)
        return expire_idle();
    stream_->abort({.code = Code::timeout, .side = Side::downstream, .during = "idle"}, false);
}

/// Each has its own clock, and less time while it is the client that takes nothing.
void Connection::expire_exchanges(uint64_t limit_ms) {
    const uint64_t now_ms = proxy_.worker().now_ms();
    const uint64_t stall_ms = std::min(limit_ms, proxy_.settings().stall_timeout_ms);
    Deadline next = after(now_ms, stall_ms); // for who stalls meanwhile
    for (ActiveExchange* active : exchanges_now_) {
        const bool stalled = stall_ms < limit_ms && (active->reply_blocked_ || flushing_);
        const bool half_closed = active->is_tunnel() && active->reply_given(); // by the backend
        const uint64_t own_limit_ms = stalled       ? stall_ms
                                      : half_closed ? std::min(limit_ms, proxy_.settings().half_closed_timeout_ms)
                                                    : limit_ms;
        if (now_ms >= after(active->progress_ms_, own_limit_ms)) {
            active->timed_out(stalled ? Counter::stall_timeouts : Counter::exchange_timeouts);
            active->touch();
        }
        next = std::min(next, after(active->progress_ms_, own_limit_ms));
    }
    arm(next);
}

/// RFC 9113 6.5.3. A codec that waits for the client's SETTINGS and acknowledgement holds what it would not need.
void Connection::expire_settings() {
    settle_by_ = never;
    if (codec_->settled() || codec_->finished())
        return;
    proxy_.counters().add(Counter::settings_timeouts);
    codec_->settings_timed_out();
    connection_failed({.code = Code::timeout, .side = Side::downstream, .during = "SETTINGS"});
    writer_->kick();
    touch();
    close_if_finished();
}

void Connection::expire_idle() {
    if (!draining_)
        proxy_.counters().add(Counter::idle_timeouts);
    end_idle();
}

bool Connection::shed_if_idle(uint64_t idle_ms) {
    const bool idle =
        phase_ == Phase::idle && exchanges_now_.empty() && !client_gone_ && !(is_http2() && codec_->finished());
    if (!idle || proxy_.worker().now_ms() - progress_ms_ < idle_ms)
        return false;
    end_idle();
    return true;
}

void Connection::end_idle() {
    // HTTP/2 says good-bye; a client that does not answer, or does not read, is cut off the next time.
    if (is_http2() && !codec_->finished()) {
        draining_ = true;
        codec_->drain();
        codec_->drain();
        writer_->kick();
        touch();
        arm(progress_ms_ + limit_ms());
        return close_if_finished();
    }
    stream_->abort({.code = Code::timeout, .side = Side::downstream, .during = "idle"}, false);
}

void Connection::drain() {
    draining_ = true;
    if (codec_ != nullptr)
        codec_->drain();
    if (is_http2())
        writer_->kick();
    if (phase_ == Phase::idle)
        enter(Phase::idle);
}

/// A request keeps to the snapshot that it began with; a tunnel, which may last for days, does not.
void Connection::policy_changed() {
    for (ActiveExchange* active : exchanges_now_) {
        if (active->is_tunnel() && !active->is_over() && !active->is_still_allowed())
            active->policy_cut();
    }
}

bool Connection::holds_old_snapshot() {
    bool holds = false;
    for (ActiveExchange* active : exchanges_now_)
        holds = active->holds_old_snapshot() || holds;
    return holds;
}

void Connection::cut() {
    if (std::exchange(client_gone_, true))
        return;
    for (ActiveExchange* active : exchanges_now_) {
        if (std::exchange(active->gone_, true))
            continue;
        if (active->x.flags.empty())
            active->x.flags.add(ResponseFlag::DC);
        active->abandon("cut");
    }
    turn_.notify_all();
    stream_->abort({.code = Code::canceled, .side = Side::downstream, .during = "cut"}, true);
}

} // namespace weft::l7
