// SPDX-License-Identifier: Apache-2.0
// Pods that come, are lost, and are let go of.
#include <algorithm>
#include <set>
#include <utility>

#include "agent/loop.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent {

using metrics::Event;

/// True: something is to be compiled anew.
bool Loop::sweep_pods() {
    Pods::Changes changes = pods_.sweep(monotonic_ms());
    for (const std::string& uid : changes.vanished) {
        for (const CapturePtr& capture : pods_.held()) {
            if (capture->uid != uid)
                continue;
            lose_pod(*capture, "its network namespace has no name any more");
            break;
        }
        counters_.add(Event::pod_vanished, "");
    }
    for (const Pods::Failure& failure : changes.failures) {
        if (failure.waits)
            log::info("pod_waits", log::kv("pod", failure.uid), log::kv("reason", failure.reason));
        else
            log::warn("pod_capture_failed", log::kv("pod", failure.uid), log::kv("reason", failure.reason));
    }
    if (changes.attempts_failed != 0)
        counters_.add(Event::capture_failure, "", changes.attempts_failed);
    for (const CapturePtr& capture : changes.captured) {
        log::info("pod_captured", log::kv("pod", capture->uid), log::kv("id", capture->id));
        new_captures_.push_back(capture);
    }
    for (const CapturePtr& capture : changes.followed) {
        log::info("pod_followed", log::kv("pod", capture->uid), log::kv("netns", capture->netns.path()));
        named_.push_back(capture->uid);
        new_captures_.push_back(capture);
    }
    for (const CapturePtr& capture : changes.completed) {
        log::info("pod_listeners_made", log::kv("pod", capture->uid), log::kv("id", capture->id));
        new_captures_.push_back(capture);
    }
    return !changes.captured.empty() || !changes.completed.empty() || !changes.followed.empty() ||
           !changes.vanished.empty();
}

/// The path went, or will. Whoever is left in the namespace is no less governed for it.
void Loop::lose_pod(const Capture& capture, const char* why) {
    const std::string uid = capture.uid;
    const uint32_t id = capture.id;
    kernel_.drop_listeners(id);
    control_.remove_pod(id);
    std::erase_if(new_captures_, [&](const CapturePtr& captured) { return captured->uid == uid; });
    if (pods_.lose(uid, kernel_.attached(id))) {
        log::info("pod_lost", log::kv("pod", uid), log::kv("reason", why));
    } else {
        kernel_.forget(id);
        log::info("pod_released", log::kv("pod", uid), log::kv("reason", why));
    }
}

/// True: a namespace is gone that was kept enforced.
bool Loop::prune_severed() {
    const std::vector<uint32_t> severed = kernel_.prune_severed();
    for (const uint32_t pod_id : severed) {
        kernel_.forget(pod_id);
        pods_.severed(pod_id);
    }
    return !severed.empty();
}

/// Pods that nobody wants any more: the kernel has no entry of them now, so the engine may close what it has.
void Loop::let_go() {
    for (const CapturePtr& capture : pods_.releasing()) {
        if (kernel_.now().pods.contains(capture->netns.cookie()))
            continue;
        control_.remove_pod(capture->id);
        pods_.release(capture->uid);
        log::info("pod_released", log::kv("pod", capture->uid), log::kv("reason", "not enrolled any more"));
    }
    // What an engine handed back, now or when it came back, and no pod can claim: both pin the namespace of a pod that
    // is gone.
    std::set<uint32_t> kept;
    for (const CapturePtr& capture : pods_.held())
        kept.insert(capture->id);
    for (const uint32_t pod_id : pods_.drop_offers())
        if (!kept.contains(pod_id))
            control_.remove_pod(pod_id);
}

} // namespace weft::agent
