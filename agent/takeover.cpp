// SPDX-License-Identifier: Apache-2.0
#include "agent/takeover.hpp"

#include <poll.h>
#include <signal.h>

#include <ctime>
#include <fstream>

#include "agent/ctl/client.hpp"
#include "agent/requirements.hpp"
#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent {
namespace {

/// True: a signal that ends this process came.
bool signal_within(uint64_t wait_ms) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP})
        sigaddset(&signals, number);
    const timespec wait{.tv_sec = static_cast<time_t>(wait_ms / 1000),
                        .tv_nsec = static_cast<long>(wait_ms % 1000 * 1'000'000)};
    return sigtimedwait(&signals, nullptr, &wait) > 0;
}

std::string standby_group(const std::string& file) {
    std::ifstream stream(file);
    std::string group;
    std::getline(stream, group);
    return group;
}

} // namespace

void write_standby(const std::string& file, const std::string& group) {
    std::ofstream(file, std::ios::trunc) << group << '\n'; // without it the pod is not ready, nothing else
}

bool stood_by(const std::string& file, const std::string& group) {
    return standby_group(file) == group;
}

bool others_stand_by(const std::string& file, const std::string& group) {
    const std::string other = standby_group(file);
    return !other.empty() && other != group;
}

std::expected<std::optional<Place>, std::string> take_place(const std::string& socket, const std::string& lock_file,
                                                            const std::function<bool()>& may_take_over) {
    auto lock = lock_socket(lock_file);
    if (!lock && !may_take_over)
        return std::unexpected(lock.error());
    const bool waited = !lock;
    while (!lock && !may_take_over()) {
        if (signal_within(turn_poll_ms))
            return std::nullopt;
        lock = lock_socket(lock_file);
    }
    if (lock) // at once, or of one that has just died: then its engine comes
        return Place{.lock = *std::move(lock), .engine_connected = waited};
    log::info("taking_over", log::kv("socket", socket));
    Place place{.lock = {}, .engine_connected = true};
    // An answer that is lost says nothing: the lock does.
    if (const auto answer = ctl::ask(socket, ctl::Verb::step_aside, step_aside_answer_ms)) {
        if (!answer->ok)
            return std::unexpected("the agent on this socket does not step aside: " + answer->error);
        place.engine_connected = answer->json.is_boolean() && answer->json.get<bool>();
    }
    for (const uint64_t deadline = monotonic_ms() + step_aside_wait_ms; monotonic_ms() < deadline;) {
        lock = lock_socket(lock_file);
        if (lock) {
            place.lock = *std::move(lock);
            return place;
        }
        poll(nullptr, 0, lock_poll_ms);
    }
    return std::unexpected("the agent on this socket did not step aside in time: " + lock.error());
}

UniqueFd stand_by(const std::string& lock_file) {
    log::info("standing_by");
    for (uint64_t wait_ms = standby_first_ms; !signal_within(wait_ms); wait_ms = standby_poll_ms) {
        if (auto lock = lock_socket(lock_file))
            return *std::move(lock);
    }
    return {};
}

} // namespace weft::agent
