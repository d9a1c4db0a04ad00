// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace weft::l7 {

/// What is shed while memory runs out; each step sheds what those before it do, too.
enum class Pressure : uint8_t {
    none,
    requests,    ///< new requests are answered 503
    connections, ///< new connections are refused
    idle,        ///< idle connections of clients and to backends are closed
};

/// Where the steps begin, in percent of the limit. One ends when less than that by `slack` is used: so that what is
/// shed for one request more does not begin and end with each (docs/decisions/0010).
struct PressureSteps {
    unsigned requests = 85;
    unsigned connections = 90;
    unsigned idle = 95;
    unsigned slack = 5;
};

/// The step after `now` when `used` bytes of `limit` are in use. Rises at once, over several steps if need be; falls
/// step by step or at once, by what is used. A limit of 0 is none.
[[nodiscard]] Pressure next_pressure(Pressure now, uint64_t used, uint64_t limit, const PressureSteps& steps = {});

/// What is in use: by one worker, or on it by one pod in one direction.
struct Usage {
    size_t connections = 0;
    size_t requests = 0; ///< in flight
    size_t buffered_bytes = 0;
};

/// Per worker; those of a pod are for each direction (its clients, and who comes to it) alone.
struct UsageLimits {
    size_t connections_max = 32'768;
    size_t connections_per_pod_max = 16'384;
    size_t requests_max = 32'768;
    size_t requests_per_pod_max = 16'384;
    /// Received and not yet passed on. Above it the pod's new requests are refused, and its streams are received from
    /// only when they are nearly empty: what they hold grows by a batch of the kernel's each, not beyond.
    size_t buffered_bytes_per_pod_max = 256 * 1024 * 1024;
};

/// Why something new is refused.
enum class Shortage : uint8_t {
    memory,
    worker_connections,
    pod_connections,
    worker_requests,
    pod_requests,
    pod_buffers,
};

/// Is there room for one more? nullopt: yes. A pod's own limit is named before the worker's.
[[nodiscard]] std::optional<Shortage> room_for_connection(Pressure pressure, const Usage& worker, const Usage& pod,
                                                          const UsageLimits& limits);
[[nodiscard]] std::optional<Shortage> room_for_request(Pressure pressure, const Usage& worker, const Usage& pod,
                                                       const UsageLimits& limits);

} // namespace weft::l7
