// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "agent/bpf/map.hpp"
#include "agent/reconcile/state.hpp"
#include "bpf/abi.h"
#include "config/base/error.hpp"

namespace weft::agent::bpf {

/// The maps that configuration fills: applies planned operations to them and reads back what they hold. Each
/// operation is whole or not at all, and idempotent. Owned by Datapath, agent thread only.
class Tables {
public:
    struct Descriptors {
        int layout = -1;
        int pods = -1;
        int pod_addresses = -1;
        int inbound_ports = -1;
        int services = -1;
        int backends = -1;
        int pod_refusals = -1;
    };

    Tables() = default;
    /// Reads what a former run left, and removes backend sets that no service names (an update was cut short).
    explicit Tables(const Descriptors& fds);

    /// A full map is Code::too_large; `during` names the operation and the map.
    Result<void> apply(const MapOperation& operation);

    [[nodiscard]] KernelState current() const;
    [[nodiscard]] ServiceIds service_ids() const;
    [[nodiscard]] uint32_t pod_id_next() const { return layout_.pod_id_next; }
    /// Pods with a port that needs judging: nothing of them may pass unseen.
    [[nodiscard]] std::set<uint32_t> governed_pods() const;
    [[nodiscard]] bool is_governed(uint32_t pod_id) const { return governed_ports_.contains(pod_id); }

    [[nodiscard]] const RawMap& pods() const { return pods_; }
    [[nodiscard]] const RawMap& pod_addresses() const { return pod_addresses_; }
    [[nodiscard]] const RawMap& inbound_ports() const { return inbound_ports_; }
    [[nodiscard]] const RawMap& services() const { return services_; }
    [[nodiscard]] const RawMap& backends() const { return backends_; }

private:
    Result<void> put_pod(const PutPod& operation);
    Result<void> remove_pod(const RemovePod& operation);
    Result<void> put_port(const PutInboundPort& operation);
    Result<void> remove_port(const RemoveInboundPort& operation);
    Result<void> put_service(const PutService& operation);
    Result<void> remove_service(const RemoveService& operation);

    Result<void> put_addresses(const KernelState::Pod& pod);
    void remove_address(const IpAddress& address, uint32_t pod_id);
    Result<void> put_backends(uint32_t set, const std::vector<SocketAddress>& addresses);
    void remove_backends(uint32_t set, uint32_t count);
    Result<void> raise_numbers(uint32_t service_id, uint32_t pod_id);
    void note_governed(const KernelState::PortKey& key, KernelState::PortAction action);
    uint32_t unused_set();
    void adopt();

    Map<uint32_t, abi::weft_layout> layout_map_;
    Map<uint64_t, abi::weft_pod> pods_;
    Map<abi::weft_address, abi::weft_pod_ref> pod_addresses_;
    Map<abi::weft_port_key, uint8_t> inbound_ports_;
    Map<abi::weft_service_key, abi::weft_service> services_;
    Map<abi::weft_backend_key, abi::weft_backend> backends_;
    RawMap pod_refusals_;

    abi::weft_layout layout_{};
    std::map<uint32_t, std::set<IpAddress>> addresses_of_; ///< by pod id: what to remove when a pod changes
    std::map<uint32_t, std::set<uint16_t>> governed_ports_;
    std::set<uint32_t> sets_; ///< backend sets in use
    uint32_t last_set_ = 0;
};

} // namespace weft::agent::bpf
