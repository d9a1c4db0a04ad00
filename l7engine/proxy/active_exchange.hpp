// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "l7engine/http/grpc.hpp"
#include "l7engine/io/cancel.hpp"
#include "l7engine/proxy/connection.hpp"
#include "l7engine/proxy/session.hpp"

namespace weft::l7 {

/// What an exchange is made of while it runs: lives in its coroutine's frame. Receives the backend's events; every
/// decision between two waits is a plain function here, the coroutines only wait.
///
/// The backend is a connection of its own (`upstream_`, HTTP/1: the exchange reads it) or a stream of a session
/// (`session_`, HTTP/2: the session's reader brings the events, and wakes).
class ActiveExchange final : public Linked<ActiveExchange>, private StreamUser, private Timer {
public:
    ActiveExchange(Connection& connection, Arrival& arrival);
    ~ActiveExchange() override;
    ActiveExchange(const ActiveExchange&) = delete;
    ActiveExchange& operator=(const ActiveExchange&) = delete;

    // deciding
    void decided(Result<Verdict> verdict);
    /// Nothing more is to be said to the client: it is gone, or must see a reset.
    [[nodiscard]] bool is_over() const { return gone_ || cut_; }
    /// No reply of our own, no answer yet, the client still there.
    [[nodiscard]] bool wants_upstream() const { return !reply_ && !head_ready_ && !is_over(); }
    /// The backend speaks HTTP/2.
    [[nodiscard]] bool wants_session() const;
    [[nodiscard]] UpstreamPtr take_pooled();
    [[nodiscard]] UpstreamKey key() const;
    void connect_failed(Error error);

    // talking to the backend
    void begin(UpstreamPtr upstream);
    void begin(SessionPtr session);
    /// The request head is written, or the pump writes it: the body may follow.
    void request_sent();
    [[nodiscard]] bool asks_for_tunnel() const { return tunnel_asked_; }
    /// Both sides have agreed to it (WebSocket): bytes go both ways until each side has ended its own.
    [[nodiscard]] bool is_tunnel() const { return tunnel_open_; }
    /// What a read gave: bytes, the backend's FIN, or an error.
    void upstream_read(const Result<Slice>& bytes);
    /// The backend is lost: another try, an error reply, or a cut, by how far the exchange was.
    void upstream_failed(Error error);
    [[nodiscard]] bool has_reply_head() const { return head_ready_; }
    [[nodiscard]] bool reply_given() const { return reply_body_.given(); }
    /// The final head has not come, and nothing speaks against waiting for it.
    [[nodiscard]] bool asking() const { return has_upstream() && wants_upstream(); }
    [[nodiscard]] size_t gathered_bytes() const { return gathered_bytes_; }

    // the request's body
    void body_came(Slice&& data, bool last);
    void body_ended(Trailers&& trailers);
    [[nodiscard]] bool may_send_body() const {
        return body_allowed_ && takes_body() && !gone_ && has_upstream() && !request_body_.given();
    }
    [[nodiscard]] bool takes_body() const { return !body_lost_ && !body_stopped_; }
    /// The client's side is bounded by reading no further (HTTP/1).
    [[nodiscard]] bool body_is_full() const;
    Result<BodyQueue::Given> give_request_body();
    /// A write to the backend failed: what its reading tells decides whether the body is lost, or sent again.
    void stop_body();
    void lose_body();

    // talking to the client
    void give_informational();
    void give_head(Result<Verdict> verdict);
    void give_reply_body();
    void give_local_reply();
    void response_sent(size_t bytes) { x.response_bytes += bytes; }
    /// The connection is lost, or the client has reset the stream.
    void client_gone(const Error& error);
    /// Stops the talk with the backend; whoever waits for it wakes.
    void abandon(const char* why);
    /// From the codec while the body comes in: answered if nothing was, else cut.
    void request_failed(Error error);
    /// No byte moved for too long; `why` counts it.
    void timed_out(Counter why);
    void touch();

    /// Of a tunnel: by the policies of the present snapshot.
    [[nodiscard]] bool is_still_allowed() const;
    /// They forbid it: both sides see a reset.
    void policy_cut();

    /// Does it hold a snapshot that is not in force any more? One that lasts keeps only what its metrics will say, and
    /// with that no further try: else each change of the configuration would stay in memory for the longest stream that
    /// began before it.
    [[nodiscard]] bool holds_old_snapshot();

    /// Drops or pools the backend, counts. Nobody else may be using the backend then.
    void finish();

    Exchange x;
    std::optional<LocalReply> reply_; ///< of our own
    UpstreamPtr upstream_;
    SessionPtr session_;
    Cancel dial_;      ///< ends the making of a connection
    Signal wake_;      ///< the exchange waits here: for the session's events, the client's window, the pump's end
    Signal body_wake_; ///< the pump waits here
    StreamId upstream_stream_ = 0;
    const StreamId stream_;
    BodyQueue request_body_;
    BodyQueue reply_body_;
    uint64_t progress_ms_ = 0;
    bool pumping_ = false;
    bool body_allowed_ = false;  ///< it may go to the backend
    bool body_lost_ = false;     ///< the backend takes no more of it: dropped as it comes
    bool body_stopped_ = false;  ///< this connection takes no more of it
    bool body_blocked_ = false;  ///< the backend's window is used up
    bool reply_blocked_ = false; ///< the client's window is used up
    bool cut_ = false;           ///< the client must see a reset, never a clean end
    bool gone_ = false;          ///< the client sees nothing any more

private:
    friend class Connection;
    void on_head(StreamId stream, Head&& head, bool last) override;
    void on_data(StreamId stream, Slice&& data, bool last) override;
    void on_trailers(StreamId stream, Trailers&& trailers) override;
    void on_reset(StreamId stream, Error error) override;
    void on_goaway(StreamId) override {}
    void writable() override;

    /// The whole request's time is over.
    void expired() override;

    void keep_labels_only();
    void arm_deadline();
    void cut_stuck();
    void time_out(ResponseFlag flag);
    void count_messages(GrpcMessages& messages, const Slice& data) const;
    void endpoint_failed(EndpointFailure failure);
    void reply_with(const LocalReply& reply);
    [[nodiscard]] bool has_upstream() const { return upstream_ != nullptr || session_ != nullptr; }
    [[nodiscard]] Codec& upstream_codec() { return upstream_ != nullptr ? *upstream_->codec : session_->codec(); }
    void opened();
    void translate_tunnel_request(bool to_http2);
    bool translate_tunnel_reply();
    void tunnel_opened();
    bool choose_another();
    [[nodiscard]] bool may_repeat() const;
    [[nodiscard]] bool may_ask_again(const Error& error) const;
    [[nodiscard]] bool is_stale(const Error& error) const;
    void try_again();
    void drop_reply();
    void charge();
    void wake();
    void record();

    Connection& connection_;
    ViewPtr view_;
    std::vector<Head> informational_;
    std::string websocket_key_;    ///< of an HTTP/1 side
    std::unique_ptr<Head> judged_; ///< of a tunnel: the request as policies saw it
    GrpcMessages request_messages_;
    GrpcMessages reply_messages_;
    size_t gathered_bytes_ = 0;
    size_t charged_bytes_ = 0;   ///< to the pod's account
    uint32_t tries_ = 0;         ///< that failed before a byte reached a backend
    uint32_t full_sessions_ = 0; ///< had no stream for it after all
    bool grpc_;
    bool has_body_;
    bool expects_continue_;
    bool continued_ = false;
    bool body_begun_ = false; ///< bytes of it were given to the backend
    bool head_ready_ = false; ///< the final head came from the backend
    bool head_last_ = false;  ///< no body follows it
    bool head_given_ = false; ///< ... and went to the codec (or our own did)
    bool stale_retried_ = false;
    bool labels_only_ = false; ///< keep_labels_only()
    bool timed_out_ = false;
    bool tunnel_asked_ = false;
    bool tunnel_open_ = false;
    bool heard_ = false;      ///< a byte came from this backend connection
    bool informed_ = false;   ///< ... an informational head
    bool last_words_ = false; ///< it said why it closed an idle connection, before it saw the request
};

} // namespace weft::l7
