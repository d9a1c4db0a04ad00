// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "config/base/linked_list.hpp"
#include "config/base/slab.hpp"
#include "l7engine/http/reply.hpp"
#include "l7engine/io/signal.hpp"
#include "l7engine/io/task_group.hpp"
#include "l7engine/proxy/arrival.hpp"
#include "l7engine/proxy/codec_writer.hpp"
#include "l7engine/proxy/downstream.hpp"
#include "l7engine/proxy/proxy.hpp"

namespace weft::l7 {

class ActiveExchange;

/// One client connection that speaks HTTP/1 or HTTP/2, as its first bytes say. Coroutines share it: the reader (one per
/// connection), the exchange (one per request: chain, backend, backend -> client), for a request with a body its pump
/// (client -> backend), and with HTTP/2 the writer. With HTTP/1, where there is one exchange at a time, the exchange
/// writes to the client itself.
///
///   idle ──head──▶ exchange ──last reply ended──▶ idle, or closing (codec finished) ──client's FIN, time──▶ gone
///
/// While it is idle it has no codec of HTTP/1 and no frame but its reader's: memory is what ten thousand of them cost.
/// Owned by its reader's frame. One worker's thread.
class Connection final : public InSlab,
                         public Downstream,
                         public Events,
                         private Timer,
                         private PeerWatcher,
                         private CodecWriter::Owner {
public:
    Connection(Proxy& proxy, std::unique_ptr<ByteStream> stream, const Accepted& accepted);

    /// Begins to read, until the client is gone. `first`: what was read from it already.
    static void start(std::unique_ptr<Connection> self, Slice first = {});

    /// HTTP/1: the next reply says Connection: close; HTTP/2: GOAWAY. An idle connection ends after a short while.
    void drain() override;
    void cut() override;
    bool shed_if_idle(uint64_t idle_ms) override;
    void policy_changed() override;
    [[nodiscard]] bool holds_old_snapshot() override;
    [[nodiscard]] bool is_gone() const override { return client_gone_; }
    [[nodiscard]] size_t under_way() const override;

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

    // reader
    /// What there is to do with what a read gave.
    enum class Next : uint8_t { read, http1, http2, refuse_late, end };
    static Task<void> run(std::unique_ptr<Connection> self, Slice& first);
    Next next(Result<Slice>& bytes);

    // reader, HTTP/1
    Task<void> serve_http1(Slice bytes);
    bool choose_codec(Slice& bytes);
    void make_codec(std::unique_ptr<Codec> codec);
    void make_http1_codec();
    void drop_http1_codec();
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
    void write_failed(const Error& error) override;

    // reader, both
    [[nodiscard]] bool is_http2() const { return writer_ != nullptr; }
    [[nodiscard]] ActiveExchange* only_exchange() const { return exchanges_now_.first(); }
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
    Task<void> hear_out(ActiveExchange& active);
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
    std::unique_ptr<Codec> codec_;        ///< nullptr until the first bytes say which; HTTP/1: and between exchanges
    std::unique_ptr<CodecWriter> writer_; ///< HTTP/2
    TaskGroup exchanges_;                 ///< and their pumps
    Signal turn_;                         ///< the reader waits here for exchange, pump or writer
    LinkedList<ActiveExchange> exchanges_now_; ///< HTTP/1: at most one
    Arrivals arrivals_;                        ///< only inside receive() and begin_arrivals()
    std::unique_ptr<std::string> first_bytes_; ///< as long as they may begin either version
    uint64_t request_bytes_ = 0;               ///< HTTP/1: on the wire, of the request that is coming in
    StreamId last_stream_ = 0;                 ///< of the codec

    Phase phase_ = Phase::idle;
    bool is_http1_ = false;        ///< as its first bytes said
    bool client_finished_ = false; ///< FIN received
    bool client_gone_ = false;     ///< reset, or cut by us
    bool flooded_ = false;         ///< HTTP/2: has used up a budget
    bool draining_ = false;
    bool flushing_ = false; ///< HTTP/1: what is left to write waits for the client
    uint64_t progress_ms_ = 0;
    Deadline head_deadline_ = never;
    Deadline settle_by_ = never; ///< HTTP/2: the client's SETTINGS, and its acknowledgement of ours
    Stretch stretch_;            ///< of bytes taken without a break
    size_t lingered_bytes_ = 0;
};

} // namespace weft::l7
