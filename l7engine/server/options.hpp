// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "config/base/log.hpp"
#include "config/settings/flags.hpp"
#include "l7engine/server/engine.hpp"

namespace weft::l7 {

/// The command line of weft-l7engine. An engine that the agent starts gets it by the agent's --engine-arg.
struct Options {
    std::string socket = "/run/weft/agent.sock";
    std::string group; ///< of the agent that it belongs to
    uint64_t user = 65532;
    uint64_t drain_timeout_ms = 30'000;
    log::Level log_level = log::Level::info;
    bool log_json = false;
    uint64_t memory_bytes = 0;          ///< 0: MemoryWatch finds a limit
    uint64_t buffers_per_pod_bytes = 0; ///< 0: a share of the memory; ends up in EngineSettings
    EngineSettings engine{.workers = 0, .ring = {}, .proxy = {}}; ///< workers 0: one per CPU
};

/// Nothing is printed: what there is to say is in the error, also for --help and --version.
[[nodiscard]] std::expected<Options, config::Flags::Ended> parse_options(int argc, const char* const* argv);

} // namespace weft::l7
