// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/session_pool.hpp"

#include <algorithm>
#include <cassert>

#include "l7engine/http/h2_codec.hpp"
#include "l7engine/proxy/settings.hpp"

namespace weft::l7 {

struct SessionPool::Entry {
    explicit Entry(Worker& worker) : changed(worker) {}
    std::vector<SessionPtr> sessions; ///< those that take new streams, oldest first
    size_t connecting = 0;
    size_t guests = 0; ///< coroutines in wait()
    Signal changed;
};

SessionPool::SessionPool(Worker& worker, const ProxySettings& settings, Counters& counters)
    : worker_(worker), settings_(settings), counters_(counters) {}

SessionPool::~SessionPool() {
    assert(alive_ == 0 && waiting_ == 0);
}

SessionPool::Entry& SessionPool::entry_of(const UpstreamKey& key) {
    std::unique_ptr<Entry>& entry = entries_[key];
    if (entry == nullptr)
        entry = std::make_unique<Entry>(worker_);
    return *entry;
}

SessionPtr SessionPool::take(const UpstreamKey& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end())
        return nullptr;
    // The oldest first: so the youngest ones become idle when the load goes down.
    for (const SessionPtr& session : found->second->sessions) {
        if (session->has_room())
            return session;
    }
    return nullptr;
}

SessionPool::Turn SessionPool::next_turn(const UpstreamKey& key) {
    Entry& entry = entry_of(key);
    // One that is new may have room for all who wait; that is known in a moment.
    const bool none_new = entry.connecting == 0 && std::ranges::all_of(entry.sessions, &UpstreamSession::knows_peer);
    if (none_new && entry.sessions.size() < settings_.sessions_per_key_max) {
        ++entry.connecting;
        return Turn::connect;
    }
    if (waiting_ >= settings_.session_waiters_max) {
        counters_.add(Counter::sessions_overflow);
        return Turn::refused;
    }
    return Turn::wait;
}

SessionPtr SessionPool::connected(const UpstreamKey& key, std::unique_ptr<ByteStream> stream) {
    Entry& entry = entry_of(key);
    --entry.connecting;
    SessionPtr session;
    if (stream != nullptr) {
        ++alive_;
        ++by_pod_[key.pod_id];
        UpstreamSession::Watcher& watcher = *this;
        session = std::make_shared<UpstreamSession>(worker_, key, std::move(stream),
                                                    make_h2_client_codec(settings_.h2_upstream), watcher);
        entry.sessions.push_back(session);
        session->start();
    }
    entry.changed.notify_all();
    return session;
}

Task<Result<void>> SessionPool::wait(UpstreamKey key, Until until) {
    Entry& entry = entry_of(key);
    ++waiting_;
    ++entry.guests;
    const Result<void> woken = co_await entry.changed.wait(until);
    --entry.guests;
    --waiting_;
    if (!woken)
        pass_on(key); // it may have been woken all the same
    co_return woken;
}

void SessionPool::pass_on(const UpstreamKey& key) {
    if (const auto found = entries_.find(key); found != entries_.end())
        found->second->changed.notify_one();
}

void SessionPool::session_changed(const UpstreamKey& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end())
        return;
    Entry& entry = *found->second;
    std::erase_if(entry.sessions, [](const SessionPtr& session) { return session->is_leaving(); });
    entry.changed.notify_one();
}

void SessionPool::session_gone(uint32_t pod_id) {
    --alive_;
    if (--by_pod_[pod_id] == 0)
        by_pod_.erase(pod_id);
}

size_t SessionPool::alive(uint32_t pod_id) const {
    const auto found = by_pod_.find(pod_id);
    return found == by_pod_.end() ? 0 : found->second;
}

/// Apart from their entries: a session that leaves takes itself out of its own.
template <class Condition>
std::vector<SessionPtr> SessionPool::sessions_that(Condition condition) const {
    std::vector<SessionPtr> found;
    for (const auto& [key, entry] : entries_)
        std::ranges::copy_if(entry->sessions, std::back_inserter(found), condition);
    return found;
}

template <class Condition>
void SessionPool::leave_if(Condition condition) {
    for (const SessionPtr& session : sessions_that(condition))
        session->leave();
}

void SessionPool::sweep(uint64_t now_ms) {
    const uint64_t settings_ms = settings_.session_settings_timeout_ms;
    for (const SessionPtr& session :
         sessions_that([=](const SessionPtr& each) { return each->is_unsettled(now_ms, settings_ms); })) {
        counters_.add(Counter::session_settings_timeouts);
        session->end_unsettled();
    }
    leave_if([&](const SessionPtr& session) {
        const bool idle = session->streams() == 0 && now_ms - session->idle_since_ms() >= settings_.pool_idle_ms;
        if (idle)
            counters_.add(Counter::pool_dropped_idle);
        return idle;
    });
    std::erase_if(entries_, [](const auto& entry) {
        return entry.second->sessions.empty() && entry.second->connecting == 0 && entry.second->guests == 0;
    });
}

void SessionPool::shed(uint64_t now_ms) {
    leave_if([&](const SessionPtr& session) {
        const bool idle = session->streams() == 0 && now_ms - session->idle_since_ms() >= settings_.shed_idle_ms;
        if (idle)
            counters_.add(Counter::shed_pooled);
        return idle;
    });
}

void SessionPool::release_pod(uint32_t pod_id) {
    leave_if([&](const SessionPtr& session) { return session->key().pod_id == pod_id; });
}

void SessionPool::release(const UpstreamKey& key) {
    if (const auto found = entries_.find(key); found != entries_.end()) {
        const std::vector<SessionPtr> leaving = found->second->sessions;
        for (const SessionPtr& session : leaving)
            session->leave();
    }
}

void SessionPool::clear() {
    leave_if([](const SessionPtr&) { return true; });
}

} // namespace weft::l7
