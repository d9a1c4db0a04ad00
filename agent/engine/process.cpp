// SPDX-License-Identifier: Apache-2.0
#include "agent/engine/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "config/base/clock.hpp"

extern char** environ;

namespace weft::agent::engine {
namespace {

UniqueFd open_pidfd(pid_t pid) {
    return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

bool wait_end(const UniqueFd& pidfd, uint64_t wait_ms) {
    const uint64_t deadline = monotonic_ms() + wait_ms;
    while (true) {
        const uint64_t now = monotonic_ms();
        pollfd item{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
        const int ready = poll(&item, 1, static_cast<int>(deadline > now ? deadline - now : 0));
        if (ready > 0)
            return true;
        if (ready == 0 || errno != EINTR)
            return false;
    }
}

std::string describe(int status) {
    if (WIFSIGNALED(status))
        return "signal " + std::to_string(WTERMSIG(status));
    return "exit status " + std::to_string(WEXITSTATUS(status));
}

/// The agent blocks the signals that it waits for; the engine must not inherit that.
class SpawnForm {
public:
    SpawnForm() {
        posix_spawnattr_init(&attributes_);
        sigset_t none;
        sigemptyset(&none);
        sigset_t usual;
        sigfillset(&usual);
        posix_spawnattr_setsigmask(&attributes_, &none);
        posix_spawnattr_setsigdefault(&attributes_, &usual);
        posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    }
    ~SpawnForm() { posix_spawnattr_destroy(&attributes_); }
    SpawnForm(const SpawnForm&) = delete;
    SpawnForm& operator=(const SpawnForm&) = delete;
    [[nodiscard]] const posix_spawnattr_t* get() const { return &attributes_; }

private:
    posix_spawnattr_t attributes_{};
};

} // namespace

std::optional<ProcessId> process_with(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    // The second field is the command in parentheses and may hold anything, also parentheses: count from the last one.
    const size_t after = text.rfind(')');
    if (pid <= 0 || after == std::string::npos)
        return std::nullopt;
    std::istringstream rest(text.substr(after + 1));
    std::vector<std::string> fields{std::istream_iterator<std::string>(rest), {}};
    constexpr size_t state = 0;
    constexpr size_t start_time = 19; // field 22, and the rest starts with field 3
    if (fields.size() <= start_time || fields[state] == "Z" || fields[state] == "X")
        return std::nullopt;
    ProcessId process{.pid = pid, .start_time = 0};
    const std::string& ticks = fields[start_time];
    if (std::from_chars(ticks.data(), ticks.data() + ticks.size(), process.start_time).ec != std::errc())
        return std::nullopt;
    return process;
}

std::optional<ProcessId> recorded_engine(const std::string& state_file) {
    std::ifstream file(state_file);
    ProcessId recorded;
    if (!(file >> recorded.pid >> recorded.start_time))
        return std::nullopt;
    const std::optional<ProcessId> now = process_with(recorded.pid);
    return now == recorded ? now : std::nullopt;
}

void terminate(const ProcessId& process, uint64_t wait_ms) {
    const UniqueFd pidfd = open_pidfd(process.pid);
    // Looked at after the descriptor is open: from here on the number cannot pass to another process unnoticed.
    if (!pidfd || process_with(process.pid) != process)
        return;
    syscall(SYS_pidfd_send_signal, pidfd.get(), SIGTERM, nullptr, 0);
    if (!wait_end(pidfd, wait_ms)) {
        syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
        wait_end(pidfd, terminate_wait_ms);
    }
    waitpid(process.pid, nullptr, WNOHANG); // if it was our child
}

bool EngineProcess::adopt(const ProcessId& process) {
    UniqueFd pidfd = open_pidfd(process.pid);
    if (!pidfd || process_with(process.pid) != process)
        return false;
    running_ = process;
    watch_ = std::move(pidfd);
    child_ = false;
    started_ms_ = monotonic_ms();
    return true;
}

EngineProcess::Change EngineProcess::tend(uint64_t now_ms) {
    reap_leaving();
    if (running_) {
        if (child_) {
            int status = 0;
            const pid_t reaped = waitpid(running_->pid, &status, WNOHANG);
            return reaped == running_->pid ? ended(now_ms, describe(status)) : Change::none;
        }
        return wait_end(watch_, 0) ? ended(now_ms, "ended") : Change::none;
    }
    if (retired_ || now_ms < next_start_ms_)
        return Change::none;
    return start(now_ms);
}

EngineProcess::Change EngineProcess::start(uint64_t now_ms) {
    std::vector<char*> arguments{settings_.program.data()};
    for (std::string& argument : settings_.arguments)
        arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    const SpawnForm form;
    pid_t pid = 0;
    const int error = posix_spawn(&pid, settings_.program.c_str(), nullptr, form.get(), arguments.data(), environ);
    if (error != 0) {
        last_end_ = std::string("cannot be started: ") + std::strerror(error);
        started_ms_ = now_ms;
        plan_next(now_ms);
        return Change::start_failed;
    }
    ++starts_;
    started_ms_ = now_ms;
    running_ = process_with(pid).value_or(ProcessId{.pid = pid, .start_time = 0});
    watch_ = open_pidfd(pid);
    child_ = true;
    record();
    return Change::started;
}

EngineProcess::Change EngineProcess::ended(uint64_t now_ms, std::string how) {
    last_end_ = std::move(how);
    running_.reset();
    watch_.reset();
    plan_next(now_ms);
    return Change::ended;
}

void EngineProcess::plan_next(uint64_t now_ms) {
    const bool lived = now_ms - started_ms_ >= lived_well_ms;
    next_start_ms_ = now_ms + (lived ? 0 : wait_ms_);
    wait_ms_ = lived ? restart_wait_min_ms : std::clamp(wait_ms_ * 2, restart_wait_min_ms, restart_wait_max_ms);
}

void EngineProcess::kill_running() {
    if (watch_)
        syscall(SYS_pidfd_send_signal, watch_.get(), SIGKILL, nullptr, 0);
}

void EngineProcess::hand_over(uint64_t now_ms) {
    if (!running_)
        return;
    leaving_.push_back(*running_);
    last_end_ = "draining";
    running_.reset();
    watch_.reset();
    plan_next(now_ms);
}

/// So that a second agent finds it; written whole or not at all.
void EngineProcess::record() const {
    const std::string next = settings_.state_file + ".new";
    {
        std::ofstream file(next, std::ios::trunc);
        file << running_->pid << ' ' << running_->start_time << '\n';
    }
    if (::rename(next.c_str(), settings_.state_file.c_str()) != 0)
        ::unlink(next.c_str());
}

void EngineProcess::reap_leaving() {
    std::erase_if(leaving_, [](const ProcessId& process) {
        // A leader that has ended shows as a zombie before its other threads are gone; only then can it be reaped.
        const pid_t reaped = waitpid(process.pid, nullptr, WNOHANG);
        return reaped == process.pid || (reaped < 0 && process_with(process.pid) != process);
    });
}

std::vector<ProcessId> EngineProcess::all() const {
    std::vector<ProcessId> processes = leaving_;
    if (running_)
        processes.push_back(*running_);
    return processes;
}

uint64_t EngineProcess::due_ms() const {
    // Nothing tells the end of an engine that leaves (its connection may close long before): look from time to time.
    const uint64_t reap_ms = leaving_.empty() ? UINT64_MAX : monotonic_ms() + reap_every_ms;
    if (running_ || retired_)
        return reap_ms;
    return std::min(next_start_ms_, reap_ms);
}

} // namespace weft::agent::engine
