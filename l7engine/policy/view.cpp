// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/view.hpp"

#include <algorithm>
#include <ranges>

namespace weft::l7 {
namespace {

template <class T>
const T* at(const std::vector<T>& items, uint32_t index) {
    return index < items.size() ? &items[index] : nullptr;
}

/// The item that an index map names.
template <class T, class Map, class Key>
const T* look_up(const std::vector<T>& items, const Map& map, const Key& key) {
    const uint32_t* index = map.find(key);
    return index == nullptr ? nullptr : at(items, *index);
}

/// The port's own entry, else that of all others; nullptr: nothing is said about it.
const config::InboundPort* inbound_of(const config::LocalPod& pod, uint16_t port) {
    const auto own = std::ranges::lower_bound(pod.inbound, port, {}, &config::InboundPort::port);
    if (own != pod.inbound.end() && own->port == port)
        return &*own;
    return !pod.inbound.empty() && pod.inbound.front().port == 0 ? &pod.inbound.front() : nullptr;
}

bool rule_reads_remote(const config::PolicyRule& rule) {
    return std::ranges::any_of(rule.from, [](const auto& source) { return !source.remote_ip_blocks.empty(); }) ||
           std::ranges::any_of(rule.when, [](const auto& condition) {
               return condition.key == config::PolicyCondition::Key::remote_ip;
           });
}

} // namespace

Authorizer::Authorizer(const config::Snapshot& snapshot, const config::PolicySet& set)
    : snapshot_(&snapshot), set_(&set) {
    const auto test = [&](uint32_t index) {
        const config::Policy* policy = at(snapshot.policies, index);
        return policy != nullptr && std::ranges::any_of(policy->rules, rule_reads_remote);
    };
    reads_remote_ = std::ranges::any_of(set.deny, test) || std::ranges::any_of(set.allow, test);
}

SnapshotView::SnapshotView(config::SnapshotPtr snapshot) : snapshot_(std::move(snapshot)) {
    index_frontends();
    index_workloads();
    index_pods();
    routers_.reserve(snapshot_->route_tables.size());
    for (const auto& table : snapshot_->route_tables)
        routers_.emplace_back(table);
    authorizers_.reserve(snapshot_->policy_sets.size());
    for (const auto& set : snapshot_->policy_sets)
        authorizers_.emplace_back(*snapshot_, set);
}

void SnapshotView::index_frontends() {
    for (uint32_t i = 0; i < snapshot_->frontends.size(); ++i) {
        const auto& frontend = snapshot_->frontends[i];
        frontends_by_id_[frontend.id] = i;
        for (const auto& address : frontend.addresses)
            frontends_by_address_[SocketAddress{address, frontend.port}] = i;
        // Of two for one namespace the first counts.
        for (const auto& routes : frontend.consumer_routes | std::views::reverse)
            consumer_tables_[Consumer{&frontend, routes.client_namespace}] = routes.table;
    }
}

namespace {

/// `none` for an address that more than one has.
void claim(FlatMap<IpAddress, uint32_t>& owners, const IpAddress& address, uint32_t who) {
    const size_t known = owners.size();
    uint32_t& owner = owners[address];
    const bool fresh = owners.size() > known;
    owner = fresh || owner == who ? who : config::none;
}

} // namespace

void SnapshotView::index_workloads() {
    for (uint32_t i = 0; i < snapshot_->workloads.size(); ++i) {
        for (const auto& address : snapshot_->workloads[i].addresses)
            claim(workloads_by_address_, address, i);
    }
}

void SnapshotView::index_pods() {
    for (uint32_t i = 0; i < snapshot_->pods.size(); ++i) {
        pods_by_id_[snapshot_->pods[i].id] = i;
        const config::Workload* workload = this->workload(snapshot_->pods[i].workload);
        if (workload == nullptr)
            continue;
        for (const auto& address : workload->addresses)
            claim(pods_by_address_, address, i);
    }
}

const config::Frontend* SnapshotView::frontend(uint32_t id) const {
    return look_up(snapshot_->frontends, frontends_by_id_, id);
}

const config::Frontend* SnapshotView::frontend(const SocketAddress& dialled) const {
    return look_up(snapshot_->frontends, frontends_by_address_, dialled);
}

const config::LocalPod* SnapshotView::pod(uint32_t id) const {
    return look_up(snapshot_->pods, pods_by_id_, id);
}

const config::LocalPod* SnapshotView::pod(const IpAddress& address) const {
    return look_up(snapshot_->pods, pods_by_address_, address);
}

const config::Workload* SnapshotView::workload(const IpAddress& address) const {
    return look_up(snapshot_->workloads, workloads_by_address_, address);
}

const config::Workload* SnapshotView::workload(uint32_t index) const {
    return at(snapshot_->workloads, index);
}

const config::Cluster* SnapshotView::cluster(uint32_t index) const {
    return at(snapshot_->clusters, index);
}

uint32_t SnapshotView::route_table(const config::Frontend& frontend, std::string_view client_namespace) const {
    if (client_namespace.empty() || frontend.consumer_routes.empty())
        return frontend.routes;
    const uint32_t* own = consumer_tables_.find(Consumer{&frontend, client_namespace});
    return own == nullptr ? frontend.routes : *own;
}

std::span<const config::Guard> SnapshotView::guards(const config::LocalPod& pod, uint16_t port) const {
    const config::InboundPort* inbound = inbound_of(pod, port);
    return inbound == nullptr ? std::span<const config::Guard>{} : inbound->guards;
}

config::Protocol SnapshotView::protocol(const config::LocalPod& pod, uint16_t port) const {
    const config::InboundPort* inbound = inbound_of(pod, port);
    return inbound == nullptr ? config::Protocol::undeclared : inbound->protocol;
}

const config::Frontend* SnapshotView::service_of(const config::LocalPod& pod, uint16_t port) const {
    uint32_t only = config::none;
    for (const config::Guard& guard : guards(pod, port)) {
        if (guard.frontend == config::none || guard.frontend == only)
            continue; // the pod's own waypoint stands for no service
        if (only != config::none)
            return nullptr;
        only = guard.frontend;
    }
    return at(snapshot_->frontends, only);
}

} // namespace weft::l7
