// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/active_exchange.hpp"

namespace weft::l7 {

// The coroutine of one exchange. It only waits; what happens between two waits is decided by ActiveExchange.
Task<void> Connection::exchange(StreamId stream, Head head, bool last) {
    ActiveExchange active(*this, stream, std::move(head), last);
    const Chain& chain = proxy_.chain(accepted_.direction);
    Outcome judged = chain.on_request(active.x);
    active.decided(judged.ready() ? judged.take() : co_await judged.task());
    while (active.wants_upstream()) {
        UpstreamPtr upstream = active.take_pooled();
        if (upstream == nullptr) {
            Result<UpstreamPtr> made = co_await proxy_.connect(active.key(), accepted_.direction,
                                                               active.x.peer.address, active.dial_);
            if (!made) {
                active.connect_failed(made.error());
                continue;
            }
            upstream = std::move(*made);
            if (!active.wants_upstream()) { // refused or left meanwhile: the connection serves another
                proxy_.pool().give(std::move(upstream), proxy_.worker().now_ms());
                break;
            }
        }
        active.begin(std::move(upstream));
        co_await ask(active);
    }
    if (active.reply_ && !client_gone_)
        active.give_local_reply();
    if (active.has_reply_head() && !client_gone_ && !active.cut_) {
        Outcome outcome = chain.on_response(active.x);
        active.give_head(outcome.ready() ? outcome.take() : co_await outcome.task());
        co_await answer(active);
    }
    // The backend's stream must not go while the reader is writing to it.
    if (active.reader_inside_)
        active.upstream_->stream->abort({.code = Code::canceled, .side = Side::self, .during = "reply ended"}, true);
    while (active.reader_inside_)
        (void)co_await left_.wait();
    exchange_over(active);
}

/// Sends the request head and reads until the head of the reply, an error, or the client's end.
Task<void> Connection::ask(ActiveExchange& active) {
    while (active.asking() && !active.upstream_->codec->pending().empty() && !active.body_begun_) {
        Upstream& upstream = *active.upstream_;
        const Result<size_t> wrote = co_await upstream.stream->write(upstream.codec->pending());
        if (wrote)
            upstream.codec->sent(*wrote);
        else
            active.upstream_failed(wrote.error());
    }
    if (active.asking())
        active.request_sent();
    while (active.asking()) {
        if (!codec_->pending().empty()) // 100 Continue, or other informational heads
            co_await flush();
        if (!active.asking())
            break;
        Result<Slice> bytes = co_await active.upstream_->stream->read();
        if (!active.asking())
            break; // refused meanwhile by the reader
        active.upstream_read(bytes);
        active.give_informational();
    }
}

/// Relays the reply until it is given whole, or cut. Reads on only when the client has taken what was read.
Task<void> Connection::answer(ActiveExchange& active) {
    const size_t gather_max = proxy_.settings().relay_bytes_max;
    for (;;) {
        active.give_body();
        if (!codec_->pending().empty() && !client_gone_ && !active.cut_)
            co_await flush();
        if (client_gone_ || active.cut_ || active.reply_given())
            co_return;
        do {
            Result<Slice> bytes = co_await active.upstream_->stream->read();
            if (client_gone_ || active.cut_)
                co_return;
            active.upstream_read(bytes);
        } while (!active.cut_ && !active.reply_ready() && active.gathered_bytes() < gather_max &&
                 active.upstream_->stream->buffered() > 0);
    }
}

Task<void> Connection::flush() {
    while (!codec_->pending().empty() && !client_gone_) {
        const Result<size_t> wrote = co_await stream_->write(codec_->pending());
        if (!wrote) {
            read_failed(wrote.error()); // whoever notices first: the client is gone
            co_return;
        }
        codec_->sent(*wrote);
        touch();
        if (active_ != nullptr)
            active_->response_sent(*wrote);
    }
}

void Connection::exchange_over(ActiveExchange& active) {
    active.finish();
    active_ = nullptr;
    forget_body();
    if (active.cut_ && !client_gone_) {
        cut();
    } else if (!client_gone_) {
        enter(codec_->finished() ? Phase::closing : Phase::idle);
    }
    turn_.notify_all();
}

} // namespace weft::l7
