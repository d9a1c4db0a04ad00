// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/session.hpp"

#include <algorithm>

#include "l7engine/io/worker.hpp"

namespace weft::l7 {

namespace {

constexpr uint64_t goodbye_ms = 1'000; ///< a GOAWAY may take so long to go out

Error upstream_fault(Error error) {
    error.side = Side::upstream;
    return error;
}

} // namespace

UpstreamSession::UpstreamSession(Worker& worker, const UpstreamKey& key, std::unique_ptr<ByteStream> stream,
                                 std::unique_ptr<Codec> codec, Watcher& watcher)
    : worker_(worker), key_(key), stream_(std::move(stream)), codec_(std::move(codec)), made_ms_(worker.now_ms()),
      watcher_(watcher), writer_(worker, *stream_, *codec_, *this), progress_(worker), idle_since_ms_(worker.now_ms()) {
}

UpstreamSession::~UpstreamSession() {
    watcher_.session_gone(key_.pod_id);
}

void UpstreamSession::start() {
    worker_.tasks().spawn(write(shared_from_this()));
    worker_.tasks().spawn(read(shared_from_this()));
}

// ------------------------------------------------------------------ streams

Result<StreamId> UpstreamSession::open(StreamUser& user, const Head& head, bool last) {
    const Result<StreamId> stream = codec_->open();
    if (!stream) {
        if (users_.empty()) // it takes none at all
            leave();
        return std::unexpected(upstream_fault(stream.error()));
    }
    if (const Result<void> sent = codec_->send_head(*stream, head, last); !sent)
        return std::unexpected(sent.error());
    users_.push_back({.stream = *stream, .user = &user});
    full_ = !has_room();
    kick();
    return stream;
}

Task<Result<void>> UpstreamSession::settled(Until until) {
    while (!codec_->knows_peer() && !lost_) {
        if (const Result<void> woken = co_await progress_.wait(until); !woken)
            co_return woken;
    }
    if (lost_)
        co_return fail(Code::reset, "settings");
    co_return Result<void>{};
}

void UpstreamSession::forget(StreamId stream, const Error& why) {
    if (take_user(stream) == nullptr)
        return;
    codec_->reset(stream, why); // nothing, if it has ended
    kick();
    stream_ended();
}

StreamUser* UpstreamSession::take_user(StreamId stream) {
    const auto found = std::ranges::find(users_, stream, &Open::stream);
    if (found == users_.end())
        return nullptr;
    StreamUser* user = found->user;
    *found = users_.back();
    users_.pop_back();
    return user;
}

void UpstreamSession::stream_ended() {
    if (users_.empty())
        idle_since_ms_ = worker_.now_ms();
    end_if_idle();
    watcher_.session_changed(key_);
}

StreamUser* UpstreamSession::user_of(StreamId stream) const {
    const auto found = std::ranges::find(users_, stream, &Open::stream);
    return found == users_.end() ? nullptr : found->user;
}

void UpstreamSession::on_head(StreamId stream, Head&& head, bool last) {
    if (StreamUser* user = user_of(stream))
        user->on_head(stream, std::move(head), last);
}

void UpstreamSession::on_data(StreamId stream, Slice&& data, bool last) {
    if (StreamUser* user = user_of(stream))
        user->on_data(stream, std::move(data), last);
}

void UpstreamSession::on_trailers(StreamId stream, Trailers&& trailers) {
    if (StreamUser* user = user_of(stream))
        user->on_trailers(stream, std::move(trailers));
}

void UpstreamSession::on_reset(StreamId stream, Error error) {
    if (!lost_ && (error.code == Code::reset || error.code == Code::refused))
        error.during = "stream";
    if (StreamUser* user = take_user(stream)) {
        user->on_reset(stream, upstream_fault(error));
        stream_ended();
    }
}

void UpstreamSession::on_goaway(StreamId) {
    leaving_ = true;
    watcher_.session_changed(key_);
}

// ------------------------------------------------------------------ the connection

Task<void> UpstreamSession::read(std::shared_ptr<UpstreamSession> self) {
    UpstreamSession& session = *self;
    bool has_last_words = false;
    Stretch stretch;
    while (!session.lost_) {
        Result<Slice> bytes = co_await session.stream_->read();
        if (!bytes || bytes->empty()) {
            session.lost(bytes ? Error{.code = Code::eof, .during = "reply"} : bytes.error());
            break;
        }
        if (stretch.takes(bytes->size()))
            co_await yield(session.worker_);
        if (session.lost_)
            break;
        Result<size_t> used = session.receive(*bytes);
        while (used && *used == 0) { // it does not read what we have to say
            if (const Result<void> wrote = co_await session.progress_.wait(); !wrote || session.lost_)
                break;
            used = session.receive(*bytes);
        }
        if (!used) {
            has_last_words = true;
            session.lost(used.error());
        }
    }
    session.writer_.kick();
    session.writer_.stop();
    if (has_last_words && session.writer_.running())
        co_await sleep(session.worker_, goodbye_ms);
    session.stream_->abort({.code = Code::canceled, .side = Side::upstream, .during = "session ended"}, false);
}

Task<void> UpstreamSession::write(std::shared_ptr<UpstreamSession> self) {
    co_await self->writer_.run();
    // Nothing more is to be said, or can be: ends the reading, too.
    self->stream_->abort({.code = Code::canceled, .side = Side::upstream, .during = "session ended"}, false);
}

Result<size_t> UpstreamSession::receive(const Slice& bytes) {
    const Result<size_t> used = codec_->receive(bytes, *this);
    progress_.notify_all();
    name_writable();
    writer_.kick();
    end_if_idle();
    tell_room();
    return used;
}

/// The peer has said what it allows, allows more, or has taken what was unwritten: who waits for a stream looks again.
void UpstreamSession::tell_room() {
    const bool first_settings = !std::exchange(settled_, knows_peer()) && settled_;
    if (first_settings || (full_ && has_room())) {
        full_ = !has_room();
        watcher_.session_changed(key_);
    }
}

void UpstreamSession::name_writable() {
    while (const std::optional<StreamId> stream = codec_->next_writable()) {
        if (StreamUser* user = user_of(*stream))
            user->writable();
    }
}

void UpstreamSession::written(size_t) {
    name_writable();
    progress_.notify_all();
    tell_room();
}

void UpstreamSession::write_failed(const Error& error) {
    lost(error);
}

/// Every stream that has not ended has its reset.
void UpstreamSession::lost(const Error& error) {
    if (std::exchange(lost_, true))
        return;
    leaving_ = true;
    (void)codec_->receive_eof(*this); // tells which requests the backend cannot have seen
    while (!users_.empty()) {
        const Open open = users_.back();
        users_.pop_back();
        open.user->on_reset(open.stream, upstream_fault(error));
    }
    progress_.notify_all();
    watcher_.session_changed(key_);
}

void UpstreamSession::end_if_idle() {
    if (!leaving_ || lost_ || !users_.empty())
        return;
    codec_->drain();
    writer_.kick();
    writer_.stop();
    if (!armed())
        worker_.timers().arm(*this, worker_.in_ms(goodbye_ms));
}

void UpstreamSession::expired() {
    const std::shared_ptr<UpstreamSession> self = shared_from_this();
    const Error error{.code = Code::canceled, .side = Side::upstream, .during = "session ended"};
    lost(error);
    stream_->abort(error, true);
}

void UpstreamSession::leave() {
    if (std::exchange(leaving_, true))
        return;
    end_if_idle();
    watcher_.session_changed(key_);
}

bool UpstreamSession::is_unsettled(uint64_t now_ms, uint64_t limit_ms) const {
    return !lost_ && !codec_->settled() && !codec_->finished() && now_ms - made_ms_ >= limit_ms;
}

void UpstreamSession::end_unsettled() {
    codec_->settings_timed_out(); // now it calls no request unseen: who knows what this backend does with them
    lost({.code = Code::timeout, .during = "SETTINGS"});
    stream_->abort({.code = Code::canceled, .side = Side::upstream, .during = "SETTINGS"}, true);
}

} // namespace weft::l7
