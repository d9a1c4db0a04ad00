// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "tests/fuzz/input.hpp"
#include "tests/unit/http/h2_frames.hpp"

/// What the two HTTP/2 programs share.
namespace weft::l7::fuzz {

/// The frames that the input stands for. Option 0: the bytes are the frames. Otherwise each few bytes choose a frame
/// with a length that fits, so that mutations reach what lies behind the framing; `head` are the fields that a head of
/// this direction needs.
[[nodiscard]] std::string h2_frames(const Input& input, const test::FieldLines& head);

/// Small windows and limits with option 1, so that a short input reaches them.
[[nodiscard]] H2Settings h2_settings(const Input& input);

/// Records events, consumes bodies at once, and holds the codec to the order of events on a stream. A body is recorded
/// at its end: how much of a DATA frame came before the frame proved bad does depend on the pieces.
class Owner final : public Events {
public:
    explicit Owner(Codec& codec) : codec_(codec) {}

    void on_head(StreamId stream, Head&& head, bool last) override;
    void on_data(StreamId stream, Slice&& data, bool last) override;
    void on_trailers(StreamId stream, Trailers&& trailers) override;
    void on_reset(StreamId stream, Error error) override;
    void on_goaway(StreamId last) override { recorder.on_goaway(last); }
    /// What came of bodies that neither ended nor were reset.
    void record_open_bodies();

    test::Recorder recorder;

private:
    void require_head(StreamId stream) const;
    void end(StreamId stream);

    Codec& codec_;
    std::map<StreamId, std::string> bodies_; ///< of streams with a head and without an end
    std::set<StreamId> over_;
};

/// Two things depend on the pieces. A body that comes in pieces opens the window as it is consumed, so how far a peer
/// may go beyond it does. And a connection that leaves is closed when its last stream has ended: in the frame that
/// ended it, what follows is looked at if it came with it, and nobody is left whom its fault would harm.
[[nodiscard]] bool alike(const std::string& whole, const std::string& cut);

/// Feeds the pieces to a codec. What it writes meanwhile is bounded by what it was given. Returns the trace.
[[nodiscard]] std::string feed_h2(Codec& codec, Owner& owner, const test::Pieces& pieces);

} // namespace weft::l7::fuzz
