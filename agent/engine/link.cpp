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
    if (captured != supply_.pods.end())
        return;
    if (Result<UniqueFd> netns = netns_of(fd.get()); netns)
        handed_back_.insert_or_assign(name.pod_id, *std::move(netns));
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
    handed_back_.erase(capture.id);
    if (kinds.empty() || draining_)
        return {};
    return queue(give_listeners_message(capture.id, kinds), fds);
}

Result<void> EngineLink::release_pod(uint32_t pod_id) {
    std::erase_if(serves_, [&](const auto& item) { return item.first.first == pod_id; });
    handed_back_.erase(pod_id);
    return queue(release_pod_message(pod_id), {});
}

/// Right after a restart of the agent its loop has not decided yet; what this engine serves goes on meanwhile.
Result<std::vector<UniqueFd>> EngineLink::make_sockets(const SocketsWanted& wanted) const {
    if (const auto pod = supply_.pods.find(wanted.pod_id); pod != supply_.pods.end())
        return make_upstream_sockets(pod->second->netns, wanted.ipv6, wanted.count);
    if (const auto netns = handed_back_.find(wanted.pod_id); netns != handed_back_.end())
        return make_upstream_sockets(netns->second, wanted.ipv6, wanted.count);
    return fail(Code::unavailable, "no such pod is captured");
}

Result<void> EngineLink::give_sockets(const SocketsWanted& wanted) {
    const auto refuse = [&](const char* reason, std::string_view error) {
        counters_.add(Event::sockets_unavailable, reason);
        return queue(give_sockets_message(wanted, 0, error), {});
    };
    Result<std::vector<UniqueFd>> made = make_sockets(wanted);
    if (!made)
        return refuse(made.error().code == Code::unavailable ? "unknown_pod" : "netns", to_string(made.error()));
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
