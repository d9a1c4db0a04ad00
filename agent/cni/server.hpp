// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "agent/metrics/counters.hpp"
#include "config/base/unique_fd.hpp"
#include "config/cni/messages.hpp"

namespace weft::agent::cni {

using weft::cni::Answer;
using weft::cni::Outcome;
using weft::cni::Request;

inline constexpr size_t requests_max = 128;         ///< connections at once
inline constexpr uint64_t request_wait_ms = 2000;   ///< a connection that says nothing is closed
inline constexpr uint64_t fail_open_read_ms = 5000; ///< how often the plugin's record is looked for
inline constexpr size_t fail_open_bytes_max = 128 * 1024;
inline constexpr size_t fail_open_said_max = 16; ///< of one record, in the log

/// What the server's thread tells the loop.
struct Asked {
    uint64_t token = 0; ///< for reply(), once
    Request request;
    UniqueFd netns; ///< empty: none came with it
};
/// Whoever asked does not wait any more.
struct Left {
    uint64_t token = 0;
};
using Event = std::variant<Asked, Left>;

/// The socket of weft-cni: one request and one answer a connection, root only. A thread of its own that never waits for
/// anything but poll, so a slow or hostile peer holds up nobody. It also counts what the plugin recorded while there
/// was no agent.
class Server {
public:
    struct Settings {
        UniqueFd listener; ///< SOCK_SEQPACKET, non-blocking
        std::string socket_path;
        std::function<bool(Event)> post; ///< called on the server's thread; must not wait. False: no room
    };

    [[nodiscard]] static std::expected<std::unique_ptr<Server>, std::string> start(Settings settings,
                                                                                   metrics::Counters& counters);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// From any thread. For one that has left: nothing happens.
    void reply(uint64_t token, const Answer& answer);
    /// Ends the thread and closes every connection unanswered: their plugins ask the next agent. The file of the
    /// socket stays, so that theirs is the same error while there is none.
    void stop();

private:
    struct Connection {
        uint64_t token = 0;
        UniqueFd fd;
        uint64_t deadline_ms = 0; ///< of the request; UINT64_MAX once it is there
        bool closed = false;
    };

    Server(Settings settings, UniqueFd wake, metrics::Counters& counters);
    void run(const std::stop_token& stop);
    void turn();
    void accept_connections();
    void serve(Connection& connection);
    void take(Connection& connection, const std::string& bytes, UniqueFd netns);
    void answer_now(Connection& connection, const Answer& answer);
    void refuse(Connection& connection, const char* cause);
    void send_replies();
    void count_fail_opens();

    const Settings settings_;
    const UniqueFd wake_;
    metrics::Counters& counters_;

    // the thread
    std::list<Connection> connections_;
    uint64_t last_token_ = 0;
    uint64_t fail_open_read_at_ms_ = 0;

    // shared
    std::mutex mutex_;
    std::vector<std::pair<uint64_t, Answer>> replies_;
    std::jthread thread_;
};

} // namespace weft::agent::cni
