// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "l7engine/http/h2_codec.hpp"
#include "tests/support/sim_world.hpp"

namespace weft::l7::test {

/// A scripted end that speaks HTTP/2 with our codec: what a test sends are heads and bodies, what it sees are messages.
class Http2Peer final : private Events {
public:
    struct Message {
        Head head;
        std::string body;
        Trailers trailers;
        size_t informational = 0;
        bool has_head = false;
        bool ended = false;
        std::optional<Error> reset;
    };

    enum class Role : uint8_t { client, server };
    Http2Peer(sim::Peer peer, Role role, H2Settings settings = {});
    Http2Peer(const Http2Peer&) = delete;
    Http2Peer& operator=(const Http2Peer&) = delete;

    // client
    StreamId request(std::string method, std::string path, std::string body = {}, bool last = true);
    StreamId request(const Head& head, std::string body = {}, bool last = true);
    /// An extended CONNECT; 0: the peer does not take it (yet).
    StreamId websocket(std::string path);
    [[nodiscard]] bool settled() const { return used_ > 0; }
    // server
    /// Runs for each request that has come whole.
    std::function<void(Http2Peer&, StreamId, const Message&)> on_request;
    void reply(StreamId stream, std::string body, uint16_t status = 200, bool last = true);

    void send(StreamId stream, std::string data, bool last);
    void send_trailers(StreamId stream, const Trailers& trailers);
    void reset(StreamId stream, Code code = Code::canceled, bool retryable = false);
    void drain();
    /// Data is taken and never consumed: the window closes.
    bool hold_window = false;

    [[nodiscard]] const std::map<StreamId, Message>& messages() const { return messages_; }
    [[nodiscard]] const Message& of(StreamId stream) { return messages_[stream]; }
    [[nodiscard]] size_t ended() const;
    [[nodiscard]] size_t received_bytes() const; ///< of all bodies
    [[nodiscard]] bool saw_goaway() const { return goaway_; }
    [[nodiscard]] const sim::Peer& peer() const { return peer_; }

private:
    void on_head(StreamId stream, Head&& head, bool last) override;
    void on_data(StreamId stream, Slice&& data, bool last) override;
    void on_trailers(StreamId stream, Trailers&& trailers) override;
    void on_reset(StreamId stream, Error error) override;
    void on_goaway(StreamId) override { goaway_ = true; }
    void read();
    void write();

    sim::Peer peer_;
    std::unique_ptr<Codec> codec_;
    std::map<StreamId, Message> messages_;
    struct Waiting {
        std::string data;
        bool last = false;
    };
    std::map<StreamId, Waiting> waiting_; ///< for the window
    std::vector<StreamId> whole_;
    size_t used_ = 0;
    bool goaway_ = false;
    std::shared_ptr<int> alive_ = std::make_shared<int>(); ///< the world may outlive this
};

} // namespace weft::l7::test
