// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "l7engine/proxy/session.hpp"

namespace weft::l7 {

/// One worker's shared connections to backends. Its thread only.
class SessionPool final : private UpstreamSession::Watcher {
public:
    SessionPool(Worker& worker, const ProxySettings& settings, Counters& counters);
    /// When no session is left.
    ~SessionPool();

    /// One that takes a stream now; nullptr: none.
    [[nodiscard]] SessionPtr take(const UpstreamKey& key);

    /// Whoever finds no session makes one if nobody else is about to, else waits.
    enum class Turn : uint8_t { connect, wait, refused };
    [[nodiscard]] Turn next_turn(const UpstreamKey& key);
    /// The outcome of Turn::connect; nullptr: it failed. Who waits looks again.
    SessionPtr connected(const UpstreamKey& key, std::unique_ptr<ByteStream> stream);
    /// After Turn::wait. Error: Code::timeout, Code::canceled.
    [[nodiscard]] Task<Result<void>> wait(UpstreamKey key, Until until);

    /// Wakes the next one that waits: for who was woken and needs no session any more.
    void pass_on(const UpstreamKey& key);

    /// Ends sessions that nobody used for long. Every tick.
    void sweep(uint64_t now_ms);
    /// Memory runs out: ends what was not used just now.
    void shed(uint64_t now_ms);
    /// No new streams for the pod's sessions; they end with their last one.
    void release_pod(uint32_t pod_id);
    /// The same for one key: of a client that is gone.
    void release(const UpstreamKey& key);
    void clear();
    /// Connections that are not yet closed.
    [[nodiscard]] size_t alive() const { return alive_; }
    [[nodiscard]] size_t alive(uint32_t pod_id) const;

private:
    struct Entry;
    void session_changed(const UpstreamKey& key) override;
    void session_gone(uint32_t pod_id) override;
    Entry& entry_of(const UpstreamKey& key);
    template <class Condition>
    [[nodiscard]] std::vector<SessionPtr> sessions_that(Condition condition) const;
    template <class Condition>
    void leave_if(Condition condition);

    Worker& worker_;
    const ProxySettings& settings_;
    Counters& counters_;
    std::unordered_map<UpstreamKey, std::unique_ptr<Entry>, UpstreamKeyHash> entries_;
    std::unordered_map<uint32_t, size_t> by_pod_; ///< connections not yet closed
    size_t alive_ = 0;
    size_t waiting_ = 0;
};

} // namespace weft::l7
