// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/active_exchange.hpp"

#include "l7engine/proxy/describe.hpp"
#include "l7engine/proxy/wire_bytes.hpp"
#include "l7engine/tls/websocket_key.hpp"

namespace weft::l7 {

namespace {

/// RFC 9110 9.2.2: repeating one of these does what doing it once does.
bool is_idempotent(std::string_view method) {
    return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" || method == "DELETE" ||
           method == "TRACE";
}

} // namespace

ActiveExchange::ActiveExchange(Connection& connection, Arrival& arrival)
    : x{.view = connection.proxy_.view().get()}, wake_(connection.proxy_.worker()),
      body_wake_(connection.proxy_.worker()), stream_(arrival.stream), request_body_(std::move(arrival.body)),
      connection_(connection), view_(connection.proxy_.view()), has_body_(!arrival.last),
      expects_continue_(arrival.head.expect_continue) {
    x.request = std::move(arrival.head);
    tunnel_asked_ = has_body_ && x.request.asks_for_tunnel();
    x.request.expect_continue = false; // ours to honour
    x.request_bytes = arrival.request_bytes;
    grpc_ = is_grpc(x.request.headers);
    describe(x, connection.accepted_, connection.proxy_);
    touch();
    arm_deadline();
    for (const Slice& piece : request_body_.waiting())
        count_messages(request_messages_, piece);
    ++connection.proxy_.exchanges();
    ++connection.use_.requests;
    charge();
    connection.exchanges_now_.add(*this);
    if (arrival.gone)
        client_gone(*arrival.gone);
}

ActiveExchange::~ActiveExchange() {
    --connection_.proxy_.exchanges();
    --connection_.use_.requests;
    connection_.use_.buffers.bytes -= charged_bytes_;
    LinkedList<ActiveExchange>::remove(*this);
}

/// The whole request's: what the client asks for in gRPC's words, or ours if that is shorter.
void ActiveExchange::arm_deadline() {
    Worker& worker = connection_.proxy_.worker();
    const uint64_t ours_ms = connection_.proxy_.settings().request_timeout_ms;
    uint64_t limit_ms = ours_ms == 0 ? never : ours_ms;
    if (const auto text = grpc_ ? x.request.headers.find("grpc-timeout") : std::nullopt)
        limit_ms = std::min(limit_ms, parse_grpc_timeout(*text).value_or(never));
    if (limit_ms != never)
        worker.timers().arm(*this, worker.in_ms(limit_ms));
}

void ActiveExchange::decided(Result<Verdict> verdict) {
    if (!verdict)
        reply_with(local_reply(verdict.error()));
    else if (const LocalReply* reply = std::get_if<LocalReply>(&*verdict))
        reply_with(*reply);
}

void ActiveExchange::reply_with(const LocalReply& reply) {
    if (reply.status == 0) { // nobody is left to read it
        x.flags.add(ResponseFlags::named(reply.flag));
        cut_ = true;
        return;
    }
    if (reply.status == 403)
        connection_.proxy_.counters().add(
            x.choice.endpoint || x.direction == Direction::inbound ? Counter::denied_pod : Counter::denied_frontend);
    reply_ = reply;
}

// ------------------------------------------------------------------ the backend

UpstreamKey ActiveExchange::key() const {
    UpstreamKey key{.pod_id = x.pod_id, .address = x.choice.address, .client = {}};
    if (x.direction == Direction::inbound)
        key.client = x.peer.address;
    return key;
}

bool ActiveExchange::wants_session() const {
    config::Protocol protocol = config::Protocol::undeclared;
    if (x.choice.cluster != nullptr)
        protocol = x.choice.cluster->protocol;
    else if (x.direction == Direction::inbound && x.pod != nullptr)
        protocol = x.view->protocol(*x.pod, x.destination.port);
    if (protocol == config::Protocol::http2 || protocol == config::Protocol::grpc)
        return true;
    return protocol != config::Protocol::http1 && connection_.is_http2(); // istio.md 5.1: as the client speaks
}

UpstreamPtr ActiveExchange::take_pooled() {
    Proxy& proxy = connection_.proxy_;
    if (stale_retried_)
        return nullptr; // the others of that age are stale too
    const bool repeatable = !has_body_ && is_idempotent(x.request.method);
    const uint64_t idle_ms_max = repeatable ? proxy.settings().pool_idle_ms : proxy.settings().pool_fresh_ms;
    return proxy.pool().take(key(), proxy.worker().now_ms(), idle_ms_max);
}

void ActiveExchange::connect_failed(Error error) {
    if (!wants_upstream()) // canceled: nobody waits for it any more
        return;
    // A socket or a dial slot that is missing is our own trouble: it would be missing for the next endpoint, too.
    if (error.side == Side::upstream && blames_endpoint(error.detail))
        endpoint_failed(EndpointFailure::connect);
    if (error.side == Side::upstream && choose_another()) {
        connection_.proxy_.counters().add(Counter::retries_connect);
        return;
    }
    if (wants_upstream())
        reply_with(local_reply(error));
}

/// Another endpoint of the same cluster, where there is one and tries are left. It may refuse the request, too.
bool ActiveExchange::choose_another() {
    Proxy& proxy = connection_.proxy_;
    if (++tries_ >= proxy.settings().connect_tries_max || !x.choice.endpoint || labels_only_)
        return false;
    const SocketAddress failed = x.choice.address;
    if (const std::optional<LocalReply> refusal = choose_again(x, proxy.settings().filters.trusted_hops)) {
        reply_with(*refusal);
        return false;
    }
    return x.choice.address != failed;
}

void ActiveExchange::begin(UpstreamPtr upstream) {
    upstream_ = std::move(upstream);
    translate_tunnel_request(false);
    const Result<StreamId> stream = upstream_->codec->open();
    if (!stream) {
        upstream_failed(stream.error());
        return;
    }
    upstream_stream_ = *stream;
    if (const Result<void> sent = upstream_->codec->send_head(*stream, x.request, !has_body_); !sent) {
        reply_with(local_reply({.code = Code::invalid, .side = Side::downstream, .detail = 400}));
        return;
    }
    if (upstream_->reused && is_idempotent(x.request.method))
        request_body_.keep(connection_.proxy_.settings().replay_bytes_max);
    opened();
    // What is here of the body goes out in one write with the head; and the pump does not keep the exchange from
    // hearing a backend that answers without reading.
    if (!expects_continue_ && request_body_.ready())
        request_sent();
}

void ActiveExchange::begin(SessionPtr session) {
    translate_tunnel_request(true);
    const Result<StreamId> stream = session->open(*this, x.request, !has_body_);
    if (stream) {
        session_ = std::move(session);
        upstream_stream_ = *stream;
        request_body_.keep(connection_.proxy_.settings().replay_bytes_max);
        opened();
        return;
    }
    connection_.proxy_.sessions().pass_on(session->key());
    if (stream.error().code == Code::refused) // it does not speak RFC 8441
        reply_with(local_reply({.code = Code::malformed, .side = Side::upstream, .during = "extended connect"}));
    else if (stream.error().code != Code::unavailable)
        reply_with(local_reply({.code = Code::invalid, .side = Side::downstream, .detail = 400}));
    else if (++full_sessions_ > connection_.proxy_.settings().sessions_per_key_max) // else another one is looked for
        reply_with(local_reply({.code = Code::unavailable, .side = Side::self, .during = "stream"}));
}

void ActiveExchange::opened() {
    heard_ = informed_ = last_words_ = false;
    x.times.upstream_start_ms = connection_.proxy_.worker().now_ms();
    if (!has_body_)
        request_body_.end_with_head();
}

/// What only HTTP/1 has of a WebSocket's opening (RFC 8441 5): taken out, or put in, for a backend of the other
/// version.
void ActiveExchange::translate_tunnel_request(bool to_http2) {
    if (!tunnel_asked_)
        return;
    Headers& headers = x.request.headers;
    if (judged_ == nullptr)
        judged_ = std::make_unique<Head>(x.request);
    if (const auto key = headers.find("sec-websocket-key"))
        websocket_key_ = *key;
    if (to_http2) {
        headers.remove("sec-websocket-key");
    } else if (connection_.is_http2() || !headers.contains("sec-websocket-key")) {
        if (websocket_key_.empty())
            websocket_key_ = tls::make_websocket_key();
        headers.set("sec-websocket-key", websocket_key_);
    }
}

/// The same for the answer. False: the backend of HTTP/1 does not know what it accepts.
bool ActiveExchange::translate_tunnel_reply() {
    Headers& headers = x.response.headers;
    if (session_ != nullptr) {
        headers.remove("sec-websocket-accept");
        if (!connection_.is_http2())
            headers.set("sec-websocket-accept", tls::websocket_accept(websocket_key_));
        return true;
    }
    const auto accept = headers.find("sec-websocket-accept");
    if (!accept || *accept != tls::websocket_accept(websocket_key_))
        return false;
    if (connection_.is_http2())
        headers.remove("sec-websocket-accept");
    return true;
}

/// The client has its 101: from here on bytes go both ways.
void ActiveExchange::tunnel_opened() {
    tunnel_open_ = true;
    Proxy& proxy = connection_.proxy_;
    proxy.worker().timers().disarm(*this);                   // no request any more: it lasts as long as it is used
    if (x.view != proxy.view().get() && !is_still_allowed()) // what came while it was a request
        return policy_cut();
    request_sent();
    connection_.turn_.notify_all(); // early data waits with the reader
}

void ActiveExchange::request_sent() {
    if (!has_body_ || body_allowed_ || (tunnel_asked_ && !tunnel_open_))
        return;
    body_allowed_ = true;
    if (expects_continue_ && !continued_ && request_body_.empty() && !request_body_.complete()) {
        Head go_on;
        go_on.status = 100;
        // Refused only by a codec that is finished: then the write that follows finds the client gone.
        (void)connection_.codec_->send_head(stream_, go_on, false);
    }
    continued_ = true;
    if (!pumping_ && may_send_body())
        connection_.exchanges_.spawn(connection_.pump(*this));
}

bool ActiveExchange::may_repeat() const {
    // Only where the backend closed an idle connection as we used it: the body can be sent again, and doing it twice is
    // harmless.
    return !labels_only_ && upstream_ != nullptr && upstream_->reused && !stale_retried_ &&
           is_idempotent(x.request.method) && !pumping_ && !body_lost_ && (!body_begun_ || request_body_.can_rewind());
}

/// The same of a session. That its peer has not processed the request is good for any; that it was closed without a
/// word may also mean that the request broke it.
bool ActiveExchange::may_ask_again(const Error& error) const {
    if (labels_only_ || session_ == nullptr || head_ready_ || body_lost_ || !request_body_.can_rewind())
        return false;
    if (error.retryable)
        return tries_ < connection_.proxy_.settings().connect_tries_max;
    const bool reused = upstream_stream_ > 1;
    return error.unanswered && reused && !stale_retried_ && is_idempotent(x.request.method);
}

bool ActiveExchange::is_stale(const Error& error) const {
    // Nothing of a reply: one that has begun means that the request was seen.
    const bool heard = heard_ || upstream_->stream->buffered() > 0;
    return !heard && (error.code == Code::reset || error.code == Code::eof);
}

/// Nothing reached the backend, or nothing that matters: the exchange is where it was before it had one.
void ActiveExchange::try_again() {
    body_allowed_ = body_begun_ = body_blocked_ = body_stopped_ = false;
    if (request_body_.can_rewind())
        request_body_.rewind();
    drop_reply();
    upstream_.reset();
    session_.reset();
    wake();
}

void ActiveExchange::drop_reply() {
    head_ready_ = head_last_ = false;
    reply_body_.reset();
    charge();
    gathered_bytes_ = 0;
}

void ActiveExchange::upstream_failed(Error error) {
    error.side = Side::upstream;
    if (is_over() || reply_)
        return;
    if (may_repeat() && is_stale(error)) {
        connection_.proxy_.counters().add(Counter::retries_stale);
        stale_retried_ = true;
        return try_again();
    }
    if (may_ask_again(error)) {
        connection_.proxy_.counters().add(error.retryable ? Counter::retries_refused : Counter::retries_stale);
        if (error.retryable)
            (void)choose_another(); // where there is only one, the same again on another connection
        else
            stale_retried_ = true;
        return try_again();
    }
    if (body_stopped_)
        lose_body();
    const bool connection_lost = session_ == nullptr || session_->is_lost(); // a stream's reset is its own matter
    if (!head_ready_ && connection_lost && (error.code == Code::reset || error.code == Code::eof))
        endpoint_failed(EndpointFailure::reset);
    if (!head_given_) {
        drop_reply();
        reply_with(local_reply(error));
        return;
    }
    // Part of a reply that can no longer be completed: the client must not take it for a whole one.
    connection_.proxy_.counters().add(Counter::backend_cut);
    x.flags.add(ResponseFlags::named(local_reply(error).flag));
    cut_ = true;
}

void ActiveExchange::endpoint_failed(EndpointFailure failure) {
    if (x.choice.endpoint)
        x.picker->endpoint_failed({x.pod_id, x.choice.address}, failure, connection_.proxy_.worker().now_ms());
}

void ActiveExchange::upstream_read(const Result<Slice>& bytes) {
    if (!bytes) {
        upstream_failed(bytes.error());
        return;
    }
    touch();
    gathered_bytes_ += bytes->size();
    Result<void> taken;
    if (bytes->empty()) {
        taken = upstream_->codec->receive_eof(*this);
        if (taken && !reply_body_.complete())
            taken = fail(Code::eof, "reply");
    } else {
        heard_ = true;
        if (const Result<size_t> used = upstream_->codec->receive(*bytes, *this); !used)
            taken = std::unexpected(used.error());
    }
    if (last_words_) {
        connection_.proxy_.counters().add(Counter::retries_stale);
        stale_retried_ = true;
        try_again();
    } else if (!taken) {
        upstream_failed(taken.error());
    }
}

void ActiveExchange::on_head(StreamId, Head&& head, bool last) {
    touch();
    wake();
    if (head.is_informational() && !(head.status == 101 && tunnel_asked_)) {
        informed_ = true;
        // 100 is between us and the backend: the client has had ours, or did not ask.
        if (head.status != 100)
            informational_.push_back(std::move(head));
        return;
    }
    // What servers say as they close an idle connection; RFC 9110 15.5.9 lets the request be repeated. It was sent
    // before the request came, so it is no answer to it. Not our client's business, if it can be avoided.
    if (head.status == 408 && !informed_ && !body_begun_ && may_repeat()) {
        last_words_ = true;
        return;
    }
    request_body_.forget();
    if (body_stopped_)
        lose_body();
    x.picker->endpoint_worked({x.pod_id, x.choice.address});
    x.response = std::move(head);
    x.times.upstream_head_ms = connection_.proxy_.worker().now_ms();
    x.grpc_status = read_grpc_status(x.response.headers);
    if (x.response.status == 101 && !translate_tunnel_reply())
        return upstream_failed({.code = Code::malformed, .side = Side::upstream, .during = "websocket accept"});
    // An answer of HTTP/1 that accepts nothing; on a stream of HTTP/2 every 2xx would (RFC 8441 5).
    if (tunnel_asked_ && connection_.is_http2() && x.response.status / 100 == 2)
        return upstream_failed({.code = Code::malformed, .side = Side::upstream, .during = "websocket answer"});
    head_ready_ = true;
    head_last_ = last;
    if (last)
        reply_body_.push({}, true);
}

void ActiveExchange::on_data(StreamId, Slice&& data, bool last) {
    if (last_words_)
        return;
    touch();
    wake();
    count_messages(reply_messages_, data);
    reply_body_.push(std::move(data), last);
    charge();
}

void ActiveExchange::on_trailers(StreamId, Trailers&& trailers) {
    touch();
    wake();
    if (const auto status = read_grpc_status(trailers))
        x.grpc_status = status;
    reply_body_.push_trailers(std::move(trailers));
}

void ActiveExchange::on_reset(StreamId, Error error) {
    wake();
    // Behind a whole reply it means that the rest of the request is not wanted.
    if (reply_body_.complete())
        lose_body();
    else
        upstream_failed(error);
}

void ActiveExchange::writable() {
    body_blocked_ = false;
    body_wake_.notify_all();
}

void ActiveExchange::wake() {
    wake_.notify_all();
    body_wake_.notify_all();
}

/// The bodies of this exchange to the pod's account; whenever they may have changed.
void ActiveExchange::charge() {
    const size_t bytes = request_body_.held_bytes() + reply_body_.held_bytes();
    connection_.use_.buffers.bytes += bytes - std::exchange(charged_bytes_, bytes); // modulo: it may be less
}

void ActiveExchange::touch() {
    progress_ms_ = connection_.proxy_.worker().now_ms();
    connection_.progress_ms_ = progress_ms_;
}

// ------------------------------------------------------------------ the request's body

void ActiveExchange::count_messages(GrpcMessages& messages, const Slice& data) const {
    if (grpc_)
        messages.pass(data.bytes());
}

void ActiveExchange::body_came(Slice&& data, bool last) {
    touch();
    count_messages(request_messages_, data);
    x.request_bytes += connection_.is_http2() ? data.size() + h2_frame_head_bytes : 0;
    if (body_lost_)
        connection_.codec_->consumed(stream_, data.size());
    else
        request_body_.push(std::move(data), last);
    charge();
    body_wake_.notify_all();
}

void ActiveExchange::body_ended(Trailers&& trailers) {
    touch();
    if (!body_lost_)
        request_body_.push_trailers(std::move(trailers));
    body_wake_.notify_all();
}

bool ActiveExchange::body_is_full() const {
    return request_body_.bytes() > connection_.proxy_.settings().relay_bytes_max && !is_over();
}

Result<BodyQueue::Given> ActiveExchange::give_request_body() {
    body_begun_ = true;
    const Result<BodyQueue::Given> given = request_body_.give(upstream_codec(), upstream_stream_);
    if (!given)
        return given;
    body_blocked_ = given->blocked;
    charge();
    connection_.codec_->consumed(stream_, given->bytes);
    if (session_ != nullptr)
        session_->kick();
    if (connection_.is_http2())
        connection_.writer_->kick();
    return given;
}

void ActiveExchange::stop_body() {
    body_stopped_ = true;
}

void ActiveExchange::lose_body() {
    body_lost_ = true;
    connection_.codec_->consumed(stream_, request_body_.drop());
    charge();
    if (connection_.is_http2())
        connection_.writer_->kick();
    connection_.turn_.notify_all(); // its reader need not wait for room
    wake();
}

// ------------------------------------------------------------------ the client

void ActiveExchange::give_informational() {
    for (const Head& head : informational_)
        (void)connection_.codec_->send_head(stream_, head, false); // a refusal here is one of the final head, too
    informational_.clear();
}

void ActiveExchange::give_local_reply() {
    const LocalReply& reply = *reply_;
    x.flags.add(ResponseFlags::named(reply.flag));
    x.response = make_local_reply(reply, grpc_, connection_.proxy_.http_date());
    x.grpc_status = read_grpc_status(x.response.headers);
    drop_reply();
    head_ready_ = true;
    head_last_ = x.response.content_length.value_or(0) == 0;
    reply_body_.push(head_last_ ? Slice() : Slice::of_static(reply.body), true);
}

void ActiveExchange::give_head(Result<Verdict> verdict) {
    if (!verdict || std::holds_alternative<LocalReply>(*verdict)) {
        // A filter replaces the backend's reply; what the backend still sends goes nowhere.
        decided(std::move(verdict));
        if (!reply_)
            return;
        give_local_reply();
    }
    Result<void> sent = connection_.codec_->send_head(stream_, x.response, head_last_);
    if (!sent && !reply_) { // nothing of it has gone out
        reply_with(local_reply({.code = Code::malformed, .side = Side::upstream, .during = "reply"}));
        give_local_reply();
        sent = connection_.codec_->send_head(stream_, x.response, head_last_);
    }
    head_given_ = true;
    if (!sent) {
        cut_ = true;
        return;
    }
    if (connection_.is_http2())
        x.response_bytes += wire_bytes(x.response);
    x.status_sent = x.response.status;
    if (head_last_)
        reply_body_.end_with_head();
    if (x.response.status == 101)
        tunnel_opened();
}

void ActiveExchange::give_reply_body() {
    gathered_bytes_ = 0;
    if (is_over() || !reply_body_.ready())
        return;
    const Result<BodyQueue::Given> given = reply_body_.give(*connection_.codec_, stream_);
    if (!given) {
        cut_ = true;
        return;
    }
    reply_blocked_ = given->blocked;
    charge();
    if (given->bytes > 0)
        touch();
    if (connection_.is_http2())
        x.response_bytes += given->bytes + h2_frame_head_bytes;
    if (session_ != nullptr && !reply_) {
        session_->codec().consumed(upstream_stream_, given->bytes);
        session_->kick();
    }
}

void ActiveExchange::client_gone(const Error& error) {
    if (std::exchange(gone_, true))
        return;
    if (!reply_given())
        connection_.proxy_.counters().add(Counter::clients_gone);
    const bool left = error.code == Code::reset || error.code == Code::eof || error.code == Code::canceled;
    x.flags.add(left || error.side != Side::downstream ? ResponseFlag::DC : ResponseFlag::DPE);
    abandon(error.during);
}

void ActiveExchange::abandon(const char* why) {
    dial_.now();
    const Error error{.code = Code::canceled, .side = Side::downstream, .during = why};
    if (upstream_ != nullptr)
        upstream_->stream->abort(error, true);
    if (session_ != nullptr)
        session_->forget(upstream_stream_, error);
    body_lost_ = true;
    wake();
}

bool ActiveExchange::holds_old_snapshot() {
    const Proxy& proxy = connection_.proxy_;
    if (labels_only_ || view_ == proxy.view())
        return false;
    const bool lasts = connection_.proxy_.worker().now_ms() >= x.times.start_ms + proxy.settings().snapshot_hold_ms;
    if (!lasts || is_over() || !(head_given_ || has_upstream()))
        return true; // for a while: all that it waits for has a time
    keep_labels_only();
    return false;
}

void ActiveExchange::keep_labels_only() {
    const config::Snapshot& whole = x.view->snapshot();
    auto kept = std::make_shared<config::Snapshot>();
    kept->generation = whole.generation;
    kept->trust_domain = whole.trust_domain;
    kept->cluster_id = whole.cluster_id;
    kept->workloads.reserve(2);
    for (const config::Workload** who : {&x.peer.workload, &x.choice.workload}) {
        if (*who != nullptr)
            *who = &kept->workloads.emplace_back(**who);
    }
    if (const config::Cluster* cluster = x.choice.cluster)
        x.choice.cluster = &kept->clusters.emplace_back(config::Cluster{.ns = cluster->ns,
                                                                        .service = cluster->service,
                                                                        .host = cluster->host,
                                                                        .port = cluster->port,
                                                                        .protocol = cluster->protocol,
                                                                        .endpoints = {}});
    if (const config::Frontend* frontend = x.frontend) {
        config::Frontend& named = kept->frontends.emplace_back();
        named.ns = frontend->ns;
        named.service = frontend->service;
        named.host = frontend->host;
        x.frontend = &named;
    }
    x.choice.rule = nullptr;
    x.pod = nullptr;
    view_ = std::make_shared<const SnapshotView>(std::move(kept));
    x.view = view_.get();
    labels_only_ = true;
}

bool ActiveExchange::is_still_allowed() const {
    Proxy& proxy = connection_.proxy_;
    Exchange now{.view = proxy.view().get()};
    describe(now, connection_.accepted_, proxy);
    now.request = judged_ == nullptr ? x.request : *judged_;
    return now.pod == nullptr || // its release is on its way, and ends this
           l7::is_still_allowed(now, x.choice.address, proxy.settings().filters.trusted_hops);
}

void ActiveExchange::policy_cut() {
    connection_.proxy_.counters().add(Counter::policy_cut);
    if (!connection_.is_http2())
        return connection_.cut();
    cut_ = true;
    abandon("policy");
}

void ActiveExchange::request_failed(Error error) {
    if (reply_given())
        return; // the codec closes behind the reply
    error.side = Side::downstream;
    if (!head_given_) {
        drop_reply();
        reply_with(local_reply(error));
    } else {
        x.flags.add(ResponseFlag::DPE);
        cut_ = true;
    }
    abandon(error.during);
}

void ActiveExchange::timed_out(Counter why) {
    if (is_over())
        return cut_stuck();
    connection_.proxy_.counters().add(why);
    time_out(ResponseFlag::SI);
}

/// A reply that can't be completed ends when what there was of it is written; HTTP/1 waits for the client there.
void ActiveExchange::cut_stuck() {
    if (!connection_.is_http2())
        connection_.cut();
}

void ActiveExchange::expired() {
    if (is_over())
        return cut_stuck();
    connection_.proxy_.counters().add(Counter::request_timeouts);
    time_out(ResponseFlag::UT);
}

void ActiveExchange::time_out(ResponseFlag flag) {
    // After a reply has begun, and when the first time had no effect: the client does not take what is sent to it.
    if (head_given_ || std::exchange(timed_out_, true)) {
        x.flags.add(flag);
        if (!connection_.is_http2())
            return connection_.cut();
        cut_ = true;
        return abandon("timeout");
    }
    const char* during = flag == ResponseFlag::SI ? "silence" : "reply";
    const Error late{.code = Code::timeout, .side = Side::upstream, .during = during};
    if (upstream_ != nullptr) {
        upstream_->stream->abort(late, true); // wakes the exchange with that error: 504
        return;
    }
    reply_with(local_reply(late));
    abandon("timeout");
}

// ------------------------------------------------------------------ the end

void ActiveExchange::finish() {
    Proxy& proxy = connection_.proxy_;
    x.choice.open.reset();
    if (upstream_ != nullptr && reply_body_.complete() && !reply_ && !is_over())
        proxy.pool().give(std::move(upstream_), proxy.worker().now_ms());
    else if (upstream_ != nullptr && is_tunnel()) // its last bytes may be on their way: closed, not used again
        upstream_->stream->abort({.code = Code::canceled, .side = Side::self, .during = "tunnel"}, false);
    upstream_.reset();
    if (session_ != nullptr)
        session_->forget(upstream_stream_, {.code = Code::canceled, .side = Side::self, .during = "reply ended"});
    session_.reset();
    record();
}

void ActiveExchange::record() {
    RequestRecord record;
    LabelFacts& facts = record.facts;
    facts.reporter = x.direction == Direction::outbound ? Reporter::waypoint : Reporter::destination;
    facts.source = x.peer.workload;
    facts.destination = x.choice.workload;
    if (x.choice.cluster != nullptr)
        facts.service = ServiceName::of(*x.choice.cluster);
    else if (x.frontend != nullptr)
        facts.service = ServiceName::of(*x.frontend);
    facts.protocol = grpc_ ? RequestProtocol::grpc : RequestProtocol::http;
    facts.response_code = x.status_sent;
    if (facts.protocol == RequestProtocol::grpc)
        facts.grpc_status = x.grpc_status;
    facts.flags = x.flags;
    record.duration_ms = static_cast<double>(connection_.proxy_.worker().now_ms() - x.times.start_ms);
    record.request_bytes = x.request_bytes;
    record.response_bytes = x.response_bytes;
    record.request_messages = request_messages_.begun();
    record.response_messages = reply_messages_.begun();
    connection_.proxy_.stats().record(x.view->snapshot(), record);
}

} // namespace weft::l7
