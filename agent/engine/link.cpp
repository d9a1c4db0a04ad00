// SPDX-License-Identifier: Apache-2.0
#include "agent/engine/link.hpp"

#include "config/base/log.hpp"

namespace weft::agent::engine {

using metrics::Event;

EngineLink::EngineLink(wire::FrameChannel& channel, const Supply& supply, DialSlotRange dial_slots,
                       metrics::Counters& counters)
    : channel_(channel), supply_(supply), dial_slots_(dial_slots), counters_(counters) {}

Result<void> EngineLink::greet(const EngineHello& hello, std::vector<UniqueFd> fds,
                               std::vector<OfferedListener>& offers) {
    hello_ = hello;
    if (hello.applied_generation > generation_max)
        return fail(Code::invalid, "hello: generation out of range");
    if (hello.listeners.size() != fds.size())
        return fail(Code::invalid, "hello: descriptors and listeners differ in number");
    for (size_t i = 0; i < fds.size(); ++i)
        take_back(hello.listeners[i], std::move(fds[i]), offers);
    const std::string welcome = welcome_message(supply_.version, dial_slots_);
    if (Result<void> sent = queue(welcome, {supply_.engine_state_fd, supply_.dial_slots_fd}); !sent)
        return sent;
    // Numbers of another agent's snapshots must not be taken for ours: the loop then publishes under a higher one.
    if (hello.applied_generation < supply_.generation)
        if (Result<void> sent = send_snapshot(); !sent)
            return sent;
    for (const auto& [id, capture] : supply_.pods)
        if (Result<void> given = give_listeners(*capture); !given)
            return given;
    return {};
}

/// A claim of the engine. A wrong one is dropped and counted, it breaks nothing else.
void EngineLink::take_back(ListenerName name, UniqueFd fd, std::vector<OfferedListener>& offers) {
    const Result<ListenerFacts> facts = inspect_listener(fd.get(), name.kind);
    const auto captured = supply_.pods.find(name.pod_id);
    const bool foreign =
        facts && captured != supply_.pods.end() && captured->second->netns.cookie() != facts->netns_cookie;
    if (!facts || foreign || name.pod_id == 0) {
        counters_.add(Event::bad_message, "listener");
        log::warn("listener_handed_back_refused", log::kv("pod_id", name.pod_id), log::kv("kind", name.kind),
                  log::kv("reason", facts ? "it is in another pod's network namespace" : to_string(facts.error())));
        return;
    }
    serves_[{name.pod_id, name.kind}] = facts->identity;
    if (captured == supply_.pods.end())
        offers.push_back({.pod_id = name.pod_id, .kind = name.kind, .facts = *facts, .fd = std::move(fd)});
}

Result<void> EngineLink::send_snapshot() {
    if (!supply_.snapshot || generation_sent_ == supply_.generation)
        return {};
    // Two large ones would not fit into the queue: the newest goes when the engine has read the one before.
    if (channel_.queued_bytes() > snapshot_behind_bytes_max)
        return {};
    generation_sent_ = supply_.generation;
    return queue(*supply_.snapshot, {});
}

Result<void> EngineLink::give_listeners(const Capture& capture) {
    std::vector<uint32_t> kinds;
    std::vector<int> fds;
    for (uint32_t kind = 0; kind < listener_kinds; ++kind) {
        const UniqueFd& listener = capture.listeners[kind];
        if (!listener)
            continue;
        const uint64_t identity = socket_identity(listener.get()).value_or(0);
        uint64_t& served = serves_[{capture.id, kind}];
        if (served == identity)
            continue;
        served = identity;
        kinds.push_back(kind);
        fds.push_back(listener.get());
    }
    if (!kinds.empty() && !draining_)
        if (Result<void> given = queue(give_listeners_message(capture.id, kinds), fds); !given)
            return given;
    return give_postponed(capture.id);
}

Result<void> EngineLink::release_pod(uint32_t pod_id) {
    std::erase_if(serves_, [&](const auto& item) { return item.first.first == pod_id; });
    if (Result<void> answered = give_postponed(pod_id); !answered)
        return answered;
    return queue(release_pod_message(pod_id), {});
}

/// Handed back by this engine, and the loop has not decided yet: right after a restart of the agent.
bool EngineLink::awaits_capture(uint32_t pod_id) const {
    const auto first = serves_.lower_bound({pod_id, 0});
    return first != serves_.end() && first->first.first == pod_id && !supply_.pods.contains(pod_id);
}

Result<void> EngineLink::give_postponed(uint32_t pod_id) {
    std::vector<SocketsWanted> due;
    std::erase_if(postponed_, [&](const SocketsWanted& wanted) {
        if (wanted.pod_id == pod_id)
            due.push_back(wanted);
        return wanted.pod_id == pod_id;
    });
    for (const SocketsWanted& wanted : due)
        if (Result<void> given = give_sockets(wanted); !given)
            return given;
    return {};
}

Result<void> EngineLink::give_sockets(const SocketsWanted& wanted) {
    const auto refuse = [&](const char* reason, std::string_view error) {
        counters_.add(Event::sockets_unavailable, reason);
        return queue(give_sockets_message(wanted, 0, error), {});
    };
    const auto pod = supply_.pods.find(wanted.pod_id);
    if (awaits_capture(wanted.pod_id) && postponed_.size() < postponed_max) {
        postponed_.push_back(wanted);
        return {};
    }
    if (pod == supply_.pods.end())
        return refuse("unknown_pod", "no such pod is captured");
    Result<std::vector<UniqueFd>> made = make_upstream_sockets(pod->second->netns, wanted.ipv6, wanted.count);
    if (!made)
        return refuse("netns", to_string(made.error()));
    std::vector<int> fds;
    for (const UniqueFd& socket : *made) {
        // Unmarked, its connects would be redirected to the engine itself: a loop.
        if (const Result<void> marked = supply_.mark_socket(socket.get()); !marked)
            return refuse("mark", to_string(marked.error()));
        fds.push_back(socket.get());
    }
    return queue(give_sockets_message(wanted, static_cast<uint32_t>(fds.size()), ""), fds);
}

Result<void> EngineLink::ask_stats(uint64_t request_id) {
    stats_awaited_ = request_id;
    return queue(stats_wanted_message(request_id), {});
}

void EngineLink::stats_arrived(uint64_t request_id) {
    if (request_id >= stats_awaited_)
        stats_awaited_ = 0;
}

Result<void> EngineLink::drain(uint32_t timeout_ms) {
    draining_ = true;
    return queue(drain_message(timeout_ms), {});
}

Result<void> EngineLink::queue(std::string_view message, const std::vector<int>& fds) {
    return channel_.queue(as_bytes(message), fds);
}

} // namespace weft::agent::engine
