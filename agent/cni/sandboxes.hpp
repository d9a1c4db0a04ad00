// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/pods/netns.hpp"
#include "agent/reconcile/state.hpp"
#include "agent/source/object_store.hpp"
#include "config/base/net.hpp"
#include "config/base/unique_fd.hpp"
#include "config/cni/messages.hpp"

namespace weft::agent::cni {

using weft::cni::Request;

inline constexpr size_t sandboxes_max = 2 * WEFT_PODS_MAX;
/// A sandbox whose Pod object never comes is forgotten.
inline constexpr uint64_t unseen_keep_ms = 60'000;

/// Pods of a store are other ones while this lives. In place: a copy of the store costs a tree of all its names. Ends
/// before the store does, and before anybody else looks at it.
class [[nodiscard]] Completion {
public:
    explicit Completion(ObjectStore& store) : pods_(store.all<Pod>()) {}
    Completion(Completion&&) = default;
    Completion& operator=(Completion&&) = delete;
    ~Completion();

    void put(const ObjectName& name, std::shared_ptr<const Pod> pod);

private:
    ObjectStore::Table<Pod>& pods_;
    std::vector<std::pair<ObjectName, std::shared_ptr<const Pod>>> before_;
};

/// What the container runtime said, through weft-cni, about the sandboxes of this node's pods: their network namespaces
/// and addresses are known here before the API has them, and gone here before it says so. Owned by the loop, used on
/// its thread only.
///
/// Whose word counts for a pod's addresses: the later one. Until the API says something else than it said when the
/// runtime spoke, the runtime's; from then on the API's, for good. An old address in the API is that of the sandbox
/// before; counted on, it would give the pod's name to whoever has the address now.
///
///     ──up()──▶ up ──down()──▶ down: no addresses, not captured ──up(), or the API says another address──▶ ...
///     The Pod object is gone, or another pod bears its name: forgotten.
class Sandboxes {
public:
    /// The pod's addresses, as the request says them. The error is one sentence.
    [[nodiscard]] static std::expected<std::vector<IpAddress>, std::string> addresses_of(const Request& request);

    /// The pod has a new network. False: there is no room.
    bool up(const Request& request, std::vector<IpAddress> addresses, UniqueFd netns, const ObjectStore& store,
            uint64_t now_ms);
    /// The pod's network goes. `same_namespace`: the namespace that came with the request is the captured pod's, so it
    /// counts without an up() too, of which a former agent may have heard. False: nothing is known of it.
    bool down(const Request& request, bool same_namespace, const ObjectStore& store, uint64_t now_ms);
    /// The namespace of the pod's present sandbox; nullopt: unknown, or it is down.
    [[nodiscard]] std::optional<NetnsId> namespace_of(const std::string& pod) const;
    /// Its addresses count while the API's do not; nullptr: the API's count.
    [[nodiscard]] const std::vector<IpAddress>* addresses(const std::string& pod) const;

    /// What is compiled from the store and these sandboxes depends on a pod that is not enrolled by this only: its
    /// addresses are names of its identity.
    struct Word {
        std::vector<IpAddress> addresses; ///< that count
        bool contradicted = false;        ///< the runtime's are others than the API's, which count
        bool operator==(const Word&) const = default;
    };
    /// nullopt: the store has no pod of that name.
    [[nodiscard]] std::optional<Word> word_on(const std::string& pod, const ObjectStore& store) const;

    /// The objects have changed: the API may have spoken, pods may be gone.
    void note(const ObjectStore& store, uint64_t now_ms);
    /// The store with these addresses in its pods, as long as this lives. What contradicts is reported.
    [[nodiscard]] Completion complete(ObjectStore& store) const;
    [[nodiscard]] std::vector<Diagnostic> contradictions(const ObjectStore& store) const;
    /// Takes out pods that are down, and tells where the others are.
    void place(std::vector<PodToCapture>& pods) const;
    /// The pod was found by its processes: its namespace's descriptor, which keeps the namespace alive, is closed.
    void found(const std::string& pod);
    [[nodiscard]] size_t size() const { return sandboxes_.size(); }

private:
    struct Sandbox {
        std::string uid; ///< as the kubelet names the pod; empty: unknown
        std::string container;
        bool is_up = false;
        std::vector<IpAddress> addresses;
        UniqueFd netns;
        std::optional<NetnsId> netns_id;
        std::vector<IpAddress> api_before; ///< what the API said when the runtime spoke
        bool api_spoke = false;            ///< and since then something else
        bool seen = false;                 ///< the Pod object, once
        uint64_t since_ms = 0;
    };
    using Table = std::map<std::string, Sandbox>; ///< by "namespace/name"

    [[nodiscard]] static const Pod* pod_of(const ObjectStore& store, const Table::value_type& item);
    [[nodiscard]] static bool counts(const Sandbox& sandbox, const Pod& pod);
    [[nodiscard]] static bool contradicts(const Sandbox& sandbox, const Pod& pod);
    [[nodiscard]] static bool is_past(const ObjectStore& store, Table::value_type& item, uint64_t now_ms);
    Sandbox& renew(const Request& request, const ObjectStore& store, uint64_t now_ms);

    Table sandboxes_;
};

/// The path of a namespace is one that place() gave: it means something as long as the descriptor is open.
[[nodiscard]] bool is_told(const std::string& path);
/// "namespace/name", as PodToCapture::uid.
[[nodiscard]] std::string pod_of(const Request& request);
/// Of "namespace/name".
[[nodiscard]] ObjectName name_of(const std::string& pod);
/// The request's pod, if the store has it under the uid of the request; a manifest without a uid is known by its name.
[[nodiscard]] const Pod* find_pod(const ObjectStore& store, const Request& request);

} // namespace weft::agent::cni
