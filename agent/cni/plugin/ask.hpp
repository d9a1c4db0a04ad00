// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "config/cni/messages.hpp"

namespace weft::cni {

/// Between two attempts to reach an agent that is not there, say while it is replaced.
inline constexpr int reconnect_ms = 50;
/// The agent answers when the request's time is over; so much later nobody waits for it any more.
inline constexpr uint32_t grace_ms = 500;

/// Asks the agent at that socket, again and again until it answers or `within_ms` have passed. `netns`: the path of a
/// network namespace to be sent along; empty, or not there: none is. The error is one sentence.
[[nodiscard]] std::expected<Answer, std::string> ask(const std::string& socket, const Request& request,
                                                     const std::string& netns, uint32_t within_ms);

/// For the agent to count when it comes: one line in a file beside its socket, up to record_bytes_max.
void record_fail_open(const std::string& socket, const Request& request);
inline constexpr int64_t record_bytes_max = 64 * 1024;

} // namespace weft::cni
