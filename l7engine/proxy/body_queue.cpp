// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/body_queue.hpp"

#include <algorithm>
#include <cassert>
#include <string>

namespace weft::l7 {

namespace {

/// A peer chooses how small its pieces are; each takes a slice, and holds the whole buffer that it came in.
constexpr size_t small_bytes = 256;
constexpr size_t small_slices_max = 32; ///< at the end of the list; above, they become one

} // namespace

void BodyQueue::push(Slice&& data, bool last) {
    if (!data.empty()) {
        bytes_ += data.size();
        small_ = data.size() < small_bytes ? small_ + 1 : 0;
        data_.push_back(std::move(data));
        if (small_ > small_slices_max)
            join_small();
    }
    complete_ = complete_ || last;
}

/// The pieces at the end, those that are still there. What comes of it may be small again: each byte is copied twice or
/// so, never more.
void BodyQueue::join_small() {
    const size_t count = std::min<size_t>(small_, data_.size());
    const auto first = data_.end() - static_cast<ptrdiff_t>(count);
    std::string whole;
    for (auto piece = first; piece != data_.end(); ++piece)
        whole += piece->text();
    data_.erase(first, data_.end());
    data_.push_back(Slice::copy_of(whole));
    small_ = whole.size() < small_bytes ? 1 : 0;
}

void BodyQueue::push_trailers(Trailers&& trailers) {
    trailers_ = std::move(trailers);
    complete_ = true;
}

Result<BodyQueue::Given> BodyQueue::give(Codec& codec, StreamId stream) {
    Given given;
    size_t whole = 0;
    while (whole < data_.size() && !given.blocked) {
        Slice& piece = data_[whole];
        const size_t size = piece.size();
        const bool last = complete_ && !trailers_ && whole + 1 == data_.size();
        // A second reference: the codec may take a part.
        const Result<size_t> took = codec.send_data(stream, piece.share(0, size), last);
        if (!took)
            return std::unexpected(took.error());
        taken(piece.bytes().first(*took), given);
        piece.remove_prefix(*took);
        given.blocked = *took < size;
        if (!given.blocked) {
            given_ = last;
            ++whole;
        }
    }
    if (whole == data_.size())
        clear_slices(data_);
    else
        data_.erase(data_.begin(), data_.begin() + static_cast<ptrdiff_t>(whole));
    if (given.blocked || given_ || !complete_)
        return given;
    given_ = true;
    if (trailers_) {
        if (const Result<void> sent = codec.send_trailers(stream, *trailers_); !sent)
            return std::unexpected(sent.error());
    } else if (const Result<size_t> ended = codec.send_data(stream, {}, true); !ended) {
        return std::unexpected(ended.error());
    }
    return given;
}

void BodyQueue::taken(Bytes piece, Given& given) {
    const size_t size = piece.size();
    bytes_ -= size;
    const size_t again = std::min(again_bytes_, size);
    again_bytes_ -= again;
    given.bytes += size - again;
    if (size == 0 || taken_for_good_)
        return;
    if (kept_.size() + size <= keep_max_) {
        kept_ += as_text(piece); // not the receive buffer: this may last
    } else {
        forget();
        taken_for_good_ = true;
    }
}

size_t BodyQueue::drop() {
    clear_slices(data_);
    return std::exchange(bytes_, 0) - std::exchange(again_bytes_, 0);
}

void BodyQueue::rewind() {
    assert(can_rewind());
    if (!kept_.empty())
        data_.insert(data_.begin(), Slice::copy_of(kept_));
    bytes_ += kept_.size();
    again_bytes_ += kept_.size();
    std::string().swap(kept_);
    given_ = false;
}

void BodyQueue::forget() {
    taken_for_good_ = taken_for_good_ || !kept_.empty();
    std::string().swap(kept_);
    keep_max_ = 0;
}

} // namespace weft::l7
