// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent::engine {

inline constexpr uint64_t restart_wait_min_ms = 100;
inline constexpr uint64_t restart_wait_max_ms = 5000;
/// An engine that lived this long was no failed start: the next one starts at once.
inline constexpr uint64_t lived_well_ms = 10'000;
inline constexpr uint64_t terminate_wait_ms = 5000;
inline constexpr uint64_t reap_every_ms = 100;

/// One process, told from another that later got the same number by its start time.
struct ProcessId {
    pid_t pid = 0;
    uint64_t start_time = 0; ///< field 22 of /proc/PID/stat
    bool operator==(const ProcessId&) const = default;
};

/// The process with this number, if there is one that is no zombie.
[[nodiscard]] std::optional<ProcessId> process_with(pid_t pid);
/// The engine that a former agent recorded, if it still runs.
[[nodiscard]] std::optional<ProcessId> recorded_engine(const std::string& state_file);
/// SIGTERM, then SIGKILL after `wait_ms`; returns when it is gone. Nothing if it is gone already.
void terminate(const ProcessId& process, uint64_t wait_ms);

/// Starts the engine, sees it end, starts it again (at once, then after 100 ms .. 5 s). The child is a session of its
/// own and survives the agent: the next agent adopts it by the state file. Control thread only.
class EngineProcess {
public:
    struct Settings {
        std::string program;
        std::vector<std::string> arguments;
        std::string state_file;
    };
    enum class Change : uint8_t { none, started, start_failed, ended };

    explicit EngineProcess(Settings settings) : settings_(std::move(settings)) {}

    /// Takes on the process of a former agent. False: it is gone.
    bool adopt(const ProcessId& process);
    /// Starts one if none runs and the time has come; notices an end. Call when `watch_fd` is readable and at `due_ms`.
    Change tend(uint64_t now_ms);
    /// The running one is finishing by itself: it is left alone, and another starts at once.
    void hand_over(uint64_t now_ms);
    /// SIGKILL; tend() notices the end.
    void kill_running();
    /// No start any more; the running one stays.
    void retire() { retired_ = true; }

    [[nodiscard]] std::optional<ProcessId> running() const { return running_; }
    /// Every process of ours, also those that are finishing.
    [[nodiscard]] std::vector<ProcessId> all() const;
    /// Readable when the running process has ended; -1: none runs.
    [[nodiscard]] int watch_fd() const { return watch_.get(); }
    /// When to call tend() at the latest; UINT64_MAX: no need.
    [[nodiscard]] uint64_t due_ms() const;
    /// "exit status 1", "signal 9" of the last one; or why it could not be started.
    [[nodiscard]] const std::string& last_end() const { return last_end_; }
    [[nodiscard]] uint64_t starts() const { return starts_; }

private:
    Change start(uint64_t now_ms);
    Change ended(uint64_t now_ms, std::string how);
    void plan_next(uint64_t now_ms);
    void record() const;
    void reap_leaving();

    Settings settings_;
    std::optional<ProcessId> running_;
    UniqueFd watch_;
    bool child_ = false; ///< ours to wait for; an adopted one is not
    std::vector<ProcessId> leaving_;
    uint64_t started_ms_ = 0;
    uint64_t next_start_ms_ = 0;
    uint64_t wait_ms_ = 0;
    uint64_t starts_ = 0;
    bool retired_ = false;
    std::string last_end_;
};

} // namespace weft::agent::engine
