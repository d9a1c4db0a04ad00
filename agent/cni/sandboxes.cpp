// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/sandboxes.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>

#include "agent/reconcile/pod_index.hpp"

namespace weft::agent::cni {
namespace {

constexpr std::string_view told_folder = "/proc/self/fd/";

std::string path_of(const UniqueFd& netns) {
    return std::string(told_folder) + std::to_string(netns.get());
}

bool same(std::vector<IpAddress> left, std::vector<IpAddress> right) {
    std::ranges::sort(left);
    std::ranges::sort(right);
    return left == right;
}

const Pod* find_pod(const ObjectStore& store, const std::string& pod, const std::string& uid) {
    const Pod* const found = store.find<Pod>(name_of(pod));
    if (found == nullptr)
        return nullptr;
    const std::string known = kubelet_uid_of(*found);
    return known.empty() || known == uid ? found : nullptr;
}

std::string list_of(const std::vector<IpAddress>& addresses) {
    std::string text;
    for (const IpAddress& address : addresses)
        text += (text.empty() ? "" : ", ") + address.to_string();
    return text;
}

} // namespace

bool is_told(const std::string& path) {
    return path.starts_with(told_folder);
}

std::string pod_of(const Request& request) {
    return request.ns + "/" + request.pod;
}

ObjectName name_of(const std::string& pod) {
    const size_t slash = pod.find('/');
    return {.ns = pod.substr(0, slash), .name = pod.substr(slash + 1)};
}

const Pod* find_pod(const ObjectStore& store, const Request& request) {
    return find_pod(store, pod_of(request), request.uid);
}

Completion::~Completion() {
    for (auto& [name, pod] : before_)
        pods_.at(name).good = std::move(pod);
}

void Completion::put(const ObjectName& name, std::shared_ptr<const Pod> pod) {
    before_.emplace_back(name, std::exchange(pods_.at(name).good, std::move(pod)));
}

std::expected<std::vector<IpAddress>, std::string> Sandboxes::addresses_of(const Request& request) {
    std::vector<IpAddress> out;
    std::array<bool, 2> seen{};
    for (const std::string& text : request.addresses) {
        const std::optional<IpAddress> address = IpAddress::parse(text);
        if (!address || address->is_unspecified() || address->is_loopback())
            return std::unexpected("an address cannot be a pod's: " + text);
        if (std::exchange(seen.at(address->is_v4() ? 0 : 1), true))
            return std::unexpected("a second address of one IP family: " + text);
        out.push_back(*address);
    }
    return out;
}

const Pod* Sandboxes::pod_of(const ObjectStore& store, const Table::value_type& item) {
    return find_pod(store, item.first, item.second.uid);
}

/// The runtime's word counts for this pod, and says something else than the API's.
bool Sandboxes::counts(const Sandbox& sandbox, const Pod& pod) {
    return !sandbox.api_spoke && !pod.host_network && !same(sandbox.addresses, pod.addresses);
}

/// The API's word counts, and is another one than the runtime's.
bool Sandboxes::contradicts(const Sandbox& sandbox, const Pod& pod) {
    return sandbox.is_up && sandbox.api_spoke && !same(sandbox.addresses, pod.addresses);
}

Sandboxes::Sandbox& Sandboxes::renew(const Request& request, const ObjectStore& store, uint64_t now_ms) {
    const Pod* const pod = find_pod(store, request);
    Sandbox& sandbox = sandboxes_[cni::pod_of(request)];
    sandbox = Sandbox{.uid = request.uid,
                      .container = request.container,
                      .is_up = false,
                      .addresses = {},
                      .netns = UniqueFd(),
                      .netns_id = std::nullopt,
                      .api_before = pod == nullptr ? std::vector<IpAddress>() : pod->addresses,
                      .api_spoke = false,
                      .seen = pod != nullptr,
                      .since_ms = now_ms};
    return sandbox;
}

bool Sandboxes::up(const Request& request, std::vector<IpAddress> addresses, UniqueFd netns, const ObjectStore& store,
                   uint64_t now_ms) {
    if (sandboxes_.size() >= sandboxes_max && !sandboxes_.contains(cni::pod_of(request)))
        return false;
    std::optional<NetnsId> netns_id;
    struct stat status{};
    if (netns && fstat(netns.get(), &status) == 0)
        netns_id = NetnsId{.device = status.st_dev, .inode = status.st_ino};
    const auto before = sandboxes_.find(cni::pod_of(request));
    if (netns_id && before != sandboxes_.end() && before->second.netns && before->second.netns_id == netns_id)
        netns = std::move(before->second.netns); // asked again: the pod may be captured by that descriptor
    Sandbox& sandbox = renew(request, store, now_ms);
    sandbox.is_up = true;
    sandbox.addresses = std::move(addresses);
    sandbox.netns_id = netns_id;
    sandbox.netns = std::move(netns);
    return true;
}

bool Sandboxes::down(const Request& request, bool same_namespace, const ObjectStore& store, uint64_t now_ms) {
    const auto known = sandboxes_.find(cni::pod_of(request));
    const bool ours = known != sandboxes_.end() && known->second.container == request.container;
    if (!ours && (!same_namespace || sandboxes_.size() >= sandboxes_max))
        return false;
    renew(request, store, now_ms);
    return true;
}

std::optional<NetnsId> Sandboxes::namespace_of(const std::string& pod) const {
    const auto found = sandboxes_.find(pod);
    return found == sandboxes_.end() ? std::nullopt : found->second.netns_id;
}

const std::vector<IpAddress>* Sandboxes::addresses(const std::string& pod) const {
    const auto found = sandboxes_.find(pod);
    return found == sandboxes_.end() || found->second.api_spoke ? nullptr : &found->second.addresses;
}

void Sandboxes::note(const ObjectStore& store, uint64_t now_ms) {
    for (auto item = sandboxes_.begin(); item != sandboxes_.end();)
        item = is_past(store, *item, now_ms) ? sandboxes_.erase(item) : std::next(item);
}

/// Takes note of what the API says of the pod now. True: there is nothing left to know of its sandbox.
bool Sandboxes::is_past(const ObjectStore& store, Table::value_type& item, uint64_t now_ms) {
    Sandbox& sandbox = item.second;
    const Pod* const pod = pod_of(store, item);
    if (pod == nullptr)
        return sandbox.seen || now_ms > sandbox.since_ms + unseen_keep_ms;
    if (!std::exchange(sandbox.seen, true)) // what it said before it was heard is no later word
        sandbox.api_before = pod->addresses;
    if (same(pod->addresses, sandbox.api_before))
        return false;
    if (!sandbox.is_up && pod->addresses.empty()) { // what it had before is taken back: no word of a new sandbox
        sandbox.api_before.clear();
        return false;
    }
    sandbox.api_spoke = true;
    return !sandbox.is_up;
}

std::optional<Sandboxes::Word> Sandboxes::word_on(const std::string& pod, const ObjectStore& store) const {
    const Pod* const known = store.find<Pod>(name_of(pod));
    if (known == nullptr)
        return std::nullopt;
    const auto item = sandboxes_.find(pod);
    if (item == sandboxes_.end() || pod_of(store, *item) == nullptr)
        return Word{.addresses = known->addresses, .contradicted = false};
    return Word{.addresses = counts(item->second, *known) ? item->second.addresses : known->addresses,
                .contradicted = contradicts(item->second, *known)};
}

Completion Sandboxes::complete(ObjectStore& store) const {
    Completion completion(store);
    for (const auto& item : sandboxes_) {
        const Pod* const pod = pod_of(store, item);
        if (pod == nullptr || !counts(item.second, *pod))
            continue;
        Pod copy = *pod;
        copy.addresses = item.second.addresses;
        completion.put(name_of(item.first), std::make_shared<const Pod>(std::move(copy)));
    }
    return completion;
}

std::vector<Diagnostic> Sandboxes::contradictions(const ObjectStore& store) const {
    std::vector<Diagnostic> out;
    for (const auto& item : sandboxes_) {
        const Pod* const pod = pod_of(store, item);
        const Sandbox& sandbox = item.second;
        if (pod == nullptr || !contradicts(sandbox, *pod))
            continue;
        out.push_back({.object = object_id(Pod::kind, name_of(item.first)),
                       .field = "status.podIPs",
                       .message = "is not what the container runtime told weft-cni (" + list_of(sandbox.addresses) +
                                  "); the API's word came later and counts",
                       .severity = Diagnostic::Severity::warning});
    }
    return out;
}

void Sandboxes::place(std::vector<PodToCapture>& pods) const {
    std::erase_if(pods, [&](PodToCapture& pod) {
        const auto found = sandboxes_.find(pod.uid);
        if (found == sandboxes_.end() || (!pod.kubelet_uid.empty() && pod.kubelet_uid != found->second.uid))
            return false;
        const Sandbox& sandbox = found->second;
        if (sandbox.is_up && sandbox.netns && !pod.kubelet_uid.empty())
            pod.told_netns = path_of(sandbox.netns);
        return !sandbox.is_up;
    });
}

void Sandboxes::found(const std::string& pod) {
    if (const auto known = sandboxes_.find(pod); known != sandboxes_.end())
        known->second.netns.reset();
}

} // namespace weft::agent::cni
