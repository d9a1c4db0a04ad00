// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "agent/kube/api_server.hpp"
#include "agent/kube/reflector.hpp"

namespace weft::agent::kube {

/// Whether the DaemonSet that runs this agent is still wanted: what a pod cannot tell from the SIGTERM that it gets, be
/// it an upgrade (what is in force stays) or the end (nothing may be left).
enum class Existence : uint8_t {
    unknown, ///< the API server has never said
    wanted,
    deleted ///< it is gone, or was told to go
};

/// What is learnt from the API server's answers: one GET, then a watch of that one object, and again. Pure. A server
/// that cannot be reached, or that refuses us, changes nothing: the rights may be gone a moment before the agent is,
/// but the watch that is open has told by then.
class DaemonSetFollower {
public:
    DaemonSetFollower(std::string ns, std::string name) : ns_(std::move(ns)), name_(std::move(name)) {}

    struct Ask {
        std::string path;
        bool watch = false;
    };
    [[nodiscard]] Ask next() const;
    /// False: it is more than an answer can be; the owner ends the request.
    [[nodiscard]] bool take_piece(int status, std::string_view piece);
    /// Returns how long to wait before next(), in milliseconds.
    [[nodiscard]] uint64_t ended(const Outcome& outcome);
    [[nodiscard]] Existence existence() const { return existence_; }
    [[nodiscard]] const std::string& fault() const { return fault_; } ///< why it is not known now; empty: it is

private:
    void take_event(std::string_view line);
    void take_object(const Value& object);

    const std::string ns_;
    const std::string name_;
    bool watching_ = false;
    std::string resource_version_;
    std::string buffer_;
    std::string fault_;
    uint64_t failures_ = 0;
    Existence existence_ = Existence::unknown;
};

/// Follows it on a thread of its own.
class DaemonSetWatch {
public:
    DaemonSetWatch(ApiServer server, std::string ns, std::string name);
    ~DaemonSetWatch();

    /// Any thread.
    [[nodiscard]] Existence existence() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace weft::agent::kube
