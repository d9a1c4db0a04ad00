// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

/// Every counter of the engine: identifier, metric name, value of its label `reason`. Per worker, summed in the report.
#define WEFT_L7_COUNTERS(X)                                                                                            \
    X(connections_outbound, "weft_l7_connections_total", "outbound")                                                   \
    X(connections_inbound, "weft_l7_connections_total", "inbound")                                                     \
    X(connections_held, "weft_l7_held_connections_total", "")                                                          \
    X(connections_http2, "weft_l7_http2_connections_total", "accepted")                                                \
    X(floods, "weft_l7_floods_total", "")                                                                              \
    X(http2_errors, "weft_l7_http2_connections_total", "ended_by_error")                                               \
    X(refused_worker_limit, "weft_l7_refused_connections_total", "worker_limit")                                       \
    X(refused_pod_limit, "weft_l7_refused_connections_total", "pod_limit")                                             \
    X(refused_memory, "weft_l7_refused_connections_total", "memory")                                                   \
    X(refused_no_address, "weft_l7_refused_connections_total", "no_address")                                           \
    X(refused_not_redirected, "weft_l7_refused_connections_total", "not_redirected")                                   \
    X(refused_unknown_service, "weft_l7_refused_connections_total", "unknown_service")                                 \
    X(refused_not_steered, "weft_l7_refused_connections_total", "not_steered")                                         \
    X(refused_flooding, "weft_l7_refused_connections_total", "flooding")                                               \
    X(refused_releasing, "weft_l7_refused_connections_total", "pod_released")                                          \
    X(shed_memory, "weft_l7_refused_requests_total", "memory")                                                         \
    X(shed_pod_requests, "weft_l7_refused_requests_total", "pod_limit")                                                \
    X(shed_pod_buffers, "weft_l7_refused_requests_total", "pod_buffers")                                               \
    X(shed_worker_requests, "weft_l7_refused_requests_total", "worker_limit")                                          \
    X(shed_idle, "weft_l7_shed_connections_total", "downstream_idle")                                                  \
    X(shed_pooled, "weft_l7_shed_connections_total", "upstream_idle")                                                  \
    X(codec_400, "weft_l7_request_errors_total", "400")                                                                \
    X(codec_408, "weft_l7_request_errors_total", "408")                                                                \
    X(codec_414, "weft_l7_request_errors_total", "414")                                                                \
    X(codec_417, "weft_l7_request_errors_total", "417")                                                                \
    X(codec_426, "weft_l7_request_errors_total", "426")                                                                \
    X(codec_431, "weft_l7_request_errors_total", "431")                                                                \
    X(codec_501, "weft_l7_request_errors_total", "501")                                                                \
    X(codec_505, "weft_l7_request_errors_total", "505")                                                                \
    X(codec_other, "weft_l7_request_errors_total", "other")                                                            \
    X(denied_frontend, "weft_l7_denied_requests_total", "service_policy")                                              \
    X(denied_pod, "weft_l7_denied_requests_total", "pod_policy")                                                       \
    X(tunnels_opened, "weft_l7_tunnels_total", "opened")                                                               \
    X(tunnels_finished, "weft_l7_tunnels_total", "finished")                                                           \
    X(tunnels_reset, "weft_l7_tunnels_total", "reset")                                                                 \
    X(tunnels_unconnected, "weft_l7_tunnels_total", "unconnected")                                                     \
    X(splices_begun, "weft_l7_splices_total", "begun")                                                                 \
    X(splices_ended_idle, "weft_l7_splices_total", "ended_idle")                                                       \
    X(splices_ended_small, "weft_l7_splices_total", "ended_small")                                                     \
    X(splices_ended_unsupported, "weft_l7_splices_total", "ended_unsupported")                                         \
    X(splice_refused_limit, "weft_l7_splices_total", "refused_pipes_max")                                              \
    X(splice_refused_kernel, "weft_l7_splices_total", "refused_no_pipe")                                               \
    X(spliced_bytes, "weft_l7_spliced_bytes_total", "")                                                                \
    X(tunnels_denied_frontend, "weft_l7_denied_tunnels_total", "service_policy")                                       \
    X(tunnels_denied_pod, "weft_l7_denied_tunnels_total", "pod_policy")                                                \
    X(sniffed_http, "weft_l7_sniffed_connections_total", "http")                                                       \
    X(sniffed_tls, "weft_l7_sniffed_connections_total", "tls")                                                         \
    X(sniffed_tcp, "weft_l7_sniffed_connections_total", "tcp")                                                         \
    X(sniffed_silence, "weft_l7_sniffed_connections_total", "silence")                                                 \
    X(sniffed_gone, "weft_l7_sniffed_connections_total", "client_gone")                                                \
    X(hellos_read, "weft_l7_client_hellos_total", "read")                                                              \
    X(hellos_malformed, "weft_l7_client_hellos_total", "malformed")                                                    \
    X(hellos_incomplete, "weft_l7_client_hellos_total", "incomplete")                                                  \
    X(clients_gone, "weft_l7_cut_exchanges_total", "client_gone")                                                      \
    X(backend_cut, "weft_l7_cut_exchanges_total", "backend_cut")                                                       \
    X(drain_cut, "weft_l7_cut_exchanges_total", "drain_timeout")                                                       \
    X(release_cut, "weft_l7_cut_exchanges_total", "pod_released")                                                      \
    X(policy_cut, "weft_l7_cut_exchanges_total", "policy_changed")                                                     \
    X(idle_timeouts, "weft_l7_timeouts_total", "downstream_idle")                                                      \
    X(exchange_timeouts, "weft_l7_timeouts_total", "exchange_idle")                                                    \
    X(request_timeouts, "weft_l7_timeouts_total", "request")                                                           \
    X(stall_timeouts, "weft_l7_timeouts_total", "reply_not_taken")                                                     \
    X(settings_timeouts, "weft_l7_timeouts_total", "downstream_settings")                                              \
    X(session_settings_timeouts, "weft_l7_timeouts_total", "upstream_settings")                                        \
    X(tunnel_timeouts, "weft_l7_timeouts_total", "tunnel_idle")                                                        \
    X(pool_hits, "weft_l7_pool_lookups_total", "hit")                                                                  \
    X(pool_misses, "weft_l7_pool_lookups_total", "miss")                                                               \
    X(pool_dropped_closed, "weft_l7_pool_drops_total", "closed_by_backend")                                            \
    X(pool_dropped_idle, "weft_l7_pool_drops_total", "idle")                                                           \
    X(pool_dropped_full, "weft_l7_pool_drops_total", "full")                                                           \
    X(pool_dropped_unclean, "weft_l7_pool_drops_total", "unclean")                                                     \
    X(sessions_overflow, "weft_l7_pool_drops_total", "session_waiters")                                                \
    X(connects_ok, "weft_l7_upstream_connects_total", "ok")                                                            \
    X(connects_refused, "weft_l7_upstream_connects_total", "refused")                                                  \
    X(connects_timeout, "weft_l7_upstream_connects_total", "timeout")                                                  \
    X(connects_canceled, "weft_l7_upstream_connects_total", "canceled")                                                \
    X(connects_failed, "weft_l7_upstream_connects_total", "failed")                                                    \
    X(connects_no_socket, "weft_l7_upstream_connects_total", "no_socket")                                              \
    X(connects_no_slot, "weft_l7_upstream_connects_total", "no_dial_slot")                                             \
    X(retries_connect, "weft_l7_retries_total", "connect")                                                             \
    X(retries_refused, "weft_l7_retries_total", "refused_stream")                                                      \
    X(retries_stale, "weft_l7_retries_total", "stale_connection")                                                      \
    X(stock_waits, "weft_l7_stock_events_total", "wait")                                                               \
    X(stock_asked, "weft_l7_stock_events_total", "asked")                                                              \
    X(stock_recycled, "weft_l7_stock_events_total", "recycled")                                                        \
    X(stock_unwanted, "weft_l7_stock_events_total", "unwanted_closed")                                                 \
    X(series_overflow, "weft_l7_series_overflows_total", "")

namespace weft::l7 {

enum class Counter : uint8_t {
#define WEFT_L7_COUNTER_ENUM(id, name, reason) id,
    WEFT_L7_COUNTERS(WEFT_L7_COUNTER_ENUM)
#undef WEFT_L7_COUNTER_ENUM
};

struct CounterName {
    std::string_view name;
    std::string_view reason;
};
inline constexpr CounterName counter_names[] = {
#define WEFT_L7_COUNTER_NAME(id, name, reason) {name, reason},
    WEFT_L7_COUNTERS(WEFT_L7_COUNTER_NAME)
#undef WEFT_L7_COUNTER_NAME
};
inline constexpr size_t counter_count = std::size(counter_names);

/// One worker's counters: plain numbers, touched by its thread only.
class Counters {
public:
    void add(Counter counter, uint64_t count = 1) { values_[static_cast<size_t>(counter)] += count; }
    [[nodiscard]] uint64_t operator[](Counter counter) const { return values_[static_cast<size_t>(counter)]; }
    [[nodiscard]] const std::array<uint64_t, counter_count>& values() const { return values_; }

private:
    std::array<uint64_t, counter_count> values_{};
};

} // namespace weft::l7
