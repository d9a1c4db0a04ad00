// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "l7engine/http/reply.hpp"
#include "l7engine/io/signal.hpp"
#include "l7engine/io/task_group.hpp"
#include "l7engine/proxy/downstream.hpp"
#include "l7engine/proxy/proxy.hpp"

namespace weft::l7 {

class ActiveExchange;

/// One client connection. Two coroutines share it: the reader (one per connection: client -> codec -> backend) and the
/// exchange (one per request: chain, backend, backend -> client). Each direction has one writer at a time: the
/// exchange writes to the client, and to the backend until it lets the reader send the body.
///
///   idle ──head──▶ exchange ──reply ended──▶ idle, or closing (codec finished) ──client's FIN, time──▶ gone
///
/// Owned by its reader's frame. One worker's thread.
class Connection final : public Downstream, public Events, private Timer, private PeerWatcher {
public:
    Connection(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted);

    /// The reader: until the client is gone.
    [[nodiscard]] static Task<void> run(std::unique_ptr<Connection> self);

    /// The next reply says Connection: close; an idle connection ends after a short while.
    void drain() override;
    void cut() override;
    [[nodiscard]] bool is_gone() const override { return client_gone_; }
    [[nodiscard]] size_t under_way() const override { return active_ != nullptr ? 1 : 0; }

private:
    friend class ActiveExchange;
    enum class Phase : uint8_t { idle, head, exchange, closing };

    // codec events
    void on_head(StreamId stream, Head&& head, bool last) override;
    void on_data(StreamId stream, Slice&& data, bool last) override;
    void on_trailers(StreamId stream, Trailers&& trailers) override;
    void on_reset(StreamId stream, Error error) override;
    void on_goaway(StreamId) override {}

    // reader
    Result<size_t> take(Slice& bytes);
    Task<void> send_request_body();
    bool hand_over_body(Upstream& upstream, StreamId stream);
    void forget_body();
    void read_failed(const Error& error);
    void peer_lost(const Error& why) override { read_failed(why); }
    void read_ended();
    bool linger(size_t bytes);
    bool poison_head();
    Task<void> refuse_request(Error error);
    void count_refusal(int32_t status);
    void record_refusal(uint16_t status, std::string_view flag, size_t response_bytes);

    // exchange
    Task<void> exchange(StreamId stream, Head head, bool last);
    Task<void> ask(ActiveExchange& active);
    Task<void> answer(ActiveExchange& active);
    Task<void> flush();
    void exchange_over(ActiveExchange& active);

    // clock
    void enter(Phase phase);
    void arm(Deadline deadline);
    void touch() { progress_ms_ = proxy_.worker().now_ms(); }
    void expired() override;
    [[nodiscard]] uint64_t limit_ms() const;

    std::unique_ptr<ByteStream> stream_;
    std::unique_ptr<Codec> codec_;
    TaskGroup exchanges_; ///< at most one
    Signal turn_;         ///< the reader waits here for the exchange
    Signal left_;         ///< the exchange waits here for the reader to let go of the backend
    ActiveExchange* active_ = nullptr;

    Task<void> next_exchange_;     ///< made by on_head, started after receive()
    std::vector<Slice> body_;      ///< of the request, received and not yet given to the backend
    std::optional<Trailers> trailers_;
    bool body_ended_ = false; ///< behind body_ comes no more
    bool request_complete_ = false;
    StreamId last_stream_ = 0;
    uint64_t request_bytes_ = 0; ///< on the wire, of the request that is coming in

    Phase phase_ = Phase::idle;
    bool client_finished_ = false; ///< FIN received
    bool client_gone_ = false;     ///< reset, or cut by us
    bool draining_ = false;
    uint64_t progress_ms_ = 0;
    Deadline head_deadline_ = never;
    Deadline armed_deadline_ = never;
    size_t lingered_bytes_ = 0;
};

} // namespace weft::l7
