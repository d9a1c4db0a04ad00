// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/upstream.hpp"

#include "l7engine/proxy/settings.hpp"

namespace weft::l7 {

namespace {

/// FIN, reset or bytes that nobody asked for: the next request would get the wrong answer or none.
bool is_spoilt(const Upstream& upstream) {
    return upstream.stream->peer_closed() || upstream.stream->buffered() > 0;
}

} // namespace

size_t UpstreamKeyHash::operator()(const UpstreamKey& key) const noexcept {
    size_t hash = std::hash<SocketAddress>()(key.address);
    hash ^= (std::hash<SocketAddress>()(key.client) + key.pod_id) * 0x9e3779b97f4a7c15U;
    return hash;
}

UpstreamPtr UpstreamPool::take(const UpstreamKey& key, uint64_t now_ms, uint64_t idle_ms_max) {
    const auto found = idle_.find(key);
    if (found == idle_.end()) {
        counters_.add(Counter::pool_misses);
        return nullptr;
    }
    std::vector<UpstreamPtr>& idle = found->second;
    UpstreamPtr taken;
    while (taken == nullptr && !idle.empty() && now_ms - idle.back()->idle_since_ms <= idle_ms_max) {
        taken = std::move(idle.back());
        idle.pop_back();
        --size_;
        if (is_spoilt(*taken)) {
            counters_.add(Counter::pool_dropped_closed);
            taken = nullptr;
        }
    }
    counters_.add(taken == nullptr ? Counter::pool_misses : Counter::pool_hits);
    if (taken != nullptr) {
        taken->reused = true;
        taken->codec = make_h1_client_codec(settings_.h1);
    }
    return taken;
}

void UpstreamPool::give(UpstreamPtr upstream, uint64_t now_ms) {
    if (upstream->codec->finished() || !upstream->codec->pending().empty() || is_spoilt(*upstream)) {
        counters_.add(Counter::pool_dropped_unclean);
        return;
    }
    if (size_ >= settings_.pool_max) {
        counters_.add(Counter::pool_dropped_full);
        return;
    }
    std::vector<UpstreamPtr>& idle = idle_[upstream->key];
    if (idle.size() >= settings_.pool_per_key_max) {
        counters_.add(Counter::pool_dropped_full);
        return;
    }
    upstream->codec.reset(); // between two messages it holds nothing that a new one would not have
    upstream->idle_since_ms = now_ms;
    idle.push_back(std::move(upstream));
    ++size_;
}

template <class Condition>
void UpstreamPool::drop_if(Condition condition) {
    for (auto entry = idle_.begin(); entry != idle_.end();) {
        size_ -= std::erase_if(entry->second, condition);
        entry = entry->second.empty() ? idle_.erase(entry) : std::next(entry);
    }
}

void UpstreamPool::sweep(uint64_t now_ms) {
    drop_if([&](const UpstreamPtr& upstream) {
        if (is_spoilt(*upstream)) {
            counters_.add(Counter::pool_dropped_closed);
            return true;
        }
        if (now_ms - upstream->idle_since_ms < settings_.pool_idle_ms)
            return false;
        counters_.add(Counter::pool_dropped_idle);
        return true;
    });
}

void UpstreamPool::shed(uint64_t now_ms) {
    drop_if([&](const UpstreamPtr& upstream) {
        const bool idle = now_ms - upstream->idle_since_ms >= settings_.shed_idle_ms;
        if (idle)
            counters_.add(Counter::shed_pooled);
        return idle;
    });
}

void UpstreamPool::release_pod(uint32_t pod_id) {
    drop_if([&](const UpstreamPtr& upstream) { return upstream->key.pod_id == pod_id; });
}

void UpstreamPool::release(const UpstreamKey& key) {
    if (const auto found = idle_.find(key); found != idle_.end()) {
        size_ -= found->second.size();
        idle_.erase(found);
    }
}

void UpstreamPool::clear() {
    idle_.clear();
    size_ = 0;
}

} // namespace weft::l7
