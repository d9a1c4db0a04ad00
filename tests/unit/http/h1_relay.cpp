// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/http/h1_relay.hpp"

#include <memory>

namespace weft::l7::test {
namespace {

bool send_message(Codec& codec, StreamId stream, const Received& message) {
    const Head& head = message.events.heads[0];
    const std::string& body = message.events.bodies[0];
    const bool last = body.empty() && message.trailers() == nullptr;
    if (!codec.send_head(stream, head, last && head.content_length.value_or(0) == 0))
        return false;
    if (last)
        return true;
    const size_t half = body.size() / 2;
    const bool first = codec.send_data(stream, Slice::copy_of(body.substr(0, half)), false).has_value();
    const bool second =
        codec.send_data(stream, Slice::copy_of(body.substr(half)), message.trailers() == nullptr).has_value();
    return first && second && (message.trailers() == nullptr || codec.send_trailers(stream, *message.trailers()));
}

/// The request as written to the upstream; empty: not sendable.
std::string forward_request(const Received& message) {
    const std::unique_ptr<Codec> codec = make_h1_client_codec({});
    const StreamId stream = codec->open().value();
    return send_message(*codec, stream, message) ? take_pending(*codec) : "";
}

std::string forward_reply(const Received& message, std::string_view method) {
    const std::unique_ptr<Codec> codec = make_h1_server_codec({});
    Recorder ignored;
    const std::string request = std::string(method) + " / HTTP/1.1\r\nHost: a\r\n\r\n";
    const bool ready = codec->receive(Slice::copy_of(request), ignored).has_value();
    return ready && send_message(*codec, 1, message) ? take_pending(*codec) : "";
}

} // namespace

std::string Received::meaning() const {
    const Head& head = events.heads[0];
    const std::string start =
        head.is_request() ? head.method + " " + head.path + " " + head.authority : std::to_string(head.status);
    const bool bodiless = head.status == 204 || head.status == 304;
    const bool trailed = trailers() != nullptr && !head.content_length && !bodiless;
    return start + describe(head.headers) + "\n" + events.bodies[0] + "\n" + (trailed ? describe(*trailers()) : "");
}

void receive_request(std::string_view text, Received& out) {
    const std::unique_ptr<Codec> codec = make_h1_server_codec({});
    const Result<size_t> used = codec->receive(Slice::copy_of(text), out.events);
    out.complete = used && out.events.ended.size() == 1;
    out.closed = !used || *used != text.size();
}

void receive_reply(std::string_view text, std::string_view method, bool eof, Received& out) {
    const std::unique_ptr<Codec> codec = make_h1_client_codec({});
    const StreamId stream = codec->open().value();
    if (!codec->send_head(stream, request_head(method, "/"), true))
        return;
    take_pending(*codec);
    const bool taken = codec->receive(Slice::copy_of(text), out.events).has_value();
    out.complete = taken && (!eof || codec->receive_eof(out.events)) && out.events.ended.size() == 1;
    out.closed = codec->finished();
}

std::string check_request(const Received& message) {
    const std::string written = forward_request(message);
    if (written.empty())
        return "accepted, but cannot be forwarded";
    Received again;
    receive_request(written, again);
    if (!again.complete || again.closed || again.events.heads.size() != 1)
        return "forwarded as something else than one request:\n" + written;
    return again.meaning() == message.meaning() ? "" : "changed:\n" + message.meaning() + "\nto\n" + again.meaning();
}

std::string check_reply(const Received& message, std::string_view method) {
    const std::string written = forward_reply(message, method);
    if (written.empty())
        return "accepted, but cannot be forwarded";
    Received again;
    receive_reply(written, method, false, again);
    if (!again.complete || again.closed || again.events.heads.size() != 1)
        return "forwarded as something else than one reply:\n" + written;
    return again.meaning() == message.meaning() ? "" : "changed:\n" + message.meaning() + "\nto\n" + again.meaning();
}

} // namespace weft::l7::test
