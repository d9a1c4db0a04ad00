// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/cni/judge.hpp"
#include "agent/cni/sandboxes.hpp"
#include "agent/cni/server.hpp"
#include "agent/engine/control.hpp"
#include "agent/engine_state.hpp"
#include "agent/inbox.hpp"
#include "agent/kernel.hpp"
#include "agent/kubelet_watch.hpp"
#include "agent/metrics/counters.hpp"
#include "agent/metrics/report.hpp"
#include "agent/pods/registry.hpp"
#include "agent/reconcile/compile.hpp"
#include "agent/source_view.hpp"
#include "agent/status/writer.hpp"
#include "config/base/json.hpp"

namespace weft::agent {

inline constexpr uint64_t tick_ms = 250;
/// How long an engine that survived the former agent may take to come back before listeners are made anew.
inline constexpr uint64_t engine_grace_ms = 1500;
/// While held, the source is read again this often, whether or not something was seen to change.
inline constexpr uint64_t held_reload_ms = 2000;
/// Failed kernel operations are tried again no more often than this while nothing changes.
inline constexpr uint64_t kernel_retry_ms = 2000;
/// Compiling needs memory for a moment: what is free then is given back so long after it, at the latest.
inline constexpr uint64_t heap_trim_ms = 1000;
/// Without a tick for longer the loop counts as stuck.
inline constexpr uint64_t stuck_ms = 30'000;
inline constexpr uint32_t sync_wait_max_ms = 600'000;

/// From the source to the kernel and the engine, again and again: the reconcile thread. It alone uses the source, the
/// pods and the datapath. For each generation: (1) listeners of new pods into the kernel, (2) the snapshot, then the
/// listeners, on their way to the engine, (3) at once and without waiting for it what the kernel may hold already
/// (stage.hpp), and when the engine has the snapshot in force, (4) the rest.
///
///     start ──engine came or had its time, and the source says all it should──▶ begun: generation after generation
///       └──adopted, and the source lacks something (hold.hpp)──▶ held: nothing is touched ──read whole──▶ begun
class Loop {
public:
    struct Readiness {
        bool good = false;
        std::string text;
    };
    struct Settings {
        CompileOptions compile;
        std::string version;
        std::string cgroup;
        std::string pin_dir;
        std::string kubepods_root{}; ///< empty: looked for
        uint16_t kubelet_port = 0;   ///< 0: there is no kubelet
        std::string objects_file;    ///< the record of hold.hpp
        bool adopted = false;        ///< pins of a former run are in force: an engine may come back with its listeners
        bool runs_engine = false;
        std::optional<engine::ProcessId> former_engine;
        std::string group{};                ///< ready only with an engine of this group; empty: with any
        std::function<Readiness()> ready{}; ///< the whole agent's; called on the loop's thread; empty: the loop's own
        std::function<void()> step_aside{}; ///< another agent asked for this one's place; called on the loop's thread
        std::function<void(uint64_t, const cni::Answer&)> cni_reply{}; ///< from any thread; must not wait
        std::function<Json()> cni_status{};                            ///< of the installer; empty: it is off
        status::Writer* writer = nullptr;                              ///< to the API; nullptr: nothing is written
    };

    /// `store`: what was read of the source already; empty: nothing.
    Loop(Settings settings, std::unique_ptr<Source> source, ObjectStore store, bpf::Datapath& datapath, Inbox& inbox,
         engine::Control& control, metrics::Counters& counters);

    /// Until StopWanted is taken from the inbox.
    void run();

    // From any thread.
    [[nodiscard]] Readiness ready() const;
    [[nodiscard]] Readiness healthy() const;
    [[nodiscard]] metrics::AgentReport report() const;

private:
    struct Waiter {
        uint64_t token = 0;
        uint64_t deadline_ms = 0;
        bool read = false; ///< the source, since it asked
    };

    /// A pod that weft-cni holds until it is captured.
    struct Starting {
        uint64_t token = 0;
        cni::Request request;
        uint64_t deadline_ms = 0;
        uint64_t generation = 0; ///< the first that holds the pod as asked; 0: none does yet
        std::string lacking;     ///< at the last look
    };

    void turn();
    void take(LoopEvent event);
    void on(engine::EngineArrived event);
    void on(const engine::EngineApplied& event);
    void on(const engine::EngineGone& event);
    void on(const engine::CtlAsked& event);
    void on(cni::Asked event);
    void on(const cni::Left& event);
    void start_pod(cni::Asked event);
    void stop_pod(const cni::Asked& event);
    [[nodiscard]] bool depends_on(const std::string& pod, const std::optional<cni::Sandboxes::Word>& before) const;
    [[nodiscard]] cni::StartFacts start_facts(Starting& starting) const;
    void answer_starting();
    void answer_going();
    void close_named();
    [[nodiscard]] Json cni_status() const;
    void tick();
    void begin();

    bool load_source();
    void reload();
    bool sweep_pods();
    void lose_pod(const Capture& capture, const char* why);
    bool prune_severed();
    void recompile();
    [[nodiscard]] Compiled compile_completed();
    void publish(Compiled next, std::expected<std::string, std::string> body);
    void send_snapshot(std::string body);
    void refuse_snapshot();
    [[nodiscard]] std::string_view sent_body() const;
    void converge();
    void let_go();

    /// What keeps the wanted generation from being in force; empty: nothing.
    [[nodiscard]] std::vector<std::string> missing() const;
    void answer_waiters();
    [[nodiscard]] std::string status() const;
    void publish_readiness();
    void tell_writer();
    void log_faults();

    const Settings settings_;
    Inbox& inbox_;
    engine::Control& control_;
    metrics::Counters& counters_;
    Kernel kernel_;
    KubeletWatch kubelet_;
    Pods pods_;

    SourceView objects_;
    uint64_t compile_serial_ = 0; ///< objects_ and compiled_ belong together; another one: one of them is new
    bool stale_ = false; ///< compiled_ is not of what weft-cni has said; for the rest of this turn's events only
    ServiceIds service_ids_;
    Compiled compiled_;                          ///< without its snapshot
    std::shared_ptr<const std::string> message_; ///< of the last good snapshot
    size_t body_bytes_ = 0;                      ///< of message_
    std::string snapshot_fault_;                 ///< why the newest snapshot is not in message_; empty: it is
    uint64_t generation_sent_ = 0;               ///< of message_, or of the snapshot that is at fault
    uint64_t generation_wanted_ = 0;             ///< 0: nothing compiled yet
    uint64_t generation_applied_ = 0;
    std::vector<CapturePtr> new_captures_; ///< listeners not given to the engine yet
    EngineState engine_;
    uint64_t engine_acknowledged_ = 0; ///< the newest generation that the engine at work had in force; 0: none
    std::vector<Waiter> waiters_;
    cni::Sandboxes sandboxes_;
    std::vector<Starting> starting_;
    std::vector<uint64_t> going_;    ///< tokens of DELs whose pods are let go of when what is in force is compiled anew
    std::vector<std::string> named_; ///< pods found by their processes since the last tick
    std::set<std::string> faults_said_;
    bool engine_wanted_ = false; ///< an engine process is kept running
    bool begun_ = false;
    bool stopping_ = false;
    uint64_t begin_at_ms_ = 0;
    uint64_t next_tick_ms_ = 0;
    uint64_t held_reload_at_ms_ = 0;
    uint64_t kernel_retry_at_ms_ = 0;
    uint64_t heap_trim_at_ms_ = UINT64_MAX; ///< nothing to give back

    mutable std::mutex mutex_;
    Readiness ready_{.good = false, .text = "starting"};
    metrics::AgentReport report_;
    std::atomic<uint64_t> last_turn_ms_;
};

} // namespace weft::agent
