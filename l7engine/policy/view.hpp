// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "config/model/snapshot.hpp"
#include "l7engine/policy/authz.hpp"
#include "l7engine/policy/flat_map.hpp"
#include "l7engine/policy/router.hpp"

namespace weft::l7 {

/// The policy set of one target, ready to judge. Borrows the snapshot.
class Authorizer {
public:
    Authorizer(const config::Snapshot& snapshot, const config::PolicySet& set);
    [[nodiscard]] AuthzVerdict judge(const AuthzInput& input) const { return l7::judge(*snapshot_, *set_, input); }
    /// Does a policy of the set read AuthzInput::remote? Else it need not be found out.
    [[nodiscard]] bool reads_remote() const { return reads_remote_; }

private:
    const config::Snapshot* snapshot_;
    const config::PolicySet* set_;
    bool reads_remote_;
};

/// Clients of one namespace at one frontend, as the key of a FlatMap.
struct Consumer {
    const config::Frontend* frontend;
    std::string_view ns;

    bool operator==(const Consumer&) const = default;
};
[[nodiscard]] inline uint64_t flat_hash(const Consumer& consumer) {
    return flat_hash(consumer.ns) ^ std::hash<const void*>{}(consumer.frontend) * 0x9e3779b97f4a7c15ULL;
}

/// The indices over one snapshot. Built once when it is applied, then read by all workers without a lock; holds the
/// snapshot alive. All answers are pointers into the snapshot or nullptr.
class SnapshotView {
public:
    explicit SnapshotView(config::SnapshotPtr snapshot);
    SnapshotView(const SnapshotView&) = delete;
    SnapshotView& operator=(const SnapshotView&) = delete;

    [[nodiscard]] const config::Snapshot& snapshot() const { return *snapshot_; }

    /// By the service id of the address code.
    [[nodiscard]] const config::Frontend* frontend(uint32_t id) const;
    /// By the address and port that a client dialled.
    [[nodiscard]] const config::Frontend* frontend(const SocketAddress& dialled) const;
    [[nodiscard]] const config::LocalPod* pod(uint32_t id) const;
    /// The enrolled pod of this node that has the address; nullptr: none has, or more than one.
    [[nodiscard]] const config::LocalPod* pod(const IpAddress& address) const;
    /// The workload that owns an address. nullptr if none does, or more than one: then it proves nothing.
    [[nodiscard]] const config::Workload* workload(const IpAddress& address) const;
    /// By index; nullptr for config::none.
    [[nodiscard]] const config::Workload* workload(uint32_t index) const;
    [[nodiscard]] const config::Cluster* cluster(uint32_t index) const;

    /// Index of the table for clients of that namespace: its consumer routes, else the frontend's; `none`: no routes.
    [[nodiscard]] uint32_t route_table(const config::Frontend& frontend, std::string_view client_namespace) const;
    [[nodiscard]] const Router& router(uint32_t table) const { return routers_[table]; }
    [[nodiscard]] const config::RouteRule& rule(uint32_t table, const RouteHit& hit) const {
        return snapshot_->route_tables[table].rules[hit.rule];
    }
    [[nodiscard]] const Authorizer& authorizer(uint32_t set) const { return authorizers_[set]; }
    /// What must be judged for an unnamed request to that port of the pod; empty: nothing.
    [[nodiscard]] std::span<const config::Guard> guards(const config::LocalPod& pod, uint16_t port) const;
    /// What that port of the pod speaks, by declaration.
    [[nodiscard]] config::Protocol protocol(const config::LocalPod& pod, uint16_t port) const;
    /// The service that a request to that port is for, if the guards name just one: destination_service of the metrics.
    [[nodiscard]] const config::Frontend* service_of(const config::LocalPod& pod, uint16_t port) const;

private:
    void index_frontends();
    void index_workloads();
    void index_pods();

    config::SnapshotPtr snapshot_;
    FlatMap<uint32_t, uint32_t> frontends_by_id_;
    FlatMap<SocketAddress, uint32_t> frontends_by_address_;
    FlatMap<uint32_t, uint32_t> pods_by_id_;
    FlatMap<IpAddress, uint32_t> pods_by_address_;      ///< `none`: ambiguous
    FlatMap<IpAddress, uint32_t> workloads_by_address_; ///< `none`: ambiguous
    FlatMap<Consumer, uint32_t> consumer_tables_;
    std::vector<Router> routers_;
    std::vector<Authorizer> authorizers_;
};

} // namespace weft::l7
