// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "l7engine/io/cancel.hpp"
#include "l7engine/proxy/connection.hpp"

namespace weft::l7 {

/// What an exchange is made of while it runs: lives in its coroutine's frame. Receives the backend's events; every
/// decision between two waits is a plain function here, the coroutine only waits.
class ActiveExchange final : public Events {
public:
    ActiveExchange(Connection& connection, StreamId stream, Head&& head, bool last);
    ~ActiveExchange();
    ActiveExchange(const ActiveExchange&) = delete;
    ActiveExchange& operator=(const ActiveExchange&) = delete;

    // deciding
    void decided(Result<Verdict> verdict);
    /// No reply of our own, no answer yet, the client still there.
    [[nodiscard]] bool wants_upstream() const { return !reply_ && !head_ready_ && !cut_ && !connection_.client_gone_; }
    [[nodiscard]] UpstreamPtr take_pooled();
    [[nodiscard]] UpstreamKey key() const;
    void connect_failed(Error error);

    // talking to the backend
    void begin(UpstreamPtr upstream);
    /// The request head is written: the body may follow.
    void request_sent();
    /// What a read gave: bytes, the backend's FIN, or an error.
    void upstream_read(const Result<Slice>& bytes);
    /// The backend is lost: another try, an error reply, or a cut, by how far the exchange was.
    void upstream_failed(Error error);
    [[nodiscard]] bool has_reply_head() const { return head_ready_; }
    [[nodiscard]] bool reply_given() const { return given_; }
    /// The final head has not come, and nothing speaks against waiting for it.
    [[nodiscard]] bool asking() const {
        return upstream_ != nullptr && !head_ready_ && !reply_ && !cut_ && !connection_.client_gone_;
    }
    [[nodiscard]] bool reply_ready() const { return last_ready_; }
    [[nodiscard]] size_t gathered_bytes() const { return gathered_bytes_; }

    // talking to the client
    void give_informational();
    void give_head(Result<Verdict> verdict);
    void give_body();
    void give_local_reply();
    void response_sent(size_t bytes) { x.response_bytes += bytes; }
    void client_gone(Error error);
    /// Stops the talk with the backend; whoever waits for it wakes.
    void abandon(const char* why);
    /// From the codec while the body comes in: answered if nothing was, else cut.
    void request_failed(Error error);
    void timed_out();

    /// Drops or pools the backend, counts. Nobody else may be using the backend then.
    void finish();

    Exchange x;
    std::optional<LocalReply> reply_; ///< of our own
    UpstreamPtr upstream_;
    Cancel dial_; ///< ends the making of a connection
    StreamId upstream_stream_ = 0;
    const StreamId stream_;
    bool body_allowed_ = false; ///< the reader may send the body to the backend
    bool body_begun_ = false;   ///< bytes of it were given to the backend
    bool body_lost_ = false;     ///< the backend takes no more of it: dropped as it comes
    bool reader_inside_ = false; ///< the reader is writing to the backend
    bool cut_ = false;          ///< the client must see a reset, never a clean end

private:
    friend class Connection;
    void on_head(StreamId stream, Head&& head, bool last) override;
    void on_data(StreamId stream, Slice&& data, bool last) override;
    void on_trailers(StreamId stream, Trailers&& trailers) override;
    void on_reset(StreamId stream, Error error) override;
    void on_goaway(StreamId) override {}

    void describe(const Accepted& accepted);
    void reply_with(const LocalReply& reply);
    [[nodiscard]] bool may_repeat() const;
    [[nodiscard]] bool is_stale(const Error& error) const;
    void repeat();
    void record();

    Connection& connection_;
    ViewPtr view_;
    std::vector<Head> informational_;
    std::vector<Slice> data_;
    std::optional<Trailers> trailers_;
    size_t gathered_bytes_ = 0;
    uint32_t connects_ = 0;
    bool has_body_;
    bool expects_continue_;
    bool continued_ = false;
    bool head_ready_ = false; ///< the final head came from the backend
    bool head_last_ = false;
    bool head_given_ = false; ///< ... and went to the codec (or our own did)
    bool last_ready_ = false; ///< the backend's reply is complete
    bool given_ = false;      ///< the reply went to the codec whole
    bool stale_retried_ = false;
    bool timed_out_ = false;
    bool heard_ = false;      ///< a byte came from this backend connection
    bool informed_ = false;   ///< ... an informational head
    bool last_words_ = false; ///< it said why it closed an idle connection, before it saw the request
};

} // namespace weft::l7
