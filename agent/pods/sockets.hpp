// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "agent/pods/netns.hpp"
#include "bpf/abi.h"
#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent {

inline constexpr int listener_backlog = 4096;
/// Sockets of one answer; a larger wish is answered in part (the contract allows it, and SCM_RIGHTS carries 253).
inline constexpr uint32_t upstream_batch_max = 64;
/// A peer that vanished without a word is found after idle + probes * interval: two minutes, before NAT and connection
/// tracking tables on the way forget a connection that only rests.
inline constexpr int keepalive_idle_s = 60;
inline constexpr int keepalive_interval_s = 15;
inline constexpr int keepalive_probes = 4;
inline constexpr size_t listener_kinds = 4;

/// A pod's listeners by weft_listener_kind. The IPv6 kinds are absent where the namespace has no ::1.
using Listeners = std::array<UniqueFd, listener_kinds>;

struct MadeListeners {
    Listeners listeners;
    std::optional<Error> fault; ///< why one or more are missing that should be there; the others are good
};
/// Makes the kinds that `present` lacks: beside a listener that already serves, a second one would take connections of
/// its own. None is made while the loopback interface is down (nothing could reach them then).
[[nodiscard]] MadeListeners make_listeners(const Netns& netns, Listeners present);

/// Fresh TCP sockets inside the namespace, non-blocking. At least one, at most upstream_batch_max.
[[nodiscard]] Result<std::vector<UniqueFd>> make_upstream_sockets(const Netns& netns, bool ipv6, uint32_t count);
/// The same for a namespace that is open.
[[nodiscard]] Result<std::vector<UniqueFd>> make_upstream_sockets(const UniqueFd& netns, bool ipv6, uint32_t count);

/// What a descriptor that an engine hands back really is. `cookie` tells the namespace, `identity` the very socket.
struct ListenerFacts {
    uint64_t netns_cookie = 0;
    uint64_t identity = 0; ///< SO_COOKIE
};
/// Verifies that `fd` is a listening TCP socket bound as `kind` has to be. A peer's claim, so every fault is an Error.
[[nodiscard]] Result<ListenerFacts> inspect_listener(int fd, uint32_t kind);
/// The namespace that a socket was made in. While the descriptor is open the namespace lives.
[[nodiscard]] Result<UniqueFd> netns_of(int socket);
/// SO_COOKIE.
[[nodiscard]] Result<uint64_t> socket_identity(int fd);

} // namespace weft::agent
