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

/// One stream at a time: the reader holds the request, `reply_` how far its answer is. Both done = the next request.
class H1Server final : public Codec, public InSlab {
public:
    explicit H1Server(const H1Settings& settings) : settings_(settings), reader_(settings_, true) {}

    Result<size_t> receive(const Slice& bytes, Events& events) override;
    Result<void> receive_eof(Events& events) override;
    Result<StreamId> open() override { return fail(Code::invalid, "open on a server connection"); }
    Result<void> send_head(StreamId stream, const Head& head, bool last) override;
    Result<size_t> send_data(StreamId stream, Slice data, bool last) override;
    Result<void> send_trailers(StreamId stream, const Trailers& trailers) override;
    void reset(StreamId stream, Error error) override;
    void consumed(StreamId, size_t) override {}
    void drain() override { draining_ = true; }
    [[nodiscard]] std::span<const Slice> pending() const override { return writer_.queue().pending(); }
    void sent(size_t bytes) override { writer_.queue().sent(bytes); }
    [[nodiscard]] bool between_messages() const override { return !tunnel_ && (reader_.at_start() || reader_.done()); }
    [[nodiscard]] bool finished() const override {
        return failed_ || (close_ && reply_ == Reply::done && (!tunnel_ || peer_ended_));
    }

private:
    enum class Reply : uint8_t { awaited, started, done };

    Result<void> receive_step(const Slice& bytes, size_t& offset, Events& events);
    Result<void> receive_head(Events& events);
    Result<void> open_tunnel(const Head& head);
    Error give_up(Error error);
    void start_next_request();
    void end_reply();
    [[nodiscard]] bool may_have_body(const Head& reply) const {
        return !head_request_ && reply.status != 204 && reply.status != 304;
    }
    [[nodiscard]] H1Writer::Options frame_reply(const Head& head, bool last) const;

    const H1Settings settings_;
    H1Reader reader_;
    H1Writer writer_;
    StreamId stream_ = 0;
    Reply reply_ = Reply::done;
    bool head_request_ = false;
    bool http_10_ = false;
    bool close_ = false; ///< after this reply
    bool draining_ = false;
    bool failed_ = false;
    bool tunnel_asked_ = false; ///< by the current request
    bool early_ = false;        ///< bytes came behind that, and wait with our owner
    bool tunnel_ = false;
    bool peer_ended_ = false; ///< its side of the tunnel
};

Result<size_t> H1Server::receive(const Slice& bytes, Events& events) {
    if (tunnel_) {
        if (!peer_ended_)
            events.on_data(stream_, bytes.share(0, bytes.size()), false);
        return bytes.size();
    }
    size_t offset = 0;
    while (offset < bytes.size() && !finished() && !reader_.done()) {
        if (const Result<void> step = receive_step(bytes, offset, events); !step)
            return std::unexpected(give_up(step.error()));
    }
    early_ = early_ || (tunnel_asked_ && reply_ == Reply::awaited && offset < bytes.size());
    return finished() ? bytes.size() : offset;
}

Result<void> H1Server::receive_step(const Slice& bytes, size_t& offset, Events& events) {
    const Result<H1Reader::Step> step = reader_.next(bytes.text(), offset);
    if (!step)
        return std::unexpected(step.error());
    switch (step->event) {
    case H1Reader::Event::more: return {};
    case H1Reader::Event::head: return receive_head(events);
    case H1Reader::Event::data: {
        const StreamId stream = stream_;
        start_next_request();
        events.on_data(stream, bytes.share(step->offset, step->size), step->last);
        return {};
    }
    case H1Reader::Event::end: {
        const StreamId stream = stream_;
        Trailers trailers = reader_.take_trailers();
        start_next_request();
        if (trailers.empty())
            events.on_data(stream, {}, true);
        else
            events.on_trailers(stream, std::move(trailers));
        return {};
    }
    }
    return {};
}

Result<void> H1Server::receive_head(Events& events) {
    h1::RawHead raw;
    if (const Result<void> parsed = h1::parse_head(reader_.head_text(), true, settings_, raw); !parsed)
        return parsed;
    h1::Message message;
    if (const Result<void> read = h1::interpret_request(raw, settings_, message); !read)
        return read;
    ++stream_;
    reply_ = Reply::awaited;
    head_request_ = message.head.method == "HEAD";
    http_10_ = message.http_10;
    close_ = !message.keep_alive;
    reader_.begin_body(message.framing, message.length, std::move(message.nominated));
    tunnel_asked_ = message.head.asks_for_tunnel();
    early_ = false;
    events.on_head(stream_, std::move(message.head), message.framing == Framing::none && !tunnel_asked_);
    return {};
}

/// A refused head still gets an answer, so it opens a stream; one that is cut short is answered by closing.
Error H1Server::give_up(Error error) {
    error.side = Side::downstream;
    failed_ = true;
    if (!reader_.in_body() && error.code != Code::eof) {
        ++stream_;
        reply_ = Reply::awaited;
        head_request_ = reader_.head_text().starts_with("HEAD ");
        http_10_ = true; // whoever sent this may not know chunked
    }
    return error;
}

/// The peer may close its side and still wait for the answer.
Result<void> H1Server::receive_eof(Events& events) {
    if (finished() || peer_ended_)
        return {};
    if (tunnel_) {
        peer_ended_ = true;
        events.on_data(stream_, {}, true);
        return {};
    }
    if (!reader_.done() && !reader_.at_start())
        return std::unexpected(give_up({.code = Code::eof, .detail = 400, .during = "request"}));
    close_ = true;
    return {};
}

void H1Server::start_next_request() {
    if (reader_.done() && reply_ == Reply::done && !close_)
        reader_.start_message();
}

H1Writer::Options H1Server::frame_reply(const Head& head, bool last) const {
    H1Writer::Options options{.length = head.content_length.value_or(0)};
    if (!may_have_body(head)) {
        options.say_length = head.content_length.has_value() && head.status != 204;
        options.discard_body = !last;
    } else if (last || head.content_length) {
        options.framing = last ? Framing::none : Framing::fixed;
        options.say_length = true;
    } else {
        options.framing = http_10_ ? Framing::until_close : Framing::chunked;
    }
    return options;
}

Result<void> H1Server::send_head(StreamId stream, const Head& head, bool last) {
    if (stream != stream_ || reply_ != Reply::awaited || head.is_request())
        return fail(Code::invalid, "reply to send");
    if (head.status == 101)
        return open_tunnel(head);
    if (head.is_informational()) {
        if (http_10_)
            return {}; // RFC 9110 15.2: not for HTTP/1.0 clients
        return writer_.write_informational(head);
    }
    if (last && may_have_body(head) && head.content_length.value_or(0) > 0)
        return fail(Code::invalid, "content-length without a body");
    H1Writer::Options options = frame_reply(head, last);
    // A client that is still sending cannot be trusted to stop in time for another request. What it said into a tunnel
    // that does not open is no request (hostile-input.md W08).
    const bool close =
        close_ || draining_ || failed_ || early_ || options.framing == Framing::until_close || !reader_.done();
    if (close)
        options.connection = H1Writer::Connection::close;
    else if (http_10_)
        options.connection = H1Writer::Connection::keep_alive;
    if (const Result<void> written = writer_.write_response(head, options); !written)
        return written;
    close_ = close;
    reply_ = Reply::started;
    if (last)
        end_reply();
    return {};
}

Result<void> H1Server::open_tunnel(const Head& head) {
    if (!tunnel_asked_)
        return fail(Code::invalid, "unasked upgrade");
    if (const Result<void> written = writer_.write_response(head, {.upgrade = "websocket"}); !written)
        return written;
    tunnel_ = close_ = true;
    reply_ = Reply::started;
    return {};
}

Result<size_t> H1Server::send_data(StreamId stream, Slice data, bool last) {
    if (stream != stream_ || reply_ != Reply::started)
        return fail(Code::invalid, "reply body to send");
    const size_t size = data.size();
    if (tunnel_) {
        writer_.write_raw(std::move(data));
        if (last)
            reply_ = Reply::done;
        return size;
    }
    if (const Result<void> written = writer_.write_data(std::move(data), last); !written) {
        reset(stream, written.error());
        return std::unexpected(written.error());
    }
    if (last)
        end_reply();
    return size;
}

Result<void> H1Server::send_trailers(StreamId stream, const Trailers& trailers) {
    if (stream != stream_ || reply_ != Reply::started)
        return fail(Code::invalid, "reply trailers to send");
    const Result<void> written = writer_.write_trailers(trailers);
    if (written)
        end_reply();
    else
        reset(stream, written.error());
    return written;
}

void H1Server::end_reply() {
    reply_ = Reply::done;
    start_next_request();
}

void H1Server::reset(StreamId stream, Error) {
    if (stream != stream_ || (reply_ == Reply::done && !reader_.in_body()))
        return; // over already
    failed_ = true;
    reply_ = Reply::done;
}

} // namespace

std::unique_ptr<Codec> make_h1_server_codec(const H1Settings& settings) {
    return std::make_unique<H1Server>(settings);
}

} // namespace weft::l7
