// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>

#include "l7engine/http/codec.hpp"
#include "l7engine/http/out_queue.hpp"

namespace weft::l7 {

/// The part of one body that is between two codecs: received by one, not yet taken by the other. Its owner bounds it,
/// by not reading on (HTTP/1) or by not calling consumed() (HTTP/2). One worker's thread.
class BodyQueue {
public:
    // from the sender
    /// `last`: nothing follows.
    void push(Slice&& data, bool last);
    void push_trailers(Trailers&& trailers);
    /// The sender has ended it.
    [[nodiscard]] bool complete() const { return complete_; }
    /// Of what is not yet taken.
    [[nodiscard]] size_t bytes() const { return bytes_; }
    /// What it holds in all: also what it keeps for another try.
    [[nodiscard]] size_t held_bytes() const { return bytes_ + kept_.size(); }
    [[nodiscard]] bool empty() const { return data_.empty(); }
    [[nodiscard]] std::span<const Slice> waiting() const { return data_; }

    // to the receiver
    /// There is something to give: data, trailers or the end.
    [[nodiscard]] bool ready() const { return !given_ && (!data_.empty() || complete_); }
    /// All of it was taken, the end included.
    [[nodiscard]] bool given() const { return given_; }
    struct Given {
        size_t bytes = 0;     ///< taken now, and never before
        bool blocked = false; ///< flow control: Codec::next_writable() names the stream when it takes more
    };
    /// Gives the codec what it takes. Error: the codec's; the body cannot be completed then.
    Result<Given> give(Codec& codec, StreamId stream);
    /// The head said that no body follows.
    void end_with_head() { complete_ = given_ = true; }

    /// Drops what is not yet taken; returns how many bytes of it were never taken.
    size_t drop();
    /// As new: for another body.
    void reset() { *this = BodyQueue(); }

    // for another try, with another receiver
    /// From now on what is taken is kept, too, as long as that is no more than `bytes_max`.
    void keep(size_t bytes_max) { keep_max_ = bytes_max; }
    /// All that was taken is still here.
    [[nodiscard]] bool can_rewind() const { return !taken_for_good_; }
    /// To be given again from its beginning. can_rewind() only.
    void rewind();
    /// Keeps nothing any longer: the receiver has begun to answer.
    void forget();

private:
    void join_small();
    void taken(Bytes piece, Given& given);

    SliceList data_;
    std::optional<Trailers> trailers_;
    size_t bytes_ = 0;
    std::string kept_; ///< taken
    size_t keep_max_ = 0;
    size_t again_bytes_ = 0; ///< at the front of data_, taken before
    uint32_t small_ = 0;     ///< small pieces at the end of data_; some of them may be gone since
    bool taken_for_good_ = false;
    bool complete_ = false;
    bool given_ = false;
};

} // namespace weft::l7
