// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/admit.hpp"

#include <arpa/inet.h>

namespace weft::l7 {

namespace {

using Admitted = std::expected<Accepted, Counter>;

Admitted admit_by_code(Accepted accepted, const SocketAddress& local, const SnapshotView& view) {
    if (!local.address.is_v4() || !local.address.is_loopback() || local.port != WEFT_OUTBOUND_PORT)
        return std::unexpected(Counter::refused_not_redirected);
    const uint32_t id = ntohl(local.address.v4_network_order()) & WEFT_SERVICE_IDS_MAX;
    if (id < WEFT_SERVICE_ID_MIN) // 127.0.0.0/16 stays the applications' own: dialled directly
        return std::unexpected(Counter::refused_not_redirected);
    const config::Frontend* frontend = view.frontend(id);
    if (frontend == nullptr)
        return std::unexpected(Counter::refused_unknown_service);
    accepted.frontend_id = id;
    accepted.destination.port = frontend->port;
    for (const IpAddress& address : frontend->addresses) {
        if (address.is_v4()) {
            accepted.destination.address = address;
            return accepted;
        }
    }
    // An IPv4 code for a service without IPv4 address: not of our making.
    return std::unexpected(Counter::refused_unknown_service);
}

Admitted admit_by_address(Accepted accepted, const SocketAddress& local, const SnapshotView& view) {
    if (local.address.is_loopback()) // the hook had nothing to show: dialled directly
        return std::unexpected(Counter::refused_not_redirected);
    const config::Frontend* frontend = view.frontend(local);
    if (frontend == nullptr)
        return std::unexpected(Counter::refused_unknown_service);
    accepted.frontend_id = frontend->id;
    accepted.destination = local;
    return accepted;
}

} // namespace

std::expected<Accepted, Counter> admit(abi::weft_listener_kind kind, uint32_t pod_id, const SocketAddress& local,
                                       const SocketAddress& peer, const SnapshotView& view) {
    Accepted accepted;
    accepted.pod_id = pod_id;
    accepted.client = peer;
    switch (kind) {
    case abi::WEFT_LISTENER_OUTBOUND4: return admit_by_code(accepted, local, view);
    case abi::WEFT_LISTENER_OUTBOUND6: return admit_by_address(accepted, local, view);
    case abi::WEFT_LISTENER_INBOUND4:
    case abi::WEFT_LISTENER_INBOUND6:
        if (local.address.is_loopback()) // 127.0.0.1:15006 dialled directly by an application of the pod
            return std::unexpected(Counter::refused_not_steered);
        accepted.direction = Direction::inbound;
        accepted.destination = local;
        return accepted;
    }
    return std::unexpected(Counter::refused_not_redirected);
}

} // namespace weft::l7
