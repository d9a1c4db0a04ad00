// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "l7engine/http/h2_budget.hpp"
#include "l7engine/http/h2_codec.hpp"
#include "l7engine/http/h2_fields.hpp"
#include "l7engine/http/h2_frame_cutter.hpp"
#include "l7engine/http/h2_rules.hpp"
#include "l7engine/http/h2_session.hpp"
#include "l7engine/http/h2_stream.hpp"
#include "l7engine/http/out_queue.hpp"

namespace weft::l7::h2 {

/// An HTTP/2 connection of either side. nghttp2 reads and writes frames; here are the streams, the budgets and what
/// they mean. h2_connection.cpp has its life, h2_receive.cpp what comes, h2_send.cpp what goes.
///
/// nghttp2 must not be asked for output from inside its callbacks, where the owner's verbs may be called: they queue
/// then, and receive() writes behind each frame. So nghttp2 never holds anything back but for the verbs' own time.
class H2Connection final : public Codec {
public:
    H2Connection(Role role, const H2Settings& settings);

    Result<size_t> receive(const Slice& bytes, Events& events) override;
    Result<void> receive_eof(Events& events) override;
    Result<StreamId> open() override;
    [[nodiscard]] bool has_room() const override { return no_room() == nullptr; }
    [[nodiscard]] bool knows_peer() const override { return peer_known_; }
    [[nodiscard]] bool settled() const override { return peer_known_ && settings_acknowledged_; }
    void settings_timed_out() override;
    Result<void> send_head(StreamId stream, const Head& head, bool last) override;
    Result<size_t> send_data(StreamId stream, Slice data, bool last) override;
    std::optional<StreamId> next_writable() override;
    Result<void> send_trailers(StreamId stream, const Trailers& trailers) override;
    void reset(StreamId stream, Error error) override;
    void consumed(StreamId stream, size_t bytes) override;
    void drain() override;
    [[nodiscard]] std::span<const Slice> pending() const override { return out_.pending(); }
    void sent(size_t bytes) override;
    [[nodiscard]] bool between_messages() const override { return open_ == 0; }
    [[nodiscard]] bool finished() const override { return failed_ || (leaving() && open_ == 0); }

private:
    friend struct Callbacks;

    [[nodiscard]] bool is_server() const { return role_ == Role::server; }
    [[nodiscard]] Side peer() const { return is_server() ? Side::downstream : Side::upstream; }
    [[nodiscard]] bool leaving() const { return goaway_sent_ || goaway_received_ || eof_; }
    [[nodiscard]] size_t unwritten() const { return static_cast<size_t>(out_bytes_ - sent_bytes_); }

    // Life
    size_t receive_frame(Bytes bytes);
    void write_output();
    void flush();
    bool frame_queued();
    void frame_one(Stream& stream);
    void append(std::string_view frame);
    int fail_connection(uint32_t code, const char* during);
    void give_up();
    void send_final_goaway();
    Stream& add_stream(StreamId id);
    [[nodiscard]] Stream* find(StreamId id);
    [[nodiscard]] Stream* stream_of(int32_t wire) const;
    [[nodiscard]] Error no_such_stream(StreamId id) const;
    void cut(Stream& stream);
    void report(Stream& stream, const Error& error);
    void erase(Stream& stream);

    // What comes: called by nghttp2; a result is 0, or stops it.
    [[nodiscard]] bool comes_after_end(int32_t wire) const;
    int on_begin_frame(const nghttp2_frame_hd& frame);
    int on_begin_headers(const nghttp2_frame& frame);
    void on_request_begin(int32_t wire);
    int on_header(std::string_view name, std::string_view value);
    int on_data(int32_t wire, const uint8_t* data, size_t size);
    int on_frame(const nghttp2_frame& frame);
    void on_head(Stream& stream, bool last);
    void on_trailers(Stream& stream);
    int on_data_end(Stream* stream, const nghttp2_frame& frame);
    int on_reset(Stream* stream, uint32_t code);
    void on_goaway(int32_t last);
    void on_window(int32_t wire);
    void on_invalid_frame(const nghttp2_frame& frame, int error);
    void refuse(Stream& stream, Error error, bool last);
    void deliver_held(bool last);
    void check_data_refused();
    void on_frame_sent(const nghttp2_frame& frame);
    void on_reset_sent(int32_t wire, uint32_t code);
    void on_end_sent(int32_t wire);
    void on_stream_closed(int32_t wire, uint32_t code);

    // What goes
    Result<void> send_reply_head(Stream& stream, const Head& head, bool last);
    Result<void> send_request_head(Stream& stream, const Head& head, bool last);
    Result<void> submit_request(Stream& stream, const Head& head, bool last);
    Result<void> end_sending(Stream& stream);
    [[nodiscard]] int64_t window(const Stream& stream) const;
    [[nodiscard]] size_t room(const Stream& stream) const;
    void list_ready(Stream& stream);
    void queue_framing(Stream& stream);
    nghttp2_ssize read_data(int32_t wire, size_t length, uint32_t* flags);
    int write_data(const nghttp2_frame& frame, const uint8_t* header, size_t length);
    [[nodiscard]] uint32_t streams_max() const;
    [[nodiscard]] const char* no_room() const;

    const Role role_;
    const H2Settings settings_;
    Session session_;
    FrameCutter frames_;
    Budget budget_;
    BlockReader block_;
    FieldList fields_;
    OutQueue out_;
    uint64_t out_bytes_ = 0, sent_bytes_ = 0, received_bytes_ = 0;
    std::deque<uint64_t> control_frames_; ///< where in the output each one begins that is not written

    std::unordered_map<StreamId, Stream> streams_;
    size_t open_ = 0;           ///< streams_ without closed ones
    StreamId last_id_ = 0;      ///< highest stream ever
    size_t opened_ = 0;         ///< client side
    int32_t reset_highest_ = 0; ///< server side: the highest stream that we have reset
    std::vector<StreamId> to_frame_;
    std::deque<StreamId> ready_; ///< refused data, may take some now
    size_t outgoing_bytes_ = 0;  ///< of all streams

    // While receive() runs
    bool busy_ = false;
    Events* events_ = nullptr;
    const Slice* bytes_ = nullptr;
    Slice held_; ///< data whose frame may end with END_STREAM
    StreamId held_stream_ = 0;
    StreamId data_stream_ = 0; ///< its DATA frame has begun and not ended
    bool block_over_ = false;  ///< the running header block belongs to no stream of ours

    std::optional<Error> failure_;
    bool failed_ = false;
    bool settings_acknowledged_ = false;
    bool peer_known_ = false; ///< its SETTINGS came
    bool draining_ = false;
    bool goaway_sent_ = false; ///< the final one
    bool goaway_received_ = false;
    bool eof_ = false;
};

/// Shared by all sessions of the program; never freed.
[[nodiscard]] const nghttp2_session_callbacks* callbacks();

} // namespace weft::l7::h2
