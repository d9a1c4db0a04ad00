// SPDX-License-Identifier: Apache-2.0
#include "l7engine/filter/chain.hpp"

#include "l7engine/filter/registry.hpp"

namespace weft::l7 {

namespace {

bool goes_on(const Result<Verdict>& verdict) {
    return verdict && std::holds_alternative<Continue>(*verdict);
}

} // namespace

Outcome Chain::forward_from(size_t index, Exchange& exchange) const {
    for (; index < filters_.size(); ++index) {
        Outcome outcome = filters_[index]->on_request(exchange);
        if (!outcome.ready())
            return forward_after(outcome.task(), index + 1, exchange);
        Result<Verdict> verdict = outcome.take();
        if (!goes_on(verdict))
            return verdict;
    }
    return Continue{};
}

Outcome Chain::back_from(size_t index, Exchange& exchange) const {
    while (index > 0) {
        Outcome outcome = filters_[--index]->on_response(exchange);
        if (!outcome.ready())
            return back_after(outcome.task(), index, exchange);
        Result<Verdict> verdict = outcome.take();
        if (!goes_on(verdict))
            return verdict;
    }
    return Continue{};
}

Task<Result<Verdict>> Chain::forward_after(Task<Result<Verdict>> first, size_t next, Exchange& exchange) const {
    Result<Verdict> verdict = co_await first;
    if (!goes_on(verdict))
        co_return verdict;
    Outcome rest = forward_from(next, exchange);
    if (rest.ready())
        co_return rest.take();
    co_return co_await rest.task();
}

Task<Result<Verdict>> Chain::back_after(Task<Result<Verdict>> first, size_t next, Exchange& exchange) const {
    Result<Verdict> verdict = co_await first;
    if (!goes_on(verdict))
        co_return verdict;
    Outcome rest = back_from(next, exchange);
    if (rest.ready())
        co_return rest.take();
    co_return co_await rest.task();
}

Chain make_chain(Direction direction, const FilterSettings& settings) {
    std::vector<std::unique_ptr<Filter>> filters;
    for (const FilterEntry& entry : filter_table()) {
        if (direction == Direction::outbound ? entry.outbound : entry.inbound)
            filters.push_back(entry.make(settings));
    }
    return Chain(std::move(filters));
}

} // namespace weft::l7
