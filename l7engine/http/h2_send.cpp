// SPDX-License-Identifier: Apache-2.0
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "l7engine/http/h2_connection.hpp"

namespace weft::l7::h2 {
namespace {

constexpr size_t frame_header_bytes = 9;

std::unexpected<Error> unavailable(const char* during) {
    return std::unexpected(Error{.code = Code::unavailable, .retryable = true, .during = during});
}

bool may_have_body(const Stream& stream, uint16_t status) {
    return !stream.head_request && status != 204 && status != 304;
}

} // namespace

uint32_t H2Connection::streams_max() const {
    const uint32_t peer = nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return std::min(peer, settings_.streams_max);
}

/// Why another request cannot go out now; nullptr: it can. A peer that does not read gets no more of them: their heads
/// and resets are what no window bounds.
const char* H2Connection::no_room() const {
    if (failed_ || leaving())
        return "connection takes no request";
    if (opened_ >= settings_.streams_per_connection_max)
        return "no stream number left";
    // Those too that have ended and hold a part of the connection's window, since nobody has taken their last bytes.
    if (streams_.size() >= streams_max())
        return "streams at a time";
    return unwritten() > settings_.backlog_bytes_max ? "unwritten output" : nullptr;
}

Result<StreamId> H2Connection::open() {
    if (is_server())
        return fail(Code::invalid, "open on a server connection");
    if (const char* why = no_room(); why != nullptr)
        return unavailable(why);
    return add_stream(static_cast<StreamId>(2 * opened_++ + 1)).id;
}

Result<void> H2Connection::send_head(StreamId id, const Head& head, bool last) {
    Stream* stream = find(id);
    if (stream == nullptr)
        return std::unexpected(no_such_stream(id));
    if (stream->sending != Stream::Sending::head || head.is_request() == is_server())
        return fail(Code::invalid, "head to send");
    return is_server() ? send_reply_head(*stream, head, last) : send_request_head(*stream, head, last);
}

Result<void> H2Connection::send_reply_head(Stream& stream, const Head& head, bool last) {
    const bool accepts = stream.tunnel && head.status == 101;
    const bool informational = head.is_informational() && !accepts;
    const bool body = may_have_body(stream, head.status) && !informational && !accepts;
    if ((informational && last) || (last && body && head.content_length.value_or(0) > 0))
        return fail(Code::invalid, "reply to send");
    if (const Result<void> set = fields_.set_response(head, stream.tunnel); !set)
        return set;
    const uint8_t flags = last ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE;
    checked(
        nghttp2_submit_headers(session_.get(), flags, stream.wire, nullptr, fields_.data(), fields_.size(), nullptr));
    if (!informational) {
        stream.sending = last ? Stream::Sending::ended : Stream::Sending::body;
        stream.discard_body = !body && !accepts;
        stream.tunnel_open = accepts;
        stream.left = body ? head.content_length : std::nullopt;
    }
    flush();
    return {};
}

Result<void> H2Connection::send_request_head(Stream& stream, const Head& head, bool last) {
    const Result<void> submitted = submit_request(stream, head, last);
    if (!submitted) {
        --open_;
        erase(stream);
    }
    flush();
    return submitted;
}

Result<void> H2Connection::submit_request(Stream& stream, const Head& head, bool last) {
    // The peer may have changed its mind since open().
    if (leaving() || open_ > streams_max())
        return unavailable("connection takes no request");
    if (last && head.content_length.value_or(0) > 0)
        return fail(Code::invalid, "request to send");
    stream.tunnel = head.upgrade == "websocket" && !last;
    if (stream.tunnel &&
        nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 0)
        return std::unexpected(Error{.code = Code::refused, .side = Side::upstream, .during = "extended connect"});
    if (const Result<void> set = fields_.set_request(head, stream.tunnel, last); !set)
        return set;
    const uint8_t flags = last ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE;
    const int32_t wire =
        checked(nghttp2_submit_headers(session_.get(), flags, -1, nullptr, fields_.data(), fields_.size(), &stream));
    if (wire < 0)
        return unavailable("no stream number left");
    budget_.on_stream();
    stream.wire = wire;
    stream.head_request = head.method == "HEAD";
    stream.sending = last ? Stream::Sending::ended : Stream::Sending::body;
    stream.left = stream.tunnel ? std::nullopt : head.content_length;
    stream.received_before = received_bytes_;
    return {};
}

/// What the peer still takes of the stream.
int64_t H2Connection::window(const Stream& stream) const {
    int64_t window = nghttp2_session_get_stream_remote_window_size(session_.get(), stream.wire);
    if (window < 0) // its head is queued: receive() is running
        window = nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
    return window - static_cast<int64_t>(stream.outgoing_bytes);
}

size_t H2Connection::room(const Stream& stream) const {
    const auto outgoing = static_cast<int64_t>(outgoing_bytes_);
    const int64_t connection = nghttp2_session_get_remote_window_size(session_.get()) - outgoing;
    const int64_t pending =
        static_cast<int64_t>(settings_.pending_bytes_max) - static_cast<int64_t>(unwritten()) - outgoing;
    return static_cast<size_t>(std::max<int64_t>(std::min({window(stream), connection, pending}), 0));
}

Result<size_t> H2Connection::send_data(StreamId id, Slice data, bool last) {
    Stream* stream = find(id);
    if (stream == nullptr)
        return std::unexpected(no_such_stream(id));
    if (stream->sending != Stream::Sending::body)
        return fail(Code::invalid, "body to send");
    const size_t given = data.size();
    if (stream->left && given > *stream->left) {
        const Error error{.code = Code::invalid, .during = "more data than content-length"};
        reset(id, error);
        return std::unexpected(error);
    }
    const size_t taken = stream->discard_body ? given : std::min(given, room(*stream));
    if (stream->left)
        *stream->left -= taken;
    if (taken > 0 && !stream->discard_body) {
        stream->outgoing.push_back(data.split_front(taken));
        stream->outgoing_bytes += taken;
        outgoing_bytes_ += taken;
        queue_framing(*stream);
    }
    if (taken < given) {
        stream->starved = true;
        list_ready(*stream);
    } else if (last) {
        if (const Result<void> ended = end_sending(*stream); !ended)
            return std::unexpected(ended.error());
    }
    flush();
    return taken;
}

Result<void> H2Connection::send_trailers(StreamId id, const Trailers& trailers) {
    Stream* stream = find(id);
    if (stream == nullptr)
        return std::unexpected(no_such_stream(id));
    if (stream->sending != Stream::Sending::body)
        return fail(Code::invalid, "trailers to send");
    if (const Result<void> set = fields_.set_trailers(trailers); !set) {
        reset(id, set.error());
        return set;
    }
    if (fields_.size() > 0 && !stream->discard_body)
        stream->trailers = Trailers(trailers);
    const Result<void> ended = end_sending(*stream);
    flush();
    return ended;
}

Result<void> H2Connection::end_sending(Stream& stream) {
    if (stream.left.value_or(0) > 0) {
        const Error error{.code = Code::invalid, .during = "less data than content-length"};
        reset(stream.id, error);
        return std::unexpected(error);
    }
    stream.sending = Stream::Sending::ended;
    stream.end_after = !stream.trailers;
    queue_framing(stream);
    return {};
}

void H2Connection::queue_framing(Stream& stream) {
    if (!std::exchange(stream.queued, true))
        to_frame_.push_back(stream.id);
}

/// Names the stream in turn, if it is not its own window that is in the way.
void H2Connection::list_ready(Stream& stream) {
    if (!stream.starved || stream.listed || window(stream) <= 0)
        return;
    stream.listed = true;
    ready_.push_back(stream.id);
}

std::optional<StreamId> H2Connection::next_writable() {
    if (unwritten() > settings_.pending_bytes_max / 2)
        return std::nullopt; // what little room there is would make little frames
    while (!ready_.empty()) {
        const StreamId id = ready_.front();
        Stream* stream = find(id);
        const bool waits = stream != nullptr && stream->starved && window(*stream) > 0;
        if (waits && room(*stream) == 0)
            return std::nullopt; // the connection is full, for all
        ready_.pop_front();
        if (stream != nullptr)
            stream->listed = false;
        if (!waits)
            continue;
        stream->starved = false;
        return id;
    }
    return std::nullopt;
}

/// nghttp2 asks how much of the stream goes into its next DATA frame.
nghttp2_ssize H2Connection::read_data(int32_t wire, size_t length, uint32_t* flags) {
    Stream* stream = stream_of(wire);
    assert(stream != nullptr);
    const size_t size = std::min(length, stream->outgoing_bytes);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (size < stream->outgoing_bytes)
        return static_cast<nghttp2_ssize>(size);
    stream->framing = false;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream->end_after)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (stream->trailers)
        queue_framing(*stream);
    return static_cast<nghttp2_ssize>(size);
}

/// The frame's payload goes out as the slices that it came in.
int H2Connection::write_data(const nghttp2_frame& frame, const uint8_t* header, size_t length) {
    budget_.on_data_frame_sent();
    append({reinterpret_cast<const char*>(header), frame_header_bytes});
    Stream* stream = stream_of(frame.hd.stream_id);
    assert(stream != nullptr && stream->outgoing_bytes >= length);
    stream->outgoing_bytes -= length;
    outgoing_bytes_ -= length;
    out_bytes_ += length;
    size_t whole = 0;
    for (size_t left = length; left > 0;) {
        Slice& slice = stream->outgoing[whole];
        const size_t size = std::min(left, slice.size());
        left -= size;
        if (size < slice.size()) {
            out_.append(slice.split_front(size));
        } else {
            out_.append(std::move(slice));
            ++whole;
        }
    }
    stream->outgoing.erase(stream->outgoing.begin(), stream->outgoing.begin() + static_cast<ptrdiff_t>(whole));
    return 0;
}

} // namespace weft::l7::h2
