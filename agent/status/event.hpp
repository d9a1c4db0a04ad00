// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <utility>

#include "agent/status/wanted.hpp"
#include "config/base/json.hpp"

namespace weft::agent::status {

inline constexpr size_t events_remembered_max = 16'384;

/// Which refusals were told already. Of kinds without a generation the text counts instead. Pure; of one thread.
class EventMemory {
public:
    [[nodiscard]] bool contains(const WantedStatus& refused) const { return said_.contains(key_of(refused)); }
    void insert(const WantedStatus& refused);
    [[nodiscard]] size_t size() const { return said_.size(); }

private:
    using Key = std::pair<std::string, uint64_t>;
    [[nodiscard]] static Key key_of(const WantedStatus& refused);
    std::set<Key> said_;
    std::deque<Key> order_; ///< the oldest first, to be forgotten first
};

/// Where the Event of an object belongs.
[[nodiscard]] std::string event_namespace(const WantedStatus& refused);
/// A v1 Event that says why. Its name is made of the object, its generation and the text, so that whoever says it again
/// is told (409) that it was said.
[[nodiscard]] Json refusal_event(const WantedStatus& refused, const std::string& node, int64_t now_s);

} // namespace weft::agent::status
