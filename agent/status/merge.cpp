// SPDX-License-Identifier: Apache-2.0
#include "agent/status/merge.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "agent/source/names.hpp"
#include "agent/status/json_members.hpp"
#include "agent/status/lease.hpp"

namespace weft::agent::status {
namespace {

using Lines = std::vector<StatusLine>;

bool is_condition(const StatusLine& line) {
    return line.type != "attachedRoutes" && line.type != "supportedKinds" && line.type != "supportedFeatures";
}

/// Lines by place, in the order in which they were given.
std::map<std::string, Lines> by_place(const Lines& lines) {
    std::map<std::string, Lines> out;
    for (const StatusLine& line : lines)
        out[line.place].push_back(line);
    return out;
}

const Json* find_named(const Json& items, const char* member_name, const std::string& name) {
    const auto found = std::ranges::find_if(items, [&](const Json& item) { return text(item, member_name) == name; });
    return found == items.end() ? nullptr : &*found;
}

Json condition_of(const StatusLine& line, const Json* before, int64_t now_s) {
    std::string since =
        before == nullptr || text(*before, "status") != line.status ? "" : text(*before, "lastTransitionTime");
    if (since.empty())
        since = time_text(now_s);
    return {{"type", line.type},
            {"status", line.status},
            {"observedGeneration", line.generation},
            {"lastTransitionTime", std::move(since)},
            {"reason", line.reason},
            {"message", line.message}};
}

bool same_condition(const Json& left, const Json& right) {
    return std::ranges::all_of(std::initializer_list<const char*>{"type", "status", "reason", "message"},
                               [&](const char* name) { return text(left, name) == text(right, name); }) &&
           number(left, "observedGeneration") == number(right, "observedGeneration");
}

/// `before` with our conditions; one that says the same stays as it is written. `own`: which types are ours.
template <class Own>
Json conditions_of(const Json& before, const Lines& lines, int64_t now_s, Own own) {
    Json out = Json::array();
    std::set<std::string> placed;
    const auto place = [&](const StatusLine& line, const Json* old) {
        Json fresh = condition_of(line, old, now_s);
        out.push_back(old != nullptr && same_condition(*old, fresh) ? *old : std::move(fresh));
        placed.insert(line.type);
    };
    for (const Json& old : before) {
        const std::string type = text(old, "type");
        const auto line = std::ranges::find_if(
            lines, [&](const StatusLine& each) { return is_condition(each) && each.type == type; });
        if (line != lines.end() && !placed.contains(type))
            place(*line, &old);
        else if (!own(type))
            out.push_back(old);
    }
    for (const StatusLine& line : lines) {
        if (is_condition(line) && !placed.contains(line.type))
            place(line, nullptr);
    }
    return out;
}

// ------------------------------------------------------------------ routes

/// The same id as of what compile() attached.
std::string id_of(const Json& reference, const std::string& ns) {
    HttpRoute::Parent parent;
    if (const std::string kind = text(reference, "kind"); !kind.empty())
        parent.kind = kind;
    parent.ns = text(reference, "namespace");
    if (parent.ns.empty())
        parent.ns = ns;
    parent.name = text(reference, "name");
    parent.section = text(reference, "sectionName");
    if (const int64_t port = number(reference, "port"); port > 0 && port <= UINT16_MAX)
        parent.port = static_cast<uint16_t>(port);
    return parent_id(parent);
}

Json parents_of(const Json& live, const Lines& lines, int64_t now_s) {
    const std::string ns = text(member(live, "metadata"), "namespace");
    const auto wanted = by_place(lines);
    std::map<std::string, Json> entries; // ours, by the parent's id, as they shall be
    const Json& before = list(member(live, "status"), "parents");
    const auto ours_before = [&](const std::string& id) -> const Json* {
        const auto found = std::ranges::find_if(before, [&](const Json& entry) {
            return text(entry, "controllerName") == controller_name && id_of(member(entry, "parentRef"), ns) == id;
        });
        return found == before.end() ? nullptr : &*found;
    };
    std::vector<std::string> order;
    for (const Json& reference : list(member(live, "spec"), "parentRefs")) {
        const std::string id = id_of(reference, ns);
        const auto found = wanted.find(id);
        if (found == wanted.end() || entries.contains(id))
            continue;
        const Json* old = ours_before(id);
        entries[id] = {{"parentRef", reference},
                       {"controllerName", controller_name},
                       {"conditions", conditions_of(old == nullptr ? Json::array() : list(*old, "conditions"),
                                                    found->second, now_s, [](const std::string&) { return true; })}};
        order.push_back(id);
    }
    Json out = Json::array();
    for (const Json& entry : before) {
        if (text(entry, "controllerName") != controller_name) {
            out.push_back(entry);
            continue;
        }
        const auto found = entries.find(id_of(member(entry, "parentRef"), ns));
        if (found == entries.end())
            continue;
        out.push_back(std::move(found->second));
        entries.erase(found);
    }
    for (const std::string& id : order) {
        const auto found = entries.find(id);
        if (found != entries.end() && out.size() < parents_max)
            out.push_back(std::move(found->second));
    }
    return out;
}

// ------------------------------------------------------------------ Gateways and classes

Json listeners_of(const Json& before, const Lines& lines, int64_t now_s) {
    auto wanted = by_place(lines);
    wanted.erase(""); // of the Gateway itself
    Json out = Json::array();
    const auto place = [&](const std::string& name, const Lines& of, const Json* old) {
        Json listener = old == nullptr ? Json::object() : *old;
        listener["name"] = name;
        listener["supportedKinds"] = Json::array();
        for (const StatusLine& line : of) {
            if (line.type == "attachedRoutes")
                listener["attachedRoutes"] = std::stoll(line.status);
            else if (line.type == "supportedKinds")
                listener["supportedKinds"] = {{{"group", names::gateway_group}, {"kind", line.status}}};
        }
        listener["conditions"] = conditions_of(list(listener, "conditions"), of, now_s, [](const std::string& type) {
            return is_own_condition(Gateway::kind, type, true);
        });
        out.push_back(std::move(listener));
    };
    for (const Json& old : before) {
        const auto found = wanted.find(text(old, "name"));
        if (found == wanted.end())
            continue; // of a listener that is gone
        place(found->first, found->second, &old);
        wanted.erase(found);
    }
    for (const auto& [name, of] : wanted)
        place(name, of, nullptr);
    return out;
}

Json features_of(const Lines& lines) {
    Json out = Json::array();
    for (const StatusLine& line : lines) {
        if (line.type != "supportedFeatures")
            continue;
        for (size_t from = 0; from <= line.status.size();) {
            const size_t end = std::min(line.status.find(',', from), line.status.size());
            out.push_back({{"name", line.status.substr(from, end - from)}});
            from = end + 1;
        }
    }
    return out;
}

Json own_conditions(const Json& live, std::string_view kind, const Lines& lines, int64_t now_s) {
    Lines of_object;
    std::ranges::copy_if(lines, std::back_inserter(of_object),
                         [](const StatusLine& line) { return line.place.empty() && is_condition(line); });
    return conditions_of(list(member(live, "status"), "conditions"), of_object, now_s,
                         [&](const std::string& type) { return is_own_condition(kind, type, false); });
}

std::string_view kind_of(const WantedStatus& wanted) {
    return kinds_read()[wanted.key.kind].kind;
}

} // namespace

Method method_of(std::string_view kind) {
    return kind == Service::kind ? Method::apply : Method::replace;
}

bool is_outdated(const Json& live, const WantedStatus& wanted) {
    const Json& meta = member(live, "metadata");
    return text(meta, "uid") != wanted.uid || number(meta, "generation") != wanted.generation ||
           meta.contains("deletionTimestamp");
}

std::optional<Json> merged(const Json& live, const WantedStatus& wanted, const std::vector<StatusLine>& lines,
                           int64_t now_s) {
    const std::string_view kind = kind_of(wanted);
    Json status = member(live, "status");
    if (kind.ends_with("Route")) {
        status["parents"] = parents_of(live, lines, now_s);
    } else {
        status["conditions"] = own_conditions(live, kind, lines, now_s);
        if (kind == Gateway::kind)
            status["listeners"] = listeners_of(list(status, "listeners"), lines, now_s);
        if (kind == GatewayClass::kind)
            status["supportedFeatures"] = features_of(lines);
    }
    if (status == member(live, "status"))
        return std::nullopt;
    Json out = live;
    out["status"] = std::move(status);
    return out;
}

std::optional<Json> applied(const Json& live, const WantedStatus& wanted, const std::vector<StatusLine>& lines,
                            int64_t now_s) {
    const Json& before = list(member(live, "status"), "conditions");
    Json conditions = Json::array();
    bool same = !lines.empty();
    for (const StatusLine& line : lines) {
        const Json* old = find_named(before, "type", line.type);
        conditions.push_back(condition_of(line, old, now_s));
        same = same && old != nullptr && same_condition(*old, conditions.back());
    }
    if (same)
        return std::nullopt;
    const KindInfo& kind = kinds_read()[wanted.key.kind];
    const Json meta = {{"name", wanted.key.name.name}, {"namespace", wanted.key.name.ns}, {"uid", wanted.uid}};
    return Json{{"apiVersion", (*kind.group == 0 ? "" : std::string(kind.group) + "/") + kind.versions[0]},
                {"kind", kind.kind},
                {"metadata", meta},
                {"status", {{"conditions", std::move(conditions)}}}};
}

} // namespace weft::agent::status
