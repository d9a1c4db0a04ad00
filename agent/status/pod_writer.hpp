// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agent/status/api.hpp"
#include "agent/status/redirection.hpp"
#include "agent/status/work_queue.hpp"

namespace weft::agent::status {

inline constexpr size_t pods_under_way_max = 8;
/// A mark that was written is not written again before the watch had this long to show it.
inline constexpr uint64_t mark_settle_ms = 30'000;

/// Writes this node's marks on its pods: those that differ from what the watch shows. Of the writer's thread.
class PodWriter {
public:
    PodWriter(Api& api, uint64_t seed) : api_(api), queue_(seed) {}

    /// All that differ now.
    void take(std::vector<PodMark> marks, uint64_t now_ms);
    /// Begins what is due.
    void step(uint64_t now_ms);
    [[nodiscard]] uint64_t due_ms() const;
    /// Not written yet.
    [[nodiscard]] size_t pending() const;
    /// Of the pods that this agent has marked and the watch did not show yet.
    [[nodiscard]] std::vector<PodMark> unseen() const;

private:
    struct Item {
        PodMark mark;
        uint64_t written_ms = 0; ///< 0: not
        bool written_as = false;
    };
    [[nodiscard]] static bool is_settled(const Item& item) {
        return item.written_ms != 0 && item.written_as == item.mark.enabled;
    }
    void end(const std::string& uid, Verdict verdict, const kube::Answer& answer, bool enabled);

    Api& api_;
    std::map<std::string, Item> items_; ///< by uid
    WorkQueue<std::string> queue_;
    size_t under_way_ = 0;
};

/// One mark as a request, and what it needs.
[[nodiscard]] kube::Request mark_request(const PodMark& mark);
[[nodiscard]] Permission mark_permission();

} // namespace weft::agent::status
