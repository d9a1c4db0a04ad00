// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_map>

#include "config/base/net.hpp"

namespace weft::l7 {

/// How an endpoint failed a request that it has not begun to answer.
enum class EndpointFailure : uint8_t {
    connect, ///< refused, unreachable or timed out: nobody is there, and the next one would learn no more
    reset,   ///< cut before a byte of the answer: maybe only this request's fault
};

/// Is a failed connect the endpoint's fault, by its errno? Not for want of a free port of the pod, or of memory.
[[nodiscard]] constexpr bool blames_endpoint(int error_number) {
    return error_number != EADDRNOTAVAIL && error_number != EADDRINUSE && error_number != ENOBUFS &&
           error_number != ENOMEM;
}

/// An endpoint as one pod reaches it. What a pod's network policy, or its own firewall, keeps from it says nothing to
/// the others, and no pod may turn another's traffic away from an endpoint.
struct PodEndpoint {
    uint32_t pod_id = 0;
    SocketAddress address;
    bool operator==(const PodEndpoint&) const = default;
};

struct PodEndpointHash {
    size_t operator()(const PodEndpoint& endpoint) const noexcept {
        return std::hash<SocketAddress>()(endpoint.address) ^ (endpoint.pod_id * 0x9e3779b97f4a7c15ULL);
    }
};

/// Which endpoints not to choose for now, by the outcome of requests. One worker's; pure: the caller brings the time,
/// which does not run backwards by more than a request takes.
///
///   well -- connect, or resets_to_eject in a row --> ejected for the back-off -- time --> one request tries it
///     ^                                                  ^                                   |          |
///     |                                                  +--- failure: twice the back-off ---+          |
///     +------------------------------------ a success, at any time -------------------------------------+
///
/// While one request tries it, others stay away for another backoff_min_ms, then the next one may. Whether an endpoint
/// is left at all is the caller's matter: who finds all ejected uses them all.
class EndpointHealth {
public:
    static constexpr unsigned resets_to_eject = 3;
    static constexpr uint64_t backoff_min_ms = 1'000;
    static constexpr uint64_t backoff_max_ms = 30'000;
    static constexpr uint64_t remembered_ms = 60'000; ///< after the back-off: of endpoints that nobody chooses any more
    static constexpr size_t endpoints_per_pod_max = 256; ///< in trouble at the same time; more are not noted

    void failed(const PodEndpoint& endpoint, EndpointFailure failure, uint64_t now_ms);
    /// It has begun to answer.
    void worked(const PodEndpoint& endpoint) {
        if (!troubled_.empty() && troubled_.erase(endpoint) > 0)
            --of_pod_[endpoint.pod_id];
    }

    /// Is any endpoint to be avoided? False nearly always: then nothing else needs to be asked.
    [[nodiscard]] bool any(uint64_t now_ms);
    [[nodiscard]] bool is_ejected(const PodEndpoint& endpoint, uint64_t now_ms) const;
    /// A request goes there. If the back-off of an ejected endpoint is over, this request is the one that tries it.
    void chosen(const PodEndpoint& endpoint, uint64_t now_ms);

    /// How often an endpoint was ejected, each longer back-off included.
    [[nodiscard]] uint64_t ejections() const { return ejections_; }
    /// Endpoints in trouble.
    [[nodiscard]] size_t size() const { return troubled_.size(); }

private:
    struct Trouble {
        unsigned failures = 0;   ///< in a row, until ejected
        uint64_t backoff_ms = 0; ///< 0: not ejected
        uint64_t until_ms = 0;   ///< not before: chosen again; not ejected: when the last failure was
        bool tried = false;      ///< the back-off is over and a request has gone there
    };
    void forget_old(uint64_t now_ms);

    std::unordered_map<PodEndpoint, Trouble, PodEndpointHash> troubled_;
    std::unordered_map<uint32_t, size_t> of_pod_; ///< how many of them, by pod
    uint64_t forget_at_ms_ = 0;
    uint64_t ejections_ = 0;
};

} // namespace weft::l7
