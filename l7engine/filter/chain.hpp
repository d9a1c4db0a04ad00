// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "l7engine/filter/filter.hpp"

namespace weft::l7 {

struct FilterSettings;

/// The filters of one direction in their order. Owned by a worker; outlives its exchanges.
class Chain {
public:
    explicit Chain(std::vector<std::unique_ptr<Filter>> filters) : filters_(std::move(filters)) {}

    /// The first reply or Error ends it. No frame unless a filter needs time.
    Outcome on_request(Exchange& exchange) const { return forward_from(0, exchange); }
    /// In reverse order, through all filters, also for our own replies.
    Outcome on_response(Exchange& exchange) const { return back_from(filters_.size(), exchange); }

    [[nodiscard]] size_t size() const { return filters_.size(); }
    [[nodiscard]] const Filter& at(size_t index) const { return *filters_[index]; }

private:
    Outcome forward_from(size_t index, Exchange& exchange) const;
    Outcome back_from(size_t index, Exchange& exchange) const;
    Task<Result<Verdict>> forward_after(Task<Result<Verdict>> first, size_t next, Exchange& exchange) const;
    Task<Result<Verdict>> back_after(Task<Result<Verdict>> first, size_t next, Exchange& exchange) const;

    std::vector<std::unique_ptr<Filter>> filters_;
};

/// Builds the chain of a direction from the table in registry.cpp.
[[nodiscard]] Chain make_chain(Direction direction, const FilterSettings& settings);

} // namespace weft::l7
