// SPDX-License-Identifier: Apache-2.0
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "l7engine/http/h2_connection.hpp"
#include "l7engine/http/h2_error.hpp"

namespace weft::l7::h2 {
namespace {

constexpr int32_t stream_number_max = 0x7fffffff;

bool ends_stream(const nghttp2_frame& frame) {
    return (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
}

} // namespace

/// A head on a number that has had its stream, or was passed over when a higher one opened (RFC 9113 5.1, 5.1.1). What
/// the peer sent before it knew of a reset of ours is not meant: up to the last of those, heads get lost. DATA of such
/// streams nghttp2 drops without a word, as 5.1 allows.
bool H2Connection::comes_after_end(int32_t wire) const {
    return is_server() && wire > reset_highest_ && wire <= nghttp2_session_get_last_proc_stream_id(session_.get()) &&
           nghttp2_session_find_stream(session_.get(), wire) == nullptr;
}

/// Frame headers, CONTINUATION too: what costs us without leading to anything is counted here.
int H2Connection::on_begin_frame(const nghttp2_frame_hd& frame) {
    deliver_held(false);
    check_data_refused();
    const char* used_up = nullptr;
    switch (frame.type) {
    case NGHTTP2_DATA:
        if (const Stream* stream = stream_of(frame.stream_id); stream != nullptr && !stream->over)
            data_stream_ = stream->id;
        break;
    case NGHTTP2_PUSH_PROMISE: return fail_connection(NGHTTP2_PROTOCOL_ERROR, "push"); // nobody may
    case NGHTTP2_PRIORITY:
        if (frame.stream_id == 0)
            return fail_connection(NGHTTP2_PROTOCOL_ERROR, "PRIORITY of stream 0");
        used_up = budget_.on_idle_frame();
        break;
    case NGHTTP2_HEADERS:
        if (comes_after_end(frame.stream_id))
            return fail_connection(NGHTTP2_STREAM_CLOSED, "head on a closed stream");
        budget_.on_block();
        break;
    case NGHTTP2_CONTINUATION: used_up = budget_.on_continuation(); break;
    case NGHTTP2_WINDOW_UPDATE: used_up = budget_.on_window_update(); break;
    default: break; // the rest costs its sender more than us, or is counted by what we write
    }
    return used_up == nullptr ? 0 : fail_connection(NGHTTP2_ENHANCE_YOUR_CALM, used_up);
}

int H2Connection::on_begin_headers(const nghttp2_frame& frame) {
    const bool request = frame.headers.cat == NGHTTP2_HCAT_REQUEST;
    if (request)
        on_request_begin(frame.hd.stream_id);
    const Stream* stream = stream_of(frame.hd.stream_id);
    block_over_ = stream == nullptr || stream->over;
    if (request)
        block_.start(BlockReader::Kind::request);
    else if (!block_over_)
        block_.start(stream->head_received ? BlockReader::Kind::trailers : BlockReader::Kind::response);
    return 0;
}

void H2Connection::on_request_begin(int32_t wire) {
    budget_.on_stream();
    if (open_ >= settings_.streams_max) {
        checked(nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, wire, NGHTTP2_REFUSED_STREAM));
        return;
    }
    Stream& stream = add_stream(static_cast<StreamId>(wire));
    stream.wire = wire;
    nghttp2_session_set_stream_user_data(session_.get(), wire, &stream);
}

int H2Connection::on_header(std::string_view name, std::string_view value) {
    if (!block_over_)
        block_.add(name, value);
    return 0;
}

int H2Connection::on_frame(const nghttp2_frame& frame) {
    Stream* stream = frame.hd.stream_id > 0 ? stream_of(frame.hd.stream_id) : nullptr;
    const bool acknowledges = (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0;
    switch (frame.hd.type) {
    case NGHTTP2_DATA: return on_data_end(stream, frame);
    case NGHTTP2_HEADERS:
        if (stream != nullptr && !stream->over)
            stream->head_received ? on_trailers(*stream) : on_head(*stream, ends_stream(frame));
        if (frame.hd.stream_id == stream_number_max && !goaway_sent_)
            send_final_goaway(); // RFC 9113 5.1.1: no number is left
        return 0;
    case NGHTTP2_RST_STREAM: return on_reset(stream, frame.rst_stream.error_code);
    case NGHTTP2_SETTINGS:
        settings_acknowledged_ = settings_acknowledged_ || acknowledges;
        peer_known_ = peer_known_ || !acknowledges;
        if (!acknowledges)
            on_window(0);
        return 0;
    case NGHTTP2_PING:
        if (acknowledges && draining_ && !goaway_sent_)
            send_final_goaway();
        return 0;
    case NGHTTP2_GOAWAY: on_goaway(frame.goaway.last_stream_id); return 0;
    case NGHTTP2_WINDOW_UPDATE:
        if (stream != nullptr && !stream->over)
            on_window(frame.hd.stream_id);
        return 0;
    default: return 0;
    }
}

void H2Connection::on_head(Stream& stream, bool last) {
    Result<Head> head = is_server() ? block_.finish_request(last) : block_.finish_response(stream.tunnel);
    if (!head)
        return refuse(stream, head.error(), last);
    const bool final = !head->is_informational() || (stream.tunnel && head->status == 101);
    if (!final && ++stream.informational_heads > settings_.informational_heads_max)
        return refuse(stream, {.code = Code::too_large, .during = "informational replies"}, last);
    stream.head_received = final;
    stream.remote_ended = last;
    if (is_server()) {
        stream.head_request = head->method == "HEAD";
        stream.tunnel = !head->upgrade.empty();
    }
    events_->on_head(stream.id, std::move(*head), last);
}

void H2Connection::on_trailers(Stream& stream) {
    Result<Trailers> trailers = block_.finish_trailers();
    if (!trailers)
        return refuse(stream, trailers.error(), true);
    stream.remote_ended = true;
    if (trailers->empty())
        events_->on_data(stream.id, {}, true);
    else
        events_->on_trailers(stream.id, std::move(*trailers));
}

/// Answers a head that is well-formed, else resets.
void H2Connection::refuse(Stream& stream, Error error, bool last) {
    error.side = peer();
    stream.remote_ended = last;
    if (is_server() && !stream.head_received && error.detail >= 400) {
        fields_.set_status(static_cast<uint16_t>(error.detail));
        checked(nghttp2_submit_headers(session_.get(), NGHTTP2_FLAG_END_STREAM, stream.wire, nullptr, fields_.data(),
                                       fields_.size(), nullptr));
        stream.sending = Stream::Sending::ended;
    } else {
        const uint32_t code = code_for(error);
        error.detail = static_cast<int32_t>(code);
        checked(nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream.wire, code));
    }
    report(stream, error);
}

int H2Connection::on_data(int32_t wire, const uint8_t* data, size_t size) {
    deliver_held(false);
    Stream* stream = stream_of(wire);
    if (stream == nullptr || stream->over) {
        checked(nghttp2_session_consume(session_.get(), wire, size));
        return 0;
    }
    stream->unconsumed += size;
    const auto* begin = reinterpret_cast<const uint8_t*>(bytes_->data());
    held_ = bytes_->share(static_cast<size_t>(data - begin), size);
    held_stream_ = stream->id;
    return 0;
}

int H2Connection::on_data_end(Stream* stream, const nghttp2_frame& frame) {
    data_stream_ = 0;
    const bool last = ends_stream(frame);
    const bool empty = frame.hd.length == frame.data.padlen;
    if (const char* used_up = budget_.on_data_frame(empty, last); used_up != nullptr)
        return fail_connection(NGHTTP2_ENHANCE_YOUR_CALM, used_up);
    if (stream == nullptr || stream->over)
        return 0;
    stream->remote_ended = last;
    if (!held_.empty())
        deliver_held(last);
    else if (last)
        events_->on_data(stream->id, {}, true);
    return 0;
}

void H2Connection::deliver_held(bool last) {
    Slice data = std::move(held_);
    if (data.empty())
        return;
    if (const Stream* stream = find(held_stream_); stream != nullptr)
        events_->on_data(stream->id, std::move(data), last);
}

/// nghttp2 resets a stream whose body does not fit its Content-Length without a word: then the frame has no end.
void H2Connection::check_data_refused() {
    Stream* stream = find(std::exchange(data_stream_, 0));
    if (stream != nullptr)
        report(*stream, peer_fault(NGHTTP2_PROTOCOL_ERROR, peer(), "content-length"));
}

int H2Connection::on_reset(Stream* stream, uint32_t code) {
    if (stream == nullptr) {
        const char* used_up = budget_.on_idle_frame();
        return used_up == nullptr ? 0 : fail_connection(NGHTTP2_ENHANCE_YOUR_CALM, used_up);
    }
    if (stream->over)
        return 0;
    const bool premature = is_server() && stream->sending == Stream::Sending::head;
    // RFC 9113 8.1: a server that has answered needs the rest of the request no more.
    if (!is_server() && stream->remote_ended && code == NGHTTP2_NO_ERROR)
        cut(*stream);
    else
        report(*stream, peer_reset(code, peer()));
    const char* used_up = premature ? budget_.on_premature_reset() : nullptr;
    return used_up == nullptr ? 0 : fail_connection(NGHTTP2_ENHANCE_YOUR_CALM, used_up);
}

void H2Connection::on_goaway(int32_t last) {
    goaway_received_ = true;
    events_->on_goaway(static_cast<StreamId>(last));
}

/// `wire` 0: all streams.
void H2Connection::on_window(int32_t wire) {
    if (wire != 0)
        return list_ready(*stream_of(wire));
    std::vector<StreamId> starved;
    for (const auto& [id, stream] : streams_) {
        if (stream.starved && !stream.over)
            starved.push_back(id);
    }
    std::sort(starved.begin(), starved.end());
    for (const StreamId id : starved)
        list_ready(*find(id));
}

/// Only what is a stream's fault: a connection's comes as the GOAWAY that nghttp2 sends.
void H2Connection::on_invalid_frame(const nghttp2_frame& frame, int error) {
    Stream* stream = frame.hd.stream_id > 0 ? stream_of(frame.hd.stream_id) : nullptr;
    if (stream == nullptr || stream->over || failure_)
        return;
    if (frame.hd.type == NGHTTP2_HEADERS && error == NGHTTP2_ERR_HTTP_HEADER)
        report(*stream, peer_fault(NGHTTP2_PROTOCOL_ERROR, peer(), "header field"));
    else if (frame.hd.type == NGHTTP2_HEADERS && error == NGHTTP2_ERR_HTTP_MESSAGING)
        report(*stream, peer_fault(NGHTTP2_PROTOCOL_ERROR, peer(), "message"));
    else if (frame.hd.type == NGHTTP2_WINDOW_UPDATE && error == NGHTTP2_ERR_FLOW_CONTROL)
        report(*stream, peer_fault(NGHTTP2_FLOW_CONTROL_ERROR, peer(), "window overflow"));
}

void H2Connection::on_frame_sent(const nghttp2_frame& frame) {
    if (frame.hd.type == NGHTTP2_DATA || frame.hd.type == NGHTTP2_HEADERS) {
        if (ends_stream(frame) && is_server())
            on_end_sent(frame.hd.stream_id);
        return;
    }
    control_frames_.push_back(out_bytes_);
    if (frame.hd.type == NGHTTP2_RST_STREAM && is_server())
        on_reset_sent(frame.hd.stream_id, frame.rst_stream.error_code);
    if (frame.hd.type == NGHTTP2_GOAWAY && frame.goaway.error_code != NGHTTP2_NO_ERROR)
        fail_connection(frame.goaway.error_code, code_name(frame.goaway.error_code));
}

/// A reply that ends before its request: the client may stop sending.
void H2Connection::on_end_sent(int32_t wire) {
    Stream* stream = stream_of(wire);
    if (stream == nullptr || stream->remote_ended || stream->tunnel_open)
        return;
    cut(*stream);
    stream->reset_by_owner = true;
    checked(nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, wire, NGHTTP2_NO_ERROR));
}

/// Resets that the peer provokes cost as much as its own (MadeYouReset), except of streams that it opened before it
/// could know our limit.
void H2Connection::on_reset_sent(int32_t wire, uint32_t code) {
    reset_highest_ = std::max(reset_highest_, wire);
    const Stream* stream = stream_of(wire);
    const bool ours = stream != nullptr && (stream->reset_by_owner || stream->sending != Stream::Sending::head);
    const bool unknowing = stream == nullptr && code == NGHTTP2_REFUSED_STREAM && !settings_acknowledged_;
    if (ours || unknowing)
        return;
    if (const char* used_up = budget_.on_premature_reset(); used_up != nullptr)
        fail_connection(NGHTTP2_ENHANCE_YOUR_CALM, used_up);
}

void H2Connection::on_stream_closed(int32_t wire, uint32_t code) {
    Stream* stream = stream_of(wire);
    if (stream == nullptr)
        return;
    --open_;
    const bool well = stream->remote_ended && stream->sending == Stream::Sending::ended;
    if (!well && !stream->over && !failure_) {
        // A GOAWAY below it, or a reset by nghttp2 alone.
        const char* during = code == NGHTTP2_PROTOCOL_ERROR ? "content-length" : code_name(code);
        report(*stream, code == NGHTTP2_REFUSED_STREAM ? peer_reset(code, peer()) : peer_fault(code, peer(), during));
    }
    if (stream->over || stream->unconsumed == 0)
        return erase(*stream);
    stream->closed = true;
}

/// nghttp2's C functions, which find the connection in their last argument.
struct Callbacks {
    static H2Connection& of(void* connection) { return *static_cast<H2Connection*>(connection); }

    static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* frame, void* connection) {
        return of(connection).on_begin_frame(*frame);
    }
    static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* connection) {
        return of(connection).on_begin_headers(*frame);
    }
    static int header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* connection) {
        return of(connection)
            .on_header({reinterpret_cast<const char*>(name), name_size},
                       {reinterpret_cast<const char*>(value), value_size});
    }
    static int data_chunk(nghttp2_session*, uint8_t, int32_t wire, const uint8_t* data, size_t size, void* connection) {
        return of(connection).on_data(wire, data, size);
    }
    static int frame(nghttp2_session*, const nghttp2_frame* frame, void* connection) {
        return of(connection).on_frame(*frame);
    }
    static int invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int error, void* connection) {
        of(connection).on_invalid_frame(*frame, error);
        return 0;
    }
    static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* connection) {
        of(connection).on_frame_sent(*frame);
        return 0;
    }
    static int stream_closed(nghttp2_session*, int32_t wire, uint32_t code, void* connection) {
        of(connection).on_stream_closed(wire, code);
        return 0;
    }
    static int send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* header, size_t length,
                         nghttp2_data_source*, void* connection) {
        return of(connection).write_data(*frame, header, length);
    }

    static nghttp2_session_callbacks* make() {
        nghttp2_session_callbacks* table = nullptr;
        checked(nghttp2_session_callbacks_new(&table));
        nghttp2_session_callbacks_set_on_begin_frame_callback(table, begin_frame);
        nghttp2_session_callbacks_set_on_begin_headers_callback(table, begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(table, header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, data_chunk);
        nghttp2_session_callbacks_set_on_frame_recv_callback(table, frame);
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(table, invalid_frame);
        nghttp2_session_callbacks_set_on_frame_send_callback(table, frame_sent);
        nghttp2_session_callbacks_set_on_stream_close_callback(table, stream_closed);
        nghttp2_session_callbacks_set_send_data_callback(table, send_data);
        return table;
    }
};

const nghttp2_session_callbacks* callbacks() {
    static const nghttp2_session_callbacks* const table = Callbacks::make();
    return table;
}

} // namespace weft::l7::h2
