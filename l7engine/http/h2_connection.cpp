// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h2_connection.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "l7engine/http/h2_error.hpp"

namespace weft::l7 {
namespace h2 {
namespace {

/// Marks the PING whose acknowledgement says that the peer has read our first GOAWAY.
constexpr std::array<uint8_t, 8> drain_ping = {'w', 'e', 'f', 't', 'b', 'y', 'e', 0};

/// What mem_recv2 says when it stops for good.
std::pair<uint32_t, const char*> meaning_of(nghttp2_ssize result) {
    switch (result) {
    case NGHTTP2_ERR_FLOODED: return {NGHTTP2_ENHANCE_YOUR_CALM, "control frame flood"};
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS: return {NGHTTP2_ENHANCE_YOUR_CALM, "continuation flood"};
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC: return {NGHTTP2_PROTOCOL_ERROR, "preface"};
    default: return {NGHTTP2_INTERNAL_ERROR, "nghttp2"};
    }
}

} // namespace

H2Connection::H2Connection(Role role, const H2Settings& settings)
    : role_(role), settings_(settings), session_(make_session(role, callbacks(), settings, this)),
      frames_(role == Role::server ? NGHTTP2_CLIENT_MAGIC_LEN : 0), budget_(settings.budgets), block_(settings) {
    announce(session_.get(), role, settings);
    if (is_server()) {
        const uint8_t* frame = nullptr;
        const nghttp2_ssize size = nghttp2_session_mem_send2(session_.get(), &frame);
        assert(size > 0);
        std::string bytes(reinterpret_cast<const char*>(frame), static_cast<size_t>(size));
        write_streams_max(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size(), settings.streams_max);
        append(bytes);
    }
    write_output();
    control_frames_.clear(); // not on the peer's account
}

Result<size_t> H2Connection::receive(const Slice& bytes, Events& events) {
    if (finished())
        return bytes.size();
    if (unwritten() > settings_.backlog_bytes_max)
        return size_t{0};
    busy_ = true;
    events_ = &events;
    bytes_ = &bytes;
    received_bytes_ += bytes.size();
    for (size_t at = 0; at < bytes.size() && !failure_ && !finished();)
        at += receive_frame(bytes.bytes().subspan(at));
    if (const char* used_up = budget_.on_control_frames(control_frames_.size()); used_up != nullptr && !failure_)
        fail_connection(NGHTTP2_ENHANCE_YOUR_CALM, used_up);
    if (failure_ && !failed_)
        give_up();
    busy_ = false;
    events_ = nullptr;
    bytes_ = nullptr;
    if (failure_)
        return std::unexpected(*failure_);
    return bytes.size();
}

/// Gives nghttp2 what `bytes` hold of the frame under way; returns how much that was.
size_t H2Connection::receive_frame(Bytes bytes) {
    const size_t size = frames_.next(as_text(bytes));
    const nghttp2_ssize taken =
        nghttp2_session_mem_recv2(session_.get(), reinterpret_cast<const uint8_t*>(bytes.data()), size);
    deliver_held(false);
    if (taken < 0 && !failure_) {
        checked(static_cast<int>(taken));
        const auto [code, during] = meaning_of(taken);
        fail_connection(code, during);
    }
    if (!failure_)
        write_output();
    return size;
}

/// Streams that can still end well do so; who closes the connection is the owner.
Result<void> H2Connection::receive_eof(Events& events) {
    if (finished())
        return {};
    eof_ = true;
    std::vector<StreamId> cut;
    for (const auto& [id, stream] : streams_) {
        if (!stream.over && !stream.remote_ended)
            cut.push_back(id);
    }
    std::sort(cut.begin(), cut.end());
    for (const StreamId id : cut) {
        Stream* stream = find(id);
        if (stream == nullptr)
            continue;
        // Nothing came since the request went out: the server may have closed an idle connection before it saw it.
        const bool unsent = !is_server() && stream->wire == 0;
        const bool unanswered = !is_server() && stream->received_before == received_bytes_;
        const Error error{
            .code = Code::eof, .side = peer(), .retryable = unsent, .unanswered = unanswered, .during = "connection"};
        reset(id, error);
        events.on_reset(id, error);
    }
    return {};
}

/// Takes all that nghttp2 has to say, and frames the data that verbs have left.
void H2Connection::write_output() {
    do {
        const uint8_t* frame = nullptr;
        nghttp2_ssize size = 0;
        while ((size = nghttp2_session_mem_send2(session_.get(), &frame)) > 0)
            append({reinterpret_cast<const char*>(frame), static_cast<size_t>(size)});
        checked(static_cast<int>(size));
        assert(size == 0 || failure_);
        if (size < 0)
            return;
    } while (frame_queued());
}

void H2Connection::flush() {
    if (!busy_)
        write_output();
}

bool H2Connection::frame_queued() {
    bool any = false;
    std::vector<StreamId> ids;
    ids.swap(to_frame_);
    for (const StreamId id : ids) {
        if (Stream* stream = find(id); stream != nullptr) {
            stream->queued = false;
            frame_one(*stream);
            any = true;
        }
    }
    return any;
}

void H2Connection::frame_one(Stream& stream) {
    if (stream.framing)
        return;
    // nghttp2 holds back even an empty DATA frame while a window is used up; an empty trailer section needs none.
    const bool blocked = window(stream) <= 0 || nghttp2_session_get_remote_window_size(session_.get()) <= 0;
    if (stream.outgoing_bytes == 0 && (stream.trailers || blocked)) {
        if (!stream.trailers)
            stream.trailers.emplace();
        // Checked by send_trailers().
        [[maybe_unused]] const Result<void> set = fields_.set_trailers(*stream.trailers);
        checked(nghttp2_submit_trailer(session_.get(), stream.wire, fields_.data(), fields_.size()));
        stream.trailers.reset();
        return;
    }
    const nghttp2_data_provider2 provider{
        .source = {},
        .read_callback = [](nghttp2_session*, int32_t wire, uint8_t*, size_t length, uint32_t* flags,
                            nghttp2_data_source*, void* connection) {
            return static_cast<H2Connection*>(connection)->read_data(wire, length, flags);
        }};
    const int submitted =
        checked(nghttp2_submit_data2(session_.get(), NGHTTP2_FLAG_END_STREAM, stream.wire, &provider));
    stream.framing = submitted == 0;
}

void H2Connection::append(std::string_view frame) {
    out_.append(frame);
    out_bytes_ += frame.size();
}

void H2Connection::sent(size_t bytes) {
    out_.sent(bytes);
    sent_bytes_ += bytes;
    while (!control_frames_.empty() && control_frames_.front() < sent_bytes_)
        control_frames_.pop_front();
}

/// Returns what a callback returns to stop nghttp2 at once. The first failure counts.
int H2Connection::fail_connection(uint32_t code, const char* during) {
    if (!failure_)
        failure_ = peer_fault(code, peer(), during);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

void H2Connection::give_up() {
    failed_ = true;
    to_frame_.clear();
    ready_.clear();
    checked(nghttp2_session_terminate_session(session_.get(), static_cast<uint32_t>(failure_->detail)));
    write_output();
}

void H2Connection::settings_timed_out() {
    if (failed_)
        return;
    fail_connection(NGHTTP2_SETTINGS_TIMEOUT, "SETTINGS timeout");
    give_up();
}

void H2Connection::drain() {
    if (goaway_sent_ || failed_)
        return;
    if (!is_server() || draining_)
        return send_final_goaway();
    draining_ = true;
    checked(nghttp2_submit_shutdown_notice(session_.get()));
    checked(nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, drain_ping.data()));
    flush();
}

void H2Connection::send_final_goaway() {
    goaway_sent_ = true;
    const int32_t last = is_server() ? nghttp2_session_get_last_proc_stream_id(session_.get()) : 0;
    checked(nghttp2_submit_goaway(session_.get(), NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0));
    flush();
}

Stream& H2Connection::add_stream(StreamId id) {
    Stream& stream = streams_[id];
    stream.id = id;
    last_id_ = std::max(last_id_, id);
    ++open_;
    return stream;
}

/// The streams that verbs may act on.
Stream* H2Connection::find(StreamId id) {
    const auto found = streams_.find(id);
    return found == streams_.end() || found->second.over || failed_ ? nullptr : &found->second;
}

/// The same by nghttp2's number; nullptr: it knows none, or it was not let in.
Stream* H2Connection::stream_of(int32_t wire) const {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session_.get(), wire));
}

Error H2Connection::no_such_stream(StreamId id) const {
    if (id == 0 || id > last_id_)
        return {.code = Code::invalid, .during = "stream"};
    return {.code = Code::canceled, .during = "stream that is over"};
}

void H2Connection::reset(StreamId id, Error error) {
    Stream* stream = find(id);
    if (stream == nullptr)
        return; // over already
    if (stream->wire == 0) {
        --open_;
        return erase(*stream);
    }
    if (stream->closed) {
        erase(*stream);
        return flush(); // the connection's window may be open again
    }
    cut(*stream);
    stream->reset_by_owner = true;
    checked(nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream->wire, code_for(error)));
    flush();
}

/// No verb and no event more; the stream stays until nghttp2 has closed it.
void H2Connection::cut(Stream& stream) {
    stream.over = true;
    outgoing_bytes_ -= stream.outgoing_bytes;
    stream.outgoing.clear();
    stream.outgoing_bytes = 0;
    stream.trailers.reset();
}

void H2Connection::report(Stream& stream, const Error& error) {
    assert(events_ != nullptr);
    cut(stream);
    events_->on_reset(stream.id, error);
}

/// What its owner has not consumed, is not charged to the connection any longer.
void H2Connection::erase(Stream& stream) {
    if (stream.unconsumed > 0 && !failed_)
        checked(nghttp2_session_consume_connection(session_.get(), static_cast<size_t>(stream.unconsumed)));
    outgoing_bytes_ -= stream.outgoing_bytes;
    if (stream.listed)
        std::erase(ready_, stream.id);
    streams_.erase(stream.id);
}

void H2Connection::consumed(StreamId id, size_t bytes) {
    Stream* stream = find(id);
    if (stream == nullptr || failed_)
        return;
    const size_t counted = static_cast<size_t>(std::min<uint64_t>(bytes, stream->unconsumed));
    stream->unconsumed -= counted;
    if (!stream->closed) {
        checked(nghttp2_session_consume(session_.get(), stream->wire, counted));
    } else {
        checked(nghttp2_session_consume_connection(session_.get(), counted));
        if (stream->unconsumed == 0)
            erase(*stream);
    }
    flush();
}

} // namespace h2

std::unique_ptr<Codec> make_h2_server_codec(const H2Settings& settings) {
    return std::make_unique<h2::H2Connection>(h2::Role::server, settings);
}

std::unique_ptr<Codec> make_h2_client_codec(const H2Settings& settings) {
    return std::make_unique<h2::H2Connection>(h2::Role::client, settings);
}

} // namespace weft::l7
