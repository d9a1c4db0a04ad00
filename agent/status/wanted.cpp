// SPDX-License-Identifier: Apache-2.0
#include "agent/status/wanted.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

#include "agent/status/acks.hpp"

namespace weft::agent::status {
namespace {

constexpr const char* our_class = "weft-waypoint";
/// Of the Gateway API's extended features, those of a Gateway's routes that are served: the core of HTTPRoute is not
/// yet (docs/support-matrix.md). Sorted, as the API wants them.
constexpr const char* features =
    "HTTPRouteMethodMatching,HTTPRouteNamedRouteRule,HTTPRouteParentRefPort,HTTPRouteQueryParamMatching";
constexpr size_t message_bytes_max = 4096; ///< the CRDs take 32768

using Index =
    std::map<std::tuple<std::string_view, std::string_view, std::string_view>, std::vector<const ObjectStatus*>>;

Index index_of(const std::vector<ObjectStatus>& statuses) {
    Index out;
    for (const ObjectStatus& status : statuses)
        out[{status.kind, status.ns, status.name}].push_back(&status);
    return out;
}

StatusLine line_of(const Condition& condition, std::string place, int64_t generation) {
    return {.place = std::move(place),
            .type = condition.type,
            .status = condition.status ? "True" : "False",
            .reason = condition.reason,
            .message = condition.message.substr(0, message_bytes_max),
            .generation = generation};
}

/// Who says yes also says whether it is in force everywhere.
void add_conditions(const std::vector<Condition>& conditions, const std::string& place, int64_t generation,
                    const char* accepted, std::vector<StatusLine>& out) {
    bool ok = false;
    for (const Condition& condition : conditions) {
        out.push_back(line_of(condition, place, generation));
        ok = ok || (condition.status && condition.type == accepted);
    }
    if (ok)
        out.push_back(line_of({.type = programmed_type, .status = true, .reason = "Programmed", .message = {}}, place,
                              generation));
}

void add_listeners(const std::vector<ListenerStatus>& listeners, int64_t generation, std::vector<StatusLine>& out) {
    for (const ListenerStatus& listener : listeners) {
        for (const Condition& condition : listener.conditions)
            out.push_back(line_of(condition, listener.name, generation));
        out.push_back(
            {.place = listener.name, .type = "attachedRoutes", .status = std::to_string(listener.attached_routes)});
        if (listener.http_routes)
            out.push_back({.place = listener.name, .type = "supportedKinds", .status = HttpRoute::kind});
    }
}

/// Only the class's controller writes to it and to its Gateways; an object that is not there names nobody.
bool is_controlled(const ObjectStore& store, const std::string& class_name) {
    const auto* object = store.find<GatewayClass>({.ns = {}, .name = class_name});
    return object == nullptr ? class_name == our_class : object->controller == controller_name;
}

/// The lines of one object; `theirs`: its status is another controller's and not to be touched.
struct Lines {
    std::vector<StatusLine> lines{};
    bool theirs = false;
};
using Parts = std::vector<const ObjectStatus*>;

Lines lines_of_route(const Parts& parts, int64_t generation) {
    Lines out; // entries go by the controller's name: what of them is ours is ours to remove
    for (const ObjectStatus* part : parts) {
        if (!part->foreign && !part->parent.empty())
            add_conditions(part->conditions, part->parent, generation, "Accepted", out.lines);
    }
    return out;
}

Lines lines_of_policy(const Parts& parts, int64_t generation) {
    Lines out;
    for (const ObjectStatus* part : parts) {
        out.theirs = out.theirs || part->foreign;
        add_conditions(part->conditions, "", generation, "WaypointAccepted", out.lines);
    }
    return out;
}

Lines lines_of_service(const Parts& parts, int64_t generation) {
    Lines out;
    for (const ObjectStatus* part : parts) {
        for (const Condition& condition : part->conditions) {
            if (part->foreign && condition.type == waypoint_bound_type)
                out.theirs = true;
            else
                out.lines.push_back(line_of(condition, "", generation));
        }
    }
    out.theirs = out.theirs && out.lines.empty();
    return out;
}

template <class T>
Lines lines_of(const ObjectStore& store, const ObjectName& name, const Entry<T>& entry, const Parts& parts) {
    const int64_t generation = entry.revision.generation;
    if constexpr (std::is_same_v<T, Service>) {
        return lines_of_service(parts, generation);
    } else if constexpr (std::is_same_v<T, AuthorizationPolicy> || std::is_same_v<T, RequestAuthentication>) {
        return lines_of_policy(parts, generation);
    } else if constexpr (std::is_same_v<T, GatewayClass>) {
        if (!is_controlled(store, name.name))
            return {.theirs = true};
        Lines out;
        for (const ObjectStatus* part : parts)
            for (const Condition& condition : part->conditions)
                out.lines.push_back(line_of(condition, "", generation));
        out.lines.push_back({.place = "", .type = "supportedFeatures", .status = features});
        return out;
    } else if constexpr (std::is_same_v<T, Gateway>) {
        const std::string& class_name = entry.faults.empty() ? entry.good->class_name : entry.refused.gateway_class;
        if (!is_controlled(store, class_name))
            return {.theirs = true};
        Lines out;
        for (const ObjectStatus* part : parts) {
            for (const Condition& condition : part->conditions)
                out.lines.push_back(line_of(condition, "", generation));
            add_listeners(part->listeners, generation, out.lines);
        }
        return out;
    } else {
        return lines_of_route(parts, generation);
    }
}

template <class T>
inline constexpr bool has_status =
    !std::is_same_v<T, Namespace> && !std::is_same_v<T, Pod> && !std::is_same_v<T, EndpointSlice>;

template <class T>
void add_table(const ObjectStore& store, const Index& index, std::vector<WantedStatus>& out) {
    for (const auto& [name, entry] : store.all<T>()) {
        const bool refused = !entry.faults.empty();
        if (!has_status<T> && !refused)
            continue;
        const auto parts = index.find({T::kind, name.ns, name.name});
        Lines lines;
        if constexpr (has_status<T>)
            lines = lines_of(store, name, entry, parts == index.end() ? Parts{} : parts->second);
        if (lines.theirs || (lines.lines.empty() && entry.revision.own_status == 0 && (has_status<T> || !refused)))
            continue;
        out.push_back({.key = {.kind = kind_info(T::kind).index, .name = name},
                       .uid = entry.uid(),
                       .generation = entry.revision.generation,
                       .version = entry.revision.version,
                       .newest = entry.revision.newest,
                       .live = entry.revision.own_status,
                       .live_programmed = entry.revision.programmed,
                       .has_status = has_status<T>,
                       .lines = std::move(lines.lines),
                       .refused = refused ? refusal_text(entry.faults, is_served<T>) : ""});
    }
}

} // namespace

std::vector<WantedStatus> wanted_statuses(const ObjectStore& store, const std::vector<ObjectStatus>& statuses) {
    const Index index = index_of(statuses);
    std::vector<WantedStatus> out;
    store.each_table([&]<class T>(const ObjectStore::Table<T>&) { add_table<T>(store, index, out); });
    return out;
}

std::vector<StatusLine> awaiting(std::vector<StatusLine> lines, const std::vector<std::string>& nodes) {
    if (nodes.empty())
        return lines;
    for (StatusLine& line : lines) {
        if (!is_programmed_type(line.type) || line.status != "True")
            continue;
        line.status = "False";
        line.reason = "Pending";
        line.message = awaited_message(nodes);
    }
    return lines;
}

bool waits_for_nodes(const std::vector<StatusLine>& lines) {
    return std::ranges::any_of(
        lines, [](const StatusLine& line) { return is_programmed_type(line.type) && line.status == "True"; });
}

} // namespace weft::agent::status
