// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "l7engine/http/reply.hpp"
#include "l7engine/io/signal.hpp"
#include "l7engine/io/task_group.hpp"
#include "l7engine/proxy/body_queue.hpp"
#include "l7engine/proxy/codec_writer.hpp"
#include "l7engine/proxy/downstream.hpp"
#include "l7engine/proxy/proxy.hpp"

namespace weft::l7 {

class ActiveExchange;

/// A request that has arrived, until its exchange begins behind receive().
struct Arrival {
    StreamId stream = 0;
    Head head;
    bool last = false;         ///< the head ends the request
    BodyQueue body;            ///< what came behind the head already
    uint64_t request_bytes = 0;
    std::optional<Error> gone; ///< reset meanwhile
};

/// One client connection that speaks HTTP/1 or HTTP/2, as its first bytes say. Coroutines share it: the reader (one per
/// connection), the exchange (one per request: chain, backend, backend -> client), for a request with a body its pump
/// (client -> backend), and with HTTP/2 the writer. With HTTP/1, where there is one exchange at a time, the exchange
/// writes to the client itself.
///
///   idle ──head──▶ exchange ──last reply ended──▶ idle, or closing (codec finished) ──client's FIN, time──▶ gone
///
/// Owned by its reader's frame. One worker's thread.
class Connection final : public Downstream,
                         public Events,
                         private Timer,
                         private PeerWatcher,
                         private CodecWriter::Owner {
public:
    Connection(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted);

    /// The reader: until the client is gone. `first`: what was read from it already.
    [[nodiscard]] static Task<void> run(std::unique_ptr<Connection> self, Slice first = {});

    /// HTTP/1: the next reply says Connection: close; HTTP/2: GOAWAY. An idle connection ends after a short while.
    void drain() override;
    void cut() override;
    bool shed_if_idle(uint64_t idle_ms) override;
    [[nodiscard]] bool is_gone() const override { return client_gone_; }
    [[nodiscard]] size_t under_way() const override { return exchanges_now_.size(); }

private:
    friend class ActiveExchange;
    /// `ending`: what is left is written, nothing is read any more.
    enum class Phase : uint8_t { idle, head, exchange, closing, ending };

    // codec events
    void on_head(StreamId stream, Head&& head, bool last) override;
    void on_data(StreamId stream, Slice&& data, bool last) override;
    void on_trailers(StreamId stream, Trailers&& trailers) override;
    void on_reset(StreamId stream, Error error) override;
    void on_goaway(StreamId) override {}
    [[nodiscard]] ActiveExchange* exchange_of(StreamId stream) const;
    [[nodiscard]] Arrival* arrival_of(StreamId stream);

    // reader, HTTP/1
    bool choose_codec(Slice& bytes);
    void make_codec(std::unique_ptr<Codec> codec);
    Result<size_t> take(Slice& bytes);
    bool poison_head();
    Task<void> refuse_request(Error error);

    // reader, HTTP/2
    Task<void> serve_http2(Slice bytes);
    bool take_http2(Slice& bytes);
    void name_writable();
    void close_if_finished();
    void connection_failed(const Error& error);
    void written(size_t bytes) override;
    void write_failed(const Error& error) override { read_failed(error); }

    // reader, both
    [[nodiscard]] bool is_http2() const { return writer_ != nullptr; }
    [[nodiscard]] ActiveExchange* only_exchange() const {
        return exchanges_now_.empty() ? nullptr : exchanges_now_.front();
    }
    void begin_arrivals();
    void read_failed(const Error& error);
    void peer_lost(const Error& why) override { read_failed(why); }
    void read_ended();
    bool linger(size_t bytes);
    void count_refusal(int32_t status);
    void record_refusal(uint16_t status, std::string_view flag, uint64_t request_bytes, size_t response_bytes);

    // exchange
    Task<void> exchange(Arrival& arrival);
    Task<void> ask(ActiveExchange& active);
    Task<void> answer(ActiveExchange& active);
    Task<void> pump(ActiveExchange& active);
    Task<void> flush();
    void exchange_over(ActiveExchange& active);

    // clock
    void enter(Phase phase);
    void arm(Deadline deadline);
    void touch() { progress_ms_ = proxy_.worker().now_ms(); }
    void expired() override;
    void expire_exchanges(uint64_t limit_ms);
    void expire_settings();
    void expire_idle();
    void end_idle();
    [[nodiscard]] uint64_t limit_ms() const;

    std::unique_ptr<ByteStream> stream_;
    std::unique_ptr<Codec> codec_;        ///< nullptr until the first bytes say which
    std::unique_ptr<CodecWriter> writer_; ///< HTTP/2
    TaskGroup exchanges_;                 ///< and their pumps
    TaskGroup writing_;                   ///< HTTP/2: the writer
    Signal turn_;                         ///< the reader waits here for exchange, pump or writer
    std::vector<ActiveExchange*> exchanges_now_; ///< HTTP/1: at most one
    std::vector<Arrival> arrivals_;
    std::string first_bytes_;  ///< as long as they may begin either version
    StreamId last_stream_ = 0;
    uint64_t request_bytes_ = 0; ///< HTTP/1: on the wire, of the request that is coming in

    Phase phase_ = Phase::idle;
    bool client_finished_ = false; ///< FIN received
    bool client_gone_ = false;     ///< reset, or cut by us
    bool draining_ = false;
    bool flushing_ = false; ///< HTTP/1: what is left to write waits for the client
    uint64_t progress_ms_ = 0;
    Deadline head_deadline_ = never;
    Deadline armed_deadline_ = never;
    Deadline settle_by_ = never; ///< HTTP/2: the client's SETTINGS, and its acknowledgement of ours
    size_t lingered_bytes_ = 0;
};

} // namespace weft::l7
