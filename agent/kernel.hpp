// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/bpf/datapath.hpp"
#include "agent/metrics/counters.hpp"
#include "agent/pods/connections.hpp"
#include "agent/pods/registry.hpp"
#include "agent/reconcile/state.hpp"

namespace weft::agent {

/// `sync` waits so long for handshakes that may have passed before a rule: a peer may leave one open for a minute.
inline constexpr uint64_t handshake_wait_ms = 1000;

/// Brings the datapath to a wanted state step by step; what cannot be done is named, the rest is done. Owned by the
/// loop, used on its thread only.
class Kernel {
public:
    Kernel(bpf::Datapath& datapath, metrics::Counters& counters);

    /// What the maps hold.
    [[nodiscard]] const KernelState& now() const { return now_; }
    /// Plans and applies. After a failed operation those go on that do not count on it (progress.hpp).
    void move_to(const KernelState& target);
    /// Inbound listeners into the sockhash, those that are not there yet. Before attach().
    void set_listeners(const Capture& capture);
    /// The pod's link; put the pod first.
    void attach(const Capture& capture);
    /// The pod's listeners are about to be closed.
    void drop_listeners(uint32_t pod_id);
    /// Link and listeners go; the entries go with the next move_to(). First of all when a pod is let go.
    void detach(uint32_t pod_id);
    /// detach() for every attached pod that `target` does not have. Returns their ids: no link of theirs will be
    /// reported severed any more.
    std::set<uint32_t> detach_others(const KernelState& target);
    /// Ends the connections of these pods that are older than the rules which govern their ports. Does something only
    /// for a pod whose rules have changed or whose link is new, and for all once after a start. After attach().
    void cut_unjudged(const std::vector<CapturePtr>& captures);
    /// Again, where handshakes were under way at that time. At every tick.
    void cut_after_handshakes(const std::vector<CapturePtr>& captures);
    /// Some of them may become unjudged connections yet. False after handshake_wait_ms, though they are still followed.
    [[nodiscard]] bool awaits_handshakes() const;
    /// Empty: this kernel can end connections; else why not.
    [[nodiscard]] const std::string& cut_fault() const { return cut_fault_; }
    /// The namespace is gone: everything of it goes now.
    void forget(uint32_t pod_id);
    /// Pods whose link was severed because their namespace went while nobody looked.
    std::vector<uint32_t> prune_severed() { return datapath_.prune_severed(); }
    [[nodiscard]] bool attached(uint32_t pod_id) const { return attached_.contains(pod_id); }

    /// What the last round could not do; empty: everything is as it was asked for.
    [[nodiscard]] const std::vector<std::string>& faults() const { return faults_; }
    void start_round() { faults_.clear(); }
    [[nodiscard]] metrics::DatapathReport report(const std::map<uint32_t, std::string>& pod_names) const;
    /// Milliseconds since the engine's last sign of life; UINT64_MAX: never one.
    [[nodiscard]] uint64_t heartbeat_age_ms() const;
    [[nodiscard]] std::vector<bpf::MapUsage> usage() const { return datapath_.usage(); }

private:
    void apply(const KernelState& target);
    void cut(const Capture& capture, bool again);
    [[nodiscard]] CutRules cut_rules(uint32_t pod_id, uint64_t cookie) const;
    void note_changed_ports(const KernelState& before);
    void note(const Error& error, const char* reason);

    bpf::Datapath& datapath_;
    metrics::Counters& counters_;
    KernelState now_;
    std::set<uint32_t> attached_;
    std::set<std::pair<uint32_t, uint32_t>> listening_; ///< (pod, kind)
    std::set<uint32_t> cut_due_;                        ///< pods that may have connections older than their rules
    struct Handshakes {
        std::set<uint64_t> cookies;
        uint64_t waited_until_ms = 0;
    };
    std::map<uint32_t, Handshakes> handshakes_; ///< by pod: may be older than its rules, and were not connections yet
    std::string cut_fault_;
    std::vector<std::string> faults_;
};

} // namespace weft::agent
