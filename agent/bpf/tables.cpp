// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf/tables.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace weft::agent::bpf {
namespace {

using abi::weft_address;

weft_address to_abi(const IpAddress& address) {
    weft_address out;
    std::memcpy(out.bytes, address.bytes.data(), sizeof(out.bytes));
    return out;
}

IpAddress from_abi(const weft_address& address) {
    IpAddress out;
    std::memcpy(out.bytes.data(), address.bytes, sizeof(address.bytes));
    return out;
}

abi::weft_service_key to_key(const SocketAddress& address) {
    return {.address = to_abi(address.address), .port = htons(address.port), .pad = 0};
}

abi::weft_port_key to_key(const KernelState::PortKey& key) {
    return {.pod_id = key.pod_id, .port = htons(key.port), .pad = 0};
}

uint8_t to_abi(KernelState::PortAction action) {
    switch (action) {
    case KernelState::PortAction::pass: return abi::WEFT_PORT_PASS;
    case KernelState::PortAction::steer: return abi::WEFT_PORT_STEER;
    case KernelState::PortAction::refuse: return abi::WEFT_PORT_REFUSE;
    }
    return abi::WEFT_PORT_REFUSE;
}

KernelState::PortAction action_from_abi(uint8_t action) {
    switch (action) {
    case abi::WEFT_PORT_PASS: return KernelState::PortAction::pass;
    case abi::WEFT_PORT_STEER: return KernelState::PortAction::steer;
    default: return KernelState::PortAction::refuse; // as the program reads it
    }
}

/// `during` is one literal per operation and map: the reader sees which of both failed.
std::unexpected<Error> map_failure(int error_number, const char* during) {
    if (error_number == E2BIG || error_number == ENOSPC)
        return fail(Code::too_large, during, error_number);
    return std::unexpected(from_errno(error_number, during));
}

abi::weft_pod to_abi(const KernelState::Pod& pod) {
    abi::weft_pod out{};
    out.pod_id = pod.id;
    out.fail_closed = pod.fail_closed ? 1 : 0;
    // The first of each family is the one that getsockname shows, as the kernel would most likely have chosen it.
    for (auto it = pod.addresses.rbegin(); it != pod.addresses.rend(); ++it)
        (it->is_v4() ? out.v4 : out.v6) = to_abi(*it);
    return out;
}

bool is_valid(const SocketAddress& address, const KernelState::Service& service) {
    const bool id_fits = service.id >= WEFT_SERVICE_ID_MIN && service.id <= WEFT_SERVICE_IDS_MAX;
    const bool backends_fit = std::ranges::all_of(service.backends, [&](const SocketAddress& backend) {
        return backend.port != 0 && backend.address.is_v4() == address.address.is_v4();
    });
    return id_fits && backends_fit && address.port != 0;
}

} // namespace

Tables::Tables(const Descriptors& fds)
    : layout_map_(fds.layout), pods_(fds.pods), pod_addresses_(fds.pod_addresses), inbound_ports_(fds.inbound_ports),
      services_(fds.services), backends_(fds.backends),
      pod_refusals_(fds.pod_refusals, sizeof(abi::weft_pod_counter_key)) {
    adopt();
}

Result<void> Tables::apply(const MapOperation& operation) {
    struct Visitor {
        Tables& tables;
        Result<void> operator()(const PutPod& op) const { return tables.put_pod(op); }
        Result<void> operator()(const RemovePod& op) const { return tables.remove_pod(op); }
        Result<void> operator()(const PutInboundPort& op) const { return tables.put_port(op); }
        Result<void> operator()(const RemoveInboundPort& op) const { return tables.remove_port(op); }
        Result<void> operator()(const PutService& op) const { return tables.put_service(op); }
        Result<void> operator()(const RemoveService& op) const { return tables.remove_service(op); }
    };
    return std::visit(Visitor{*this}, operation);
}

KernelState Tables::current() const {
    KernelState state;
    for (const auto& [cookie, pod] : pods_.entries_copy()) {
        KernelState::Pod& out = state.pods[cookie];
        out.id = pod.pod_id;
        out.fail_closed = pod.fail_closed != 0;
        const auto known = addresses_of_.find(pod.pod_id);
        if (known != addresses_of_.end())
            out.addresses.assign(known->second.begin(), known->second.end());
    }
    for (const auto& [key, action] : inbound_ports_.entries_copy())
        state.inbound_ports[{key.pod_id, ntohs(key.port)}] = action_from_abi(action);
    for (const auto& [key, service] : services_.entries_copy()) {
        KernelState::Service& out = state.services[{from_abi(key.address), ntohs(key.port)}];
        out.id = service.service_id;
        out.l7 = service.l7 != 0;
        out.translate = service.translate != 0;
        out.fail_closed = service.fail_closed != 0;
        for (uint32_t i = 0; i < service.backend_count; ++i) {
            abi::weft_backend backend{};
            if (backends_.get({.backend_set = service.backend_set, .index = i}, backend))
                out.backends.push_back({from_abi(backend.address), ntohs(backend.port)});
        }
    }
    return state;
}

ServiceIds Tables::service_ids() const {
    ServiceIds ids;
    for (const auto& [key, service] : services_.entries_copy())
        ids.by_address[{from_abi(key.address), ntohs(key.port)}] = service.service_id;
    ids.next = layout_.service_id_next;
    return ids;
}

Result<void> Tables::put_pod(const PutPod& operation) {
    if (operation.pod.id == 0 || operation.netns_cookie == 0)
        return fail(Code::invalid, "put_pod: pod id or netns cookie is zero");
    if (auto raised = raise_numbers(0, operation.pod.id); !raised)
        return raised;
    // Inbound before outbound: a pod must not be able to dial through the mesh while it cannot yet be protected by it.
    if (auto put = put_addresses(operation.pod); !put)
        return put;
    if (const int error = pods_.put(operation.netns_cookie, to_abi(operation.pod)); error != 0) {
        abi::weft_pod old{};
        if (!pods_.get(operation.netns_cookie, old) || old.pod_id != operation.pod.id) {
            for (const IpAddress& address : operation.pod.addresses)
                remove_address(address, operation.pod.id);
        }
        return map_failure(error, "put_pod: map pods");
    }
    const std::set<IpAddress> known = addresses_of_[operation.pod.id];
    for (const IpAddress& address : known) {
        if (std::ranges::find(operation.pod.addresses, address) == operation.pod.addresses.end())
            remove_address(address, operation.pod.id);
    }
    return {};
}

Result<void> Tables::put_addresses(const KernelState::Pod& pod) {
    const abi::weft_pod_ref ref{.pod_id = pod.id, .fail_closed = pod.fail_closed ? uint8_t{1} : uint8_t{0}, .pad = {}};
    std::vector<IpAddress> added;
    for (const IpAddress& address : pod.addresses) {
        if (const int error = pod_addresses_.put(to_abi(address), ref); error != 0) {
            for (const IpAddress& undo : added)
                remove_address(undo, pod.id);
            return map_failure(error, "put_pod: map pod_addresses");
        }
        if (addresses_of_[pod.id].insert(address).second)
            added.push_back(address);
    }
    return {};
}

void Tables::remove_address(const IpAddress& address, uint32_t pod_id) {
    abi::weft_pod_ref ref{};
    // Another pod may own the address by now: then it is not ours to remove.
    if (pod_addresses_.get(to_abi(address), ref) && ref.pod_id == pod_id)
        static_cast<void>(pod_addresses_.remove(to_abi(address)));
    const auto known = addresses_of_.find(pod_id);
    if (known == addresses_of_.end())
        return;
    known->second.erase(address);
    if (known->second.empty())
        addresses_of_.erase(known);
}

Result<void> Tables::remove_pod(const RemovePod& operation) {
    if (const int error = pods_.remove(operation.netns_cookie); error != 0)
        return map_failure(error, "remove_pod: map pods");
    const auto known = addresses_of_.find(operation.pod.id);
    if (known != addresses_of_.end()) {
        const std::set<IpAddress> addresses = known->second;
        for (const IpAddress& address : addresses)
            remove_address(address, operation.pod.id);
    }
    for (uint32_t counter = 0; counter < abi::WEFT_COUNTERS_MAX; ++counter) {
        const abi::weft_pod_counter_key key{.pod_id = operation.pod.id, .counter = counter};
        static_cast<void>(pod_refusals_.remove(&key));
    }
    return {};
}

Result<void> Tables::put_port(const PutInboundPort& operation) {
    if (operation.key.pod_id == 0)
        return fail(Code::invalid, "put_inbound_port: pod id is zero");
    if (const int error = inbound_ports_.put(to_key(operation.key), to_abi(operation.action)); error != 0)
        return map_failure(error, "put_inbound_port: map inbound_ports");
    note_governed(operation.key, operation.action);
    return {};
}

Result<void> Tables::remove_port(const RemoveInboundPort& operation) {
    if (const int error = inbound_ports_.remove(to_key(operation.key)); error != 0)
        return map_failure(error, "remove_inbound_port: map inbound_ports");
    note_governed(operation.key, KernelState::PortAction::pass);
    return {};
}

std::set<uint32_t> Tables::governed_pods() const {
    std::set<uint32_t> pods;
    for (const auto& [pod_id, ports] : governed_ports_)
        pods.insert(pod_id);
    return pods;
}

void Tables::note_governed(const KernelState::PortKey& key, KernelState::PortAction action) {
    if (action != KernelState::PortAction::pass) {
        governed_ports_[key.pod_id].insert(key.port);
        return;
    }
    const auto known = governed_ports_.find(key.pod_id);
    if (known == governed_ports_.end())
        return;
    known->second.erase(key.port);
    if (known->second.empty())
        governed_ports_.erase(known);
}

/// A connect that reads the service before the switch and its backend after it finds the set gone, and reads again.
Result<void> Tables::put_service(const PutService& operation) {
    const KernelState::Service& wanted = operation.service;
    if (!is_valid(operation.address, wanted))
        return fail(Code::invalid, "put_service: id out of range, port zero, or a backend of another family");
    if (wanted.backends.size() > WEFT_BACKENDS_PER_SERVICE_MAX)
        return fail(Code::too_large, "put_service: backends of one service");
    if (auto raised = raise_numbers(wanted.id, 0); !raised)
        return raised;
    abi::weft_service old{};
    const bool had_old = services_.get(to_key(operation.address), old);
    const auto count = static_cast<uint32_t>(wanted.backends.size());
    const uint32_t set = count == 0 ? 0 : unused_set();
    if (auto put = put_backends(set, wanted.backends); !put)
        return put;
    const abi::weft_service service{.service_id = wanted.id,
                                    .backend_set = set,
                                    .backend_count = count,
                                    .l7 = wanted.l7 ? uint8_t{1} : uint8_t{0},
                                    .translate = wanted.translate ? uint8_t{1} : uint8_t{0},
                                    .fail_closed = wanted.fail_closed ? uint8_t{1} : uint8_t{0},
                                    .pad = 0};
    if (const int error = services_.put(to_key(operation.address), service); error != 0) {
        remove_backends(set, count);
        return map_failure(error, "put_service: map services");
    }
    if (had_old)
        remove_backends(old.backend_set, old.backend_count);
    return {};
}

Result<void> Tables::put_backends(uint32_t set, const std::vector<SocketAddress>& addresses) {
    for (uint32_t i = 0; i < addresses.size(); ++i) {
        const abi::weft_backend backend{
            .address = to_abi(addresses[i].address), .port = htons(addresses[i].port), .pad = 0};
        if (const int error = backends_.put({.backend_set = set, .index = i}, backend); error != 0) {
            remove_backends(set, i);
            return map_failure(error, "put_service: map backends");
        }
    }
    return {};
}

void Tables::remove_backends(uint32_t set, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i)
        static_cast<void>(backends_.remove({.backend_set = set, .index = i}));
    sets_.erase(set);
}

Result<void> Tables::remove_service(const RemoveService& operation) {
    abi::weft_service old{};
    if (!services_.get(to_key(operation.address), old))
        return {};
    if (const int error = services_.remove(to_key(operation.address)); error != 0)
        return map_failure(error, "remove_service: map services");
    remove_backends(old.backend_set, old.backend_count);
    return {};
}

/// Before the number is used: whatever happens next, no later run gives it to another.
Result<void> Tables::raise_numbers(uint32_t service_id, uint32_t pod_id) {
    if (service_id < layout_.service_id_next && pod_id < layout_.pod_id_next)
        return {};
    abi::weft_layout raised = layout_;
    raised.service_id_next = std::max(raised.service_id_next, service_id + 1);
    raised.pod_id_next = std::max(raised.pod_id_next, pod_id + 1);
    if (const int error = layout_map_.put(0, raised); error != 0)
        return map_failure(error, "map layout");
    layout_ = raised;
    return {};
}

/// 0 is for services without backends. The number may wrap after years: then sets in use are stepped over.
uint32_t Tables::unused_set() {
    do {
        ++last_set_;
    } while (last_set_ == 0 || sets_.contains(last_set_));
    sets_.insert(last_set_);
    return last_set_;
}

void Tables::adopt() {
    static_cast<void>(layout_map_.get(0, layout_));
    layout_.service_id_next = std::max<uint32_t>(layout_.service_id_next, WEFT_SERVICE_ID_MIN);
    layout_.pod_id_next = std::max<uint32_t>(layout_.pod_id_next, 1);
    for (const auto& [address, ref] : pod_addresses_.entries_copy())
        addresses_of_[ref.pod_id].insert(from_abi(address));
    for (const auto& [key, action] : inbound_ports_.entries_copy())
        note_governed({key.pod_id, ntohs(key.port)}, action_from_abi(action));
    for (const auto& [key, service] : services_.entries_copy()) {
        if (service.backend_count > 0)
            sets_.insert(service.backend_set);
    }
    last_set_ = sets_.empty() ? 0 : *sets_.rbegin();
    for (const auto& [key, backend] : backends_.entries_copy()) {
        if (!sets_.contains(key.backend_set))
            static_cast<void>(backends_.remove(key));
    }
    pods_.recount();
    pod_addresses_.recount();
    inbound_ports_.recount();
    services_.recount();
    backends_.recount();
}

} // namespace weft::agent::bpf
