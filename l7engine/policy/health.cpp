// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/health.hpp"

#include <algorithm>

namespace weft::l7 {

void EndpointHealth::failed(const PodEndpoint& endpoint, EndpointFailure failure, uint64_t now_ms) {
    if (!troubled_.contains(endpoint)) {
        if (of_pod_[endpoint.pod_id] >= endpoints_per_pod_max)
            forget_old(now_ms);
        size_t& count = of_pod_[endpoint.pod_id];
        if (count >= endpoints_per_pod_max)
            return;
        ++count;
    }
    Trouble& trouble = troubled_[endpoint];
    if (trouble.backoff_ms == 0) {
        trouble.failures += failure == EndpointFailure::connect ? resets_to_eject : 1;
        trouble.until_ms = now_ms;
        if (trouble.failures < resets_to_eject)
            return;
        trouble.backoff_ms = backoff_min_ms;
    } else if (trouble.tried) {
        trouble.backoff_ms = std::min(2 * trouble.backoff_ms, backoff_max_ms);
    } else {
        return; // a request that was under way when others failed: it says nothing new
    }
    trouble.until_ms = now_ms + trouble.backoff_ms;
    trouble.tried = false;
    ++ejections_;
}

bool EndpointHealth::any(uint64_t now_ms) {
    if (troubled_.empty())
        return false;
    if (now_ms >= forget_at_ms_)
        forget_old(now_ms);
    return !troubled_.empty();
}

bool EndpointHealth::is_ejected(const PodEndpoint& endpoint, uint64_t now_ms) const {
    const auto found = troubled_.find(endpoint);
    return found != troubled_.end() && found->second.backoff_ms > 0 && now_ms < found->second.until_ms;
}

void EndpointHealth::chosen(const PodEndpoint& endpoint, uint64_t now_ms) {
    const auto found = troubled_.find(endpoint);
    if (found == troubled_.end() || found->second.backoff_ms == 0 || now_ms < found->second.until_ms)
        return;
    found->second.tried = true;
    found->second.until_ms = now_ms + backoff_min_ms;
}

void EndpointHealth::forget_old(uint64_t now_ms) {
    std::erase_if(troubled_, [&](const auto& entry) {
        const bool old = entry.second.until_ms + remembered_ms <= now_ms;
        of_pod_[entry.first.pod_id] -= old ? 1 : 0;
        return old;
    });
    std::erase_if(of_pod_, [](const auto& entry) { return entry.second == 0; });
    forget_at_ms_ = now_ms + backoff_min_ms;
}

} // namespace weft::l7
