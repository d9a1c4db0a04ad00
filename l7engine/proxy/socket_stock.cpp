// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/socket_stock.hpp"

#include <algorithm>

#include "l7engine/io/worker.hpp"
#include "l7engine/proxy/settings.hpp"

namespace weft::l7 {

namespace {

constexpr uint64_t cover_ms = 1'000;  ///< a stock that is used up within that time is too small, refilled or not
constexpr uint64_t decay_ms = 30'000; ///< a target above the start that was not needed for that long is halved

/// Ours, and not the backend's: neither an answer that is late nor another endpoint's business.
constexpr Error no_socket{.code = Code::unavailable, .side = Side::self, .during = "socket stock"};
constexpr Error pod_gone{.code = Code::unavailable, .side = Side::self, .during = "socket of pod"};

} // namespace

struct SocketStock::Shelf {
    Shelf(Worker& worker, uint32_t start) : arrived(worker), target(start) {}

    Signal arrived;
    std::vector<UniqueFd> sockets;
    std::vector<UniqueFd> parked; ///< done with, to be closed if the agent answers in time, else used again
    uint32_t target;
    uint32_t asked = 0; ///< of the wish that has no answer yet; 0: none
    uint64_t asked_at_ms = 0;
    uint64_t silent_since_ms = 0; ///< of the agent: its first wish without an answer; 0: none
    uint64_t low_at_ms = 0;       ///< when it last ran low
    uint32_t taken = 0;           ///< since then:
    uint64_t taken_since_ms = 0;
    bool emptied = false; ///< since the last delivery
    size_t waiters = 0;   ///< coroutines that still refer to this shelf
    bool released = false;
};

/// Knows the stock for as long as there is one.
class SocketStock::Taker final : public SocketTaker {
public:
    explicit Taker(SocketStock& stock) : stock_(stock) {}
    void take_back(UniqueFd socket, uint64_t tag) override {
        stock_.take_back(std::move(socket), {static_cast<uint32_t>(tag >> 1), (tag & 1) != 0});
    }
    void put_back(UniqueFd socket, Key key) { stock_.put_back(std::move(socket), key); }

private:
    SocketStock& stock_;
};

/// While the agent is away a pod lives on its stock: so it grows with use, not only once it was empty.
UniqueFd SocketStock::pop(Shelf& shelf) {
    const uint64_t now = worker_.now_ms();
    if (now - shelf.taken_since_ms > cover_ms) {
        shelf.taken = 0;
        shelf.taken_since_ms = now;
    }
    if (++shelf.taken >= shelf.target) {
        shelf.taken = 0;
        shelf.emptied = true; // the same need: not counted again when it is empty
        shelf.target = std::min(shelf.target * 2, settings_.stock_max);
    }
    UniqueFd socket = std::move(shelf.sockets.back());
    shelf.sockets.pop_back();
    return socket;
}

SocketStock::SocketStock(Worker& worker, const ProxySettings& settings, Counters& counters,
                         std::move_only_function<void(Wish)> ask)
    : worker_(worker), settings_(settings), counters_(counters), ask_(std::move(ask)),
      taker_(std::make_shared<Taker>(*this)) {}
SocketStock::~SocketStock() = default;

SocketStock::Shelf* SocketStock::find(uint32_t pod_id, bool ipv6) const {
    const auto found = shelves_.find({pod_id, ipv6});
    return found == shelves_.end() ? nullptr : found->second.get();
}

void SocketStock::add_pod(uint32_t pod_id) {
    for (const bool ipv6 : {false, true}) {
        auto& shelf = shelves_[{pod_id, ipv6}];
        if (shelf == nullptr)
            shelf = std::make_unique<Shelf>(worker_, settings_.stock_start);
    }
}

void SocketStock::release_pod(uint32_t pod_id) {
    for (const bool ipv6 : {false, true}) {
        const auto found = shelves_.find({pod_id, ipv6});
        if (found == shelves_.end())
            continue;
        Shelf& shelf = *found->second;
        shelf.released = true;
        shelf.sockets.clear();
        shelf.arrived.fail_all(pod_gone);
        if (shelf.waiters > 0)
            leaving_.push_back(std::move(found->second));
        shelves_.erase(found);
    }
}

void SocketStock::give(uint32_t pod_id, bool ipv6, std::vector<UniqueFd> sockets) {
    Shelf* shelf = find(pod_id, ipv6);
    if (shelf == nullptr) {
        counters_.add(Counter::stock_unwanted, sockets.size());
        return;
    }
    agent_answered(*shelf);
    for (UniqueFd& socket : sockets) {
        if (shelf->sockets.size() >= settings_.stock_max) {
            counters_.add(Counter::stock_unwanted);
            continue;
        }
        shelf->emptied = false;
        shelf->sockets.push_back(std::move(socket));
        shelf->arrived.notify_one();
    }
    if (shelf->waiters > shelf->sockets.size())
        refill({pod_id, ipv6}, *shelf);
}

void SocketStock::refuse(uint32_t pod_id, bool ipv6) {
    Shelf* shelf = find(pod_id, ipv6);
    if (shelf == nullptr)
        return;
    // The wish is answered. The next request asks again: the pod may have been slow to appear.
    agent_answered(*shelf);
    shelf->arrived.fail_all(pod_gone);
}

SocketHome SocketStock::home(uint32_t pod_id, bool ipv6) const {
    return {.taker = taker_, .tag = uint64_t{pod_id} << 1 | (ipv6 ? 1U : 0U)};
}

/// Only in need: a socket that is closed ends its connection by a FIN, one that is used again by a reset.
void SocketStock::take_back(UniqueFd socket, Key key) {
    Shelf* shelf = find(key.first, key.second);
    if (shelf == nullptr || shelf->silent_since_ms == 0 ||
        shelf->sockets.size() + shelf->parked.size() >= shelf->target) {
        worker_.ring().close(socket.release());
        return;
    }
    shelf->parked.push_back(std::move(socket));
    reuse_parked(key, *shelf);
}

void SocketStock::reuse_parked(Key key, Shelf& shelf) {
    if (shelf.silent_since_ms == 0 || worker_.now_ms() - shelf.silent_since_ms < settings_.stock_overdue_ms)
        return;
    for (UniqueFd& socket : std::exchange(shelf.parked, {})) {
        disconnect_tcp(worker_, std::move(socket), [taker = std::weak_ptr(taker_), key](UniqueFd free) {
            if (const std::shared_ptr<Taker> alive = taker.lock())
                alive->put_back(std::move(free), key);
        });
    }
}

void SocketStock::agent_answered(Shelf& shelf) {
    shelf.asked = 0;
    shelf.silent_since_ms = 0;
    for (UniqueFd& socket : std::exchange(shelf.parked, {}))
        worker_.ring().close(socket.release());
}

void SocketStock::put_back(UniqueFd socket, Key key) {
    Shelf* shelf = find(key.first, key.second);
    if (!socket || shelf == nullptr || shelf->sockets.size() >= settings_.stock_max)
        return; // closed
    counters_.add(Counter::stock_recycled);
    shelf->sockets.push_back(std::move(socket));
    shelf->arrived.notify_one();
}

UniqueFd SocketStock::try_take(uint32_t pod_id, bool ipv6) {
    Shelf* shelf = find(pod_id, ipv6);
    if (shelf == nullptr)
        return {};
    UniqueFd socket;
    // Not past those who wait already.
    if (!shelf->sockets.empty() && shelf->waiters == 0)
        socket = pop(*shelf);
    if (shelf->sockets.size() < shelf->target / 2 || !socket)
        refill({pod_id, ipv6}, *shelf);
    return socket;
}

void SocketStock::refill(Key key, Shelf& shelf) {
    shelf.low_at_ms = worker_.now_ms();
    // Emptied before the refill came: what was asked for is too little for this pod. Not so at the very first.
    if (shelf.sockets.empty() && !std::exchange(shelf.emptied, true) && shelf.asked_at_ms != 0)
        shelf.target = std::min(shelf.target * 2, settings_.stock_max);
    if (shelf.asked > 0)
        return;
    const size_t wanted = std::max<size_t>(shelf.target, std::min<size_t>(shelf.waiters, settings_.stock_max));
    if (wanted <= shelf.sockets.size())
        return;
    shelf.asked = static_cast<uint32_t>(wanted - shelf.sockets.size());
    shelf.asked_at_ms = worker_.now_ms();
    if (shelf.silent_since_ms == 0)
        shelf.silent_since_ms = shelf.asked_at_ms;
    counters_.add(Counter::stock_asked);
    ask_(Wish{.pod_id = key.first, .ipv6 = key.second, .count = shelf.asked});
}

Task<Result<UniqueFd>> SocketStock::wait(uint32_t pod_id, bool ipv6, Until until) {
    Shelf* shelf = find(pod_id, ipv6);
    if (shelf == nullptr)
        co_return std::unexpected(pod_gone);
    if (shelf->waiters >= settings_.stock_waiters_max)
        co_return std::unexpected(no_socket);
    counters_.add(Counter::stock_waits);
    ++shelf->waiters;
    refill({pod_id, ipv6}, *shelf);
    Result<UniqueFd> socket;
    // A wake-up is no promise: the sockets may be gone again, or the pod.
    while (socket && !*socket) {
        const Result<void> woken = co_await shelf->arrived.wait(until);
        if (shelf->released) {
            socket = std::unexpected(pod_gone);
        } else if (!shelf->sockets.empty()) {
            *socket = pop(*shelf);
            // Who came between the delivery and now queued behind us, too late to be told of it.
            if (!shelf->sockets.empty())
                shelf->arrived.notify_one();
        } else if (!woken) {
            socket = std::unexpected(woken.error().code == Code::timeout ? no_socket : woken.error());
        }
    }
    --shelf->waiters;
    if (shelf->released && shelf->waiters == 0)
        std::erase_if(leaving_, [shelf](const auto& one) { return one.get() == shelf; });
    co_return socket;
}

void SocketStock::ask_again() {
    for (auto& [key, shelf] : shelves_) {
        agent_answered(*shelf);
        const bool in_use = shelf->asked_at_ms != 0; // a family that nobody dials gets no sockets
        if (in_use && (shelf->sockets.size() < shelf->target / 2 || shelf->waiters > 0))
            refill(key, *shelf);
    }
}

void SocketStock::tick() {
    const uint64_t now = worker_.now_ms();
    for (auto& [key, shelf] : shelves_) {
        if (shelf->asked > 0 && now - shelf->asked_at_ms >= settings_.stock_ask_again_ms) {
            shelf->asked = 0;
            refill(key, *shelf);
        }
        reuse_parked(key, *shelf);
        if (shelf->target > settings_.stock_start && now - shelf->low_at_ms >= decay_ms) {
            shelf->target = std::max(shelf->target / 2, settings_.stock_start);
            shelf->low_at_ms = now;
            if (shelf->sockets.size() > shelf->target)
                shelf->sockets.resize(shelf->target);
        }
    }
}

size_t SocketStock::size() const {
    size_t sum = 0;
    for (const auto& [key, shelf] : shelves_)
        sum += shelf->sockets.size();
    return sum;
}

uint32_t SocketStock::target(uint32_t pod_id, bool ipv6) const {
    const Shelf* shelf = find(pod_id, ipv6);
    return shelf == nullptr ? 0 : shelf->target;
}

} // namespace weft::l7
