// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "l7engine/io/timer.hpp"
#include "l7engine/proxy/codec_writer.hpp"
#include "l7engine/proxy/upstream.hpp"

namespace weft::l7 {

class Worker;

/// Who has a stream of a session. Events come from inside the session's reading: whoever waits for them is woken, never
/// resumed there.
class StreamUser : public Events {
public:
    /// The stream takes data again.
    virtual void writable() = 0;

protected:
    ~StreamUser() = default;
};

/// A connection to a backend that many requests share (HTTP/2). Lives as long as somebody holds it or its coroutines
/// run. One worker's thread.
class UpstreamSession final : public std::enable_shared_from_this<UpstreamSession>,
                              private Events,
                              private CodecWriter::Owner,
                              private Timer {
public:
    class Watcher {
    public:
        /// A stream has ended, there is room again, or the session takes no more.
        virtual void session_changed(const UpstreamKey& key) = 0;
        virtual void session_gone(uint32_t pod_id) = 0;

    protected:
        ~Watcher() = default;
    };

    UpstreamSession(Worker& worker, const UpstreamKey& key, std::unique_ptr<ByteStream> stream,
                    std::unique_ptr<Codec> codec, Watcher& watcher);
    ~UpstreamSession() override;
    UpstreamSession(const UpstreamSession&) = delete;
    UpstreamSession& operator=(const UpstreamSession&) = delete;

    /// Its two coroutines, detached. Once.
    void start();

    /// Code::unavailable: at the peer's limit, or leaving. Until forget() or an on_reset() the user hears
    /// of the stream.
    [[nodiscard]] Result<StreamId> open(StreamUser& user, const Head& head, bool last);
    /// The user hears no more; a stream that has not ended is reset for `why`.
    void forget(StreamId stream, const Error& why);
    /// Waits until it is known whether the peer takes an extended CONNECT. Error: Code::timeout, Code::canceled, or
    /// Code::reset: it was lost.
    [[nodiscard]] Task<Result<void>> settled(Until until);
    [[nodiscard]] Codec& codec() { return *codec_; }
    void kick() { writer_.kick(); }

    [[nodiscard]] const UpstreamKey& key() const { return key_; }
    /// The first request does not wait for the peer's SETTINGS; the next ones do, or it might refuse them.
    [[nodiscard]] bool has_room() const { return !leaving_ && codec_->has_room() && (users_.empty() || knows_peer()); }
    [[nodiscard]] bool knows_peer() const { return codec_->knows_peer(); }
    [[nodiscard]] bool is_leaving() const { return leaving_; }
    /// The connection itself is over, not only a stream.
    [[nodiscard]] bool is_lost() const { return lost_; }
    /// Older than the limit, and the peer has not told what it takes, or not acknowledged what we take.
    [[nodiscard]] bool is_unsettled(uint64_t now_ms, uint64_t limit_ms) const;
    [[nodiscard]] size_t streams() const { return users_.size(); }
    [[nodiscard]] uint64_t idle_since_ms() const { return idle_since_ms_; }
    /// Takes no new stream; ends when the last one has, and soon: a peer that does not read cannot hold it.
    void leave();
    /// Ends now, for is_unsettled(): each stream has its Code::timeout.
    void end_unsettled();

private:
    struct Open {
        StreamId stream;
        StreamUser* user;
    };

    static Task<void> read(std::shared_ptr<UpstreamSession> self);
    static Task<void> write(std::shared_ptr<UpstreamSession> self);
    Result<size_t> receive(const Slice& bytes);
    void lost(const Error& error);
    void end_if_idle();
    /// The peer has not taken our last words in time.
    void expired() override;
    void tell_room();
    void name_writable();
    [[nodiscard]] StreamUser* user_of(StreamId stream) const;
    StreamUser* take_user(StreamId stream);
    void stream_ended();

    // codec events
    void on_head(StreamId stream, Head&& head, bool last) override;
    void on_data(StreamId stream, Slice&& data, bool last) override;
    void on_trailers(StreamId stream, Trailers&& trailers) override;
    void on_reset(StreamId stream, Error error) override;
    void on_goaway(StreamId last) override;
    // writer
    void written(size_t bytes) override;
    void write_failed(const Error& error) override;

    Worker& worker_;
    const UpstreamKey key_;
    const std::unique_ptr<ByteStream> stream_;
    const std::unique_ptr<Codec> codec_;
    const uint64_t made_ms_;
    Watcher& watcher_;
    CodecWriter writer_;
    Signal progress_;         ///< something was written, or received
    std::vector<Open> users_; ///< few: a search is a look at one cache line or two
    uint64_t idle_since_ms_;
    bool settled_ = false; ///< its peer is known, and who waits was told
    bool full_ = false;    ///< had no room for another stream
    bool leaving_ = false; ///< takes no new stream
    bool lost_ = false;    ///< the connection is over
};
using SessionPtr = std::shared_ptr<UpstreamSession>;

} // namespace weft::l7
