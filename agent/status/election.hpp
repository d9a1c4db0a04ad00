// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <variant>

#include "agent/status/lease.hpp"

namespace weft::agent::status {

inline constexpr int32_t lease_duration_s = 15;
/// A leader that could not renew for so long leads no more: well before anybody else may think so.
inline constexpr uint64_t renew_deadline_ms = 10'000;
inline constexpr uint64_t election_retry_ms = 2'000; ///< from one renewal, or attempt, to the next; up to a fifth more
/// How often the Lease of another leader is looked at. client-go's candidates do so at every retry; they are two or
/// three, and we are one per node.
inline constexpr uint64_t election_follow_ms = 5'000;

/// Which agent leads: client-go's leader election as a pure state machine. The owner does the requests and brings the
/// time. Whether a foreign Lease has run out is told by this machine's own clock, from when it was last seen to change.
///
///   reading ──nobody's, or not renewed for its duration──▶ writing ──written──▶ leading: writes again and again
///     ▲ └─another's: again later     409, failure │            not renewed for renew_deadline_ms: leads no more
///     └───────────────────────────────────────────┘
class Elector {
public:
    Elector(std::string identity, uint64_t seed) : identity_(std::move(identity)), random_(seed_of(seed)) {}

    struct Nothing {};
    struct Read {};
    struct Write {
        LeaseRecord record;
        std::string resource_version; ///< empty: there is none, make one
    };
    using Step = std::variant<Nothing, Read, Write>;
    /// What to do now; then one of the calls below for it. `unix_us` is only written down.
    [[nodiscard]] Step next(uint64_t now_ms, int64_t unix_us);
    [[nodiscard]] uint64_t due_ms() const { return under_way_ ? UINT64_MAX : due_ms_; }

    /// nullopt: there is no Lease.
    void read(std::optional<Lease> live, uint64_t now_ms);
    void written(Lease live, uint64_t now_ms);
    /// Somebody else has written in between.
    void conflict(uint64_t now_ms);
    void failed(uint64_t now_ms);

    [[nodiscard]] bool leads(uint64_t now_ms) const;
    /// As last seen; empty: nobody, or not known yet.
    [[nodiscard]] std::string leader() const { return observed_ ? observed_->record.holder : ""; }
    /// What lets the next one lead at once; nullopt: there is nothing to let go of. Nothing is to be asked afterwards.
    [[nodiscard]] std::optional<Write> release(int64_t unix_us) const;

private:
    static std::minstd_rand::result_type seed_of(uint64_t seed) {
        return static_cast<std::minstd_rand::result_type>(seed);
    }
    void observe(std::optional<Lease> live, uint64_t now_ms);
    [[nodiscard]] bool may_be_taken(uint64_t now_ms) const;
    [[nodiscard]] uint64_t runs_out_at_ms() const;
    void wait(uint64_t now_ms, uint64_t least_ms);

    const std::string identity_;
    std::minstd_rand random_;
    std::optional<Lease> observed_;
    uint64_t observed_at_ms_ = 0; ///< its record was first seen
    uint64_t renewed_at_ms_ = 0;  ///< written by us, and that we know; 0: not
    uint64_t asked_at_ms_ = 0;
    uint64_t due_ms_ = 0;
    bool current_ = false; ///< what was observed can be written upon
    bool under_way_ = false;
};

} // namespace weft::agent::status
