// SPDX-License-Identifier: Apache-2.0
#include "agent/status/event.hpp"

#include <array>
#include <cstdio>

#include "agent/status/lease.hpp"

namespace weft::agent::status {
namespace {

constexpr size_t message_bytes_max = 1024; ///< the API takes no more
constexpr size_t name_bytes_max = 230;     ///< of the object's, with the rest 253

uint64_t text_digest(const WantedStatus& refused) {
    return digest(
        {{.place = refused.uid, .type = "refused", .status = refused.refused, .generation = refused.generation}});
}

std::string api_version(const KindInfo& kind) {
    return (*kind.group == 0 ? "" : std::string(kind.group) + "/") + kind.versions[0];
}

/// Not in the middle of a character.
std::string shortened(const std::string& message) {
    if (message.size() <= message_bytes_max)
        return message;
    size_t end = message_bytes_max;
    while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0U) == 0x80U)
        --end;
    return message.substr(0, end);
}

} // namespace

EventMemory::Key EventMemory::key_of(const WantedStatus& refused) {
    return {refused.uid, refused.generation != 0 ? static_cast<uint64_t>(refused.generation) : text_digest(refused)};
}

void EventMemory::insert(const WantedStatus& refused) {
    if (!said_.insert(key_of(refused)).second)
        return;
    order_.push_back(key_of(refused));
    if (order_.size() <= events_remembered_max)
        return;
    said_.erase(order_.front());
    order_.pop_front();
}

std::string event_namespace(const WantedStatus& refused) {
    return refused.key.name.ns.empty() ? "default" : refused.key.name.ns;
}

Json refusal_event(const WantedStatus& refused, const std::string& node, int64_t now_s) {
    const KindInfo& kind = kinds_read()[refused.key.kind];
    std::array<char, 20> hash{};
    std::snprintf(hash.data(), hash.size(), ".%016llx", static_cast<unsigned long long>(text_digest(refused)));
    const std::string now = time_text(now_s);
    Json object = {
        {"apiVersion", api_version(kind)}, {"kind", kind.kind}, {"name", refused.key.name.name}, {"uid", refused.uid}};
    if (!refused.key.name.ns.empty())
        object["namespace"] = refused.key.name.ns;
    return {{"apiVersion", "v1"},
            {"kind", "Event"},
            {"metadata",
             {{"name", refused.key.name.name.substr(0, name_bytes_max) + hash.data()},
              {"namespace", event_namespace(refused)}}},
            {"involvedObject", std::move(object)},
            {"reason", "Refused"},
            {"message", shortened(refused.refused)},
            {"type", "Warning"},
            {"count", 1},
            {"firstTimestamp", now},
            {"lastTimestamp", now},
            {"source", {{"component", "weft-agent"}, {"host", node}}},
            {"reportingComponent", "weftmesh.io/agent"},
            {"reportingInstance", node}};
}

} // namespace weft::agent::status
