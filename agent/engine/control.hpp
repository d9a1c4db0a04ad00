// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "agent/engine/link.hpp"
#include "agent/engine/process.hpp"

namespace weft::agent::engine {

inline constexpr size_t peers_max = 64;
inline constexpr uint32_t engines_max = 8; ///< connected at once: one serves, others finish; each has its dial slots
inline constexpr size_t hello_listeners_max = 2 * offers_max; ///< two agents' worth
inline constexpr uint64_t first_message_wait_ms = 5000;       ///< a connection that says nothing is closed
/// An engine process of ours that is not connected for so long is stuck: it is killed, and started anew.
inline constexpr uint64_t connect_wait_ms = 15'000;
inline constexpr uint64_t drain_grace_ms = 1000; ///< beyond it, before they are terminated

/// What the control thread tells the loop.
struct EngineArrived {
    EngineHello hello;
    std::vector<OfferedListener> offers;
};
struct EngineApplied {
    uint64_t generation = 0;
    std::string error; ///< empty: in force
};
struct EngineGone {
    std::string reason;
};
struct CtlAsked {
    uint64_t token = 0; ///< for reply()
    CtlRequest request;
};
using ControlEvent = std::variant<EngineArrived, EngineApplied, EngineGone, CtlAsked>;

/// For status.
struct EngineView {
    bool connected = false;
    pid_t pid = 0;
    std::string version;
    std::string group;
    uint32_t workers = 0;
    uint64_t starts = 0;
    std::string last_end; ///< of the process that this agent started; empty: none ended
};

/// The control socket, its connections and the engine process, on one thread that never waits for anything but poll:
/// an engine's wish for sockets is answered at once, whatever the loop compiles meanwhile.
class Control {
public:
    struct Settings {
        std::string socket_path;
        uid_t engine_user = 0;
        Supply supply;                                 ///< without pods and snapshot
        std::optional<EngineProcess::Settings> engine; ///< absent: an engine comes by itself
        /// While an engine serves, only one of this group takes its place; others are told to ask again.
        std::string group{};
        uint32_t drain_timeout_ms = 5000; ///< given to engines that shall finish
        /// An engine of the former agent is on its way with its listeners: so long none without any is wanted.
        uint64_t listeners_wait_ms = 0;
        std::function<bool(ControlEvent)> post; ///< called on the control thread; must not wait. False: no room
    };

    /// Binds the socket and starts the thread. The error is one line.
    [[nodiscard]] static std::expected<std::unique_ptr<Control>, std::string>
    start(Settings settings, metrics::Counters& counters, metrics::Collector& collector);
    ~Control();
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;

    // From any thread; done in the order of the calls.
    void publish(uint64_t generation, std::shared_ptr<const std::string> snapshot_message);
    void add_pod(CapturePtr capture);
    /// The engines close everything of this pod; the supply's own hold on it is let go.
    void remove_pod(uint32_t pod_id);
    /// From now on an engine process is kept running: `adopted` first, if it still lives.
    void run_engine(std::optional<ProcessId> adopted);
    void reply(uint64_t token, CtlReply reply);

    /// Asks every engine for its report and waits until the collector has them. False: not all came in time.
    [[nodiscard]] bool collect(uint32_t timeout_ms);
    [[nodiscard]] EngineView engine() const;

    enum class Ending : uint8_t { keep_engine, stop_engine };
    /// Ends the thread. stop_engine: engines are drained, then terminated, and the socket is removed.
    void stop(Ending ending);

private:
    struct Peer;
    using Command = std::move_only_function<void()>;

    Control(Settings settings, UniqueFd listener, UniqueFd wake, metrics::Counters& counters,
            metrics::Collector& collector);
    void command(Command command);
    void run();
    void run_commands();
    [[nodiscard]] int wait_ms() const;
    void turn();

    void accept_peers();
    void serve(Peer& peer, short events);
    Result<void> read(Peer& peer);
    Result<void> take(Peer& peer, wire::Frame frame);
    Result<void> take_hello(Peer& peer, EngineHello hello, std::vector<UniqueFd> fds);
    Result<void> take_more(Peer& peer, const MoreListeners& more, std::vector<UniqueFd> fds);
    Result<void> welcome(Peer& peer, const EngineHello& hello, std::vector<UniqueFd> fds);
    [[nodiscard]] std::optional<DialSlotRange> free_dial_slots();
    [[nodiscard]] bool takes_place(const EngineHello& hello) const;
    [[nodiscard]] bool stands_by(const EngineHello& hello) const;
    Result<void> send_to_standby(Peer& peer);
    void drain(Peer& peer);
    Result<void> refuse_engine(Peer& peer, const std::string& error, const char* during);
    Result<void> take_from_engine(Peer& peer, ToAgent message);
    Result<void> take_ctl(Peer& peer, const CtlRequest& request);
    void close_failed(Peer& peer, const Error& error);
    void lose(Peer& peer, const std::string& reason);
    void sweep_peers();
    void each_engine(const std::function<Result<void>(EngineLink&)>& act);

    void tend_engine();
    void kill_stuck_engine(uint64_t now_ms);
    void finish_engines();
    void stats_progress();
    void update_view();

    Settings settings_;
    UniqueFd listener_;
    UniqueFd wake_;
    metrics::Counters& counters_;
    metrics::Collector& collector_;
    Supply supply_;

    // control thread
    std::list<std::unique_ptr<Peer>> peers_;
    Peer* current_ = nullptr; ///< the engine at work; the others drain
    uint64_t last_peer_id_ = 0;
    uint32_t next_dial_range_ = 0;
    std::optional<EngineProcess> process_;
    uint64_t listeners_by_ms_ = 0;        ///< until then the engine that comes first shall bring listeners
    uint64_t connect_by_ms_ = UINT64_MAX; ///< while the process runs and is not connected
    std::string last_start_fault_;        ///< said once
    bool accepting_ = true;

    // shared
    mutable std::mutex mutex_;
    std::condition_variable stats_done_;
    std::vector<Command> commands_;
    EngineView view_;
    uint64_t stats_asked_ = 0;
    uint64_t stats_answered_ = 0;
    std::optional<Ending> ending_;
    std::jthread thread_;
};

/// Binds and listens at `path`, readable by root and `owner` only; takes the place of a socket that a former agent
/// left. `type`: SOCK_STREAM or SOCK_SEQPACKET. The error begins with the path.
[[nodiscard]] std::expected<UniqueFd, std::string> listen_at(const std::string& path, uid_t owner, int type);

} // namespace weft::agent::engine
