// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/overload.hpp"

#include <algorithm>

namespace weft::l7 {
namespace {

/// The highest step that `used` reaches when each begins `slack` percent earlier.
Pressure reached(uint64_t used, uint64_t limit, const PressureSteps& steps, unsigned slack) {
    const auto reaches = [&](unsigned percent) { return used * 100 >= limit * (percent - slack); };
    if (reaches(steps.idle))
        return Pressure::idle;
    if (reaches(steps.connections))
        return Pressure::connections;
    return reaches(steps.requests) ? Pressure::requests : Pressure::none;
}

} // namespace

Pressure next_pressure(Pressure now, uint64_t used, uint64_t limit, const PressureSteps& steps) {
    if (limit == 0)
        return Pressure::none;
    const Pressure kept = std::min(now, reached(used, limit, steps, steps.slack));
    return std::max(kept, reached(used, limit, steps, 0));
}

std::optional<Shortage> room_for_connection(Pressure pressure, const Usage& worker, const Usage& pod,
                                            const UsageLimits& limits) {
    if (pressure >= Pressure::connections)
        return Shortage::memory;
    if (pod.connections >= limits.connections_per_pod_max)
        return Shortage::pod_connections;
    if (worker.connections >= limits.connections_max)
        return Shortage::worker_connections;
    return std::nullopt;
}

std::optional<Shortage> room_for_request(Pressure pressure, const Usage& worker, const Usage& pod,
                                         const UsageLimits& limits) {
    if (pressure >= Pressure::requests)
        return Shortage::memory;
    if (pod.requests >= limits.requests_per_pod_max)
        return Shortage::pod_requests;
    if (pod.buffered_bytes > limits.buffered_bytes_per_pod_max)
        return Shortage::pod_buffers;
    if (worker.requests >= limits.requests_max)
        return Shortage::worker_requests;
    return std::nullopt;
}

} // namespace weft::l7
