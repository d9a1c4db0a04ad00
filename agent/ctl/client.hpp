// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "config/base/json.hpp"

namespace weft::agent::ctl {

struct Answer {
    bool ok = true;
    std::string error;
    Json json; ///< null if the agent sent none
};

enum class Verb : uint8_t { status, sync, step_aside, ready };

/// Asks the agent at `socket` and waits. The error is one line: the agent is not there, or did not answer.
/// `group`: of ready, the agent that must be the one that answers; empty: any.
[[nodiscard]] std::expected<Answer, std::string> ask(const std::string& socket, Verb verb, uint32_t timeout_ms,
                                                     const std::string& group = "");

} // namespace weft::agent::ctl
