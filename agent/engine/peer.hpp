// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "agent/engine/control.hpp"
#include "agent/engine/link.hpp"
#include "config/wire/channel.hpp"

namespace weft::agent::engine {

/// One accepted connection. Its first message says what it is: an engine gets a link, anything else asks for weftctl.
struct Control::Peer {
    Peer(uint64_t number, UniqueFd fd, const ucred& who, uint64_t deadline)
        : id(number), channel(std::move(fd)), credentials(who), deadline_ms(deadline) {}

    const uint64_t id;
    wire::FrameChannel channel;
    const ucred credentials;
    uint64_t deadline_ms; ///< of the first message, for an engine of its whole hello; UINT64_MAX once it is there
    /// A hello whose last listeners are still to come.
    struct Arriving {
        EngineHello hello;
        std::vector<UniqueFd> fds;
    };
    std::optional<Arriving> arriving;
    std::optional<EngineLink> link;
    bool closed = false; ///< swept at the end of the turn
};

} // namespace weft::agent::engine
