// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "config/base/net.hpp"
#include "l7engine/http/codec.hpp"
#include "l7engine/io/stream.hpp"
#include "l7engine/proxy/counters.hpp"

namespace weft::l7 {

struct ProxySettings;

/// What a connection to a backend may be used for: one pod's network namespace, one endpoint and, where the application
/// sees the client's address, that client's connection: an application may take one connection for one user.
struct UpstreamKey {
    uint32_t pod_id = 0;
    SocketAddress address;
    SocketAddress client; ///< inbound only, else all zero
    bool operator==(const UpstreamKey&) const = default;
};

struct UpstreamKeyHash {
    size_t operator()(const UpstreamKey& key) const noexcept;
};

/// A connection to a backend for one request at a time (HTTP/1). Owned by one exchange or by the pool.
struct Upstream {
    UpstreamKey key;
    std::unique_ptr<ByteStream> stream;
    std::unique_ptr<Codec> codec; ///< nullptr while it is idle in the pool
    uint64_t idle_since_ms = 0;
    bool reused = false;
};
using UpstreamPtr = std::unique_ptr<Upstream>;

/// One worker's idle keep-alive connections. Its thread only.
class UpstreamPool {
public:
    UpstreamPool(const ProxySettings& settings, Counters& counters) : settings_(settings), counters_(counters) {}

    /// The connection used last, idle for at most `idle_ms_max`; nullptr: make one. Closed and talkative ones go.
    [[nodiscard]] UpstreamPtr take(const UpstreamKey& key, uint64_t now_ms, uint64_t idle_ms_max);
    /// Keeps it for the next exchange, or closes it if that is not safe or too many are kept.
    void give(UpstreamPtr upstream, uint64_t now_ms);
    /// Closes what is idle for too long or was closed by the backend. Every tick.
    void sweep(uint64_t now_ms);
    /// Memory runs out: closes what was not used just now.
    void shed(uint64_t now_ms);
    void release_pod(uint32_t pod_id);
    /// Closes what is kept for one key: of a client that is gone.
    void release(const UpstreamKey& key);
    void clear();
    [[nodiscard]] size_t size() const { return size_; }

private:
    template <class Condition>
    void drop_if(Condition condition);

    const ProxySettings& settings_;
    Counters& counters_;
    std::unordered_map<UpstreamKey, std::vector<UpstreamPtr>, UpstreamKeyHash> idle_;
    size_t size_ = 0;
};

} // namespace weft::l7
