// SPDX-License-Identifier: Apache-2.0
#include "agent/status/pod_writer.hpp"

#include <algorithm>
#include <utility>

#include "agent/status/json_members.hpp"
#include "config/base/clock.hpp"

namespace weft::agent::status {

kube::Request mark_request(const PodMark& mark) {
    return {.method = "PATCH",
            .path = "/api/v1/namespaces/" + mark.name.ns + "/pods/" + mark.name.name + "/status",
            .content_type = merge_patch_type,
            .body = text_of(mark_patch(mark)),
            .timeout_ms = write_timeout_ms};
}

Permission mark_permission() {
    return {.verb = "patch", .resource = "pods/status"};
}

void PodWriter::take(std::vector<PodMark> marks, uint64_t now_ms) {
    std::map<std::string, Item> before = std::exchange(items_, {});
    for (PodMark& mark : marks) {
        Item& item = items_[mark.uid];
        if (const auto old = before.find(mark.uid); old != before.end())
            item = std::move(old->second);
        item.mark = std::move(mark);
        queue_.put(item.mark.uid, is_settled(item) ? item.written_ms + mark_settle_ms : now_ms);
    }
}

void PodWriter::step(uint64_t now_ms) {
    while (under_way_ < pods_under_way_max) {
        const auto uid = queue_.take(now_ms);
        if (!uid)
            return;
        const auto found = items_.find(*uid);
        if (found == items_.end()) {
            queue_.done(*uid);
            continue;
        }
        ++under_way_;
        const bool enabled = found->second.mark.enabled;
        api_.call(mark_request(found->second.mark), mark_permission(),
                  [this, uid = *uid, enabled](Verdict verdict, const kube::Answer& answer) {
                      end(uid, verdict, answer, enabled);
                  });
    }
}

void PodWriter::end(const std::string& uid, Verdict verdict, const kube::Answer& answer, bool enabled) {
    --under_way_;
    // Another pod has the name now, or none: that will be news.
    if (verdict == Verdict::conflict || verdict == Verdict::not_found)
        return queue_.done(uid);
    if (verdict != Verdict::done)
        return queue_.failed(uid, monotonic_ms(), answer.outcome.retry_after_ms.value_or(0));
    if (const auto found = items_.find(uid); found != items_.end()) {
        found->second.written_ms = monotonic_ms();
        found->second.written_as = enabled;
    }
    queue_.done(uid);
}

uint64_t PodWriter::due_ms() const {
    return under_way_ < pods_under_way_max ? queue_.due_ms() : UINT64_MAX;
}

size_t PodWriter::pending() const {
    return static_cast<size_t>(
        std::ranges::count_if(items_, [](const auto& item) { return !is_settled(item.second); }));
}

std::vector<PodMark> PodWriter::unseen() const {
    std::vector<PodMark> out;
    for (const auto& [uid, item] : items_) {
        if (item.written_ms != 0 && item.written_as)
            out.push_back({.name = item.mark.name, .uid = uid, .enabled = false});
    }
    return out;
}

} // namespace weft::agent::status
