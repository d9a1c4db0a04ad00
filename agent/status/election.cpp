// SPDX-License-Identifier: Apache-2.0
#include "agent/status/election.hpp"

#include <algorithm>
#include <utility>

namespace weft::agent::status {
namespace {

/// Not everybody tries to take a Lease in the moment in which it runs out.
constexpr uint64_t expired_spread_ms = 250;

} // namespace

Elector::Step Elector::next(uint64_t now_ms, int64_t unix_us) {
    if (under_way_ || now_ms < due_ms_)
        return Nothing{};
    under_way_ = true;
    asked_at_ms_ = now_ms;
    if (!std::exchange(current_, false))
        return Read{};
    const bool ours = observed_ && observed_->record.holder == identity_;
    Write out{.record = {.holder = identity_,
                         .duration_s = lease_duration_s,
                         .acquired = micro_time(unix_us),
                         .renewed = micro_time(unix_us),
                         .transitions = 0},
              .resource_version = observed_ ? observed_->resource_version : ""};
    if (observed_)
        out.record.transitions = observed_->record.transitions + (ours ? 0 : 1);
    if (ours && !observed_->record.acquired.empty())
        out.record.acquired = observed_->record.acquired;
    return out;
}

void Elector::read(std::optional<Lease> live, uint64_t now_ms) {
    under_way_ = false;
    observe(std::move(live), now_ms);
    current_ = may_be_taken(now_ms);
    if (current_) {
        due_ms_ = now_ms;
        return;
    }
    const uint64_t runs_out_ms = runs_out_at_ms();
    wait(now_ms, election_follow_ms);
    if (runs_out_ms < due_ms_)
        wait(runs_out_ms, expired_spread_ms);
}

void Elector::written(Lease live, uint64_t now_ms) {
    under_way_ = false;
    observe(std::move(live), now_ms);
    renewed_at_ms_ = asked_at_ms_; // the server may have got it as early as that
    current_ = true;
    wait(now_ms, election_retry_ms);
}

void Elector::conflict(uint64_t now_ms) {
    under_way_ = false;
    if (leads(now_ms))
        due_ms_ = now_ms; // somebody has touched our Lease, or a renewal arrived whose answer did not
    else
        wait(now_ms, election_retry_ms);
}

void Elector::failed(uint64_t now_ms) {
    under_way_ = false;
    wait(now_ms, election_retry_ms);
}

bool Elector::leads(uint64_t now_ms) const {
    return renewed_at_ms_ != 0 && observed_ && observed_->record.holder == identity_ &&
           now_ms < renewed_at_ms_ + renew_deadline_ms;
}

std::optional<Elector::Write> Elector::release(int64_t unix_us) const {
    if (!observed_ || observed_->record.holder != identity_)
        return std::nullopt;
    return Write{.record = {.holder = "",
                            .duration_s = 1,
                            .acquired = observed_->record.acquired,
                            .renewed = micro_time(unix_us),
                            .transitions = observed_->record.transitions},
                 .resource_version = observed_->resource_version};
}

void Elector::observe(std::optional<Lease> live, uint64_t now_ms) {
    if (!observed_ || !live || observed_->record != live->record)
        observed_at_ms_ = now_ms;
    observed_ = std::move(live);
    if (!observed_ || observed_->record.holder != identity_)
        renewed_at_ms_ = 0; // an older answer that names us is no reason to lead again
}

bool Elector::may_be_taken(uint64_t now_ms) const {
    if (!observed_ || observed_->record.holder.empty() || observed_->record.holder == identity_)
        return true;
    return now_ms >= runs_out_at_ms();
}

/// Of the foreign Lease that was observed.
uint64_t Elector::runs_out_at_ms() const {
    const int32_t seconds = std::max(observed_->record.duration_s, 1);
    return observed_at_ms_ + static_cast<uint64_t>(seconds) * 1000;
}

void Elector::wait(uint64_t now_ms, uint64_t least_ms) {
    due_ms_ = now_ms + least_ms + random_() % (least_ms / 5 + 1); // by chance: not all candidates at once
}

} // namespace weft::agent::status
