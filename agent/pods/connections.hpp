// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <set>
#include <vector>

#include "agent/pods/netns.hpp"
#include "agent/pods/socket_diag.hpp"
#include "agent/reconcile/state.hpp"

/// Connections that are older than the rule which governs their port: sk_lookup sees new ones only, so these are ended.
namespace weft::agent {

/// One pod's rules, as the kernel has them for new connections.
struct CutRules {
    std::map<uint16_t, KernelState::PortAction> actions; ///< port 0: all without an entry of their own
    std::vector<IpAddress> addresses;
    /// Whether the connection that this client opened to this server is the engine's, and judged, or a probe's.
    std::function<bool(const SocketAddress& client, const SocketAddress& server)> is_judged;
};

/// What would not pass now among a pod's sockets.
struct Unjudged {
    std::vector<DiagSocket> connections; ///< server ends
    /// Under way, by their cookies, which the connections will have too. A new handshake with the engine looks the same
    /// as an old one with the application until it is a connection: then it is marked or not.
    std::set<uint64_t> handshakes;
};
/// `marked`: accepted by the engine. Pure but for is_judged. Spared: what the engine accepted, what it has judged
/// (unless the port refuses), the pod's own.
///
/// Nothing tells an accepted socket from one that connected. A port with an entry of its own counts as a server's;
/// where port 0 governs, only a port on which somebody listens: the others are those of the pod's own dials.
[[nodiscard]] Unjudged unjudged(const std::vector<DiagSocket>& sockets, const CutRules& rules);

struct CutResult {
    size_t cut = 0;
    size_t left = 0;               ///< the kernel cannot end connections
    std::set<uint64_t> handshakes; ///< as they were found: look again, until none of them is under way
};
/// Ends all connections, and no handshake. `marks_fd`: the SK_STORAGE map of the engine's inbound listeners, inherited
/// by what they accept.
[[nodiscard]] Result<CutResult> cut_unjudged(const Netns& netns, int marks_fd, const CutRules& rules);

/// Whether this kernel can end connections; asks for the end of one that cannot exist.
[[nodiscard]] Result<void> probe_cut();

} // namespace weft::agent
