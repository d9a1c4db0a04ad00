// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "l7engine/http/h2_codec.hpp"

namespace weft::l7::h2 {

/// Counts what a peer does at our cost. Each event returns nullptr, or the name of the budget that it has used up.
class Budget {
public:
    explicit Budget(const H2Budgets& limits) : limits_(limits) {}

    void on_stream() { ++streams_; }
    void on_data_frame_sent() { ++data_frames_sent_; }
    /// A stream ended by a reset before its reply began.
    [[nodiscard]] const char* on_premature_reset();
    [[nodiscard]] const char* on_data_frame(bool empty, bool last);
    [[nodiscard]] const char* on_window_update();
    void on_block() { continuations_ = 0; } ///< a header block begins
    [[nodiscard]] const char* on_continuation();
    /// A frame that changes nothing.
    [[nodiscard]] const char* on_idle_frame();
    /// `unwritten`: frames of ours that wait for the peer to read.
    [[nodiscard]] const char* on_control_frames(uint64_t unwritten) const;

private:
    const H2Budgets limits_;
    uint64_t streams_ = 0, premature_resets_ = 0;
    uint64_t data_frames_sent_ = 0, window_updates_ = 0;
    uint64_t idle_frames_ = 0;
    uint32_t empty_data_frames_ = 0; ///< in a row
    uint32_t continuations_ = 0;     ///< of this block
};

} // namespace weft::l7::h2
