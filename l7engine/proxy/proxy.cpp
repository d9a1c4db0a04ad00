// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/proxy.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <ctime>
#include <iterator>

#include "l7engine/http/reply.hpp"
#include "l7engine/proxy/detect.hpp"
#include "l7engine/proxy/downstream.hpp"
#include "l7engine/proxy/held.hpp"

namespace weft::l7 {

namespace {

Usage usage_of(const PodUse& use) {
    return {.connections = use.connections, .requests = use.requests, .buffered_bytes = use.buffers.bytes};
}

Counter counter_of_connection(Shortage shortage) {
    switch (shortage) {
        using enum Shortage;
    case memory: return Counter::refused_memory;
    case pod_connections: return Counter::refused_pod_limit;
    case worker_connections:
    case worker_requests:
    case pod_requests:
    case pod_buffers: break;
    }
    return Counter::refused_worker_limit;
}

/// A reset, not a FIN: the client shall not take it for an empty answer.
void refuse(ByteStream& stream) {
    stream.abort({.code = Code::unavailable, .during = "accept"}, true);
}

struct Refusal {
    Counter counter;
    Error error;
};
Refusal refusal_of_request(Shortage shortage) {
    switch (shortage) {
        using enum Shortage;
    case memory: return {Counter::shed_memory, memory_short()};
    case pod_requests: return {Counter::shed_pod_requests, too_many_requests_of_pod()};
    case pod_buffers: return {Counter::shed_pod_buffers, too_much_buffered_of_pod()};
    case worker_requests:
    case worker_connections:
    case pod_connections: break;
    }
    return {Counter::shed_worker_requests, too_many_requests()};
}

} // namespace

/// What one worker has of one pod.
struct Proxy::Pod {
    struct Listening {
        abi::weft_listener_kind kind;
        std::unique_ptr<Acceptor> acceptor;
    };
    std::vector<Listening> listening; ///< oldest first
    size_t stopping = 0;              ///< acceptors whose last completion is awaited
    bool releasing = false;
    Deadline cut_at = never;
    std::vector<std::move_only_function<void()>> released; ///< who waits for the end of the release
    std::vector<WaitingListener> next;                     ///< given again meanwhile: the pod came back
};

class Proxy::Tick final : Timer {
public:
    explicit Tick(Proxy& proxy) : proxy_(proxy) { arm(); }
    ~Tick() override = default;

private:
    void arm() { proxy_.worker_.timers().arm(*this, proxy_.worker_.in_ms(proxy_.settings_.tick_ms)); }
    void expired() override {
        proxy_.tick();
        arm();
    }
    Proxy& proxy_;
};

Proxy::Proxy(Worker& worker, const ProxySettings& settings, uint32_t workers,
             std::move_only_function<void(SocketStock::Wish)> ask_sockets)
    : worker_(worker), settings_(settings), stats_(settings_.series_max, counters_),
      tcp_stats_(settings_.series_max, counters_), pool_(settings_, counters_), sessions_(worker, settings_, counters_),
      stock_(worker, settings_, counters_, std::move(ask_sockets)), dial_slots_(worker, workers),
      picker_(settings_.seed ^ uint64_t{worker.index()} << 32), floods_(settings_.floods),
      pipes_(worker, settings_.pipes), outbound_(make_chain(Direction::outbound, settings_.filters)),
      inbound_(make_chain(Direction::inbound, settings_.filters)), tick_(std::make_unique<Tick>(*this)) {}

Proxy::~Proxy() {
    assert(first_connection_ == nullptr && "drained before it dies");
}

void Proxy::apply(ViewPtr view) {
    // A control block of this worker's own: exchanges count references without sharing a cache line between cores.
    // Whoever made the view keeps it until no worker does, so that taking it apart is no worker's work.
    auto holder = std::make_shared<ViewPtr>(std::move(view));
    view_ = ViewPtr(holder, holder->get());
    stats_.snapshot_changed();
    picker_.forget_idle();
    for (Downstream* connection = first_connection_; connection != nullptr; connection = connection->next_)
        connection->policy_changed();
    if (let_go_at_ == never)
        let_go_at_ = worker_.in_ms(settings_.snapshot_hold_ms);
    for (WaitingListener& waiting : std::exchange(waiting_listeners_, {}))
        open_listener(std::move(waiting));
}

// ------------------------------------------------------------------ listeners

void Proxy::add_listener(uint32_t pod_id, abi::weft_listener_kind kind, UniqueFd listener) {
    std::unique_ptr<Pod>& pod = pods_[pod_id];
    if (pod == nullptr)
        pod = std::make_unique<Pod>();
    if (draining_)
        return;
    WaitingListener waiting{.pod_id = pod_id, .kind = kind, .listener = std::move(listener)};
    if (pod->releasing)
        return pod->next.push_back(std::move(waiting));
    stock_.add_pod(pod_id);
    // Without a snapshot nothing could be judged; the backlog keeps who comes.
    if (view_ == nullptr)
        waiting_listeners_.push_back(std::move(waiting));
    else
        open_listener(std::move(waiting));
}

void Proxy::open_listener(WaitingListener waiting) {
    const uint32_t pod_id = waiting.pod_id;
    const abi::weft_listener_kind kind = waiting.kind;
    Pod& pod = *pods_[pod_id];
    if (std::ranges::count(pod.listening, kind, &Pod::Listening::kind) >= listeners_per_kind_max)
        drop_oldest(pod, kind);
    pod.listening.push_back({.kind = kind,
                             .acceptor = std::make_unique<Acceptor>(worker_, std::move(waiting.listener),
                                                                    [this, pod_id, kind](UniqueFd socket) {
                                                                        accepted(pod_id, kind, std::move(socket));
                                                                    })});
}

void Proxy::drop_oldest(Pod& pod, abi::weft_listener_kind kind) {
    const auto oldest = std::ranges::find(pod.listening, kind, &Pod::Listening::kind);
    std::unique_ptr<Acceptor> acceptor = std::move(oldest->acceptor);
    pod.listening.erase(oldest);
    accept_shortages_ += acceptor->shortages();
    ++pod.stopping;
    Acceptor& stopping = *acceptor;
    stopping.stop([pod = &pod, gone = std::move(acceptor)] { --pod->stopping; });
}

void Proxy::accepted(uint32_t pod_id, abi::weft_listener_kind kind, UniqueFd socket) {
    sockaddr_storage local{};
    sockaddr_storage peer{};
    socklen_t local_size = sizeof local;
    socklen_t peer_size = sizeof peer;
    if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &local_size) != 0 ||
        getpeername(socket.get(), reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) {
        counters_.add(Counter::refused_no_address); // reset before it was accepted
        return;
    }
    const std::optional<SocketAddress> here = SocketAddress::from_sockaddr(local);
    const std::optional<SocketAddress> there = SocketAddress::from_sockaddr(peer);
    if (!here || !there) {
        counters_.add(Counter::refused_no_address);
        return;
    }
    const std::expected<Accepted, Counter> admitted = admit(kind, pod_id, *here, *there, *view_);
    if (!admitted) {
        counters_.add(admitted.error());
        return;
    }
    serve(make_tcp_stream(worker_, std::move(socket), tcp_settings(pod_id, admitted->direction)), *admitted);
}

/// Of this worker: another one of the pod's shard does not know of the flood before it sees one itself.
void Proxy::pause_accepts(uint32_t pod_id, Deadline until) {
    const auto pod = pods_.find(pod_id);
    if (pod == pods_.end())
        return;
    for (const Pod::Listening& listening : pod->second->listening) {
        if (listening.kind == abi::WEFT_LISTENER_OUTBOUND4 || listening.kind == abi::WEFT_LISTENER_OUTBOUND6)
            listening.acceptor->pause(until);
    }
}

bool Proxy::has_room(const Accepted& accepted) {
    const auto pod = pods_.find(accepted.pod_id);
    if (pod != pods_.end() && pod->second->releasing) {
        counters_.add(Counter::refused_releasing);
        return false;
    }
    const std::optional<Shortage> shortage =
        room_for_connection(pressure_, used(), usage_of(use_of(accepted.pod_id, accepted.direction)), settings_.limits);
    if (shortage)
        counters_.add(counter_of_connection(*shortage));
    return !shortage;
}

std::optional<Error> Proxy::refuse_request(const PodUse& use) {
    const std::optional<Shortage> shortage = room_for_request(pressure_, used(), usage_of(use), settings_.limits);
    if (!shortage)
        return std::nullopt;
    const Refusal refusal = refusal_of_request(*shortage);
    counters_.add(refusal.counter);
    return refusal.error;
}

Usage Proxy::used() const {
    return {.connections = connections_, .requests = exchanges_};
}

PodUse& Proxy::use_of(uint32_t pod_id, Direction direction) {
    const auto [entry, made] = uses_.try_emplace(pod_id);
    if (made) {
        for (PodUse& use : entry->second)
            use.buffers.bytes_max = settings_.limits.buffered_bytes_per_pod_max;
    }
    return entry->second[static_cast<size_t>(direction)];
}

TcpSettings Proxy::tcp_settings(uint32_t pod_id, Direction direction) {
    TcpSettings settings = settings_.tcp;
    settings.account = &use_of(pod_id, direction).buffers;
    return settings;
}

bool Proxy::serve(std::unique_ptr<ByteStream> stream, const Accepted& accepted) {
    if (draining_ || accepted.direction == Direction::inbound)
        return serve_now(std::move(stream), accepted);
    if (!has_room(accepted)) {
        refuse(*stream);
        return false;
    }
    const std::optional<uint64_t> turn_ms = floods_.turn(accepted.pod_id, worker_.now_ms());
    if (!turn_ms) {
        counters_.add(Counter::refused_flooding);
        refuse(*stream);
        return false;
    }
    if (*turn_ms <= worker_.now_ms())
        return serve_now(std::move(stream), accepted);
    counters_.add(Counter::connections_held);
    pause_accepts(accepted.pod_id, *turn_ms);
    worker_.tasks().spawn(
        HeldConnection::run(std::make_unique<HeldConnection>(*this, std::move(stream), accepted), *turn_ms));
    return true;
}

bool Proxy::serve_now(std::unique_ptr<ByteStream> stream, const Accepted& accepted) {
    if (!has_room(accepted)) {
        refuse(*stream);
        return false;
    }
    counters_.add(accepted.direction == Direction::outbound ? Counter::connections_outbound
                                                            : Counter::connections_inbound);
    serve_by_protocol(*this, std::move(stream), accepted);
    return true;
}

void Proxy::flooded(const Accepted& accepted) {
    if (accepted.direction == Direction::outbound)
        floods_.flooded(accepted.pod_id, worker_.now_ms());
}

void Proxy::joined(Downstream& connection) {
    connection.next_ = first_connection_;
    connection.previous_ = &first_connection_;
    if (first_connection_ != nullptr)
        first_connection_->previous_ = &connection.next_;
    first_connection_ = &connection;
    ++connections_;
    ++connection.use_.connections;
}

void Proxy::left(Downstream& connection) {
    // Nobody else may use what the application took for this client's own connection.
    if (const Accepted& accepted = connection.accepted_; accepted.direction == Direction::inbound) {
        const UpstreamKey key{.pod_id = accepted.pod_id, .address = accepted.destination, .client = accepted.client};
        pool_.release(key);
        sessions_.release(key);
    }
    *connection.previous_ = connection.next_;
    if (connection.next_ != nullptr)
        connection.next_->previous_ = connection.previous_;
    --connections_;
    --connection.use_.connections;
}

// ------------------------------------------------------------------ upstream

Task<Result<UpstreamPtr>> Proxy::connect(UpstreamKey key, Direction direction, SocketAddress client, Cancel& cancel) {
    Result<std::unique_ptr<ByteStream>> stream =
        co_await dial(key, direction, client, Until(worker_.in_ms(settings_.connect_timeout_ms), &cancel));
    if (!stream)
        co_return std::unexpected(stream.error());
    co_return std::make_unique<Upstream>(
        Upstream{.key = key, .stream = std::move(*stream), .codec = make_h1_client_codec(settings_.h1)});
}

Task<Result<SessionPtr>> Proxy::session(UpstreamKey key, Direction direction, SocketAddress client, Cancel& cancel) {
    const Until until(worker_.in_ms(settings_.connect_timeout_ms), &cancel);
    bool waited = false;
    for (;;) {
        if (SessionPtr session = sessions_.take(key)) {
            if (waited) // one is woken at a time: there may be room for the next
                sessions_.pass_on(key);
            co_return session;
        }
        switch (sessions_.next_turn(key)) {
        case SessionPool::Turn::refused: co_return fail(Code::unavailable, "session");
        case SessionPool::Turn::wait:
            if (const Result<void> woken = co_await sessions_.wait(key, until); !woken) {
                // Streams are what is missing, not the endpoint: it is not to blame.
                counters_.add(woken.error().code == Code::timeout ? Counter::sessions_overflow
                                                                  : Counter::connects_canceled);
                co_return fail(Code::unavailable, "session");
            }
            waited = true;
            break;
        case SessionPool::Turn::connect: {
            Result<std::unique_ptr<ByteStream>> stream = co_await dial(key, direction, client, until);
            SessionPtr session = sessions_.connected(key, stream ? std::move(*stream) : nullptr);
            if (session == nullptr)
                co_return std::unexpected(stream.error());
            co_return session;
        }
        }
    }
}

Task<Result<std::unique_ptr<ByteStream>>> Proxy::dial(UpstreamKey key, Direction direction, SocketAddress client,
                                                      Until until) {
    const bool ipv6 = !key.address.address.is_v4();
    Result<UniqueFd> socket = stock_.try_take(key.pod_id, ipv6);
    if (!*socket)
        socket = co_await stock_.wait(key.pod_id, ipv6, until);
    if (!socket) {
        count_shortage(socket.error(), Counter::connects_no_socket);
        co_return std::unexpected(socket.error());
    }
    SocketAddress target = key.address;
    if (direction == Direction::inbound) {
        Result<DialSlots::Slot> slot = co_await dial_slots_.wait(
            key.pod_id, worker_.ring().socket_cookie(socket->get()), client, key.address, until);
        if (!slot) {
            count_shortage(slot.error(), Counter::connects_no_slot);
            co_return std::unexpected(slot.error());
        }
        target = slot->address();
        dial_slots_.dialled(std::move(*slot));
    }
    Result<std::unique_ptr<ByteStream>> stream = co_await connect_tcp(
        worker_, std::move(*socket), target, until, tcp_settings(key.pod_id, direction), stock_.home(key.pod_id, ipv6));
    if (!stream)
        co_return std::unexpected(connect_failed(stream.error()));
    counters_.add(Counter::connects_ok);
    co_return stream;
}

/// A client that leaves while its request waits is no shortage.
void Proxy::count_shortage(const Error& error, Counter what) {
    counters_.add(error.code == Code::canceled ? Counter::connects_canceled : what);
}

Error Proxy::connect_failed(Error error) {
    counters_.add(error.code == Code::refused    ? Counter::connects_refused
                  : error.code == Code::timeout  ? Counter::connects_timeout
                  : error.code == Code::canceled ? Counter::connects_canceled
                                                 : Counter::connects_failed);
    error.side = Side::upstream;
    error.during = "connect";
    return error;
}

// ------------------------------------------------------------------ ends

void Proxy::tick() {
    pool_.sweep(worker_.now_ms());
    sessions_.sweep(worker_.now_ms());
    stock_.tick();
    floods_.forget_old(worker_.now_ms());
    worker_.ring().trim();
    if (pressure_ >= Pressure::idle)
        shed_idle();
    if (worker_.now_ms() >= let_go_at_)
        let_go_of_snapshots();
    finish_releases();
    finish_drain();
}

void Proxy::let_go_of_snapshots() {
    bool held = false;
    for (Downstream* connection = first_connection_; connection != nullptr; connection = connection->next_)
        held = connection->holds_old_snapshot() || held;
    let_go_at_ = held ? worker_.in_ms(settings_.snapshot_hold_ms) : never;
}

void Proxy::shed_idle() {
    for (Downstream* connection = first_connection_; connection != nullptr; connection = connection->next_) {
        if (connection->shed_if_idle(settings_.shed_idle_ms))
            counters_.add(Counter::shed_idle);
    }
    pool_.shed(worker_.now_ms());
    sessions_.shed(worker_.now_ms());
}

void Proxy::cut(Counter reason, uint32_t pod_id) {
    for (Downstream* connection = first_connection_; connection != nullptr; connection = connection->next_) {
        if (connection->is_gone() || (pod_id != 0 && connection->pod_id() != pod_id))
            continue; // cut before, and on its way out
        counters_.add(reason, connection->under_way());
        connection->cut();
    }
}

void Proxy::release_pod(uint32_t pod_id, std::move_only_function<void()> released) {
    std::unique_ptr<Pod>& pod = pods_[pod_id];
    if (pod == nullptr)
        pod = std::make_unique<Pod>();
    pod->released.push_back(std::move(released));
    pod->next.clear();
    if (std::exchange(pod->releasing, true))
        return finish_releases();
    pod->cut_at = worker_.in_ms(settings_.release_ms);
    std::erase_if(waiting_listeners_, [pod_id](const auto& one) { return one.pod_id == pod_id; });
    Pod* released_pod = pod.get();
    for (const Pod::Listening& listening : pod->listening) {
        ++pod->stopping;
        listening.acceptor->stop([released_pod] { --released_pod->stopping; });
    }
    stock_.release_pod(pod_id);
    pool_.release_pod(pod_id);
    sessions_.release_pod(pod_id);
    for (Downstream* connection = first_connection_; connection != nullptr; connection = connection->next_) {
        if (connection->pod_id() == pod_id)
            connection->drain();
    }
    finish_releases();
}

void Proxy::finish_releases() {
    std::vector<WaitingListener> again;
    for (auto entry = pods_.begin(); entry != pods_.end();) {
        Pod& pod = *entry->second;
        if (!pod.releasing) {
            ++entry;
            continue;
        }
        if (worker_.now_ms() >= pod.cut_at)
            cut(Counter::release_cut, entry->first);
        const bool busy = pod.stopping > 0 || first_of(entry->first) != nullptr;
        if (busy) {
            ++entry;
            continue;
        }
        pool_.release_pod(entry->first); // given back by the last exchanges
        sessions_.release_pod(entry->first);
        if (sessions_.alive(entry->first) > 0) {
            ++entry;
            continue;
        }
        for (const Pod::Listening& listening : pod.listening)
            accept_shortages_ += listening.acceptor->shortages();
        std::ranges::move(pod.next, std::back_inserter(again));
        auto released = std::move(pod.released);
        uses_.erase(entry->first);
        floods_.forget_pod(entry->first);
        entry = pods_.erase(entry);
        for (std::move_only_function<void()>& done : released)
            done();
    }
    for (WaitingListener& waiting : again)
        add_listener(waiting.pod_id, waiting.kind, std::move(waiting.listener));
}

Downstream* Proxy::first_of(uint32_t pod_id) const {
    Downstream* connection = first_connection_;
    while (connection != nullptr && connection->pod_id() != pod_id)
        connection = connection->next_;
    return connection;
}

void Proxy::drain(uint64_t timeout_ms, std::move_only_function<void()> drained) {
    drain_deadline_ = std::min(drain_deadline_, worker_.in_ms(timeout_ms));
    drained_.push_back(std::move(drained));
    if (std::exchange(draining_, true)) {
        finish_drain();
        return;
    }
    waiting_listeners_.clear();
    for (auto& [pod_id, pod] : pods_) {
        if (pod->releasing)
            continue; // stopped already
        for (const Pod::Listening& listening : pod->listening) {
            ++stopping_acceptors_;
            listening.acceptor->stop([this] { --stopping_acceptors_; });
        }
    }
    for (Downstream* connection = first_connection_; connection != nullptr; connection = connection->next_)
        connection->drain();
    finish_drain();
}

void Proxy::finish_drain() {
    if (drained_.empty())
        return;
    if (worker_.now_ms() >= drain_deadline_)
        cut(Counter::drain_cut, 0);
    if (first_connection_ != nullptr || stopping_acceptors_ > 0)
        return;
    finish_releases();
    if (std::ranges::any_of(pods_, [](const auto& entry) { return entry.second->stopping > 0; }))
        return;
    pool_.clear();
    sessions_.clear();
    if (sessions_.alive() > 0)
        return;
    for (const auto& [pod_id, pod] : pods_)
        stock_.release_pod(pod_id);
    for (std::move_only_function<void()>& drained : std::exchange(drained_, {}))
        drained();
}

// ------------------------------------------------------------------ reports

ProxyReport Proxy::report() {
    ProxyReport report;
    report.series = stats_.collect();
    report.tcp_series = tcp_stats_.collect();
    report.counters = counters_.values();
    report.connections = connections_;
    report.exchanges = exchanges_;
    report.pooled = pool_.size();
    report.stocked = stock_.size();
    for (const auto& [pod_id, uses] : uses_) {
        for (const PodUse& use : uses)
            report.buffered_bytes += use.buffers.bytes;
    }
    report.frame_bytes = FramePool::live_bytes();
    report.largest_frame = FramePool::largest_frame();
    report.accept_shortages = accept_shortages_;
    for (const auto& [pod_id, pod] : pods_) {
        for (const Pod::Listening& listening : pod->listening)
            report.accept_shortages += listening.acceptor->shortages();
    }
    return report;
}

std::string_view Proxy::http_date() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != date_second_ || date_size_ == 0) {
        date_second_ = now.tv_sec;
        tm parts{};
        gmtime_r(&now.tv_sec, &parts);
        // The program never calls setlocale(): the names are the C locale's, as the grammar wants.
        date_size_ = strftime(date_, sizeof date_, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return {date_, date_size_};
}

} // namespace weft::l7
