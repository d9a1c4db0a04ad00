// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h2_budget.hpp"

namespace weft::l7::h2 {
namespace {

/// A connection's first words, and two for each stream's window, cost nothing.
constexpr uint64_t free_window_updates = 5;
constexpr uint64_t window_updates_per_stream = 2;

} // namespace

const char* Budget::on_premature_reset() {
    ++premature_resets_;
    const bool over = premature_resets_ > limits_.premature_resets_max && premature_resets_ > streams_ / 2;
    return over ? "rapid reset" : nullptr;
}

const char* Budget::on_data_frame(bool empty, bool last) {
    empty_data_frames_ = empty && !last ? empty_data_frames_ + 1 : 0;
    return empty_data_frames_ > limits_.empty_data_frames_max ? "empty data flood" : nullptr;
}

const char* Budget::on_window_update() {
    const uint64_t allowed = free_window_updates + window_updates_per_stream * streams_ +
                             limits_.window_updates_per_data_frame * data_frames_sent_;
    return ++window_updates_ > allowed ? "window update flood" : nullptr;
}

const char* Budget::on_continuation() {
    return ++continuations_ > limits_.continuations_max ? "continuation flood" : nullptr;
}

const char* Budget::on_idle_frame() {
    return ++idle_frames_ > limits_.idle_frames_per_stream * (1 + streams_) ? "idle frame flood" : nullptr;
}

const char* Budget::on_control_frames(uint64_t unwritten) const {
    return unwritten > limits_.control_frames_max ? "control frame flood" : nullptr;
}

} // namespace weft::l7::h2
