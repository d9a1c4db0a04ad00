// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>

#include "bpf/abi.h"
#include "l7engine/filter/exchange.hpp"
#include "l7engine/policy/view.hpp"
#include "l7engine/proxy/counters.hpp"

namespace weft::l7 {

/// An accepted connection whose purpose is known.
struct Accepted {
    Direction direction = Direction::outbound;
    uint32_t pod_id = 0;       ///< whose listener accepted
    uint32_t frontend_id = 0;  ///< outbound: the service that was dialled; ids are never reused
    SocketAddress client;      ///< the other end; outbound: inside the pod's own namespace, only the port is of use
    SocketAddress destination; ///< what the client dialled
};

/// What a connection on a pod's listener is for, from its two addresses. `local` is the address code
/// (127.<service id>:15001), the service address that the getsockname hook shows, or the pod address dialled.
/// Anything else did not come through our hooks: the error says which counter knows why it is refused.
[[nodiscard]] std::expected<Accepted, Counter> admit(abi::weft_listener_kind kind, uint32_t pod_id,
                                                     const SocketAddress& local, const SocketAddress& peer,
                                                     const SnapshotView& view);

} // namespace weft::l7
