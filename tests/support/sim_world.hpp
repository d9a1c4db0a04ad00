// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/base/net.hpp"
#include "config/base/unique_fd.hpp"

/// The world behind the simulated ring (sim_ring.cpp): sockets in memory, a clock that moves only when nothing else
/// can, and everything that a kernel or a network may do in an order drawn from one seed. Same seed, same run.
///
///   World world(seed);                                   // before the worker; one per thread at a time
///   auto worker = Worker::create(0, {});                 // the engine as it is
///   world.serve(address, [](Peer server) { ... });       // scripted servers, which the engine connects to
///   Peer client = world.connect(listening_address);      // scripted clients
///   world.after(5, [client] { client.send("x"); });      // scripts by virtual time; then turn the worker
namespace weft::sim {

/// Chances in one of a thousand, each time that the thing could happen.
struct Faults {
    unsigned delay = 300; ///< an operation that could go on waits, up to delay_ms_max
    uint64_t delay_ms_max = 20;
    unsigned short_read = 500;     ///< less than there is
    unsigned short_send = 30;      ///< a send ends before all of it was taken
    unsigned no_buffers = 20;      ///< -ENOBUFS though buffers are free
    unsigned multishot_end = 30;   ///< a multishot ends for no reason
    unsigned accept_shortage = 30; ///< -EMFILE
    unsigned accept_aborted = 30;  ///< -ECONNABORTED: a connection that was reset in the backlog
    unsigned interrupted = 20;     ///< -EINTR or -EAGAIN from a receive, an accept, or a send that took nothing yet
    unsigned unspliceable = 20;    ///< the next byte is urgent: only a receive takes it
    unsigned connect_refused = 0;
    unsigned canceled_late = 500;    ///< a cancelled operation that could go on completes as if it were not
    unsigned reset_loses_tail = 500; ///< a reset overtakes bytes on their way
    unsigned reset_missed = 300;     ///< a multishot receive that reads bytes does not see the reset behind them
    size_t window_bytes_max = 65536; ///< what a socket holds unread; drawn per socket between 1 and this
};

class World;

/// The scripted end of a connection. A handle: copies mean the same end.
class Peer {
public:
    Peer() = default;
    /// Into the other end's buffer, without limit.
    void send(std::string_view bytes) const;
    /// Sends FIN; the other direction stays open.
    void shutdown() const;
    /// Closes: FIN, or a reset if bytes are unread. Later bytes of the other end are answered with a reset.
    void close() const;
    void reset() const;
    /// Stops and goes on taking bytes (initially it takes them at once).
    void pause() const;
    void resume() const;
    /// Runs whenever bytes, a FIN or a reset have come; never inside the engine's code.
    void on_event(std::function<void(Peer)> script) const;
    /// All bytes that ever came, in order.
    [[nodiscard]] const std::string& received() const;
    [[nodiscard]] bool saw_fin() const;
    [[nodiscard]] bool saw_reset() const;
    /// FIN or reset has come, or it closed itself.
    [[nodiscard]] bool over() const;

private:
    friend class World;
    Peer(World& world, uint64_t id) : world_(&world), id_(id) {}
    World* world_ = nullptr;
    uint64_t id_ = 0;
};

class World {
public:
    using OnConnect = std::function<void(Peer)>;

    explicit World(uint64_t seed, const Faults& faults = {});
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    /// The one of this thread; ends the process if there is none.
    [[nodiscard]] static World& current();

    // ---- what the engine is given
    [[nodiscard]] UniqueFd listen(const SocketAddress& address);
    [[nodiscard]] UniqueFd socket();
    /// Two connected sockets, both the engine's.
    [[nodiscard]] std::pair<UniqueFd, UniqueFd> pair();

    // ---- what is scripted
    /// Dials a listener of the engine. Without one the peer sees a reset at once.
    Peer connect(const SocketAddress& address);
    /// A socket of the engine, connected to a scripted end.
    std::pair<UniqueFd, Peer> connected();
    /// A server for the engine's connects. Addresses without one refuse.
    void serve(const SocketAddress& address, OnConnect on_connect);
    /// Connects to this address are never answered.
    void ignore(const SocketAddress& address);
    /// Connects to this address fail: no route to the host.
    void unreachable(const SocketAddress& address);
    void stop_serving(const SocketAddress& address);
    void after(uint64_t delay_ms, std::function<void()> script);

    // ---- the state of things
    [[nodiscard]] uint64_t now_ms() const { return now_ms_; }
    [[nodiscard]] uint64_t seed() const { return seed_; }
    /// Uniform in [0, below); 0 if below is 0.
    uint64_t random(uint64_t below);
    bool chance(unsigned per_mille) { return random(1000) < per_mille; }
    /// The engine's descriptors that are still open.
    [[nodiscard]] size_t open_descriptors();
    /// What no kernel rule allows or the io layer promises not to do (closing with operations in flight, ...).
    [[nodiscard]] const std::vector<std::string>& misuses() const { return misuses_; }
    [[nodiscard]] const Faults& faults() const { return faults_; }

    // ---- for sim_ring.cpp and Peer
    struct Socket {
        uint64_t id = 0;
        uint64_t other = 0;  ///< 0: not connected
        int descriptor = -1; ///< -1: scripted, or closed
        uint64_t file = 0;   ///< identity of the descriptor's file
        size_t window_bytes = 0;
        unsigned operations = 0; ///< of the engine, in flight
        std::string inbox;       ///< came and was not read
        bool fin_in = false;
        bool reset_in = false;
        bool reset_told = false; ///< a later error is EPIPE
        bool fin_out = false;
        bool closed = false;
        bool hard_close = false;
        bool non_blocking = false;
        bool listening = false;
        std::deque<uint64_t> backlog;
        // scripted end
        bool scripted = false;
        bool paused = false;
        bool event_pending = false;
        std::string received;
        std::function<void(Peer)> on_event;
    };
    Socket* by_descriptor(int descriptor);
    Socket& by_id(uint64_t id);
    /// Bytes that the other end can take now.
    size_t room(const Socket& from);
    void deliver(Socket& from, std::string_view bytes);
    void send_fin(Socket& from);
    void close_socket(Socket& socket, bool hard);
    bool close_descriptor(int descriptor);
    void misuse(std::string what) { misuses_.push_back(std::move(what)); }
    enum class Dial : uint8_t { connected, refused, unanswered, unreachable };
    Dial dial(Socket& from, const SocketAddress& address);
    /// As connect() with AF_UNSPEC: the other end is reset, the socket is as new.
    void disconnect(Socket& socket);
    /// A descriptor for a connection from the backlog; -1 if there is none.
    int accept(Socket& listener);
    void run_scripts();
    [[nodiscard]] uint64_t next_script_ms() const;
    void move_clock(uint64_t to_ms);
    /// Sees what the engine closed without the ring (UniqueFd).
    void sweep();

private:
    friend class Peer;
    struct Server {
        OnConnect on_connect;
        bool ignores = false;
        bool unreachable = false;
    };
    Socket& make_socket(bool scripted);
    UniqueFd open_descriptor(Socket& socket);
    void link(Socket& one, Socket& other);
    void reset_socket(Socket& socket);
    void event(Socket& socket);

    uint64_t seed_;
    uint64_t state_;
    Faults faults_;
    uint64_t now_ms_ = 1'000'000;
    uint64_t last_id_ = 0;
    std::map<uint64_t, std::unique_ptr<Socket>> sockets_;
    std::map<int, uint64_t> descriptors_;
    std::map<SocketAddress, uint64_t> listeners_;
    std::map<SocketAddress, Server> servers_;
    std::multimap<uint64_t, std::function<void()>> scripts_;
    std::vector<std::string> misuses_;
};

} // namespace weft::sim
