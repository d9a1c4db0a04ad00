// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/reconcile/age.hpp"
#include "agent/reconcile/state.hpp"

namespace weft::agent {

/// The pods in force that have not finished, and whose address is whose. Built once per compile; views the store.
class PodIndex {
public:
    struct Item {
        const Pod* pod = nullptr;
        const ObjectName& name;           ///< the store's
        bool enrolled = false;            ///< and local
        bool local = false;               ///< of this node
        bool clash = false;               ///< another pod has one of its addresses: not captured
        std::vector<IpAddress> addresses; ///< those that are its own; empty for host network pods
    };
    static constexpr uint32_t none = UINT32_MAX;

    PodIndex(const ObjectStore& store, const NodeRules& node, std::vector<Diagnostic>& diagnostics);

    [[nodiscard]] const NodeRules& node() const { return node_; }
    [[nodiscard]] const std::vector<Item>& items() const { return items_; } ///< by namespace and name
    [[nodiscard]] uint32_t by_address(const IpAddress& address) const;
    /// Its own addresses, and those that several pods claim with equal right: traffic to such a one goes to its holder,
    /// but it proves nobody's identity, and the engine knows that by finding it with each of them.
    [[nodiscard]] std::vector<IpAddress> claimed(const Item& item) const;
    [[nodiscard]] uint32_t by_name(const ObjectName& name) const;
    /// Pods of a namespace that a non-empty selector picks, in order.
    [[nodiscard]] std::vector<uint32_t> select(const std::string& ns, const Labels& selector) const;

private:
    void add_items(const ObjectStore& store, std::vector<Diagnostic>& diagnostics);
    void index_labels(const ObjectStore& store);
    [[nodiscard]] bool give_distinct_addresses();
    void give_addresses(std::vector<Diagnostic>& diagnostics);

    NodeRules node_;
    std::vector<Item> items_;
    std::unordered_map<IpAddress, uint32_t> owners_;
    std::unordered_set<IpAddress> contested_;
    /// "namespace\0key\0value", of those that a Service selects by.
    std::unordered_map<std::string, std::vector<uint32_t>> labelled_;
};

/// What the kubelet names the pod's cgroup and sandbox after: metadata.uid, for the mirror of a static pod the hash in
/// its annotation. Empty: the object never was in an API server.
[[nodiscard]] std::string kubelet_uid_of(const Pod& pod);
/// By its labels, its namespace's and its own nature; not whether it has finished.
[[nodiscard]] bool is_enrolled(const ObjectStore& store, const Pod& pod);
/// It is a pod of this node.
[[nodiscard]] bool is_local(const Pod& pod, const NodeRules& node);

[[nodiscard]] const std::string* find_value(const Labels& labels, const std::string& key);

} // namespace weft::agent
