// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/connections.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "bpf/abi.h"

namespace weft::agent {
namespace {

using Action = KernelState::PortAction;

/// Where data may still move, and where a handshake is under way (the kernel lists requests under SYN_RECV too).
constexpr uint32_t states = 1U << TCP_LISTEN | 1U << TCP_SYN_RECV | 1U << TCP_ESTABLISHED | 1U << TCP_FIN_WAIT1 |
                            1U << TCP_FIN_WAIT2 | 1U << TCP_CLOSE_WAIT;

uint64_t cookie_of(const DiagSocket& socket) {
    return uint64_t{socket.id.idiag_cookie[1]} << 32U | socket.id.idiag_cookie[0];
}

bool is_own(const DiagSocket& socket, const CutRules& rules) {
    const IpAddress& remote = socket.remote.address;
    return remote.is_loopback() || remote == socket.local.address ||
           std::ranges::find(rules.addresses, remote) != rules.addresses.end();
}

Action action_for(uint16_t port, const CutRules& rules, const std::set<uint16_t>& served) {
    if (const auto own = rules.actions.find(port); own != rules.actions.end())
        return own->second;
    const auto others = rules.actions.find(0);
    return others != rules.actions.end() && served.contains(port) ? others->second : Action::pass;
}

} // namespace

Unjudged unjudged(const std::vector<DiagSocket>& sockets, const CutRules& rules) {
    std::set<uint16_t> served;
    for (const DiagSocket& socket : sockets)
        if (socket.state == TCP_LISTEN)
            served.insert(socket.local.port);
    Unjudged out;
    for (const DiagSocket& socket : sockets) {
        const bool engines = socket.marked || socket.local.port == WEFT_OUTBOUND_PORT;
        if (socket.state == TCP_LISTEN || engines || is_own(socket, rules))
            continue;
        const Action action = action_for(socket.local.port, rules, served);
        if (action == Action::pass || (action == Action::steer && rules.is_judged(socket.remote, socket.local)))
            continue;
        if (socket.state == TCP_SYN_RECV)
            out.handshakes.insert(cookie_of(socket));
        else
            out.connections.push_back(socket);
    }
    return out;
}

Result<CutResult> cut_unjudged(const Netns& netns, int marks_fd, const CutRules& rules) {
    Result<SocketDiag> diag = [&]() -> Result<SocketDiag> {
        const Result<NetnsScope> scope = netns.enter();
        if (!scope)
            return std::unexpected(scope.error());
        return SocketDiag::open();
    }();
    if (!diag)
        return std::unexpected(diag.error());
    const auto sockets = diag->list(states, marks_fd);
    if (!sockets)
        return std::unexpected(sockets.error());
    Unjudged found = unjudged(*sockets, rules);
    CutResult result;
    result.handshakes = std::move(found.handshakes);
    for (const DiagSocket& socket : found.connections) {
        const Result<bool> ended = diag->destroy(socket);
        if (ended)
            result.cut += *ended ? 1 : 0;
        else if (ended.error().code == Code::unavailable)
            ++result.left;
        else
            return std::unexpected(ended.error());
    }
    return result;
}

Result<void> probe_cut() {
    Result<SocketDiag> diag = SocketDiag::open();
    if (!diag)
        return std::unexpected(diag.error());
    DiagSocket nobody{.local = {}, .remote = {}, .family = AF_INET};
    std::memset(nobody.id.idiag_cookie, 0xfe, sizeof(nobody.id.idiag_cookie));
    const Result<bool> ended = diag->destroy(nobody);
    if (!ended)
        return std::unexpected(ended.error());
    return {};
}

} // namespace weft::agent
