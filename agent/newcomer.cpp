// SPDX-License-Identifier: Apache-2.0
#include "agent/newcomer.hpp"

#include <utility>

#include "agent/hold.hpp"
#include "config/base/log.hpp"

namespace weft::agent {

bool Newcomer::may_take_over(Source& source, ObjectStore& store) {
    const bool settled = !source.unsettled();
    if (source.ready() || (settled && !read_)) {
        LoadResult loaded = source.load(std::move(store));
        const std::optional<Record> former = read_record(objects_file_);
        if (former)
            bring_back(loaded.store, *former);
        std::vector<std::string> reasons = reasons_to_hold(loaded, former);
        store = std::move(loaded.store);
        read_ = read_ || settled;
        if (settled && !reasons.empty() && reasons != reasons_)
            log::error("not_taking_over", log::kv("reason", reasons.front()));
        reasons_ = std::move(reasons);
    }
    return read_ && settled && reasons_.empty();
}

} // namespace weft::agent
