// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "l7engine/filter/registry.hpp"
#include "l7engine/http/h1_codec.hpp"
#include "l7engine/http/h2_codec.hpp"
#include "l7engine/io/pipe_pool.hpp"
#include "l7engine/io/tcp.hpp"
#include "l7engine/policy/flood.hpp"
#include "l7engine/policy/overload.hpp"
#include "l7engine/proxy/bulk_meter.hpp"

namespace weft::l7 {

/// Listeners of one kind in one pod: an agent that could not take back the one in use makes another. The oldest goes.
inline constexpr ptrdiff_t listeners_per_kind_max = 2;

/// A session to a backend is shared by clients that do not know of each other: each stream's window must be all that
/// holds it back, or those who do not read would hold up the others.
[[nodiscard]] inline H2Settings shared_session() {
    H2Settings settings;
    settings.connection_window_bytes = settings.streams_max * settings.stream_window_bytes;
    return settings;
}

/// Every time and every limit of the proxy, in one place. The limits are per worker.
struct ProxySettings {
    // downstream
    uint64_t head_timeout_ms = 10'000;  ///< first byte of a request head to its last; then 408
    uint64_t idle_timeout_ms = 300'000; ///< no request on an open connection
    /// No byte of an exchange in either direction; then 504 or cut. Long, since a quiet event stream or long poll is
    /// no fault (istio.md 5.5: off there); UINT64_MAX: for ever.
    uint64_t exchange_idle_timeout_ms = 3'600'000;
    uint64_t request_timeout_ms = 0; ///< from the request's head to the reply's last byte; 0: no limit (istio.md 5.4)
    uint64_t half_closed_timeout_ms = 60'000; ///< the same once the client has sent its FIN
    /// No byte of a reply is taken by its client, which does not read or gives no window (hostile-input.md D11); then
    /// cut.
    uint64_t stall_timeout_ms = 300'000;
    uint64_t settings_timeout_ms = 10'000; ///< HTTP/2: for a client's SETTINGS and the acknowledgement of ours
    uint64_t sniff_timeout_ms = 100; ///< silence of a client whose port declares no protocol; then it is opaque TCP
    uint64_t tunnel_idle_timeout_ms = 3'600'000; ///< no byte of an opaque connection in either direction
    uint64_t linger_timeout_ms = 2'000;    ///< after our FIN: wait for the client's, so that no reset eats the reply
    size_t linger_bytes_max = 1024 * 1024; ///< read and dropped while lingering
    size_t flood_linger_bytes_max = 64 * 1024; ///< the same of a connection that was ended as a flood
    UsageLimits limits;
    FloodRules floods;

    // upstream
    uint64_t connect_timeout_ms = 10'000; ///< waiting for a socket included
    uint32_t connect_tries_max = 3;       ///< different endpoints, as long as no byte reached one
    uint64_t pool_idle_ms = 55'000;       ///< below the 60 s after which many servers close
    uint64_t pool_fresh_ms = 1'000;       ///< a request that cannot be repeated takes no connection idle for longer
    size_t pool_per_key_max = 256;
    size_t pool_max = 8'192;
    size_t relay_bytes_max = 64 * 1024; ///< gathered from one side before it is written to the other
    /// The same of a backend. Longer: one that is busy elsewhere has a full backlog, and no fault.
    uint64_t session_settings_timeout_ms = 60'000;
    size_t sessions_per_key_max = 16;   ///< HTTP/2 connections to one endpoint
    size_t session_waiters_max = 4'096; ///< requests waiting for a stream of one; above: 503 UO
    /// Of a request's body, kept until the backend answers: a stream that it refuses is tried again elsewhere.
    size_t replay_bytes_max = 64 * 1024;

    // sockets of the agent
    uint32_t stock_start = 8;
    uint32_t stock_max = 256;
    uint64_t stock_ask_again_ms = 1'000; ///< the agent has not answered
    uint64_t stock_overdue_ms = 100;     ///< ... for so long: sockets that are done with are used again
    size_t stock_waiters_max = 4'096;    ///< exchanges of one pod waiting for a socket

    // life-cycle
    uint64_t snapshot_hold_ms = 10'000; ///< a request that lasts longer than this lets go of an old snapshot
    uint64_t drain_idle_ms = 1'000;     ///< draining: idle connections may still send a request for that long
    uint64_t release_ms = 1'000;        ///< a released pod's exchanges may still end for that long
    uint64_t tick_ms = 250;
    uint64_t shed_idle_ms = 1'000; ///< memory runs out: what is idle for so long is closed

    uint64_t seed = 0x5eed;    ///< of balancing, with the worker's number: every engine another one
    size_t series_max = 2'000; ///< metric series; above: one series of overflow

    H1Settings h1;
    H2Settings h2_downstream;
    H2Settings h2_upstream = shared_session();
    TcpSettings tcp;
    BulkRules bulk;     ///< when a tunnel's direction is spliced
    PipeSettings pipes; ///< ... and through what
    FilterSettings filters;
};

} // namespace weft::l7
