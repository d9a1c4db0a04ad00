// SPDX-License-Identifier: Apache-2.0
#include "agent/source/own_status.hpp"

#include <algorithm>
#include <charconv>

#include "agent/source/names.hpp"
#include "config/base/utf8.hpp"

namespace weft::agent {
namespace {

/// Istio's objects may have it as text.
int64_t integer_member(const Value& map, std::string_view name) {
    const Value* value = map.find(name);
    if (value == nullptr)
        return 0;
    if (value->type == Value::Type::integer)
        return value->integer;
    int64_t number = 0;
    if (value->type == Value::Type::text)
        std::from_chars(value->text.data(), value->text.data() + value->text.size(), number);
    return number;
}

const Value& list_member(const Value* map, std::string_view name) {
    static const Value nothing;
    const Value* value = map == nullptr || map->type != Value::Type::map ? nullptr : map->find(name);
    return value != nullptr && value->type == Value::Type::list ? *value : nothing;
}

struct Collector {
    const char* kind;
    std::vector<StatusLine> lines{};

    void conditions(const Value* of, const std::string& place, bool all, bool listener) {
        for (const Value& condition : list_member(of, "conditions").items) {
            std::string type = text_member(&condition, "type");
            if (!all && !is_own_condition(kind, type, listener))
                continue;
            lines.push_back({.place = place,
                             .type = std::move(type),
                             .status = text_member(&condition, "status"),
                             .reason = text_member(&condition, "reason"),
                             .message = text_member(&condition, "message"),
                             .generation = integer_member(condition, "observedGeneration")});
        }
    }
    /// Names of a list of {group, kind} or {name}, joined.
    void names(const Value* of, const char* list, const char* member, const std::string& place) {
        std::string joined;
        for (const Value& item : list_member(of, list).items)
            joined += (joined.empty() ? "" : ",") + text_member(&item, member);
        if (!joined.empty())
            lines.push_back({.place = place, .type = list, .status = std::move(joined)});
    }
};

std::string parent_of(const Value& entry, const std::string& ns) {
    HttpRoute::Parent parent;
    const Value* ref = entry.find("parentRef");
    if (ref == nullptr || ref->type != Value::Type::map)
        return "";
    if (const Value* kind = ref->find("kind"); kind != nullptr && kind->type == Value::Type::text)
        parent.kind = kind->text;
    parent.ns = text_member(ref, "namespace");
    if (parent.ns.empty())
        parent.ns = ns;
    parent.name = text_member(ref, "name");
    parent.section = text_member(ref, "sectionName");
    if (const int64_t port = integer_member(*ref, "port"); port > 0 && port <= UINT16_MAX)
        parent.port = static_cast<uint16_t>(port);
    return parent_id(parent);
}

bool is_route(std::string_view kind) {
    return kind.ends_with("Route");
}

uint64_t fnv(uint64_t hash, std::string_view text) {
    constexpr uint64_t prime = 0x100000001b3;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * prime;
    return (hash ^ 0xffU) * prime; // "ab","c" is not "a","bc"
}

} // namespace

std::string parent_id(const HttpRoute::Parent& parent) {
    std::string out = parent.kind + " " + parent.ns + "/" + parent.name;
    if (parent.port)
        out += ":" + std::to_string(*parent.port);
    if (!parent.section.empty())
        out += "/" + parent.section;
    return out;
}

bool is_own_condition(std::string_view kind, std::string_view type, bool listener) {
    if (kind == Gateway::kind && listener)
        return names::is_one_of(type, {"Accepted", "Programmed", "ResolvedRefs", "Conflicted"});
    if (kind == Gateway::kind)
        return names::is_one_of(type, {"Accepted", "Programmed"});
    if (kind == GatewayClass::kind)
        return type == "Accepted";
    if (kind == AuthorizationPolicy::kind || kind == RequestAuthentication::kind)
        return names::is_one_of(type, {"WaypointAccepted", programmed_type});
    return kind == Service::kind && names::is_one_of(type, {waypoint_bound_type, accepted_type});
}

std::vector<StatusLine> own_status(const Value& object, const KindInfo& kind) {
    const Value* status = object.find("status");
    if (status == nullptr || status->type != Value::Type::map)
        return {};
    Collector out{.kind = kind.kind};
    if (is_route(kind.kind)) {
        const std::string ns = text_member(object.find("metadata"), "namespace");
        for (const Value& entry : list_member(status, "parents").items) {
            if (text_member(&entry, "controllerName") == controller_name)
                out.conditions(&entry, parent_of(entry, ns), true, false);
        }
        return std::move(out.lines);
    }
    out.conditions(status, "", false, false);
    if (kind.kind == std::string_view(GatewayClass::kind))
        out.names(status, "supportedFeatures", "name", "");
    if (kind.kind != std::string_view(Gateway::kind))
        return std::move(out.lines);
    for (const Value& listener : list_member(status, "listeners").items) {
        const std::string name = text_member(&listener, "name");
        out.conditions(&listener, name, false, true);
        out.names(&listener, "supportedKinds", "kind", name);
        out.lines.push_back({.place = name,
                             .type = "attachedRoutes",
                             .status = std::to_string(integer_member(listener, "attachedRoutes"))});
    }
    return std::move(out.lines);
}

uint64_t digest(std::vector<StatusLine> lines) {
    if (lines.empty())
        return 0;
    std::ranges::sort(lines);
    uint64_t hash = 0xcbf29ce484222325;
    for (const StatusLine& line : lines) {
        for (const std::string* text : {&line.place, &line.type, &line.status, &line.reason, &line.message})
            hash = fnv(hash, *text);
        hash = fnv(hash, std::to_string(line.generation));
    }
    return hash == 0 ? 1 : hash;
}

bool is_programmed_type(std::string_view type) {
    return type == "Programmed" || type == programmed_type;
}

bool says_programmed(const std::vector<StatusLine>& lines, int64_t generation) {
    return std::ranges::any_of(lines, [&](const StatusLine& line) {
        return is_programmed_type(line.type) && line.status == "True" && line.generation == generation;
    });
}

std::string refusal_text(const std::vector<Fault>& faults, bool served) {
    constexpr size_t bytes_max = 900; // an Event takes 1024
    std::string out;
    for (const Fault& fault : faults)
        out += (out.empty() ? "" : "; ") + (fault.field.empty() ? "" : fault.field + ": ") + fault.message;
    if (out.size() > bytes_max) {
        out.resize(bytes_max);
        out.resize(valid_utf8_bytes(out)); // the cut may be inside a character
        out += " ...";
    }
    return served ? out + "; the last good version stays in force where an agent had one, elsewhere nothing of it is"
                  : out;
}

} // namespace weft::agent
