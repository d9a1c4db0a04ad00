// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/pods/discovery.hpp"
#include "agent/pods/netns.hpp"
#include "agent/pods/sockets.hpp"
#include "agent/reconcile/state.hpp"

namespace weft::agent {

inline constexpr uint64_t capture_retry_min_ms = 250;
inline constexpr uint64_t capture_retry_max_ms = 5000;
/// A pod that was captured where the container runtime told is looked for by its processes this often.
inline constexpr uint64_t find_told_ms = 1000;
/// The first id of a datapath that was made anew lies anywhere below this: an engine that survived the one before still
/// has listeners and connections under that one's ids.
inline constexpr uint32_t first_id_max = 1U << 31U;
/// Handed-back listeners that wait for their pod; an engine serves four per pod.
inline constexpr size_t offers_max = listener_kinds * WEFT_PODS_MAX;

/// A listener that an engine handed back, already inspected.
struct OfferedListener {
    uint32_t pod_id = 0;
    uint32_t kind = 0;
    ListenerFacts facts;
    UniqueFd fd;
};

/// A pod whose namespace is known, with the listeners that could be made in it: enforcement needs none of them, since
/// what should be steered and cannot is refused. Shared with the control thread, which gives them to engines; the
/// namespace is free when the last holder lets go.
struct Capture {
    std::string uid;
    uint32_t id = 0;
    Netns netns;
    Listeners listeners;
};
using CapturePtr = std::shared_ptr<const Capture>;

/// The pods of this node that shall be captured, and how far each is. Owned by the loop, used on its thread only.
///
///   want        sweep            not wanted any more
///   ───▶ waiting ────▶ captured ────────────────────▶ releasing ──release()──▶ (nothing; wanted again: waiting)
///          ▲ │ cannot     │ ▲ a listener is missing: tried again
///          │ ▼            └── path gone: lose() ──▶ waiting, and enforced until its link is severed
///         failed: tried again, less and less often
class Pods {
public:
    enum class State : uint8_t { waiting, captured, failed, releasing };

    /// For status: one line per pod.
    struct View {
        std::string uid;
        std::string netns;
        std::vector<IpAddress> addresses;
        State state = State::waiting;
        std::string reason; ///< waiting, failed; captured: why a listener is missing
        uint32_t id = 0;    ///< 0: not captured
    };
    struct Failure {
        std::string uid;
        std::string reason;
        bool waits = false; ///< only for its namespace to come: how every pod starts
    };
    struct Changes {
        std::vector<CapturePtr> captured;
        std::vector<CapturePtr> completed; ///< captured before, and now with more listeners
        std::vector<CapturePtr> followed;  ///< captured before, and now named by another process of the pod
        std::vector<std::string> vanished; ///< captured or releasing, the path is gone: lose() them at once
        std::vector<Failure> failures;     ///< new reasons only, not every retry
        uint32_t attempts_failed = 0;      ///< every one
    };

    /// A pod of a former run: entries of it are in the kernel.
    struct Former {
        CapturedPod pod;
        std::vector<IpAddress> addresses;
        bool attached = false;     ///< its link lives, and so does its namespace
        std::string kubelet_uid{}; ///< of one that this run had found by it
    };
    Pods() = default; ///< pods without an annotation are looked for as Discovery does it by itself
    explicit Pods(Discovery discovery) : discovery_(std::move(discovery)) {}

    /// What pinned maps hold, and the least id that was never used. Call before the first sweep.
    void adopt(const std::vector<Former>& former, uint32_t next_id);
    /// Kept for the capture of its pod, which must be one that a former run (or this one) had under that id. False: it
    /// is not, or there is no room, or the pod is already captured; the listener is closed. What an engine says never
    /// moves the numbering: an id that is not ours is only not given to a pod of ours.
    bool offer(OfferedListener listener);
    /// Closes the offers that no wanted pod can claim any more; returns the ids of their pods and of those refused
    /// since the last call, but never that of a captured pod.
    [[nodiscard]] std::vector<uint32_t> drop_offers();

    void want(std::vector<PodToCapture> pods);
    /// Failed captures are due at once: the source has changed, or somebody waits.
    void retry_now();
    /// Captures what is due, and looks whether captured namespaces still exist.
    [[nodiscard]] Changes sweep(uint64_t now_ms);
    /// The kernel and the engine have let go of it. Wanted again: it starts from waiting.
    void release(const std::string& uid);
    /// Its path names nothing any more: our sockets are closed, they would keep the namespace alive. Processes may
    /// still run in it, so a wanted pod stays enforced until its link is severed; `attached`: it has one. False: nobody
    /// wants it.
    bool lose(const std::string& uid, bool attached);
    /// Its link is dead, with its namespace or because nobody wanted the pod: nothing is enforced there any more.
    void severed(uint32_t pod_id);

    /// State captured only.
    [[nodiscard]] CapturedPods captured() const;
    /// Those, and every wanted pod that is not captured but attached: by this run before its path went, or by a former
    /// one (told by its addresses).
    [[nodiscard]] CapturedPods enforced() const;
    /// There are attached pods that are not captured: look for severed links.
    [[nodiscard]] bool has_kept() const;
    /// Captured or releasing.
    [[nodiscard]] std::vector<CapturePtr> held() const;
    [[nodiscard]] std::vector<CapturePtr> releasing() const;
    /// Captured or releasing; null: neither.
    [[nodiscard]] CapturePtr find(const std::string& uid) const;
    /// Why that pod is not captured with all its listeners; empty: it is.
    [[nodiscard]] std::string lacking(const std::string& uid) const;
    [[nodiscard]] std::vector<View> views() const;
    /// Wanted and not captured, or without a listener: what `sync` warns of.
    [[nodiscard]] std::vector<Failure> missing() const;
    /// Those of missing() that have a namespace: their policies do not hold, or they cannot be served.
    [[nodiscard]] std::vector<Failure> unserved() const;

    [[nodiscard]] static const char* name(State state);

private:
    struct Entry {
        PodToCapture wanted;
        State state = State::waiting;
        std::string reason = "not tried yet";
        uint64_t retry_at_ms = 0;
        uint64_t retry_after_ms = 0;
        uint64_t find_at_ms = 0;
        CapturePtr capture;
    };

    [[nodiscard]] Result<Netns> open_netns(const PodToCapture& pod);
    [[nodiscard]] bool lives_elsewhere(const std::string& kubelet_uid, uint64_t cookie) const;
    bool follow(Entry& entry, Changes& changes);
    Result<Capture> capture(const PodToCapture& pod, std::optional<Error>& fault);
    void try_capture(Entry& entry, uint64_t now_ms, Changes& changes);
    void complete(Entry& entry, uint64_t now_ms, Changes& changes);
    [[nodiscard]] static std::string place_of(const Entry& entry); ///< for views()
    static void failed(Entry& entry, const Error& error, uint64_t now_ms, Changes& changes);
    [[nodiscard]] std::optional<std::string> holder_of(uint64_t cookie) const;
    [[nodiscard]] const Former* kept_of(const Entry& entry) const;
    Listeners claim_offers(uint32_t id, uint64_t cookie);
    void refuse_id(uint32_t pod_id);
    [[nodiscard]] std::optional<uint32_t> new_id();

    Discovery discovery_;
    std::map<std::string, PodToCapture> wanted_;
    std::map<std::string, Entry> entries_;
    std::map<uint64_t, Former> former_; ///< by cookie; those of this run that were lost, too
    std::vector<OfferedListener> offers_;
    std::set<uint32_t> refused_; ///< ids of listeners that an engine has and nobody can claim, until it is told
    std::set<uint32_t> foreign_; ///< those, as long as we live
    uint64_t next_id_ = 1;       ///< UINT32_MAX and above: there are no more
};

} // namespace weft::agent
