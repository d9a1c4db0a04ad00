// SPDX-License-Identifier: Apache-2.0
#include "l7engine/server/control.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "config/base/clock.hpp"
#include "config/base/log.hpp"
#include "config/wire/message.hpp"

namespace weft::l7 {

namespace {

constexpr uint32_t last_words_ms = 200; ///< to write what is queued before the process ends

uint64_t make_instance() {
    uint64_t instance = 0;
    if (getrandom(&instance, sizeof instance, 0) != sizeof instance)
        instance = monotonic_ns();
    return instance | 1; // never 0
}

Result<UniqueFd> dial(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return fail(Code::invalid, "socket path", ENAMETOOLONG);
    std::memcpy(address.sun_path, path.data(), path.size());
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket)
        return std::unexpected(from_errno(errno, "socket"));
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return std::unexpected(from_errno(errno, "connect to the agent"));
    return socket;
}

} // namespace

ControlInbox::ControlInbox() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void ControlInbox::post(std::move_only_function<void()> work) {
    {
        const std::lock_guard guard(lock_);
        work_.push_back(std::move(work));
    }
    wake();
}

void ControlInbox::terminate() {
    terminated_.store(true, std::memory_order_release);
    wake();
}

void ControlInbox::wake() const {
    const uint64_t one = 1;
    // Full means that a wake-up is pending already.
    (void)!write(event_.get(), &one, sizeof one);
}

void ControlInbox::run_all() {
    uint64_t count = 0;
    (void)!read(event_.get(), &count, sizeof count);
    std::vector<std::move_only_function<void()>> work;
    {
        const std::lock_guard guard(lock_);
        work.swap(work_);
    }
    for (std::move_only_function<void()>& piece : work)
        piece();
}

Control::Control(const ControlSettings& settings, Engine& engine, ControlInbox& inbox)
    : settings_(settings), engine_(engine), inbox_(inbox), heartbeat_(engine.workers()), ledger_(settings.ledger),
      instance_(make_instance()), reconnect_ms_(settings.reconnect_ms_min) {}
Control::~Control() = default;

void Control::run() {
    while (!drained_)
        poll_once();
    // Best effort: the last messages inform, nothing depends on them. What was counted since the agent last asked, the
    // cuts of the drain's end among it, is told unasked.
    const uint64_t until_ms = monotonic_ms() + last_words_ms;
    if (channel_ && welcomed_ && on_stats(0)) {
        while (channel_ && stats_waiting_ > 0 && monotonic_ms() < until_ms)
            poll_once();
    }
    while (channel_ && channel_->wants_write() && monotonic_ms() < until_ms) {
        pollfd polled{.fd = channel_->fd(), .events = POLLOUT, .revents = 0};
        (void)poll(&polled, 1, static_cast<int>(last_words_ms));
        flush();
    }
}

void Control::poll_once() {
    const uint64_t now_ms = monotonic_ms();
    connect_if_due(now_ms);
    pollfd polled[2] = {{.fd = inbox_.fd(), .events = POLLIN, .revents = 0},
                        {.fd = channel_ ? channel_->fd() : -1, .events = POLLIN, .revents = 0}};
    if (channel_ && channel_->wants_write())
        polled[1].events |= POLLOUT;
    (void)poll(polled, 2, static_cast<int>(poll_ms(now_ms)));
    inbox_.run_all();
    std::erase_if(views_, [](const ViewPtr& view) { return view.use_count() == 1; });
    // Also during a drain that the agent asked for: the signal may shorten it.
    if (inbox_.terminated() && !std::exchange(terminating_, true))
        on_drain(settings_.drain_timeout_ms);
    if (channel_ && (polled[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
        read_agent();
    // Before what may say that a snapshot is in force: the kernel counts on the engine from then on.
    if (applied_generation_ != 0 && !draining_ && !heartbeat_.beat(engine_.turns(), monotonic_ns()))
        count("weft_l7_heartbeats_skipped_total", "");
    if (channel_)
        flush();
    watch_memory(monotonic_ms());
}

uint32_t Control::poll_ms(uint64_t now_ms) const {
    uint64_t wait = settings_.heartbeat_ms;
    if (!channel_ && connect_at_ms_ > now_ms)
        wait = std::min(wait, connect_at_ms_ - now_ms);
    return static_cast<uint32_t>(wait);
}

// ------------------------------------------------------------------ memory

void Control::watch_memory(uint64_t now_ms) {
    if (settings_.memory == nullptr || now_ms < memory_at_ms_)
        return;
    memory_at_ms_ = now_ms + settings_.memory_ms;
    memory_ = settings_.memory->read();
    if (memory_.limit != 0 && memory_.used * 100 >= memory_.limit * settings_.give_back_percent &&
        now_ms >= give_back_at_ms_) {
        give_back_at_ms_ = now_ms + settings_.give_back_ms;
        count("weft_l7_memory_given_back_total", "");
        give_memory_back();
        memory_ = settings_.memory->read();
    }
    const Pressure before = std::exchange(pressure_, next_pressure(pressure_, memory_.used, memory_.limit));
    if (pressure_ == before)
        return;
    log::warn("memory_pressure", log::kv("step", static_cast<unsigned>(pressure_)),
              log::kv("before", static_cast<unsigned>(before)), log::kv("used_bytes", memory_.used),
              log::kv("limit_bytes", memory_.limit));
    for (uint32_t worker = 0; worker < engine_.workers(); ++worker)
        engine_.post(worker, [pressure = pressure_](Proxy& proxy) { proxy.press(pressure); });
}

// ------------------------------------------------------------------ connection

void Control::connect_if_due(uint64_t now_ms) {
    if (channel_ || now_ms < connect_at_ms_)
        return;
    Result<UniqueFd> socket = dial(settings_.socket_path);
    connect_at_ms_ = now_ms + reconnect_ms_;
    reconnect_ms_ = std::min(reconnect_ms_ * 2, settings_.reconnect_ms_max);
    if (!socket) {
        if (!std::exchange(said_unreachable_, true)) // once per absence, not per try
            log::warn("agent_unreachable", log::kv("socket", settings_.socket_path),
                      log::kv("error", to_string(socket.error())));
        return;
    }
    channel_.emplace(std::move(*socket));
    welcomed_ = false;
    say_hello();
}

/// One frame carries so many descriptors; what does not go with the hello follows it.
void Control::say_hello() {
    constexpr size_t frame_max = wire::ChannelLimits{}.fds_max;
    std::vector<proto::Listener> names;
    std::vector<int> fds;
    for (const auto& [pod_id, held] : listeners_) {
        for (const HeldListener& listener : held) {
            proto::Listener& named = names.emplace_back();
            named.set_pod_id(pod_id);
            named.set_kind(listener.kind);
            fds.push_back(listener.fd.get());
        }
    }
    size_t said = std::min(fds.size(), frame_max);
    proto::ToAgent message;
    proto::EngineHello& hello = *message.mutable_engine_hello();
    hello.set_contract(proto::CONTRACT_VERSION);
    hello.set_version(settings_.version);
    hello.set_pid(static_cast<uint32_t>(getpid()));
    hello.set_instance(instance_);
    hello.set_applied_generation(applied_generation_);
    hello.set_workers(engine_.workers());
    hello.set_group(settings_.group);
    hello.set_listeners_to_come(static_cast<uint32_t>(fds.size() - said));
    hello.mutable_listeners()->Add(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(said));
    send(message, std::span(fds).first(said));
    while (said < fds.size()) {
        const size_t count = std::min(fds.size() - said, frame_max);
        const auto from = names.begin() + static_cast<std::ptrdiff_t>(said);
        proto::ToAgent more;
        more.mutable_more_listeners()->mutable_listeners()->Add(from, from + static_cast<std::ptrdiff_t>(count));
        send(more, std::span(fds).subspan(said, count));
        said += count;
    }
}

void Control::disconnect(const char* reason, const std::string& detail) {
    count("weft_l7_agent_disconnects_total", standby_ ? "standby" : reason);
    if (standby_)
        log::debug("agent_connection_closed", log::kv("reason", "standby"));
    else if (std::string_view(reason) != "closed")
        log::warn("agent_connection_closed", log::kv("reason", reason), log::kv("error", detail));
    else
        log::info("agent_connection_closed", log::kv("reason", reason));
    channel_.reset();
    ++connection_;
    stats_waiting_ = 0;
    welcomed_ = false;
    connect_at_ms_ = monotonic_ms() + reconnect_ms_;
}

void Control::send(const proto::ToAgent& message, std::span<const int> fds) {
    if (!channel_)
        return; // every message is either repeated in the next hello or asked for again
    const std::string bytes = wire::serialize_message(message);
    if (const Result<void> queued = channel_->queue(as_bytes(bytes), fds); !queued)
        disconnect("send", to_string(queued.error()));
}

void Control::flush() {
    if (const Result<bool> flushed = channel_->flush(); !flushed)
        disconnect("send", to_string(flushed.error()));
}

void Control::read_agent() {
    while (channel_) {
        Result<std::optional<wire::Frame>> frame = channel_->read_some();
        if (!frame) {
            const bool closed = frame.error().code == Code::eof || frame.error().code == Code::reset;
            disconnect(closed ? "closed" : "frame", to_string(frame.error()));
            return;
        }
        if (!*frame)
            return;
        if (const Result<void> taken = take(std::move(**frame)); !taken)
            disconnect("message", to_string(taken.error()));
    }
}

// ------------------------------------------------------------------ messages

Result<void> Control::take(wire::Frame frame) {
    proto::ToEngine message;
    if (const Result<void> parsed = wire::parse_message(as_bytes(frame.bytes), message); !parsed)
        return parsed;
    if (!welcomed_ && !message.has_welcome())
        return fail(Code::invalid, "first message is not Welcome");
    return dispatch(message, std::move(frame.fds));
}

Result<void> Control::dispatch(const proto::ToEngine& message, std::vector<UniqueFd> fds) {
    const bool takes_fds = message.has_welcome() || message.has_give_listeners() || message.has_give_sockets();
    if (!takes_fds && !fds.empty())
        return fail(Code::invalid, "descriptors with a message that takes none");
    switch (message.message_case()) {
    case proto::ToEngine::kWelcome: return on_welcome(message.welcome(), std::move(fds));
    case proto::ToEngine::kSnapshot: return on_snapshot(message.snapshot());
    case proto::ToEngine::kGiveListeners: return on_listeners(message.give_listeners(), std::move(fds));
    case proto::ToEngine::kGiveSockets: return on_sockets(message.give_sockets(), std::move(fds));
    case proto::ToEngine::kReleasePod: return on_release(message.release_pod().pod_id());
    case proto::ToEngine::kStatsWanted: return on_stats(message.stats_wanted().request_id());
    case proto::ToEngine::kDrain: on_drain(message.drain().timeout_ms()); return {};
    case proto::ToEngine::kCtl:
    case proto::ToEngine::MESSAGE_NOT_SET: break;
    }
    return fail(Code::invalid, "message for an engine");
}

Result<void> Control::on_welcome(const proto::Welcome& message, std::vector<UniqueFd> fds) {
    if (!message.error().empty()) {
        log::error("agent_refused_engine", log::kv("error", message.error()));
        return fail(Code::refused, "Welcome.error");
    }
    if (message.standby()) {
        if (!std::exchange(standby_, true)) // once, not for each time that it asks again
            log::info("engine_standby");
        heartbeat_.stop(); // another engine's silence must be seen
        return {};         // the agent closes
    }
    if (message.contract() != proto::CONTRACT_VERSION) {
        log::error("agent_contract_differs", log::kv("agent", message.contract()),
                   log::kv("engine", static_cast<uint32_t>(proto::CONTRACT_VERSION)));
        return fail(Code::invalid, "Welcome.contract");
    }
    if (fds.size() != 2)
        return fail(Code::invalid, "Welcome: descriptors");
    if (const Result<void> mapped = heartbeat_.map(fds[0]); !mapped)
        return mapped;
    const Result<DialSlotTable> slots = map_dial_slots(fds[1], message.dial_slots_begin(), message.dial_slots());
    if (!slots)
        return std::unexpected(slots.error());
    welcomed_ = true;
    standby_ = false;
    reconnect_ms_ = settings_.reconnect_ms_min;
    said_unreachable_ = false;
    for (uint32_t worker = 0; worker < engine_.workers(); ++worker) {
        engine_.post(worker, [table = *slots](Proxy& proxy) {
            proxy.map_dial_slots(table);
            proxy.stock().ask_again(); // this agent knows nothing of earlier wishes
        });
    }
    log::info("agent_connected", log::kv("version", message.version()));
    return {};
}

void Control::ask_sockets(uint32_t worker, const SocketStock::Wish& wish) {
    proto::ToAgent message;
    proto::SocketsWanted& wanted = *message.mutable_sockets_wanted();
    wanted.set_pod_id(wish.pod_id);
    wanted.set_worker(worker);
    wanted.set_ipv6(wish.ipv6);
    wanted.set_count(wish.count);
    if (welcomed_)
        send(message);
}

void Control::on_drain(uint64_t timeout_ms) {
    if (!std::exchange(draining_, true)) {
        log::info("engine_draining", log::kv("timeout_ms", timeout_ms));
        heartbeat_.stop(); // whoever takes over beats from now on
        proto::ToAgent message;
        message.mutable_draining();
        send(message);
        listeners_.clear(); // the agent keeps duplicates: the backlog is the next engine's
        listener_count_ = 0;
    }
    const auto left = std::make_shared<uint32_t>(engine_.workers());
    for (uint32_t worker = 0; worker < engine_.workers(); ++worker) {
        engine_.post(worker, [this, left, timeout_ms](Proxy& proxy) {
            proxy.drain(timeout_ms,
                        [this, left] { inbox_.post([this, left] { drained_ = --*left == 0 || drained_; }); });
        });
    }
}

} // namespace weft::l7
