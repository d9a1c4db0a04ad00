// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <set>

#include "agent/reconcile/state.hpp"

namespace weft::agent {

/// plan() orders its steps so that each may count on those before. Progress follows which of them the maps took; when
/// one has failed it tells which of the later ones must wait, since what they count on is missing:
/// - a pod gets no address with a port that is less guarded than it shall be,
/// - nothing becomes less guarded than it was, unless it still is as guarded as it shall be,
/// - a service stays as it is redirected until the pods behind it are guarded as they shall be.
/// Steps that concern others are free, and so is what gives room back: a full map must not stay full. Pure. `wanted`
/// must outlive it.
class Progress {
public:
    Progress(KernelState now, const KernelState& wanted);

    void took(const MapOperation& step);
    [[nodiscard]] bool must_wait(const MapOperation& step) const;

private:
    using PortKey = KernelState::PortKey;
    using PortAction = KernelState::PortAction;

    [[nodiscard]] PortAction wanted_at(const IpAddress& address, uint16_t port) const;
    void add_ports(const IpAddress& address, uint32_t pod_id, std::set<uint16_t>& ports) const;
    [[nodiscard]] bool port_must_wait(const PortKey& key, std::optional<PortAction> own) const;
    [[nodiscard]] bool pod_must_wait(uint64_t cookie, const KernelState::Pod& pod) const;
    [[nodiscard]] bool gains_unguarded(uint32_t pod_id, const IpAddress& address) const;
    [[nodiscard]] bool loses_guarded(uint32_t pod_id, const IpAddress& address) const;
    [[nodiscard]] bool service_must_wait(const SocketAddress& address, const KernelState::Service& service) const;

    KernelState state_;
    const KernelState& wanted_;
    std::map<IpAddress, uint32_t> wanted_owners_; ///< pod ids
};

} // namespace weft::agent
