// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/proxy/http2_peer.hpp"

#include <algorithm>

namespace weft::l7::test {

Http2Peer::Http2Peer(sim::Peer peer, Role role, H2Settings settings)
    : peer_(peer), codec_(role == Role::client ? make_h2_client_codec(settings) : make_h2_server_codec(settings)) {
    peer_.on_event([this, alive = std::weak_ptr(alive_)](sim::Peer) {
        if (!alive.expired())
            read();
    });
    write();
}

StreamId Http2Peer::request(std::string method, std::string path, std::string body, bool last) {
    Head head;
    head.method = std::move(method);
    head.path = std::move(path);
    head.authority = "plain";
    return request(head, std::move(body), last);
}

StreamId Http2Peer::request(const Head& head, std::string body, bool last) {
    const Result<StreamId> stream = codec_->open();
    if (!stream)
        return 0;
    const bool ends = last && body.empty();
    if (!codec_->send_head(*stream, head, ends))
        return 0;
    if (!ends)
        send(*stream, std::move(body), last);
    write();
    return *stream;
}

StreamId Http2Peer::websocket(std::string path) {
    Head head;
    head.method = "GET";
    head.path = std::move(path);
    head.authority = "plain";
    head.upgrade = "websocket";
    const Result<StreamId> stream = codec_->open();
    if (!stream || !codec_->send_head(*stream, head, false))
        return 0;
    write();
    return *stream;
}

void Http2Peer::reply(StreamId stream, std::string body, uint16_t status, bool last) {
    Head head;
    head.status = status;
    const bool ends = last && body.empty();
    (void)codec_->send_head(stream, head, ends);
    if (!ends)
        send(stream, std::move(body), last);
    write();
}

void Http2Peer::send(StreamId stream, std::string data, bool last) {
    Waiting& waiting = waiting_[stream];
    waiting.data += data;
    waiting.last = last;
    const Result<size_t> taken = codec_->send_data(stream, Slice::copy_of(waiting.data), last);
    if (!taken || *taken == waiting.data.size())
        waiting_.erase(stream);
    else
        waiting.data.erase(0, *taken);
    write();
}

void Http2Peer::send_trailers(StreamId stream, const Trailers& trailers) {
    (void)codec_->send_trailers(stream, trailers);
    write();
}

void Http2Peer::reset(StreamId stream, Code code, bool retryable) {
    const Error error{.code = code, .retryable = retryable};
    messages_[stream].reset = error;
    codec_->reset(stream, error);
    write();
}

void Http2Peer::drain() {
    codec_->drain();
    write();
}

size_t Http2Peer::ended() const {
    return static_cast<size_t>(
        std::ranges::count_if(messages_, [](const auto& one) { return one.second.ended || one.second.reset; }));
}

size_t Http2Peer::received_bytes() const {
    size_t sum = 0;
    for (const auto& [stream, message] : messages_)
        sum += message.body.size();
    return sum;
}

void Http2Peer::on_head(StreamId stream, Head&& head, bool last) {
    Message& message = messages_[stream];
    if (head.is_informational() && head.status != 101) {
        ++message.informational;
        return;
    }
    message.has_head = true;
    message.head = std::move(head);
    message.ended = last;
    if (last)
        whole_.push_back(stream);
}

void Http2Peer::on_data(StreamId stream, Slice&& data, bool last) {
    Message& message = messages_[stream];
    message.body += data.text();
    message.ended = last;
    if (!hold_window)
        codec_->consumed(stream, data.size());
    if (last)
        whole_.push_back(stream);
}

void Http2Peer::on_trailers(StreamId stream, Trailers&& trailers) {
    Message& message = messages_[stream];
    message.trailers = std::move(trailers);
    message.ended = true;
    whole_.push_back(stream);
}

void Http2Peer::on_reset(StreamId stream, Error error) {
    messages_[stream].reset = error;
}

void Http2Peer::read() {
    const std::string fresh = peer_.received().substr(used_);
    used_ = peer_.received().size();
    if (!fresh.empty())
        (void)codec_->receive(Slice::copy_of(fresh), *this);
    if (peer_.saw_fin() || peer_.saw_reset())
        (void)codec_->receive_eof(*this);
    for (const StreamId stream : std::exchange(whole_, {})) {
        if (on_request)
            on_request(*this, stream, messages_[stream]);
    }
    write();
    if (peer_.saw_fin())
        peer_.close();
}

void Http2Peer::write() {
    std::string bytes;
    for (const Slice& slice : codec_->pending())
        bytes += slice.text();
    codec_->sent(bytes.size());
    if (!bytes.empty() && !peer_.over())
        peer_.send(bytes);
    while (const std::optional<StreamId> stream = codec_->next_writable()) {
        if (const auto found = waiting_.find(*stream); found != waiting_.end())
            send(*stream, {}, found->second.last);
    }
}

} // namespace weft::l7::test
