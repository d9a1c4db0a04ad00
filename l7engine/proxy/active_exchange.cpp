// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/active_exchange.hpp"

#include <charconv>

namespace weft::l7 {

namespace {

/// RFC 9110 9.2.2: repeating one of these does what doing it once does.
bool is_idempotent(std::string_view method) {
    return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" || method == "DELETE" ||
           method == "TRACE";
}

std::optional<uint32_t> grpc_status_of(const Headers& headers) {
    const std::optional<std::string_view> text = headers.find("grpc-status");
    uint32_t code = 0;
    // 16 codes exist; anything else would let a backend make as many series as it likes.
    if (!text || std::from_chars(text->data(), text->data() + text->size(), code).ec != std::errc() || code > 16)
        return std::nullopt;
    return code;
}

} // namespace

ActiveExchange::ActiveExchange(Connection& connection, StreamId stream, Head&& head, bool last)
    : x{.view = *connection.proxy_.view()}, stream_(stream), connection_(connection), view_(connection.proxy_.view()),
      has_body_(!last), expects_continue_(head.expect_continue) {
    x.request = std::move(head);
    // Ours to honour. So is an upgrade, which the codec does not pass on: but policies and routes may ask for it.
    x.request.expect_continue = false;
    x.request_bytes = std::exchange(connection.request_bytes_, 0);
    describe(connection.accepted_);
    ++connection.proxy_.exchanges();
    connection.active_ = this;
}

ActiveExchange::~ActiveExchange() {
    --connection_.proxy_.exchanges();
    connection_.active_ = nullptr;
}

void ActiveExchange::describe(const Accepted& accepted) {
    x.direction = accepted.direction;
    x.pod_id = accepted.pod_id;
    x.pod = x.view.pod(accepted.pod_id);
    x.destination = accepted.destination;
    x.peer.address = accepted.client;
    x.picker = &connection_.proxy_.picker();
    x.times.start_ms = connection_.proxy_.worker().now_ms();
    if (accepted.direction == Direction::inbound) {
        x.peer.workload = x.view.workload(accepted.client.address);
        if (x.pod != nullptr) { // nothing of this is chosen later: a refusal has these labels, too
            x.choice.workload = x.view.workload(x.pod->workload);
            x.frontend = x.view.service_of(*x.pod, accepted.destination.port);
        }
        return;
    }
    x.frontend = x.view.frontend(accepted.frontend_id);
    x.peer.workload = x.pod == nullptr ? nullptr : x.view.workload(x.pod->workload);
    // The client is on its own loopback here: policies mean the pod's address, of the family it dialled if it has one.
    if (x.peer.workload == nullptr || x.peer.workload->addresses.empty())
        return;
    x.peer.address.address = x.peer.workload->addresses.front();
    for (const IpAddress& address : x.peer.workload->addresses) {
        if (address.is_v4() == accepted.destination.address.is_v4())
            x.peer.address.address = address;
    }
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

UpstreamPtr ActiveExchange::take_pooled() {
    Proxy& proxy = connection_.proxy_;
    if (stale_retried_)
        return nullptr; // the others of that age are stale too
    const bool repeatable = !has_body_ && is_idempotent(x.request.method);
    const uint64_t idle_ms_max = repeatable ? proxy.settings().pool_idle_ms : proxy.settings().pool_fresh_ms;
    return proxy.pool().take(key(), proxy.worker().now_ms(), idle_ms_max);
}

void ActiveExchange::connect_failed(Error error) {
    if (connection_.client_gone_ || reply_ || cut_) // canceled: nobody waits for it any more
        return;
    Proxy& proxy = connection_.proxy_;
    const SocketAddress failed = x.choice.address;
    // A socket or a dial slot that is missing is our own trouble: it would be missing for the next endpoint, too.
    const bool reached_nobody = error.side == Side::upstream;
    if (x.choice.endpoint && reached_nobody && ++connects_ < proxy.settings().connect_tries_max) {
        if (const std::optional<LocalReply> refusal = choose_again(x, proxy.settings().filters.trusted_hops))
            return reply_with(*refusal);
        if (x.choice.address != failed) {
            proxy.counters().add(Counter::retries_connect);
            return;
        }
    }
    reply_with(local_reply(error));
}

void ActiveExchange::begin(UpstreamPtr upstream) {
    upstream_ = std::move(upstream);
    heard_ = informed_ = last_words_ = false;
    x.times.upstream_start_ms = connection_.proxy_.worker().now_ms();
    const Result<StreamId> opened = upstream_->codec->open();
    if (!opened) {
        upstream_failed(opened.error());
        return;
    }
    upstream_stream_ = *opened;
    if (const Result<void> sent = upstream_->codec->send_head(*opened, x.request, !has_body_); !sent)
        reply_with(local_reply({.code = Code::invalid, .side = Side::downstream, .detail = 400}));
}

void ActiveExchange::request_sent() {
    if (!has_body_ || body_allowed_)
        return;
    body_allowed_ = true;
    if (expects_continue_ && !continued_ && connection_.body_.empty() && !connection_.request_complete_) {
        Head go_on;
        go_on.status = 100;
        // Refused only by a codec that is finished: then the write that follows finds the client gone.
        (void)connection_.codec_->send_head(stream_, go_on, false);
    }
    continued_ = true;
    connection_.turn_.notify_all();
}

bool ActiveExchange::may_repeat() const {
    // Only where the backend closed an idle connection as we used it: no body went out, and doing it twice is harmless.
    return upstream_->reused && !stale_retried_ && !body_begun_ && is_idempotent(x.request.method);
}

bool ActiveExchange::is_stale(const Error& error) const {
    // Nothing of a reply: one that has begun means that the request was seen.
    const bool heard = heard_ || upstream_->stream->buffered() > 0;
    return !heard && (error.code == Code::reset || error.code == Code::eof);
}

void ActiveExchange::repeat() {
    connection_.proxy_.counters().add(Counter::retries_stale);
    stale_retried_ = true;
    body_allowed_ = false;
    last_ready_ = false;
    data_.clear();
    trailers_.reset();
    gathered_bytes_ = 0;
    upstream_.reset();
}

void ActiveExchange::upstream_failed(Error error) {
    error.side = Side::upstream;
    if (connection_.client_gone_ || reply_ || cut_)
        return;
    if (is_stale(error) && may_repeat()) {
        repeat();
        return;
    }
    if (!head_given_) {
        head_ready_ = false;
        data_.clear();
        reply_with(local_reply(error));
        return;
    }
    // Part of a reply that can no longer be completed: the client must not take it for a whole one.
    connection_.proxy_.counters().add(Counter::backend_cut);
    x.flags.add(ResponseFlags::named(local_reply(error).flag));
    cut_ = true;
}

void ActiveExchange::upstream_read(const Result<Slice>& bytes) {
    if (!bytes) {
        upstream_failed(bytes.error());
        return;
    }
    connection_.touch();
    gathered_bytes_ += bytes->size();
    Result<void> taken;
    if (bytes->empty()) {
        taken = upstream_->codec->receive_eof(*this);
        if (taken && !last_ready_)
            taken = fail(Code::eof, "reply");
    } else {
        heard_ = true;
        if (const Result<size_t> used = upstream_->codec->receive(*bytes, *this); !used)
            taken = std::unexpected(used.error());
    }
    if (last_words_)
        repeat();
    else if (!taken)
        upstream_failed(taken.error());
}

void ActiveExchange::on_head(StreamId, Head&& head, bool last) {
    if (head.is_informational()) {
        informed_ = true;
        // 100 is between us and the backend: the client has had ours, or did not ask.
        if (head.status != 100)
            informational_.push_back(std::move(head));
        return;
    }
    // What servers say as they close an idle connection; RFC 9110 15.5.9 lets the request be repeated. It was sent
    // before the request came, so it is no answer to it. Not our client's business, if it can be avoided.
    if (head.status == 408 && !informed_ && may_repeat()) {
        last_words_ = true;
        return;
    }
    x.response = std::move(head);
    x.times.upstream_head_ms = connection_.proxy_.worker().now_ms();
    x.grpc_status = grpc_status_of(x.response.headers);
    head_ready_ = true;
    head_last_ = last;
    last_ready_ = last;
}

void ActiveExchange::on_data(StreamId, Slice&& data, bool last) {
    if (!data.empty())
        data_.push_back(std::move(data));
    last_ready_ = last_ready_ || last;
}

void ActiveExchange::on_trailers(StreamId, Trailers&& trailers) {
    if (const auto status = grpc_status_of(trailers))
        x.grpc_status = status;
    trailers_ = std::move(trailers);
    last_ready_ = true;
}

void ActiveExchange::on_reset(StreamId, Error error) { upstream_failed(error); }

// ------------------------------------------------------------------ the client

void ActiveExchange::give_informational() {
    for (const Head& head : informational_)
        (void)connection_.codec_->send_head(stream_, head, false); // a refusal here is one of the final head, too
    informational_.clear();
}

void ActiveExchange::give_local_reply() {
    const LocalReply& reply = *reply_;
    x.flags.add(ResponseFlags::named(reply.flag));
    x.response = make_local_reply(reply.status, reply.body.size(), connection_.proxy_.http_date());
    data_.clear();
    if (!reply.body.empty())
        data_.push_back(Slice::of_static(reply.body));
    trailers_.reset();
    head_ready_ = true;
    last_ready_ = true;
    head_last_ = reply.body.empty();
}

void ActiveExchange::give_head(Result<Verdict> verdict) {
    if (!verdict || std::holds_alternative<LocalReply>(*verdict)) {
        // A filter replaces the backend's reply; what the backend still sends goes nowhere.
        decided(std::move(verdict));
        if (!reply_)
            return;
        give_local_reply();
    }
    head_given_ = true;
    const Result<void> sent = connection_.codec_->send_head(stream_, x.response, head_last_);
    if (!sent) {
        cut_ = true;
        return;
    }
    x.status_sent = x.response.status;
    given_ = head_last_;
}

void ActiveExchange::give_body() {
    gathered_bytes_ = 0;
    if (given_ || cut_)
        return;
    Codec& codec = *connection_.codec_;
    for (size_t index = 0; index < data_.size(); ++index) {
        const bool last = last_ready_ && !trailers_ && index + 1 == data_.size();
        given_ = last;
        if (!codec.send_data(stream_, std::move(data_[index]), last))
            cut_ = true;
    }
    data_.clear();
    if (cut_ || given_ || !last_ready_)
        return;
    given_ = true;
    if (trailers_ ? !codec.send_trailers(stream_, *trailers_) : !codec.send_data(stream_, {}, true))
        cut_ = true;
}

void ActiveExchange::client_gone(Error error) {
    connection_.client_gone_ = true;
    if (!given_)
        connection_.proxy_.counters().add(Counter::clients_gone);
    x.flags.add(ResponseFlag::DC);
    abandon(error.during);
}

void ActiveExchange::abandon(const char* why) {
    dial_.now();
    if (upstream_ != nullptr)
        upstream_->stream->abort({.code = Code::canceled, .side = Side::downstream, .during = why}, true);
}

void ActiveExchange::request_failed(Error error) {
    if (given_)
        return; // the codec closes behind the reply
    error.side = Side::downstream;
    if (!head_given_) {
        head_ready_ = false;
        data_.clear();
        reply_with(local_reply(error));
    } else {
        x.flags.add(ResponseFlag::DPE);
        cut_ = true;
    }
    abandon(error.during);
}

void ActiveExchange::timed_out() {
    connection_.proxy_.counters().add(Counter::exchange_timeouts);
    // After a reply has begun, and when the first time had no effect: the client does not take what is sent to it.
    if (head_given_ || std::exchange(timed_out_, true)) {
        x.flags.add(ResponseFlag::SI);
        connection_.cut();
        return;
    }
    const Error late{.code = Code::timeout, .side = Side::upstream, .during = "reply"};
    if (upstream_ != nullptr) {
        upstream_->stream->abort(late, true); // wakes the exchange with that error: 504
    } else {
        reply_with(local_reply(late));
        dial_.now();
    }
}

// ------------------------------------------------------------------ the end

void ActiveExchange::finish() {
    Proxy& proxy = connection_.proxy_;
    x.choice.open.reset();
    if (upstream_ != nullptr && last_ready_ && !reply_ && !cut_ && !connection_.client_gone_)
        proxy.pool().give(std::move(upstream_), proxy.worker().now_ms());
    upstream_.reset();
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
    if (const auto type = x.request.headers.find("content-type"))
        facts.protocol = protocol_of(*type);
    facts.response_code = x.status_sent;
    if (facts.protocol == RequestProtocol::grpc)
        facts.grpc_status = x.grpc_status;
    facts.flags = x.flags;
    record.duration_ms = static_cast<double>(connection_.proxy_.worker().now_ms() - x.times.start_ms);
    record.request_bytes = x.request_bytes;
    record.response_bytes = x.response_bytes;
    connection_.proxy_.stats().record(x.view.snapshot(), record);
}

} // namespace weft::l7
