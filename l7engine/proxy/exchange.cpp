// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/active_exchange.hpp"

namespace weft::l7 {

// The coroutines of one exchange. They only wait; what happens between two waits is decided by ActiveExchange.
Task<void> Connection::exchange(Arrival& arrival) {
    const std::optional<Error> refusal = proxy_.refuse_request(use_);
    ActiveExchange active(*this, arrival);
    const Chain& chain = proxy_.chain(accepted_.direction);
    if (refusal) {
        active.decided(std::unexpected(*refusal));
    } else if (!active.is_over()) {
        Outcome judged = chain.on_request(active.x);
        active.decided(judged.ready() ? judged.take() : co_await judged.task());
    }
    while (active.wants_upstream()) {
        if (active.wants_session()) {
            SessionPtr session = proxy_.sessions().take(active.key());
            if (session == nullptr) {
                Result<SessionPtr> made =
                    co_await proxy_.session(active.key(), accepted_.direction, active.x.peer.address, active.dial_);
                if (!made) {
                    active.connect_failed(made.error());
                    continue;
                }
                session = std::move(*made);
                if (!active.wants_upstream()) { // refused or left meanwhile
                    proxy_.sessions().pass_on(active.key());
                    break;
                }
            }
            if (active.asks_for_tunnel()) {
                const Deadline deadline = proxy_.worker().in_ms(proxy_.settings().connect_timeout_ms);
                if (const Result<void> settled = co_await session->settled(Until(deadline, &active.dial_)); !settled) {
                    proxy_.sessions().pass_on(session->key());
                    active.connect_failed({.code = settled.error().code, .side = Side::upstream, .during = "connect"});
                    continue;
                }
            }
            active.begin(std::move(session));
        } else {
            UpstreamPtr upstream = active.take_pooled();
            if (upstream == nullptr) {
                Result<UpstreamPtr> made =
                    co_await proxy_.connect(active.key(), accepted_.direction, active.x.peer.address, active.dial_);
                if (!made) {
                    active.connect_failed(made.error());
                    continue;
                }
                upstream = std::move(*made);
                if (!active.wants_upstream()) // refused or left meanwhile
                    break;
            }
            active.begin(std::move(upstream));
        }
        co_await ask(active);
    }
    if (active.reply_ && !active.is_over())
        active.give_local_reply();
    if (active.has_reply_head() && !active.is_over()) {
        Outcome outcome = chain.on_response(active.x);
        active.give_head(outcome.ready() ? outcome.take() : co_await outcome.task());
        co_await answer(active);
        if (active.is_tunnel() && !active.is_over())
            co_await hear_out(active);
    }
    // The backend must not go while the pump is using it.
    if (active.pumping_) {
        active.lose_body();
        if (active.upstream_ != nullptr)
            active.upstream_->stream->abort({.code = Code::canceled, .side = Side::self, .during = "reply ended"},
                                            true);
    }
    while (active.pumping_)
        (void)co_await active.wake_.wait();
    exchange_over(active);
}

/// Sends the request head and takes in what comes until the head of the reply, an error, or the client's end.
Task<void> Connection::ask(ActiveExchange& active) {
    while (active.asking() && active.upstream_ != nullptr && !active.body_allowed_ &&
           !active.upstream_->codec->pending().empty()) {
        Upstream& upstream = *active.upstream_;
        const Result<size_t> wrote = co_await upstream.stream->write(upstream.codec->pending());
        if (wrote)
            upstream.codec->sent(*wrote);
        else
            active.upstream_failed(wrote.error());
    }
    if (active.asking())
        active.request_sent();
    for (;;) {
        active.give_informational();
        if (is_http2())
            writer_->kick();
        else if (!codec_->pending().empty() && active.asking()) // 100 Continue, or other informational heads
            co_await flush();
        if (!active.asking())
            break;
        if (active.session_ != nullptr) {
            (void)co_await active.wake_.wait();
            continue;
        }
        Result<Slice> bytes = co_await active.upstream_->stream->read();
        if (!active.asking())
            break; // refused meanwhile by the reader
        active.upstream_read(bytes);
    }
}

/// Relays the reply until it is given whole, or cut. Takes more from the backend only when the client has taken what
/// there was.
Task<void> Connection::answer(ActiveExchange& active) {
    const size_t gather_max = proxy_.settings().relay_bytes_max;
    for (;;) {
        active.give_reply_body();
        if (is_http2())
            writer_->kick();
        else if (!codec_->pending().empty() && !active.is_over())
            co_await flush();
        if (active.is_over() || active.reply_given())
            co_return;
        if (active.reply_blocked_ || active.session_ != nullptr) {
            if (active.reply_blocked_ || !active.reply_body_.ready())
                (void)co_await active.wake_.wait();
            continue;
        }
        do {
            Result<Slice> bytes = co_await active.upstream_->stream->read();
            if (active.is_over())
                co_return;
            active.upstream_read(bytes);
        } while (!active.cut_ && !active.reply_body_.complete() && active.gathered_bytes() < gather_max &&
                 active.upstream_->stream->buffered() > 0);
    }
}

/// The backend has ended its side of a tunnel, the client goes on.
Task<void> Connection::hear_out(ActiveExchange& active) {
    if (!is_http2()) // there the stream's end has said so
        stream_->shutdown_write();
    const Deadline limit = proxy_.worker().in_ms(proxy_.settings().half_closed_timeout_ms);
    if (!armed() || limit < Timer::deadline())
        arm(limit);
    while (active.pumping_ && !active.is_over())
        (void)co_await active.wake_.wait();
}

/// The request's body on its way to the backend, as fast as that takes it.
Task<void> Connection::pump(ActiveExchange& active) {
    active.pumping_ = true;
    while (active.may_send_body()) {
        if (!active.request_body_.ready() || active.body_blocked_) {
            (void)co_await active.body_wake_.wait();
            continue;
        }
        if (!active.give_request_body()) {
            active.lose_body();
            break;
        }
        while (active.upstream_ != nullptr && !active.body_lost_ && !active.upstream_->codec->pending().empty()) {
            Upstream& upstream = *active.upstream_;
            const Result<size_t> wrote = co_await upstream.stream->write(upstream.codec->pending());
            // The backend may have answered before it closed: the exchange reads on and finds out.
            if (!wrote) {
                active.stop_body();
                break;
            }
            upstream.codec->sent(*wrote);
            active.touch();
        }
        turn_.notify_all();
    }
    if (active.is_tunnel() && active.request_body_.given() && active.upstream_ != nullptr && active.takes_body())
        active.upstream_->stream->shutdown_write(); // HTTP/2 has said so on the stream
    active.pumping_ = false;
    active.wake_.notify_all();
    turn_.notify_all();
}

/// HTTP/1: until all is written, or the client is gone.
Task<void> Connection::flush() {
    while (!codec_->pending().empty() && !client_gone_) {
        flushing_ = true;
        const Result<size_t> wrote = co_await stream_->write(codec_->pending());
        flushing_ = false;
        if (!wrote) {
            write_failed(wrote.error());
            co_return;
        }
        codec_->sent(*wrote);
        touch();
        if (ActiveExchange* active = only_exchange()) {
            active->touch();
            active->response_sent(*wrote);
        }
    }
}

void Connection::exchange_over(ActiveExchange& active) {
    active.finish();
    LinkedList<ActiveExchange>::remove(active);
    if (is_http2()) {
        codec_->consumed(active.stream_, active.request_body_.drop());
        const bool half_open = active.is_tunnel() && !active.request_body_.given(); // and the backend is gone
        if ((active.cut_ || half_open) && !active.gone_)
            codec_->reset(active.stream_, {.code = Code::reset, .side = Side::self, .during = "reply cut"});
        writer_->kick();
        if (exchanges_now_.empty() && !client_gone_ && phase_ != Phase::closing) {
            enter(Phase::idle);
            close_if_finished();
        }
    } else if (active.cut_ && !client_gone_) {
        cut();
    } else if (!client_gone_) {
        enter(codec_->finished() || active.is_tunnel() ? Phase::closing : Phase::idle);
        if (phase_ == Phase::idle)
            drop_http1_codec();
    }
    turn_.notify_all();
}

} // namespace weft::l7
