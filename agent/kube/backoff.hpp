// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <random>

namespace weft::agent::kube {

inline constexpr uint64_t retry_min_ms = 100; ///< after the first failure, then doubled
/// Of a Retry-After: a server that starts asks for 5 s and needs less. One that goes on failing is asked ever less
/// often.
inline constexpr uint64_t retry_after_max_ms = 1'000;

/// How long to wait after failures in a row: ever longer, and by chance, so that not all nodes ask at once. Pure.
class Backoff {
public:
    explicit Backoff(uint64_t seed) : random_(static_cast<std::minstd_rand::result_type>(seed)) {}

    /// `answered`: somebody was there. Failures of the other sort count from one again: a server that is back says 503
    /// for a moment, and that it was away for long must not make this wait long.
    void failed(bool answered);
    void succeeded() { failures_ = 0; }

    /// After the failures so far, at most `most_ms`; at least what the server asked for, up to retry_after_max_ms.
    [[nodiscard]] uint64_t wait_ms(uint64_t most_ms, std::optional<uint64_t> retry_after_ms);
    [[nodiscard]] uint64_t by_chance(uint64_t least, uint64_t most);

private:
    std::minstd_rand random_;
    uint64_t failures_ = 0;      ///< in a row, of one sort
    bool last_answered_ = false; ///< the last failure was an answer
};

} // namespace weft::agent::kube
