// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "agent/options.hpp"

namespace weft::agent {

inline constexpr int exit_failure = 1;
inline constexpr int exit_missing_requirement = 2;

/// The agent, until SIGTERM or SIGINT. These, and step_aside_signal, signals must be blocked in the calling thread.
/// Returns the exit code.
[[nodiscard]] int run_agent(const Options& options);

/// --cleanup: removes all that a former run left. Idempotent. Returns the exit code.
[[nodiscard]] int clean_up(const Options& options);

} // namespace weft::agent
