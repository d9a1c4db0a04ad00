// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "config/base/unique_fd.hpp"
#include "l7engine/io/signal.hpp"
#include "l7engine/io/task.hpp"
#include "l7engine/io/tcp.hpp"
#include "l7engine/proxy/counters.hpp"

namespace weft::l7 {

struct ProxySettings;

/// One worker's unconnected sockets, made by the agent inside the pods' network namespaces: a small stock per pod and
/// family, refilled before it is empty. While the agent does not answer, sockets whose connection has ended are used
/// again: so an absent agent delays a request instead of failing it, however long it is away. Worker's thread.
class SocketStock {
public:
    struct Wish {
        uint32_t pod_id;
        bool ipv6;
        uint32_t count;
    };
    /// `ask` sends the wish to the agent; it may be lost.
    SocketStock(Worker& worker, const ProxySettings& settings, Counters& counters,
                std::move_only_function<void(Wish)> ask);
    ~SocketStock();

    /// The pod's listeners are here: from now on it has a stock.
    void add_pod(uint32_t pod_id);
    /// Closes the stock; who waits gets Code::unavailable.
    void release_pod(uint32_t pod_id);
    /// Sockets of a pod that is not (or no longer) here are closed.
    void give(uint32_t pod_id, bool ipv6, std::vector<UniqueFd> sockets);
    /// The agent cannot make any: who waits fails now.
    void refuse(uint32_t pod_id, bool ipv6);

    /// A socket at once, or one without a descriptor: then `co_await wait()`.
    [[nodiscard]] UniqueFd try_take(uint32_t pod_id, bool ipv6);
    /// Error: Code::unavailable if none came in time, or the pod is gone; Code::canceled.
    [[nodiscard]] Task<Result<UniqueFd>> wait(uint32_t pod_id, bool ipv6, Until until);

    /// What connect_tcp() needs for a socket taken here.
    [[nodiscard]] SocketHome home(uint32_t pod_id, bool ipv6) const;

    /// Another agent is there: it knows nothing of earlier wishes.
    void ask_again();
    /// Repeats wishes without answer and lets big targets shrink. Every tick.
    void tick();
    [[nodiscard]] size_t size() const;
    [[nodiscard]] uint32_t target(uint32_t pod_id, bool ipv6) const;

private:
    struct Shelf;
    class Taker;
    using Key = std::pair<uint32_t, bool>;
    Shelf* find(uint32_t pod_id, bool ipv6) const;
    void refill(Key key, Shelf& shelf);
    UniqueFd pop(Shelf& shelf);
    void take_back(UniqueFd socket, Key key);
    void reuse_parked(Key key, Shelf& shelf);
    void agent_answered(Shelf& shelf);
    void put_back(UniqueFd socket, Key key);

    Worker& worker_;
    const ProxySettings& settings_;
    Counters& counters_;
    std::move_only_function<void(Wish)> ask_;
    std::map<Key, std::unique_ptr<Shelf>> shelves_;
    /// Released with waiters that have not run yet: they still refer to the signal.
    std::vector<std::unique_ptr<Shelf>> leaving_;
    std::shared_ptr<Taker> taker_; ///< dies with the stock; streams only look whether it lives
};

} // namespace weft::l7
