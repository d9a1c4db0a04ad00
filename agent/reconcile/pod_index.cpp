// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/pod_index.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <optional>
#include <utility>

#include "agent/reconcile/compile.hpp"
#include "agent/source/names.hpp"
#include "config/model/limits.hpp"

namespace weft::agent {
namespace {

constexpr const char* dataplane_mode = "istio.io/dataplane-mode";
constexpr const char* netns_annotation = "weftmesh.io/netns";
constexpr const char* injected_annotation = "sidecar.istio.io/status";
/// The kubelet puts both on the object by which it shows a static pod; that has a uid of its own, which no cgroup
/// bears.
constexpr const char* mirror_annotation = "kubernetes.io/config.mirror";
constexpr const char* hash_annotation = "kubernetes.io/config.hash";
constexpr size_t netns_bytes_max = 255;
/// Istio's own default (CNI excludeNamespaces): what runs the cluster is not captured by it.
constexpr std::array<std::string_view, 2> excluded_namespaces = {"kube-system", "istio-system"};

void write_label_key(std::string& out, const std::string& ns, const std::string& key, const std::string& value) {
    out.assign(ns).append(1, '\0').append(key).append(1, '\0').append(value);
}
std::string label_key(const std::string& ns, const std::string& key, const std::string& value) {
    std::string out;
    write_label_key(out, ns, key, value);
    return out;
}

void report(std::vector<Diagnostic>& out, const ObjectName& pod, std::string field, std::string message,
            Diagnostic::Severity severity = Diagnostic::Severity::error) {
    out.push_back({.object = object_id(Pod::kind, pod),
                   .field = std::move(field),
                   .message = std::move(message),
                   .severity = severity});
}

std::optional<bool> mode_of(const Labels& labels) {
    const auto* value = find_value(labels, dataplane_mode);
    if (value == nullptr || (*value != "ambient" && *value != "none"))
        return std::nullopt;
    return *value == "ambient";
}

/// The name or path as agent/pods opens it; nullopt if it is neither.
std::optional<std::string> normal_netns(const std::string& text) {
    if (text.empty() || text.size() > netns_bytes_max || text == "." || text == ".." ||
        text.find('\0') != std::string::npos)
        return std::nullopt;
    if (text[0] != '/')
        return text.find('/') == std::string::npos ? std::optional(text) : std::nullopt;
    if (text.find("/../") != std::string::npos || text.ends_with("/.."))
        return std::nullopt;
    for (const std::string folder : {"/run/netns/", "/var/run/netns/"}) {
        if (text.starts_with(folder) && text.size() > folder.size() &&
            text.find('/', folder.size()) == std::string::npos)
            return text.substr(folder.size());
    }
    return text;
}

std::string annotation_field(const char* name) {
    return std::string("metadata.annotations[") + name + "]";
}

/// nullptr: it is not the mirror of a static pod.
const std::string* mirrored_hash(const ObjectMeta& meta) {
    return meta.annotations.contains(mirror_annotation) ? find_value(meta.annotations, hash_annotation) : nullptr;
}

/// Annotations are anybody's text: they must not make one pod out of another. A uid is the API server's word, so it
/// stays with its pod; of several mirrors with one hash, enrolled or not, the oldest has it. The kubelet names nothing
/// of another node after it.
bool is_anothers(const PodIndex& index, const PodIndex::Item& item, const std::string& hash) {
    const Age age = age_of(item.name, item.pod->meta);
    return std::ranges::any_of(index.items(), [&](const PodIndex::Item& other) {
        if (other.pod->meta.uid == hash)
            return true;
        return other.local && kubelet_uid_of(*other.pod) == hash && age_of(other.name, other.pod->meta) < age;
    });
}

/// How the namespace of a pod of this node is found: one of netns and kubelet_uid, or a fault.
struct Place {
    std::string netns;
    std::string kubelet_uid;
    std::string field;
    std::string fault;
};

Place place_of(const PodIndex& index, const PodIndex::Item& item) {
    const ObjectMeta& meta = item.pod->meta;
    Place out;
    const auto* annotation = find_value(meta.annotations, netns_annotation);
    if (annotation != nullptr && index.node().trusts_annotation) {
        out.field = annotation_field(netns_annotation);
        out.netns = normal_netns(*annotation).value_or("");
        if (out.netns.empty())
            out.fault = "is neither a network namespace's name nor an absolute path";
        return out;
    }
    out.kubelet_uid = kubelet_uid_of(*item.pod);
    const std::string* const hash = mirrored_hash(meta);
    if (hash == nullptr) {
        out.field = "metadata.uid";
        if (meta.uid.empty())
            out.fault = "is missing: the network namespace of a pod of this node is found by it";
        return out;
    }
    out.field = annotation_field(hash_annotation);
    if (!names::is_uid(*hash))
        out.fault = "is not a uid";
    else if (is_anothers(index, item, *hash))
        out.fault = "is the uid or the hash of another pod; this one is not captured";
    return out;
}

using Rank = std::pair<bool, Age>;
Rank rank(const PodIndex::Item& item) {
    return {item.pod->meta.deleting, age_of(item.name, item.pod->meta)};
}

/// By rank, which is made once for each. `item(e)`: the Item of an element.
template <class T, class Of>
void sort_by_rank(std::vector<T>& list, Of&& item) {
    std::vector<std::pair<Rank, T>> ranked;
    ranked.reserve(list.size());
    for (const T& each : list)
        ranked.emplace_back(rank(item(each)), each);
    std::ranges::sort(ranked, {}, [](const auto& each) -> const Rank& { return each.first; });
    std::ranges::transform(ranked, list.begin(), [](const auto& each) { return each.second; });
}

} // namespace

std::string kubelet_uid_of(const Pod& pod) {
    const std::string* const hash = mirrored_hash(pod.meta);
    return hash == nullptr ? pod.meta.uid : *hash;
}

bool is_enrolled(const ObjectStore& store, const Pod& pod) {
    if (pod.host_network || pod.meta.annotations.contains(injected_annotation) ||
        std::ranges::find(excluded_namespaces, pod.meta.ns) != excluded_namespaces.end())
        return false;
    if (const auto own = mode_of(pod.meta.labels))
        return *own;
    const auto* ns = store.find<Namespace>({.ns = {}, .name = pod.meta.ns});
    return ns != nullptr && mode_of(ns->meta.labels).value_or(false);
}

bool is_local(const Pod& pod, const NodeRules& node) {
    const bool annotated = node.trusts_annotation && pod.meta.annotations.contains(netns_annotation);
    return node.name.empty() || pod.node_name.empty() ? annotated : pod.node_name == node.name;
}

const std::string* find_value(const Labels& labels, const std::string& key) {
    const auto found = labels.find(key);
    return found == labels.end() ? nullptr : &found->second;
}

PodIndex::PodIndex(const ObjectStore& store, const NodeRules& node, std::vector<Diagnostic>& diagnostics)
    : node_(node) {
    add_items(store, diagnostics);
    index_labels(store);
    if (!give_distinct_addresses())
        give_addresses(diagnostics);
}

/// Where not all fit, those of this node come first: without an item they would not be captured, while of the others
/// only the names are lost.
void PodIndex::add_items(const ObjectStore& store, std::vector<Diagnostic>& diagnostics) {
    const auto is_in_force = [](const Entry<Pod>& entry) { return entry.good && !entry.good->finished; };
    items_.reserve(std::min(store.all<Pod>().size(), config::limits::workloads_max));
    const auto local = static_cast<size_t>(std::ranges::count_if(store.all<Pod>(), [&](const auto& each) {
        return is_in_force(each.second) && is_local(*each.second.good, node_);
    }));
    size_t room_local = std::min(local, config::limits::workloads_max);
    size_t room_other = config::limits::workloads_max - room_local;
    for (const auto& [name, entry] : store.all<Pod>()) {
        if (!is_in_force(entry))
            continue;
        const bool of_here = is_local(*entry.good, node_);
        size_t& room = of_here ? room_local : room_other;
        if (room == 0) {
            report(diagnostics, name, "",
                   "left out: more than " + std::to_string(config::limits::workloads_max) + " pods");
            continue;
        }
        --room;
        items_.push_back({.pod = entry.good.get(),
                          .name = name,
                          .enrolled = of_here && is_enrolled(store, *entry.good),
                          .local = of_here,
                          .clash = false,
                          .addresses = {}});
    }
}

void PodIndex::index_labels(const ObjectStore& store) {
    for (const auto& [name, entry] : store.all<Service>()) {
        if (!entry.good)
            continue;
        for (const auto& [key, value] : entry.good->selector)
            labelled_.try_emplace(label_key(name.ns, key, value));
    }
    if (labelled_.empty())
        return;
    std::string wanted;
    const Item* before = nullptr;
    std::vector<std::vector<uint32_t>*>
        lists; // where the item before belongs, and this one with it if it looks the same
    for (uint32_t index = 0; index < items_.size(); ++index) {
        const Item& item = items_[index];
        const LabelSet& labels = item.pod->meta.labels;
        if (before == nullptr || !labels.shares(before->pod->meta.labels) || before->name.ns != item.name.ns) {
            lists.clear();
            for (const auto& [key, value] : labels) {
                write_label_key(wanted, item.name.ns, key, value);
                if (const auto found = labelled_.find(wanted); found != labelled_.end())
                    lists.push_back(&found->second);
            }
        }
        for (std::vector<uint32_t>* list : lists)
            list->push_back(index);
        before = &item;
    }
}

/// False: some address is claimed twice, and nothing is given.
bool PodIndex::give_distinct_addresses() {
    owners_.reserve(items_.size());
    for (uint32_t index = 0; index < items_.size(); ++index) {
        if (items_[index].pod->host_network)
            continue;
        for (const auto& address : items_[index].pod->addresses) {
            if (!owners_.emplace(address, index).second) {
                owners_.clear();
                return false;
            }
        }
    }
    for (Item& item : items_) {
        if (!item.pod->host_network)
            item.addresses = item.pod->addresses;
    }
    return true;
}

/// A pod that is going has lost its address when another has it; of several others the oldest holds it.
void PodIndex::give_addresses(std::vector<Diagnostic>& diagnostics) {
    std::vector<uint32_t> order(items_.size());
    std::iota(order.begin(), order.end(), 0U);
    sort_by_rank(order, [&](uint32_t index) -> const Item& { return items_[index]; });
    for (const uint32_t index : order) {
        Item& item = items_[index];
        if (item.pod->host_network) // the node's address belongs to no pod
            continue;
        for (const auto& address : item.pod->addresses) {
            const auto [owner, fresh] = owners_.emplace(address, index);
            if (fresh) {
                item.addresses.push_back(address);
                continue;
            }
            item.clash = true;
            const Item& holder = items_[owner->second];
            const bool going = item.pod->meta.deleting && !holder.pod->meta.deleting;
            if (!going)
                contested_.insert(address);
            report(diagnostics, item.name, "status.podIPs",
                   address.to_string() + " is also the address of " + (going ? "" : "the older ") +
                       object_id(Pod::kind, holder.name) + ", which keeps it; this pod is not captured" +
                       (going ? "" : ", and the address proves nobody's identity"),
                   going ? Diagnostic::Severity::warning : Diagnostic::Severity::error);
        }
    }
}

std::vector<IpAddress> PodIndex::claimed(const Item& item) const {
    std::vector<IpAddress> out = item.addresses;
    if (item.clash)
        std::ranges::copy_if(item.pod->addresses, std::back_inserter(out), [&](const IpAddress& address) {
            return contested_.contains(address) && std::ranges::find(item.addresses, address) == item.addresses.end();
        });
    return out;
}

uint32_t PodIndex::by_address(const IpAddress& address) const {
    const auto found = owners_.find(address);
    return found == owners_.end() ? none : found->second;
}

uint32_t PodIndex::by_name(const ObjectName& name) const {
    const auto found =
        std::ranges::lower_bound(items_, name, {}, [](const Item& item) -> const ObjectName& { return item.name; });
    return found == items_.end() || found->name != name ? none : static_cast<uint32_t>(found - items_.begin());
}

std::vector<uint32_t> PodIndex::select(const std::string& ns, const Labels& selector) const {
    if (selector.empty())
        return {};
    const std::vector<uint32_t>* fewest = nullptr;
    for (const auto& [key, value] : selector) {
        const auto found = labelled_.find(label_key(ns, key, value));
        if (found == labelled_.end())
            return {};
        if (fewest == nullptr || found->second.size() < fewest->size())
            fewest = &found->second;
    }
    std::vector<uint32_t> out;
    const LabelSelector wanted{.match_labels = selector, .expressions = {}};
    std::copy_if(fewest->begin(), fewest->end(), std::back_inserter(out),
                 [&](uint32_t index) { return wanted.matches(items_[index].pod->meta.labels); });
    return out;
}

std::vector<PodToCapture> pods_to_capture(const ObjectStore& store, const NodeRules& node,
                                          std::vector<Diagnostic>& diagnostics) {
    return pods_to_capture(PodIndex(store, node, diagnostics), diagnostics);
}

std::vector<PodToCapture> pods_to_capture(const PodIndex& index, std::vector<Diagnostic>& diagnostics) {
    std::vector<const PodIndex::Item*> order;
    for (const auto& item : index.items())
        if (item.enrolled && !item.clash && item.local)
            order.push_back(&item);
    sort_by_rank(order, [](const PodIndex::Item* item) -> const PodIndex::Item& { return *item; });
    std::map<std::string, ObjectName> owners;
    std::vector<PodToCapture> out;
    for (const auto* item : order) {
        const Place place = place_of(index, *item);
        const bool named = !place.netns.empty();
        if (!place.fault.empty()) {
            report(diagnostics, item->name, place.field, place.fault);
            continue;
        }
        const auto [owner, fresh] = owners.emplace(named ? place.netns : "uid " + place.kubelet_uid, item->name);
        if (!fresh) {
            report(diagnostics, item->name, place.field,
                   (named ? place.netns : place.kubelet_uid) + " is the " + (named ? "namespace" : "uid") + " of " +
                       object_id(Pod::kind, owner->second) + " too; this pod is not captured");
            continue;
        }
        out.push_back({.uid = item->name.ns + "/" + item->name.name,
                       .netns = place.netns,
                       .kubelet_uid = place.kubelet_uid,
                       .addresses = item->addresses});
    }
    std::sort(out.begin(), out.end(), [](const auto& left, const auto& right) { return left.uid < right.uid; });
    return out;
}

} // namespace weft::agent
