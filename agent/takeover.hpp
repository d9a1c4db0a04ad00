// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>

#include "config/base/unique_fd.hpp"

/// Two agents on one socket, one after the other without a gap (a rolling upgrade): the newcomer asks, the other leaves
/// everything in force, lets go of the lock and stands by. It serves again if the lock comes free.
namespace weft::agent {

inline constexpr int step_aside_signal = SIGUSR1; ///< the agent's own, to itself: another asked for its place
inline constexpr uint32_t step_aside_answer_ms = 5'000;
inline constexpr uint64_t step_aside_wait_ms = 15'000; ///< until the other has let go
inline constexpr uint64_t lock_poll_ms = 5;
inline constexpr uint64_t turn_poll_ms = 20; ///< while it may not take over
/// One that stepped aside leaves the lock alone for so long: the newcomer has it within lock_poll_ms, if it lives.
inline constexpr uint64_t standby_first_ms = 3'000;
inline constexpr uint64_t standby_poll_ms = 200;

struct Place {
    UniqueFd lock;
    bool engine_connected = false; ///< to the agent whose place it was: it will come with its listeners
};

/// The lock of the socket. If another agent has it: that agent's place, as soon as `may_take_over` says yes (asked
/// every few milliseconds; empty: never); it is left alone by one that could not take its place. nullopt: one of the
/// signals that end the process came first. The error is one line.
[[nodiscard]] std::expected<std::optional<Place>, std::string>
take_place(const std::string& socket, const std::string& lock_file, const std::function<bool()>& may_take_over);

/// Until the lock is free (it is taken then), or one of the signals that the main thread waits for comes (no lock).
[[nodiscard]] UniqueFd stand_by(const std::string& lock_file);

/// The file beside the socket that names the --group of the agent that stands by. Not there, or not to be read: none.
void write_standby(const std::string& file, const std::string& group);
[[nodiscard]] bool stood_by(const std::string& file, const std::string& group);
/// Another group's agent does.
[[nodiscard]] bool others_stand_by(const std::string& file, const std::string& group);

} // namespace weft::agent
