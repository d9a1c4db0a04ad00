// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/base/unique_fd.hpp"
#include "l7engine/filter/chain.hpp"
#include "l7engine/filter/router.hpp"
#include "l7engine/io/tcp.hpp"
#include "l7engine/io/worker.hpp"
#include "l7engine/policy/flood.hpp"
#include "l7engine/proxy/admit.hpp"
#include "l7engine/proxy/dial_slots.hpp"
#include "l7engine/proxy/session_pool.hpp"
#include "l7engine/proxy/settings.hpp"
#include "l7engine/proxy/socket_stock.hpp"
#include "l7engine/proxy/stats.hpp"
#include "l7engine/proxy/tcp_stats.hpp"
#include "l7engine/proxy/upstream.hpp"

namespace weft::l7 {

class Downstream;
using ViewPtr = std::shared_ptr<const SnapshotView>;

/// What one pod has in use of a worker, in one direction.
struct PodUse {
    size_t connections = 0;
    size_t requests = 0;
    BufferAccount buffers;
};

/// What one worker can tell about itself.
struct ProxyReport {
    std::vector<StatsSeries> series;   ///< since the last report
    std::vector<TcpSeries> tcp_series; ///< since the last report
    std::array<uint64_t, counter_count> counters{};
    size_t connections = 0;
    size_t exchanges = 0;
    size_t pooled = 0;
    size_t stocked = 0;
    size_t buffered_bytes = 0; ///< of all pods
    size_t frame_bytes = 0;
    size_t largest_frame = 0;
    uint64_t accept_shortages = 0;
};

/// Everything of the engine that hangs below one worker: listeners, connections, pool, stock, counters. Owned by the
/// worker's thread and touched by it only; others post to the worker.
class Proxy {
public:
    Proxy(Worker& worker, const ProxySettings& settings, uint32_t workers,
          std::move_only_function<void(SocketStock::Wish)> ask_sockets);
    /// After shut_down() has reported.
    ~Proxy();
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    // from the control thread, posted
    /// In force for every exchange that begins from now on, and for open tunnels. The first one opens the listeners
    /// that wait for it.
    void apply(ViewPtr view);
    void map_dial_slots(DialSlotTable table) { dial_slots_.map(std::move(table)); }
    void add_listener(uint32_t pod_id, abi::weft_listener_kind kind, UniqueFd listener);
    /// Closes everything of the pod; `released` runs when no descriptor of it is left here. A second call waits with
    /// the first.
    void release_pod(uint32_t pod_id, std::move_only_function<void()> released);
    /// Stops accepting, lets exchanges end, cuts what is left after the timeout; then `drained` runs. A second call
    /// may shorten the time.
    void drain(uint64_t timeout_ms, std::move_only_function<void()> drained);
    [[nodiscard]] ProxyReport report();
    /// How much of the engine's memory is in use: what is shed from now on.
    void press(Pressure pressure) { pressure_ = pressure; }

    // connections
    /// Serves an accepted connection. False: refused and counted, the stream is closed.
    bool serve(std::unique_ptr<ByteStream> stream, const Accepted& accepted);
    /// The same where it does not wait for a turn, or has.
    bool serve_now(std::unique_ptr<ByteStream> stream, const Accepted& accepted);
    /// A connection of its client has used up a budget: the next ones of a pod's own wait (docs/decisions/0012).
    void flooded(const Accepted& accepted);

    // for what serves a connection
    /// A new connection to the exchange's endpoint, through a dial slot if inbound. Error: Code::canceled, if so.
    [[nodiscard]] Task<Result<UpstreamPtr>> connect(UpstreamKey key, Direction direction, SocketAddress client,
                                                    Cancel& cancel);
    /// A session to it with room for a stream: one that is there, or a new one. Code::unavailable: too many wait.
    [[nodiscard]] Task<Result<SessionPtr>> session(UpstreamKey key, Direction direction, SocketAddress client,
                                                   Cancel& cancel);
    /// Only the connection.
    [[nodiscard]] Task<Result<std::unique_ptr<ByteStream>>> dial(UpstreamKey key, Direction direction,
                                                                 SocketAddress client, Until until);
    void joined(Downstream& connection);
    void left(Downstream& connection);
    /// Lives as long as anything of the pod is here.
    [[nodiscard]] PodUse& use_of(uint32_t pod_id, Direction direction);
    /// Settings of a stream that is charged to the pod.
    [[nodiscard]] TcpSettings tcp_settings(uint32_t pod_id, Direction direction);
    /// May a request of the pod begin? Otherwise why not, which is counted: for local_reply().
    [[nodiscard]] std::optional<Error> refuse_request(const PodUse& use);
    [[nodiscard]] Worker& worker() { return worker_; }
    [[nodiscard]] const ProxySettings& settings() const { return settings_; }
    [[nodiscard]] const ViewPtr& view() const { return view_; }
    [[nodiscard]] const Chain& chain(Direction direction) const {
        return direction == Direction::outbound ? outbound_ : inbound_;
    }
    [[nodiscard]] UpstreamPool& pool() { return pool_; }
    [[nodiscard]] SessionPool& sessions() { return sessions_; }
    [[nodiscard]] SocketStock& stock() { return stock_; }
    [[nodiscard]] EndpointPicker& picker() { return picker_; }
    [[nodiscard]] PipePool& pipes() { return pipes_; }
    [[nodiscard]] StatsShard& stats() { return stats_; }
    [[nodiscard]] TcpStats& tcp_stats() { return tcp_stats_; }
    [[nodiscard]] Counters& counters() { return counters_; }
    [[nodiscard]] bool draining() const { return draining_; }
    [[nodiscard]] size_t connections() const { return connections_; }
    [[nodiscard]] size_t& exchanges() { return exchanges_; }
    /// The time as IMF-fixdate, made once a second.
    [[nodiscard]] std::string_view http_date();

private:
    struct Pod;
    class Tick;
    struct WaitingListener {
        uint32_t pod_id;
        abi::weft_listener_kind kind;
        UniqueFd listener;
    };

    void open_listener(WaitingListener waiting);
    void drop_oldest(Pod& pod, abi::weft_listener_kind kind);
    void accepted(uint32_t pod_id, abi::weft_listener_kind kind, UniqueFd socket);
    void pause_accepts(uint32_t pod_id, Deadline until);
    [[nodiscard]] bool has_room(const Accepted& accepted);
    [[nodiscard]] Usage used() const;
    void shed_idle();
    void let_go_of_snapshots();
    void count_shortage(const Error& error, Counter what);
    void tick();
    Error connect_failed(Error error);
    void finish_releases();
    void finish_drain();
    Downstream* first_of(uint32_t pod_id) const;
    void cut(Counter reason, uint32_t pod_id);

    Worker& worker_;
    const ProxySettings settings_;
    Counters counters_;
    StatsShard stats_;
    TcpStats tcp_stats_;
    UpstreamPool pool_;
    SessionPool sessions_;
    SocketStock stock_;
    DialSlots dial_slots_;
    EndpointPicker picker_;
    FloodGuard floods_;
    PipePool pipes_;
    Chain outbound_;
    Chain inbound_;
    ViewPtr view_;

    std::unordered_map<uint32_t, std::unique_ptr<Pod>> pods_;
    /// By pod, one per direction. Streams that are charged hold on to them: they go with the pod, when nothing of it is
    /// left.
    std::unordered_map<uint32_t, std::array<PodUse, 2>> uses_;
    Pressure pressure_ = Pressure::none;
    std::vector<WaitingListener> waiting_listeners_; ///< until the first snapshot
    Downstream* first_connection_ = nullptr;         ///< intrusive list
    size_t connections_ = 0;
    size_t exchanges_ = 0;
    uint64_t accept_shortages_ = 0; ///< of acceptors that are gone

    bool draining_ = false;
    size_t stopping_acceptors_ = 0;
    Deadline drain_deadline_ = never;
    Deadline let_go_at_ = never;                           ///< of old snapshots
    std::vector<std::move_only_function<void()>> drained_; ///< who waits for the end of the drain

    std::unique_ptr<Tick> tick_;
    char date_[40] = {};
    size_t date_size_ = 0;
    int64_t date_second_ = 0;
};

} // namespace weft::l7
