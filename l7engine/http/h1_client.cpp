// SPDX-License-Identifier: Apache-2.0
#include "config/base/slab.hpp"
#include "l7engine/http/h1_codec.hpp"
#include "l7engine/http/h1_message.hpp"
#include "l7engine/http/h1_reader.hpp"
#include "l7engine/http/h1_writer.hpp"

namespace weft::l7 {
namespace {

using h1::Framing;
using h1::H1Reader;
using h1::H1Writer;

/// One exchange at a time. `close_` is set as soon as anything casts doubt on where the next reply would begin.
class H1Client final : public Codec, public InSlab {
public:
    explicit H1Client(const H1Settings& settings) : settings_(settings), reader_(settings_, false) {}

    Result<size_t> receive(const Slice& bytes, Events& events) override;
    Result<void> receive_eof(Events& events) override;
    Result<StreamId> open() override;
    Result<void> send_head(StreamId stream, const Head& head, bool last) override;
    Result<size_t> send_data(StreamId stream, Slice data, bool last) override;
    Result<void> send_trailers(StreamId stream, const Trailers& trailers) override;
    void reset(StreamId stream, Error error) override;
    void consumed(StreamId, size_t) override {}
    void drain() override { draining_ = true; }
    [[nodiscard]] std::span<const Slice> pending() const override { return writer_.queue().pending(); }
    void sent(size_t bytes) override { writer_.queue().sent(bytes); }
    [[nodiscard]] bool between_messages() const override { return !open_; }
    [[nodiscard]] bool finished() const override { return failed_ || (!open_ && (close_ || draining_)); }

private:
    enum class Request : uint8_t { unsent, started, sent };

    Result<void> receive_step(const Slice& bytes, size_t& offset, Events& events);
    Result<void> receive_head(bool more_bytes, Events& events);
    Error give_up(Error error);
    void end_reply(bool more_bytes);
    void end_tunnel_side();
    Result<void> check_sendable(StreamId stream) const;

    const H1Settings settings_;
    H1Reader reader_;
    H1Writer writer_;
    StreamId stream_ = 0;
    Request request_ = Request::unsent;
    size_t informational_heads_ = 0;
    bool open_ = false;
    bool head_request_ = false;
    bool has_body_ = false;
    bool reply_begun_ = false; ///< a byte of it came
    bool close_ = false;       ///< not reusable after this exchange
    bool draining_ = false;
    bool failed_ = false;
    bool tunnel_asked_ = false; ///< by the current request
    bool tunnel_ = false;
    bool peer_ended_ = false; ///< its side of the tunnel
};

Result<StreamId> H1Client::open() {
    if (open_ || draining_ || finished())
        return fail(Code::unavailable, "connection takes no request");
    open_ = true;
    request_ = Request::unsent;
    reply_begun_ = false;
    informational_heads_ = 0;
    reader_.start_message();
    return ++stream_;
}

Result<size_t> H1Client::receive(const Slice& bytes, Events& events) {
    size_t offset = 0;
    while (offset < bytes.size() && !finished()) {
        if (tunnel_) {
            if (!peer_ended_)
                events.on_data(stream_, bytes.share(offset, bytes.size() - offset), false);
            break;
        }
        if (!open_) {
            failed_ = true; // bytes that nobody asked for
            break;
        }
        if (request_ == Request::unsent)
            return std::unexpected(give_up({.code = Code::malformed, .unanswered = true, .during = "unasked reply"}));
        reply_begun_ = true;
        if (const Result<void> step = receive_step(bytes, offset, events); !step)
            return std::unexpected(give_up(step.error()));
    }
    return bytes.size();
}

Result<void> H1Client::receive_step(const Slice& bytes, size_t& offset, Events& events) {
    const Result<H1Reader::Step> step = reader_.next(bytes.text(), offset);
    if (!step)
        return std::unexpected(step.error());
    const bool more_bytes = offset < bytes.size();
    const StreamId stream = stream_;
    switch (step->event) {
    case H1Reader::Event::more: return {};
    case H1Reader::Event::head: return receive_head(more_bytes, events);
    case H1Reader::Event::data:
        if (step->last)
            end_reply(more_bytes);
        events.on_data(stream, bytes.share(step->offset, step->size), step->last);
        return {};
    case H1Reader::Event::end: {
        Trailers trailers = reader_.take_trailers();
        end_reply(more_bytes);
        if (trailers.empty())
            events.on_data(stream, {}, true);
        else
            events.on_trailers(stream, std::move(trailers));
        return {};
    }
    }
    return {};
}

Result<void> H1Client::receive_head(bool more_bytes, Events& events) {
    h1::RawHead raw;
    if (const Result<void> parsed = h1::parse_head(reader_.head_text(), false, settings_, raw); !parsed)
        return parsed;
    h1::Message message;
    if (const Result<void> read = h1::interpret_response(raw, head_request_, tunnel_asked_, message); !read)
        return read;
    if (message.head.status == 101) {
        tunnel_ = close_ = true;
        request_ = Request::started;
        events.on_head(stream_, std::move(message.head), false);
        return {};
    }
    if (message.head.is_informational()) {
        if (++informational_heads_ > settings_.informational_heads_max)
            return h1::refuse(431, "informational replies");
        reader_.start_message();
        events.on_head(stream_, std::move(message.head), false);
        return {};
    }
    // An early reply: the server may or may not read the rest of the request as a request.
    const bool early = request_ != Request::sent || (has_body_ && !writer_.queue().empty());
    close_ = close_ || early || !message.keep_alive;
    const bool last = message.framing == Framing::none;
    const StreamId stream = stream_;
    reader_.begin_body(message.framing, message.length, std::move(message.nominated));
    if (last)
        end_reply(more_bytes);
    events.on_head(stream, std::move(message.head), last);
    return {};
}

Error H1Client::give_up(Error error) {
    error.side = Side::upstream;
    error.detail = 502;
    failed_ = true;
    open_ = false;
    return error;
}

Result<void> H1Client::receive_eof(Events& events) {
    if (!open_ || failed_) {
        failed_ = true;
        return {};
    }
    if (tunnel_) {
        peer_ended_ = true;
        end_tunnel_side();
        events.on_data(stream_, {}, true);
        return {};
    }
    if (!reader_.ends_at_close()) {
        // Nothing came: the server may have closed an idle connection before it saw the request.
        return std::unexpected(give_up({.code = Code::eof, .unanswered = !reply_begun_, .during = "reply"}));
    }
    const StreamId stream = stream_;
    reader_.begin_body(Framing::none, 0);
    end_reply(false);
    failed_ = true;
    events.on_data(stream, {}, true);
    return {};
}

/// The stream ends with the second; the connection serves no other.
void H1Client::end_tunnel_side() {
    open_ = !peer_ended_ || request_ != Request::sent;
}

/// Before the last event, whose receiver may open the next stream: bytes beyond the reply must not become its reply.
void H1Client::end_reply(bool more_bytes) {
    open_ = false;
    close_ = close_ || more_bytes || request_ != Request::sent;
}

Result<void> H1Client::check_sendable(StreamId stream) const {
    if (stream != stream_ || stream == 0 || failed_)
        return fail(Code::invalid, "stream to send on");
    if (!open_)
        return fail(Code::canceled, "request after its reply");
    return {};
}

Result<void> H1Client::send_head(StreamId stream, const Head& head, bool last) {
    if (const Result<void> sendable = check_sendable(stream); !sendable)
        return sendable;
    const uint64_t length = head.content_length.value_or(0);
    if (request_ != Request::unsent || !head.is_request() || (last && length > 0))
        return fail(Code::invalid, "request to send");
    // RFC 9110 8.6: methods that expect a body say that there is none.
    const bool expects_body = head.method == "POST" || head.method == "PUT" || head.method == "PATCH";
    H1Writer::Options options{.length = length, .say_length = head.content_length || (last && expects_body)};
    if (!last)
        options.framing = head.content_length ? Framing::fixed : Framing::chunked;
    tunnel_asked_ = head.asks_for_tunnel() && !last;
    if (tunnel_asked_)
        options = {.upgrade = "websocket"};
    else if (draining_)
        options.connection = H1Writer::Connection::close;
    if (const Result<void> written = writer_.write_request(head, options); !written)
        return written;
    head_request_ = head.method == "HEAD";
    has_body_ = !last && !tunnel_asked_;
    request_ = has_body_ ? Request::started : Request::sent;
    return {};
}

Result<size_t> H1Client::send_data(StreamId stream, Slice data, bool last) {
    if (const Result<void> sendable = check_sendable(stream); !sendable)
        return std::unexpected(sendable.error());
    if (request_ != Request::started)
        return fail(Code::invalid, "request body to send");
    const size_t size = data.size();
    if (tunnel_) {
        writer_.write_raw(std::move(data));
        if (last) {
            request_ = Request::sent;
            end_tunnel_side();
        }
        return size;
    }
    if (const Result<void> written = writer_.write_data(std::move(data), last); !written) {
        reset(stream, written.error());
        return std::unexpected(written.error());
    }
    if (last)
        request_ = Request::sent;
    return size;
}

Result<void> H1Client::send_trailers(StreamId stream, const Trailers& trailers) {
    if (const Result<void> sendable = check_sendable(stream); !sendable)
        return sendable;
    if (request_ != Request::started)
        return fail(Code::invalid, "request trailers to send");
    const Result<void> written = writer_.write_trailers(trailers);
    if (written)
        request_ = Request::sent;
    else
        reset(stream, written.error());
    return written;
}

void H1Client::reset(StreamId stream, Error) {
    if (stream != stream_ || !open_)
        return; // over already
    failed_ = true;
    open_ = false;
}

} // namespace

std::unique_ptr<Codec> make_h1_client_codec(const H1Settings& settings) {
    return std::make_unique<H1Client>(settings);
}

} // namespace weft::l7
