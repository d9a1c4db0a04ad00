// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "config/proto/control.pb.h"
#include "config/wire/channel.hpp"
#include "l7engine/server/engine.hpp"
#include "l7engine/server/heartbeat.hpp"
#include "l7engine/server/memory_watch.hpp"
#include "l7engine/server/series_ledger.hpp"

namespace weft::l7 {

struct ControlSettings {
    std::string socket_path;
    std::string version;
    std::string group{}; ///< said to the agent
    uint64_t drain_timeout_ms = 30'000;
    uint64_t reconnect_ms_min = 20;
    uint64_t reconnect_ms_max = 1'000;
    uint64_t heartbeat_ms = 100;
    size_t listeners_max = 8'192;
    size_t stats_waiting_max = 16;
    LedgerLimits ledger = {};
    const MemoryWatch* memory = nullptr; ///< borrowed; nullptr: nothing is shed
    uint64_t memory_ms = 100;            ///< between two readings
    uint64_t give_back_ms = 1'000;       ///< ... between two times that malloc gives memory back
    unsigned give_back_percent = 80;     ///< of the limit: from here on it does
};

/// Work from worker threads (and from a signal handler) for the control thread.
class ControlInbox {
public:
    ControlInbox();
    /// Any thread.
    void post(std::move_only_function<void()> work);
    /// Any thread, also a signal handler: end gracefully.
    void terminate();

    [[nodiscard]] int fd() const { return event_.get(); }
    [[nodiscard]] bool terminated() const { return terminated_.load(std::memory_order_acquire); }
    void run_all();

private:
    void wake() const;
    UniqueFd event_;
    std::atomic<bool> terminated_ = false;
    std::mutex lock_;
    std::vector<std::move_only_function<void()>> work_;
};

/// The engine's end of the agent's socket: says hello (again and again: the engine outlives agents), turns messages
/// into work for the workers and their answers into messages, keeps the originals of all listeners, beats. Nothing that
/// the agent sends may end the engine: what is wrong is counted, and the connection starts anew. One thread.
class Control {
public:
    Control(const ControlSettings& settings, Engine& engine, ControlInbox& inbox);
    ~Control();
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;

    /// Until the engine is drained.
    void run();

    /// A worker's wish; control thread.
    void ask_sockets(uint32_t worker, const SocketStock::Wish& wish);

private:
    struct HeldListener {
        uint32_t kind;
        ino_t identity;
        UniqueFd fd;
    };
    struct Applying;
    struct Report;

    // connection
    void connect_if_due(uint64_t now_ms);
    void say_hello();
    void disconnect(const char* reason, const std::string& detail);
    void read_agent();
    void send(const proto::ToAgent& message, std::span<const int> fds = {});
    void flush();

    // messages
    Result<void> take(wire::Frame frame);
    Result<void> dispatch(const proto::ToEngine& message, std::vector<UniqueFd> fds);
    Result<void> on_welcome(const proto::Welcome& message, std::vector<UniqueFd> fds);
    Result<void> on_snapshot(const proto::Snapshot& message);
    Result<void> on_listeners(const proto::GiveListeners& message, std::vector<UniqueFd> fds);
    Result<void> on_sockets(const proto::GiveSockets& message, std::vector<UniqueFd> fds);
    Result<void> on_release(uint32_t pod_id);
    Result<void> on_stats(uint64_t request_id);
    void on_drain(uint64_t timeout_ms);

    Result<void> hold_listener(uint32_t pod_id, uint32_t kind, UniqueFd fd);
    void applied(uint64_t generation, uint64_t started_ns);
    void refused_snapshot(uint64_t generation, const std::string& why);
    void finish_report(Report& report);
    void send_report(const Report& report);
    void count(const char* name, const char* reason) { ++counters_[{name, reason}]; }
    [[nodiscard]] uint32_t poll_ms(uint64_t now_ms) const;
    void poll_once();
    void watch_memory(uint64_t now_ms);

    const ControlSettings settings_;
    Engine& engine_;
    ControlInbox& inbox_;
    Heartbeat heartbeat_;
    SeriesLedger ledger_;
    const uint64_t instance_;

    std::optional<wire::FrameChannel> channel_;
    uint64_t connection_ = 0; ///< counts them
    bool welcomed_ = false;
    uint64_t connect_at_ms_ = 0;
    uint64_t reconnect_ms_;
    bool said_unreachable_ = false;
    bool standby_ = false; ///< the agent has another engine

    std::map<uint32_t, std::vector<HeldListener>> listeners_;
    size_t listener_count_ = 0;
    uint64_t applied_generation_ = 0; ///< in force on every worker; 0: none
    /// Every snapshot that somebody still uses. The last reference dies here: taking a big one apart would stop a
    /// worker.
    std::vector<ViewPtr> views_;
    size_t stats_waiting_ = 0; ///< of this connection
    std::map<std::pair<std::string_view, std::string_view>, uint64_t> counters_;

    MemoryWatch::Reading memory_;
    Pressure pressure_ = Pressure::none;
    uint64_t memory_at_ms_ = 0; ///< the next reading
    uint64_t give_back_at_ms_ = 0;

    bool draining_ = false;
    bool terminating_ = false; ///< the signal was heeded
    bool drained_ = false;
};

} // namespace weft::l7
