// SPDX-License-Identifier: Apache-2.0
// The HTTP/2 half of a client connection's reader: many exchanges at a time, one writer.
#include "l7engine/proxy/active_exchange.hpp"

namespace weft::l7 {

Task<void> Connection::serve_http2(Slice bytes) {
    TaskGroup writing;
    writing.spawn(writer_->run());
    for (;;) {
        if (stretch_.takes(bytes.size()))
            co_await yield(proxy_.worker());
        while (!bytes.empty() && !client_gone_) {
            if (codec_->finished() && !linger(bytes.size()))
                read_failed({.code = Code::too_large, .side = Side::downstream, .during = "linger"});
            else if (!take_http2(bytes))
                (void)co_await turn_.wait(); // it does not read what we have to say
        }
        if (client_gone_)
            break;
        Result<Slice> next = co_await stream_->read();
        if (!next) {
            read_failed(next.error());
            break;
        }
        if (next->empty()) {
            read_ended();
            writer_->kick();
            break;
        }
        bytes = std::move(*next);
    }
    co_await exchanges_.join();
    // What the last exchanges have said still goes out, unless the client takes too long.
    writer_->kick();
    writer_->stop();
    if (client_gone_)
        stream_->abort({.code = Code::canceled, .side = Side::downstream, .during = "client gone"}, true);
    else if (phase_ != Phase::closing)
        enter(Phase::ending);
    co_await writing.join();
}

/// False: the codec takes nothing until more is written.
bool Connection::take_http2(Slice& bytes) {
    const Result<size_t> used = codec_->receive(bytes, *this);
    if (!exchanges_now_.empty()) // a PING, or half a head, keeps no idle connection
        touch();
    if (!arrivals_.empty())
        begin_arrivals();
    if (!used) {
        connection_failed(used.error());
        bytes = {};
    } else {
        bytes.remove_prefix(*used);
        name_writable();
    }
    writer_->kick();
    close_if_finished();
    return !used || *used > 0;
}

/// The connection's own fault: its GOAWAY is in the codec, and all streams are over.
void Connection::connection_failed(const Error& error) {
    proxy_.counters().add(Counter::http2_errors);
    if (error.code == Code::too_large) {
        flooded_ = true;
        proxy_.counters().add(Counter::floods);
        proxy_.flooded(accepted_);
    }
    for (ActiveExchange* active : exchanges_now_)
        active->client_gone(error);
    if (exchanges_now_.empty())
        enter(Phase::idle); // under the limit of one that is finished
}

void Connection::name_writable() {
    while (const std::optional<StreamId> stream = codec_->next_writable()) {
        if (ActiveExchange* active = exchange_of(*stream)) {
            active->reply_blocked_ = false;
            active->wake_.notify_all();
        }
    }
}

void Connection::written(size_t) {
    // Answers to PINGs are no sign of use.
    if (phase_ != Phase::idle || !codec_->pending().empty())
        touch();
    name_writable();
    turn_.notify_all();
    close_if_finished();
}

/// After the last word: FIN, then wait for the client's.
void Connection::close_if_finished() {
    if (codec_->finished() && codec_->pending().empty() && exchanges_now_.empty() && !client_gone_ &&
        phase_ != Phase::closing && phase_ != Phase::ending)
        enter(Phase::closing);
}

} // namespace weft::l7
