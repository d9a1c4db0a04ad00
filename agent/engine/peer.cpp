// SPDX-License-Identifier: Apache-2.0
#include "agent/engine/peer.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "config/base/clock.hpp"
#include "config/base/log.hpp"

namespace weft::agent::engine {
namespace {

using metrics::Event;

constexpr int frames_per_turn = 64; ///< a busy peer yields to the others

const char* reason_of(const Error& error) {
    switch (error.code) {
        using enum Code;
    case malformed: return "malformed";
    case too_large: return "too_large";
    case invalid: return "invalid";
    case timeout: return "timeout";
    case refused: return "refused";
    default: return "connection";
    }
}

} // namespace

void Control::serve(Peer& peer, short events) {
    Result<void> done;
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0)
        done = read(peer);
    // A large one that had to wait behind another.
    if (done && !peer.closed && peer.link && peer.link->generation_sent() != 0 && !peer.channel.wants_write())
        done = peer.link->send_snapshot();
    if (done && !peer.closed) {
        if (const Result<bool> flushed = peer.channel.flush(); !flushed)
            done = std::unexpected(flushed.error());
    }
    if (!done)
        close_failed(peer, done.error());
}

Result<void> Control::read(Peer& peer) {
    for (int i = 0; i < frames_per_turn && !peer.closed; ++i) {
        Result<std::optional<wire::Frame>> frame = peer.channel.read_some();
        if (!frame)
            return std::unexpected(frame.error());
        if (!*frame)
            return {};
        if (Result<void> taken = take(peer, std::move(**frame)); !taken)
            return taken;
    }
    return {};
}

Result<void> Control::take(Peer& peer, wire::Frame frame) {
    Result<ToAgent> message = decode(frame.bytes);
    if (!message)
        return std::unexpected(message.error());
    if (auto* hello = std::get_if<EngineHello>(&*message))
        return take_hello(peer, std::move(*hello), std::move(frame.fds));
    if (const auto* more = std::get_if<MoreListeners>(&*message))
        return take_more(peer, *more, std::move(frame.fds));
    if (!frame.fds.empty())
        return fail(Code::invalid, "message: descriptors where none belong");
    if (peer.arriving)
        return fail(Code::invalid, "message: before the hello is whole");
    peer.deadline_ms = UINT64_MAX;
    if (const auto* request = std::get_if<CtlRequest>(&*message))
        return take_ctl(peer, *request);
    return take_from_engine(peer, *std::move(message));
}

Result<void> Control::take_hello(Peer& peer, EngineHello hello, std::vector<UniqueFd> fds) {
    if (peer.link || peer.arriving)
        return fail(Code::invalid, "hello: a second one");
    if (hello.listeners.size() != fds.size())
        return fail(Code::invalid, "hello: descriptors and listeners differ in number");
    if (hello.listeners.size() + hello.listeners_to_come > hello_listeners_max)
        return fail(Code::too_large, "hello: listeners");
    peer.arriving.emplace(std::move(hello), std::move(fds));
    return take_more(peer, {}, {});
}

Result<void> Control::take_more(Peer& peer, const MoreListeners& more, std::vector<UniqueFd> fds) {
    if (!peer.arriving)
        return fail(Code::invalid, "more_listeners: no hello before");
    if (more.listeners.size() != fds.size() || fds.size() > peer.arriving->hello.listeners_to_come)
        return fail(Code::invalid, "more_listeners: descriptors and listeners differ in number");
    EngineHello& hello = peer.arriving->hello;
    hello.listeners.insert(hello.listeners.end(), more.listeners.begin(), more.listeners.end());
    hello.listeners_to_come -= static_cast<uint32_t>(fds.size());
    std::ranges::move(fds, std::back_inserter(peer.arriving->fds));
    if (hello.listeners_to_come != 0)
        return {};
    Peer::Arriving whole = *std::exchange(peer.arriving, std::nullopt);
    peer.deadline_ms = UINT64_MAX;
    return welcome(peer, whole.hello, std::move(whole.fds));
}

Result<void> Control::welcome(Peer& peer, const EngineHello& hello, std::vector<UniqueFd> fds) {
    if (hello.contract != contract_version()) {
        const std::string error = "contract version " + std::to_string(hello.contract) + ", this agent speaks " +
                                  std::to_string(contract_version());
        return refuse_engine(peer, error, "hello: contract version");
    }
    if (stands_by(hello))
        return send_to_standby(peer);
    const std::optional<DialSlotRange> dial_slots = free_dial_slots();
    if (!dial_slots)
        return refuse_engine(peer, std::to_string(engines_max) + " engines are connected, there is no room for more",
                             "hello: too many engines");
    peer.link.emplace(peer.channel, supply_, *dial_slots, counters_);
    EngineArrived arrived{.hello = hello, .offers = {}};
    if (Result<void> greeted = peer.link->greet(hello, std::move(fds), arrived.offers); !greeted)
        return greeted;
    log::info("engine_connected", log::kv("pid", peer.credentials.pid), log::kv("version", hello.version),
              log::kv("listeners_handed_back", hello.listeners.size()));
    // Two engines: the newcomer serves, unless the other is of our own group and it is not. One finishes what it has.
    if (current_ != nullptr && !takes_place(hello)) {
        log::info("engine_late", log::kv("pid", peer.credentials.pid));
        drain(peer);
        return {};
    }
    if (current_ != nullptr) {
        log::info("engine_replaced", log::kv("old_pid", current_->credentials.pid),
                  log::kv("new_pid", peer.credentials.pid));
        drain(*current_);
    }
    current_ = &peer;
    listeners_by_ms_ = 0;
    settings_.post(std::move(arrived));
    return {};
}

/// Its own group's engine is the one that a running agent wants: the other ends with its pod.
bool Control::takes_place(const EngineHello& hello) const {
    return hello.group == settings_.group || current_->link->hello().group != settings_.group;
}

/// It serves nobody yet, so it loses nothing by waiting.
bool Control::stands_by(const EngineHello& hello) const {
    if (!hello.listeners.empty())
        return false;
    // Whoever takes its place would have nothing to serve with: held, or not compiled yet.
    if (current_ != nullptr && !supply_.snapshot && !settings_.group.empty())
        return true;
    return current_ != nullptr ? hello.group != settings_.group : monotonic_ms() < listeners_by_ms_;
}

Result<void> Control::send_to_standby(Peer& peer) {
    counters_.add(Event::connection_refused, "standby");
    if (Result<void> queued = peer.channel.queue(as_bytes(standby_message(supply_.version)), {}); !queued)
        return queued;
    static_cast<void>(peer.channel.flush());
    peer.closed = true;
    return {};
}

void Control::drain(Peer& peer) {
    if (const Result<void> drained = peer.link->drain(settings_.drain_timeout_ms); !drained)
        close_failed(peer, drained.error());
}

/// A part of the dial slots that no connected engine has; the one given away last comes back last, since an engine
/// whose connection broke may still have dials under way.
std::optional<DialSlotRange> Control::free_dial_slots() {
    const uint32_t share = supply_.dial_slots / engines_max;
    for (uint32_t tried = 0; tried < engines_max; ++tried) {
        const DialSlotRange range{.begin = next_dial_range_ * share, .count = share};
        next_dial_range_ = (next_dial_range_ + 1) % engines_max;
        const bool taken = std::ranges::any_of(peers_, [&](const auto& peer) {
            return peer->link && !peer->closed && peer->link->dial_slots().begin == range.begin;
        });
        if (!taken)
            return range;
    }
    return std::nullopt;
}

Result<void> Control::refuse_engine(Peer& peer, const std::string& error, const char* during) {
    static_cast<void>(peer.channel.queue(as_bytes(refusal_message(supply_.version, error)), {}));
    static_cast<void>(peer.channel.flush());
    log::error("engine_refused", log::kv("pid", peer.credentials.pid), log::kv("reason", error));
    return fail(Code::refused, during);
}

Result<void> Control::take_from_engine(Peer& peer, ToAgent message) {
    if (!peer.link)
        return fail(Code::invalid, "message: before the hello");
    EngineLink& link = *peer.link;
    if (const auto* applied = std::get_if<SnapshotApplied>(&message)) {
        if (applied->generation > link.generation_sent())
            return fail(Code::invalid, "snapshot_applied: a generation that was never sent");
        if (&peer == current_)
            settings_.post(EngineApplied{.generation = applied->generation, .error = applied->error});
    } else if (const auto* wanted = std::get_if<SocketsWanted>(&message)) {
        return link.give_sockets(*wanted);
    } else if (auto* stats = std::get_if<StatsReport>(&message)) {
        if (stats->report.instance != link.hello().instance)
            return fail(Code::invalid, "report: of another instance");
        link.stats_arrived(stats->request_id);
        collector_.take(std::move(stats->report));
    } else if (std::holds_alternative<Draining>(message)) {
        link.set_draining();
        static_cast<void>(link.ask_stats(0)); // the last chance for what it counted
        if (process_ && process_->running() && process_->running()->pid == peer.credentials.pid)
            process_->hand_over(monotonic_ms());
        if (&peer == current_) {
            current_ = nullptr;
            log::info("engine_draining", log::kv("pid", peer.credentials.pid));
            settings_.post(EngineGone{.reason = "the engine is draining"});
        }
    }
    // ListenersAdopted and PodReleased need no answer.
    return {};
}

Result<void> Control::take_ctl(Peer& peer, const CtlRequest& request) {
    if (peer.link)
        return fail(Code::invalid, "message: weftctl's on an engine's connection");
    // The engine's user may connect, but what the agent knows is none of its business.
    if (peer.credentials.uid != 0 && peer.credentials.uid != geteuid())
        return fail(Code::refused, "weftctl: not this user");
    if (settings_.post(CtlAsked{.token = peer.id, .request = request}))
        return {};
    const CtlReply busy{.ok = false, .error = "the agent has too many questions to answer", .json = ""};
    return peer.channel.queue(as_bytes(ctl_reply_message(busy)), {});
}

void Control::close_failed(Peer& peer, const Error& error) {
    if (peer.closed)
        return;
    const bool ended = error.code == Code::eof || error.code == Code::reset;
    if (!ended) {
        counters_.add(Event::bad_message, reason_of(error));
        log::warn("control_connection_closed", log::kv("pid", peer.credentials.pid),
                  log::kv("role", peer.link ? "engine" : "other"), log::kv("reason", to_string(error)));
    }
    lose(peer, ended ? "the engine closed its connection" : to_string(error));
}

void Control::lose(Peer& peer, const std::string& reason) {
    peer.closed = true;
    if (!peer.link)
        return;
    collector_.finish(peer.link->hello().instance);
    if (&peer != current_)
        return;
    current_ = nullptr;
    counters_.add(Event::engine_loss, "connection");
    log::warn("engine_lost", log::kv("pid", peer.credentials.pid), log::kv("reason", reason));
    settings_.post(EngineGone{.reason = reason});
}

void Control::each_engine(const std::function<Result<void>(EngineLink&)>& act) {
    for (const auto& peer : peers_) {
        if (!peer->link || peer->closed)
            continue;
        Result<void> done = act(*peer->link);
        if (done) {
            if (const Result<bool> flushed = peer->channel.flush(); !flushed)
                done = std::unexpected(flushed.error());
        }
        if (!done)
            close_failed(*peer, done.error());
    }
}

} // namespace weft::agent::engine
