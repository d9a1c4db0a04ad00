// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/reconcile/build.hpp"

/// Names of pods as identity and metrics see them (istio.md 3.2).
namespace weft::agent {
namespace {

std::string first_label(const Labels& labels, std::initializer_list<const char*> keys, const std::string& otherwise) {
    for (const char* key : keys) {
        const auto* value = find_value(labels, key);
        if (value != nullptr && !value->empty())
            return *value;
    }
    return otherwise;
}

/// The owning workload: a ReplicaSet made by a Deployment carries its hash as a suffix; other controllers by name.
std::string workload_name(const ObjectMeta& meta) {
    if (const auto* label = find_value(meta.labels, "service.istio.io/workload-name");
        label != nullptr && !label->empty())
        return *label;
    const auto owner =
        std::find_if(meta.owners.begin(), meta.owners.end(), [](const auto& each) { return each.controller; });
    if (owner == meta.owners.end())
        return meta.name;
    const auto* hash = find_value(meta.labels, "pod-template-hash");
    const std::string suffix = hash == nullptr || hash->empty() ? "" : "-" + *hash;
    if (owner->kind == "ReplicaSet" && !suffix.empty() && owner->name.size() > suffix.size() &&
        owner->name.ends_with(suffix))
        return owner->name.substr(0, owner->name.size() - suffix.size());
    return owner->name;
}

/// Pods of one controller with one copy of labels: the workload of one is the other's but for name and addresses.
bool same_template(const PodIndex::Item& left, const PodIndex::Item& right) {
    const Pod& one = *left.pod;
    const Pod& other = *right.pod;
    return one.meta.labels.shares(other.meta.labels) && left.name.ns == right.name.ns &&
           one.service_account == other.service_account && one.meta.owners == other.meta.owners &&
           std::ranges::any_of(one.meta.owners, &OwnerRef::controller);
}

config::Workload workload_of(const PodIndex& pods, const PodIndex::Item& item, const std::string& trust_domain) {
    const Pod& pod = *item.pod;
    config::Workload out;
    out.ns = item.name.ns;
    out.pod = item.name.name;
    out.service_account = pod.service_account;
    out.name = workload_name(pod.meta);
    out.canonical_service =
        first_label(pod.meta.labels, {"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"}, out.name);
    out.canonical_revision = first_label(
        pod.meta.labels, {"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"}, "latest");
    out.app = first_label(pod.meta.labels, {"app", "app.kubernetes.io/name", "service.istio.io/canonical-name"}, "");
    out.version = first_label(pod.meta.labels, {"version"}, "");
    out.principal = "spiffe://" + trust_domain + "/ns/" + out.ns + "/sa/" + out.service_account;
    out.addresses = pods.claimed(item);
    return out;
}

} // namespace

void build_workloads(Build& build) {
    build.out.snapshot.trust_domain = build.options.trust_domain;
    build.out.snapshot.cluster_id = build.options.cluster_id;
    auto& workloads = build.out.snapshot.workloads; // parallel to the pod index
    workloads.reserve(build.pods.items().size());
    const PodIndex::Item* before = nullptr;
    for (const auto& item : build.pods.items()) {
        if (before != nullptr && same_template(*before, item)) {
            config::Workload& same = workloads.emplace_back(workloads.back());
            same.pod = item.name.name;
            same.addresses = build.pods.claimed(item);
        } else {
            workloads.push_back(workload_of(build.pods, item, build.options.trust_domain));
        }
        before = &item;
    }
}

} // namespace weft::agent
