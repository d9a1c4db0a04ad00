// SPDX-License-Identifier: Apache-2.0
#include "agent/run.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <thread>

#include "agent/agent.hpp"
#include "agent/bpf/pins.hpp"
#include "agent/bpf/probe.hpp"
#include "agent/kube/daemonset.hpp"
#include "agent/newcomer.hpp"
#include "agent/requirements.hpp"
#include "agent/takeover.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent {
namespace {

constexpr uint64_t existence_wait_ms = 2000;

int complain(const std::string& why, int exit_code) {
    std::fprintf(stderr, "weft-agent: %s\n", why.c_str());
    return exit_code;
}

void forget_step_aside() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, step_aside_signal);
    const timespec none{};
    while (sigtimedwait(&signals, nullptr, &none) > 0) {
    }
}

int wait_for_signal() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, step_aside_signal})
        sigaddset(&signals, number);
    int number = 0;
    sigwait(&signals, &number);
    return number;
}

/// Why the agent cannot run here; else the cgroup2 folder to attach to.
std::expected<std::string, std::string> usable_cgroup(const Options& options) {
    std::string cgroup = options.cgroup;
    if (cgroup.empty()) {
        auto mount = bpf::find_cgroup2_mount();
        if (!mount)
            return std::unexpected(mount.error());
        cgroup = *std::move(mount);
    }
    // In a pod the mount would be the container's own, and end with it.
    const bool may_mount = !options.directory.empty();
    if (const auto there = bpf::probe({.pin_dir = options.pin_dir, .cgroup = cgroup, .may_mount = may_mount}); !there)
        return std::unexpected(there.error());
    if (const auto inside = require_inside(cgroup); !inside)
        return std::unexpected(inside.error());
    return cgroup;
}

/// The DaemonSet of --daemonset, followed; nullptr: none was named. Its server was found before.
std::unique_ptr<kube::DaemonSetWatch> follow_daemonset(const Options& options) {
    const size_t slash = options.daemonset.find('/');
    if (slash == std::string::npos)
        return nullptr;
    auto server = find_api_server(options);
    if (!server)
        return nullptr;
    return std::make_unique<kube::DaemonSetWatch>(*std::move(server), options.daemonset.substr(0, slash),
                                                  options.daemonset.substr(slash + 1));
}

/// Nobody has said yet: a moment more, the answer may be on its way.
bool is_deleted(const kube::DaemonSetWatch& daemonset) {
    const uint64_t deadline = monotonic_ms() + existence_wait_ms;
    while (daemonset.existence() == kube::Existence::unknown && monotonic_ms() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return daemonset.existence() == kube::Existence::deleted;
}

struct Ended {
    int exit_code = 0;
    bool aside = false; ///< another agent takes the place
};

/// With the lock held, until a signal.
Ended serve(const Options& options, const std::string& cgroup, AgentParts parts, bool engine_comes,
            const kube::DaemonSetWatch* daemonset) {
    const bool adopted = !bpf::list_pins(options.pin_dir).empty();
    auto datapath = bpf::Datapath::open(
        {.pin_dir = options.pin_dir, .cgroup = cgroup, .engine_timeout_ns = options.engine_timeout_ms * 1'000'000U});
    if (!datapath)
        return {.exit_code = complain(datapath.error(), exit_failure)};
    log::info("agent_started", log::kv("version", agent_version()), log::kv("source", options.source),
              log::kv("cgroup", cgroup), log::kv("pin_dir", options.pin_dir), log::kv("adopted", adopted));
    Agent agent(options, *std::move(datapath), std::move(parts), cgroup, adopted, engine_comes);
    if (const auto started = agent.start(); !started) {
        // What a former run has in force stays in force; what we have just made does not.
        agent.stop(adopted);
        return {.exit_code = complain(started.error(), exit_failure)};
    }
    forget_step_aside(); // asked twice: the second time was meant for the same
    const int number = wait_for_signal();
    const bool aside = number == step_aside_signal;
    const bool cleans = options.daemonset.empty() ? !options.keep : daemonset != nullptr && is_deleted(*daemonset);
    const bool keep = aside || !cleans;
    if (keep && number == SIGTERM)
        agent.linger();
    log::info("agent_stopping", log::kv("signal", number), log::kv("keep", keep));
    agent.stop(keep);
    return {.exit_code = 0, .aside = aside};
}

/// Stands by, and says so for `weftctl ready`: the pod is as good as it was, until the other has proven itself.
UniqueFd wait_aside(const Options& options) {
    write_standby(options.standby_file(), options.group);
    UniqueFd lock = stand_by(options.lock_file());
    ::unlink(options.standby_file().c_str());
    return lock;
}

} // namespace

int run_agent(const Options& options) {
    const auto cgroup = usable_cgroup(options);
    if (!cgroup)
        return complain(cgroup.error(), exit_missing_requirement);
    raise_descriptor_limit();
    const auto daemonset = follow_daemonset(options);
    UniqueFd lock;
    // This container was started again while it stood by: the place is another's by now.
    if (!options.group.empty() && stood_by(options.standby_file(), options.group)) {
        lock = wait_aside(options);
        if (!lock)
            return 0;
    }
    while (true) {
        std::expected<AgentParts, std::string> parts = open_parts(options);
        if (!parts)
            return complain("--source " + options.source + ": " + parts.error(), exit_failure);
        Place place{.lock = std::move(lock), .engine_connected = true};
        if (!place.lock) {
            std::function<bool()> may_take_over;
            if (options.take_over)
                may_take_over = [&, newcomer = Newcomer(options.objects_file())]() mutable {
                    return newcomer.may_take_over(*parts->source, parts->store);
                };
            auto taken = take_place(options.socket, options.lock_file(), may_take_over);
            if (!taken)
                return complain(taken.error(), exit_failure);
            if (!*taken)
                return 0;
            place = **std::move(taken);
        }
        const Ended ended = serve(options, *cgroup, *std::move(parts), place.engine_connected, daemonset.get());
        if (bpf::list_pins(options.pin_dir).empty()) { // nothing of ours is in force: nothing of ours is left
            ::unlink(options.objects_file().c_str());
            ::unlink(options.lock_file().c_str());
        }
        if (!ended.aside)
            return ended.exit_code;
        place.lock = {};
        lock = wait_aside(options);
        const bool told_to_end = daemonset && daemonset->existence() == kube::Existence::deleted;
        if (!lock)
            return 0;
        if (told_to_end && bpf::list_pins(options.pin_dir).empty()) { // the other has cleaned up
            ::unlink(options.lock_file().c_str());
            return 0;
        }
    }
}

int clean_up(const Options& options) {
    const auto lock = lock_socket(options.lock_file());
    if (!lock)
        return complain(lock.error(), exit_failure);
    // No new pod may ask an agent that never comes; then the hooks: while the engine ends, nobody is sent to it.
    const auto unchained =
        options.cni_conf_dir.empty() ? std::expected<void, std::string>() : cni::uninstall(cni_folders(options));
    const auto removed = bpf::Datapath::cleanup(options.pin_dir);
    if (const auto left = engine::recorded_engine(options.engine_state_file()))
        engine::terminate(*left, engine::terminate_wait_ms);
    for (const std::string& path :
         {options.engine_state_file(), options.objects_file(), options.socket, options.lock_file()})
        ::unlink(path.c_str());
    if (!options.cni_socket.empty())
        for (const std::string& path : options.cni_files())
            ::unlink(path.c_str());
    if (!unchained)
        return complain(unchained.error(), exit_failure);
    return removed ? 0 : complain(removed.error(), exit_failure);
}

} // namespace weft::agent
