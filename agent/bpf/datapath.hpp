// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/bpf/tables.hpp"
#include "agent/reconcile/state.hpp"
#include "bpf/abi.h"
#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"

struct datapath_bpf; // the generated skeleton

namespace weft::agent::bpf {

struct DatapathSettings {
    std::string pin_dir = "/sys/fs/bpf/weft";
    std::string cgroup; ///< a cgroup2 folder; its processes and below are covered, the agent must be among them
    uint64_t engine_timeout_ns = 0; ///< an engine silent for longer counts as dead; > 0
};

struct CounterValue {
    const char* name; ///< from WEFT_COUNTERS
    const char* help;
    uint64_t value; ///< over all CPUs, since the maps were made (an agent's restart does not reset it)
};
struct PodRefusals {
    uint32_t pod_id; ///< 0: the address belongs to no known pod
    const char* counter;
    uint64_t value;
};
struct MapUsage {
    std::string name;
    uint32_t entries;
    uint32_t entries_max;
};

/// The kernel side of the node: programs, maps, links, all pinned. It owns the pin folder's lock while it lives; what
/// is pinned stays in force when it dies, and the next one adopts it without a gap. One agent thread only.
class Datapath {
public:
    /// All or nothing; an error is one line. Adopts what a former run pinned if its layout is ours.
    [[nodiscard]] static std::expected<Datapath, std::string> open(const DatapathSettings& settings);
    /// Removes every pin of ours: links first, then maps, then the folder. Idempotent. Refused while an agent runs.
    [[nodiscard]] static std::expected<void, std::string> cleanup(const std::string& pin_dir);
    Datapath(Datapath&&) noexcept;
    Datapath& operator=(Datapath&&) noexcept;
    ~Datapath();

    /// Steers what arrives in the netns. Put the pod (PutPod) first. Again for the same netns: nothing changes.
    Result<void> attach_pod(uint32_t pod_id, int netns_fd);
    Result<void> detach_pod(uint32_t pod_id);
    /// Drops links whose netns is gone; returns their pods.
    std::vector<uint32_t> prune_severed();
    /// Pods with a live link.
    [[nodiscard]] std::vector<uint32_t> attached_pods() const;

    /// In order; stops at the first failure, whose `during` names the operation and the map. What was applied stays:
    /// read current() and plan again.
    Result<void> apply(std::span<const MapOperation> operations);
    /// apply() brings the pods that it changes to the right one of the two steer programs; this does it for any whose
    /// link could not be changed then. The error is the first; the others are tried.
    Result<void> follow_governed();
    /// What the maps hold now. Addresses and backends are sorted.
    [[nodiscard]] KernelState current() const;
    [[nodiscard]] ServiceIds service_ids() const;
    /// The least pod id that was never used, over all restarts.
    [[nodiscard]] uint32_t pod_id_next() const;

    /// For the inbound kinds: where steer sends the pod's connections. Others are no entries and are an error. The
    /// listener and what it accepts are marked in inbound_marks.
    Result<void> set_listener(uint32_t pod_id, abi::weft_listener_kind kind, int fd);
    Result<void> remove_listener(uint32_t pod_id, abi::weft_listener_kind kind);
    /// The socket's connects are never redirected and its flows count as judged.
    Result<void> mark_engine_socket(int fd);

    /// Whose connects to pods of this node are probes, and pass whatever the policies say. All zero: nobody's.
    Result<void> set_kubelet(const abi::weft_kubelet& kubelet);
    /// Why the connect hook cannot recognise it, so that probes are judged; empty: it can.
    [[nodiscard]] const std::string& kubelet_fault() const { return kubelet_fault_; }

    /// The SK_STORAGE map of set_listener()'s marks; borrowed.
    [[nodiscard]] int inbound_marks_fd() const;
    /// Whether steer would pass this connection because the engine made it, or as a probe of the kubelet.
    [[nodiscard]] bool is_judged(const SocketAddress& client, const SocketAddress& server) const;

    /// For the engine to mmap; borrowed.
    [[nodiscard]] int engine_state_fd() const;
    [[nodiscard]] int dial_slots_fd() const;
    [[nodiscard]] uint64_t heartbeat_ns() const; ///< the engine's last stamp; 0: never

    [[nodiscard]] std::vector<CounterValue> counters() const;
    [[nodiscard]] std::vector<PodRefusals> pod_refusals() const;
    /// Of the maps that can refuse an entry. The LRU maps evict instead and are not counted.
    [[nodiscard]] std::vector<MapUsage> usage() const;

private:
    struct Close {
        void operator()(datapath_bpf* skeleton) const;
    };
    using Skeleton = std::unique_ptr<datapath_bpf, Close>;

    Datapath(DatapathSettings settings, UniqueFd lock, Skeleton skeleton);
    [[nodiscard]] std::expected<void, std::string> attach_all();
    [[nodiscard]] int steer_program(uint32_t pod_id) const;
    [[nodiscard]] std::string link_path(uint32_t pod_id) const;
    Result<void> follow_governed(uint32_t pod_id);

    DatapathSettings settings_;
    UniqueFd lock_;
    Skeleton skeleton_;
    Tables tables_;
    std::string kubelet_fault_;
    std::set<uint32_t> strict_; ///< pods whose link runs the strict program
};

} // namespace weft::agent::bpf
