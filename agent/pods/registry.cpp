// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/registry.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

namespace weft::agent {
namespace {

std::string text_of(const Error& error) {
    if (error.detail != ENOENT)
        return to_string(error);
    const bool named = std::string_view(error.during).starts_with("netns:");
    return named ? "the network namespace does not exist (yet)" : error.during;
}

auto listeners_of(const Capture& capture) {
    return std::ranges::count_if(capture.listeners, [](const UniqueFd& listener) { return bool(listener); });
}

/// With descriptors of its own for the same sockets.
Capture copy_of(const Capture& capture) {
    Capture copy{.uid = capture.uid, .id = capture.id, .netns = capture.netns, .listeners = {}};
    for (size_t kind = 0; kind < listener_kinds; ++kind)
        if (const UniqueFd& listener = capture.listeners[kind])
            copy.listeners[kind].reset(fcntl(listener.get(), F_DUPFD_CLOEXEC, 0));
    return copy;
}

} // namespace

const char* Pods::name(State state) {
    switch (state) {
        using enum State;
    case waiting: return "waiting";
    case captured: return "captured";
    case failed: return "failed";
    case releasing: return "releasing";
    }
    return "";
}

void Pods::adopt(const std::vector<Former>& former, uint32_t next_id) {
    next_id_ = std::max<uint64_t>(next_id_, next_id);
    for (const Former& pod : former) {
        former_[pod.pod.netns_cookie] = pod;
        next_id_ = std::max(next_id_, uint64_t{pod.pod.id} + 1);
    }
}

bool Pods::offer(OfferedListener listener) {
    if (const auto holder = holder_of(listener.facts.netns_cookie)) {
        if (entries_.at(*holder).capture->id != listener.pod_id)
            refuse_id(listener.pod_id);
        return false;
    }
    const auto known = former_.find(listener.facts.netns_cookie);
    if (known == former_.end() || known->second.pod.id != listener.pod_id || offers_.size() >= offers_max) {
        refuse_id(listener.pod_id);
        return false;
    }
    offers_.push_back(std::move(listener));
    return true;
}

void Pods::refuse_id(uint32_t pod_id) {
    refused_.insert(pod_id);
    if (foreign_.size() < offers_max)
        foreign_.insert(pod_id);
}

/// Never one under which an engine said that it serves somebody else.
std::optional<uint32_t> Pods::new_id() {
    while (next_id_ < UINT32_MAX && foreign_.contains(static_cast<uint32_t>(next_id_)))
        ++next_id_;
    if (next_id_ >= UINT32_MAX)
        return std::nullopt;
    return static_cast<uint32_t>(next_id_++);
}

std::vector<uint32_t> Pods::drop_offers() {
    std::set<uint64_t> claimable;
    for (const auto& [uid, entry] : entries_)
        if (const Former* kept = kept_of(entry))
            claimable.insert(kept->pod.netns_cookie);
    std::set<uint32_t> ids = std::exchange(refused_, {});
    std::erase_if(offers_, [&](const OfferedListener& offer) {
        const bool dropped = !claimable.contains(offer.facts.netns_cookie);
        if (dropped)
            ids.insert(offer.pod_id);
        return dropped;
    });
    for (const auto& [uid, entry] : entries_)
        if (entry.capture)
            ids.erase(entry.capture->id);
    return {ids.begin(), ids.end()};
}

void Pods::want(std::vector<PodToCapture> pods) {
    wanted_.clear();
    for (PodToCapture& pod : pods)
        wanted_.insert_or_assign(pod.uid, std::move(pod));
    for (auto entry = entries_.begin(); entry != entries_.end();) {
        const auto found = wanted_.find(entry->first);
        const bool same = found != wanted_.end() && found->second.netns == entry->second.wanted.netns &&
                          found->second.kubelet_uid == entry->second.wanted.kubelet_uid;
        if (same) {
            entry->second.wanted.addresses = found->second.addresses;
            entry->second.wanted.told_netns = found->second.told_netns;
            if (entry->second.state == State::releasing)
                entry->second.state = State::captured; // wanted again before the kernel let go of it
        } else if (entry->second.capture) {
            entry->second.state = State::releasing;
        } else {
            entry = entries_.erase(entry);
            continue;
        }
        ++entry;
    }
    for (const auto& [uid, pod] : wanted_)
        if (!entries_.contains(uid))
            entries_[uid].wanted = pod;
}

void Pods::retry_now() {
    for (auto& [uid, entry] : entries_)
        entry.retry_at_ms = 0;
}

Pods::Changes Pods::sweep(uint64_t now_ms) {
    Changes changes;
    discovery_.start_round(now_ms);
    for (auto& [uid, entry] : entries_) {
        const bool due = now_ms >= entry.retry_at_ms;
        if (entry.capture && !entry.capture->netns.exists() && !follow(entry, changes))
            changes.vanished.push_back(uid);
        else if (entry.capture && now_ms >= entry.find_at_ms &&
                 entry.capture->netns.path() == entry.wanted.told_netns) {
            entry.find_at_ms = now_ms + find_told_ms;
            follow(entry, changes);
        } else if (!entry.capture && due)
            try_capture(entry, now_ms, changes);
        else if (entry.state == State::captured && !entry.reason.empty() && due)
            complete(entry, now_ms, changes);
    }
    return changes;
}

void Pods::try_capture(Entry& entry, uint64_t now_ms, Changes& changes) {
    std::optional<Error> fault;
    Result<Capture> made = capture(entry.wanted, fault);
    if (made) {
        entry.capture = std::make_shared<const Capture>(*std::move(made));
        entry.state = State::captured;
        changes.captured.push_back(entry.capture);
        if (fault)
            return failed(entry, *fault, now_ms, changes);
        entry.reason.clear();
        entry.retry_after_ms = 0;
        return;
    }
    entry.state = made.error().detail == ENOENT ? State::waiting : State::failed;
    failed(entry, made.error(), now_ms, changes);
}

/// Listeners that could not be made, say because a process of the pod has the port.
void Pods::complete(Entry& entry, uint64_t now_ms, Changes& changes) {
    Capture whole = copy_of(*entry.capture);
    MadeListeners made = make_listeners(whole.netns, std::move(whole.listeners));
    whole.listeners = std::move(made.listeners);
    if (listeners_of(whole) > listeners_of(*entry.capture)) {
        entry.capture = std::make_shared<const Capture>(std::move(whole));
        changes.completed.push_back(entry.capture);
    }
    if (made.fault)
        return failed(entry, *made.fault, now_ms, changes);
    entry.reason.clear();
    entry.retry_after_ms = 0;
}

/// The process that named the namespace is gone. As long as another process of the pod is in it, nothing has happened.
bool Pods::follow(Entry& entry, Changes& changes) {
    if (entry.wanted.kubelet_uid.empty())
        return false;
    Result<Netns> again = discovery_.find_again(entry.wanted.kubelet_uid, entry.capture->netns);
    if (!again)
        return false;
    Capture copy = copy_of(*entry.capture);
    copy.netns = *std::move(again);
    if (listeners_of(copy) < listeners_of(*entry.capture))
        entry.reason = "not all listeners could be kept"; // complete() makes them again
    entry.capture = std::make_shared<const Capture>(std::move(copy));
    changes.followed.push_back(entry.capture);
    return true;
}

Result<Netns> Pods::open_netns(const PodToCapture& pod) {
    if (pod.kubelet_uid.empty())
        return Netns::open(pod.netns);
    if (!pod.told_netns.empty())
        return Netns::open(pod.told_netns);
    Result<Netns> found = discovery_.find(pod.kubelet_uid);
    if (found && lives_elsewhere(pod.kubelet_uid, found->cookie()))
        return fail(Code::unavailable,
                    "discovery: the pod's own network namespace lives, but its processes are in others", ENOENT);
    return found;
}

/// The namespace by which the pod was captured before: as long as it lives, no other is the pod's. A privileged process
/// could else have the agent follow it, by outliving the sandbox in a namespace that it made itself.
bool Pods::lives_elsewhere(const std::string& kubelet_uid, uint64_t cookie) const {
    return std::ranges::any_of(former_, [&](const auto& item) {
        return item.second.attached && item.second.kubelet_uid == kubelet_uid && item.first != cookie;
    });
}

void Pods::failed(Entry& entry, const Error& error, uint64_t now_ms, Changes& changes) {
    std::string reason = text_of(error);
    ++changes.attempts_failed;
    if (reason != entry.reason)
        changes.failures.push_back({.uid = entry.wanted.uid, .reason = reason, .waits = entry.state == State::waiting});
    entry.reason = std::move(reason);
    // A namespace that is simply not there yet is looked for at the sweep's own pace.
    entry.retry_after_ms = entry.state == State::waiting
                               ? capture_retry_min_ms
                               : std::clamp(entry.retry_after_ms * 2, capture_retry_min_ms, capture_retry_max_ms);
    entry.retry_at_ms = now_ms + entry.retry_after_ms;
}

Result<Capture> Pods::capture(const PodToCapture& pod, std::optional<Error>& fault) {
    const auto captures =
        std::ranges::count_if(entries_, [](const auto& entry) { return entry.second.capture != nullptr; });
    if (captures >= WEFT_PODS_MAX)
        return fail(Code::too_large, "pods: this node already has the most pods that the kernel maps hold");
    Result<Netns> netns = open_netns(pod);
    if (!netns)
        return std::unexpected(netns.error());
    if (holder_of(netns->cookie()))
        return fail(Code::refused, "netns: another pod already is captured in this network namespace");
    const auto known = former_.find(netns->cookie());
    const std::optional<uint32_t> id = known == former_.end() ? new_id() : known->second.pod.id;
    if (!id)
        return fail(Code::too_large, "pods: all ids have been used");
    MadeListeners made = make_listeners(*netns, claim_offers(*id, netns->cookie()));
    fault = made.fault;
    return Capture{.uid = pod.uid, .id = *id, .netns = *std::move(netns), .listeners = std::move(made.listeners)};
}

void Pods::release(const std::string& uid) {
    if (const auto entry = entries_.find(uid); entry != entries_.end() && entry->second.capture)
        former_.erase(entry->second.capture->netns.cookie());
    entries_.erase(uid);
    if (const auto again = wanted_.find(uid); again != wanted_.end())
        entries_[uid].wanted = again->second;
}

bool Pods::lose(const std::string& uid, bool attached) {
    const auto found = entries_.find(uid);
    if (found == entries_.end() || found->second.state != State::captured) {
        release(uid);
        return false;
    }
    Entry& entry = found->second;
    const CapturedPod pod{.id = entry.capture->id, .netns_cookie = entry.capture->netns.cookie()};
    former_[pod.netns_cookie] = {
        .pod = pod, .addresses = entry.wanted.addresses, .attached = attached, .kubelet_uid = entry.wanted.kubelet_uid};
    entry = Entry{.wanted = entry.wanted, .capture = nullptr};
    entry.reason = "its network namespace has no name any more";
    return true;
}

void Pods::severed(uint32_t pod_id) {
    std::erase_if(former_, [&](const auto& item) { return item.second.pod.id == pod_id; });
}

/// Addresses tell: what a former run called the pod is known to nobody.
const Pods::Former* Pods::kept_of(const Entry& entry) const {
    if (entry.capture)
        return nullptr;
    for (const auto& [cookie, former] : former_) {
        const bool same = std::ranges::any_of(former.addresses, [&](const IpAddress& address) {
            return std::ranges::find(entry.wanted.addresses, address) != entry.wanted.addresses.end();
        });
        if (same && former.attached && !holder_of(cookie))
            return &former;
    }
    return nullptr;
}

std::optional<std::string> Pods::holder_of(uint64_t cookie) const {
    for (const auto& [uid, entry] : entries_)
        if (entry.capture && entry.capture->netns.cookie() == cookie)
            return uid;
    return std::nullopt;
}

Listeners Pods::claim_offers(uint32_t id, uint64_t cookie) {
    Listeners claimed;
    std::erase_if(offers_, [&](OfferedListener& offer) {
        if (offer.pod_id != id || offer.facts.netns_cookie != cookie || claimed[offer.kind])
            return false;
        claimed[offer.kind] = std::move(offer.fd);
        return true;
    });
    return claimed;
}

CapturedPods Pods::captured() const {
    CapturedPods pods;
    for (const auto& [uid, entry] : entries_)
        if (entry.state == State::captured)
            pods[uid] = {.id = entry.capture->id, .netns_cookie = entry.capture->netns.cookie()};
    return pods;
}

CapturedPods Pods::enforced() const {
    CapturedPods pods = captured();
    for (const auto& [uid, entry] : entries_)
        if (const Former* kept = kept_of(entry))
            pods[uid] = kept->pod;
    return pods;
}

bool Pods::has_kept() const {
    return enforced().size() != captured().size() || std::ranges::any_of(former_, [&](const auto& item) {
               return item.second.attached && !item.second.kubelet_uid.empty() && !holder_of(item.first);
           });
}

std::vector<CapturePtr> Pods::held() const {
    std::vector<CapturePtr> captures;
    for (const auto& [uid, entry] : entries_)
        if (entry.capture)
            captures.push_back(entry.capture);
    return captures;
}

std::vector<CapturePtr> Pods::releasing() const {
    std::vector<CapturePtr> captures;
    for (const auto& [uid, entry] : entries_)
        if (entry.state == State::releasing)
            captures.push_back(entry.capture);
    return captures;
}

CapturePtr Pods::find(const std::string& uid) const {
    const auto found = entries_.find(uid);
    return found == entries_.end() ? nullptr : found->second.capture;
}

std::string Pods::lacking(const std::string& uid) const {
    const auto found = entries_.find(uid);
    if (found == entries_.end())
        return "the pod cannot be captured (weftctl status says why)";
    if (found->second.state == State::releasing)
        return "another pod of this name is being released";
    return found->second.reason;
}

std::string Pods::place_of(const Entry& entry) {
    if (!entry.wanted.netns.empty() || !entry.capture)
        return entry.wanted.netns;
    const std::string& path = entry.capture->netns.path();
    return path == entry.wanted.told_netns ? "given by the container runtime" : path;
}

std::vector<Pods::View> Pods::views() const {
    std::vector<View> views;
    for (const auto& [uid, entry] : entries_)
        views.push_back({.uid = uid,
                         .netns = place_of(entry),
                         .addresses = entry.wanted.addresses,
                         .state = entry.state,
                         .reason = entry.reason,
                         .id = entry.capture ? entry.capture->id : 0});
    return views;
}

std::vector<Pods::Failure> Pods::missing() const {
    std::vector<Failure> missing;
    for (const auto& [uid, entry] : entries_)
        if (!entry.reason.empty())
            missing.push_back({.uid = uid, .reason = entry.reason});
    return missing;
}

std::vector<Pods::Failure> Pods::unserved() const {
    std::vector<Failure> unserved;
    for (const auto& [uid, entry] : entries_) {
        if (entry.state == State::failed)
            unserved.push_back({.uid = uid, .reason = "not captured, no policy holds for it: " + entry.reason});
        else if (entry.state == State::captured && !entry.reason.empty())
            unserved.push_back(
                {.uid = uid, .reason = "policies hold for it, but it cannot be served: " + entry.reason});
    }
    return unserved;
}

} // namespace weft::agent
