// SPDX-License-Identifier: Apache-2.0
#include "agent/status.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace weft::agent {
namespace {

const char* name(Diagnostic::Severity severity) {
    switch (severity) {
        using enum Diagnostic::Severity;
    case warning: return "warning";
    case error: return "error";
    case refused: return "refused";
    }
    return "";
}

Json json_of(const Condition& condition) {
    return {{"type", condition.type},
            {"status", condition.status ? "True" : "False"},
            {"reason", condition.reason},
            {"message", condition.message}};
}

Json json_of(const Diagnostic& diagnostic) {
    return {{"severity", name(diagnostic.severity)}, {"field", diagnostic.field}, {"message", diagnostic.message}};
}

Json new_object(std::string_view kind, std::string_view ns, std::string_view object, std::string_view parent) {
    return {{"kind", kind},
            {"namespace", ns},
            {"name", object},
            {"parent", parent},
            {"conditions", Json::array()},
            {"diagnostics", Json::array()}};
}

struct ObjectKey {
    std::string kind;
    std::string ns;
    std::string name;
    auto operator<=>(const ObjectKey&) const = default;
};

/// Takes apart what object_id() made: "HTTPRoute default/reviews", "Namespace default".
ObjectKey key_of(const std::string& object) {
    const size_t space = object.find(' ');
    if (space == std::string::npos)
        return {"", "", object};
    const size_t slash = object.find('/', space);
    if (slash == std::string::npos)
        return {object.substr(0, space), "", object.substr(space + 1)};
    return {object.substr(0, space), object.substr(space + 1, slash - space - 1), object.substr(slash + 1)};
}

/// One entry per object and parent; an object's diagnostics are on each of its entries. Objects that have no status and
/// no diagnostic have nothing to tell.
Json objects_json(const std::vector<ObjectStatus>& statuses, const std::vector<Diagnostic>& diagnostics) {
    std::map<std::pair<ObjectKey, std::string>, Json> objects;
    std::map<ObjectKey, std::vector<std::string>> parents;
    for (const ObjectStatus& status : statuses) {
        const ObjectKey key{status.kind, status.ns, status.name};
        Json object = new_object(status.kind, status.ns, status.name, status.parent);
        for (const Condition& condition : status.conditions)
            object["conditions"].push_back(json_of(condition));
        objects[{key, status.parent}] = std::move(object);
        parents[key].push_back(status.parent);
    }
    for (const Diagnostic& diagnostic : diagnostics) {
        const ObjectKey key = key_of(diagnostic.object);
        if (!parents.contains(key)) {
            parents[key].push_back("");
            objects[{key, ""}] = new_object(key.kind, key.ns, key.name, "");
        }
        for (const std::string& parent : parents[key])
            objects[{key, parent}]["diagnostics"].push_back(json_of(diagnostic));
    }
    Json list = Json::array();
    for (auto& [key, object] : objects)
        list.push_back(std::move(object));
    return list;
}

Json faults_json(const std::vector<SourceFault>& faults) {
    Json list = Json::array();
    for (const SourceFault& fault : faults)
        list.push_back(
            {{"origin", fault.origin}, {"object", fault.object}, {"field", fault.field}, {"message", fault.message}});
    return list;
}

Json pods_json(const std::vector<Pods::View>& pods) {
    Json list = Json::array();
    for (const Pods::View& pod : pods) {
        Json addresses = Json::array();
        for (const IpAddress& address : pod.addresses)
            addresses.push_back(address.to_string());
        list.push_back({{"uid", pod.uid},
                        {"state", Pods::name(pod.state)},
                        {"reason", pod.reason},
                        {"id", pod.id},
                        {"netns", pod.netns},
                        {"addresses", std::move(addresses)}});
    }
    return list;
}

Json maps_json(const std::vector<bpf::MapUsage>& maps) {
    Json list = Json::array();
    for (const bpf::MapUsage& map : maps)
        list.push_back({{"name", map.name}, {"entries", map.entries}, {"entries_max", map.entries_max}});
    return list;
}

Json engine_json(const StatusFacts& facts) {
    const engine::EngineView& engine = facts.engine;
    return {{"connected", engine.connected},
            {"pid", engine.pid},
            {"version", engine.version},
            {"workers", engine.workers},
            {"restarts", engine.starts == 0 ? 0 : engine.starts - 1},
            {"last_end", engine.last_end},
            {"snapshot_error", facts.snapshot_error}};
}

Json datapath_json(const StatusFacts& facts) {
    Json age = nullptr;
    if (facts.heartbeat_age_ms != UINT64_MAX)
        age = facts.heartbeat_age_ms;
    return {{"cgroup", facts.cgroup},        {"pin_dir", facts.pin_dir},     {"heartbeat_age_ms", age},
            {"maps", maps_json(facts.maps)}, {"cut_fault", facts.cut_fault}, {"faults", facts.kernel_faults}};
}

Json kubelet_json(const KubeletWatch::View& kubelet) {
    if (kubelet.port == 0)
        return nullptr;
    return {{"port", kubelet.port}, {"pid", kubelet.pid}, {"name", kubelet.name}, {"fault", kubelet.fault}};
}

Json parts_json(const std::vector<SourcePart>& parts) {
    Json out = Json::array();
    for (const SourcePart& part : parts)
        out.push_back({{"name", part.name},
                       {"read", part.read},
                       {"absent", part.absent},
                       {"objects", part.objects},
                       {"silent_ms", part.silent_ms},
                       {"failures", part.failures},
                       {"fault", part.fault}});
    return out;
}

Json writer_json(const std::optional<status::WriterReport>& writer) {
    if (!writer)
        return nullptr;
    return {{"leader", writer->leader},     {"leads", writer->leads},     {"writes", writer->writes},
            {"failures", writer->failures}, {"pending", writer->pending}, {"awaiting", writer->awaiting},
            {"nodes", writer->nodes},       {"silent", writer->silent},   {"faults", writer->faults}};
}

} // namespace

Json status_json(const StatusFacts& facts) {
    Json read_at = nullptr;
    if (facts.source_read_s != 0)
        read_at = facts.source_read_s;
    return {{"version", facts.version},
            {"source",
             {{"path", facts.source_path},
              {"faults", faults_json(facts.source_faults)},
              {"parts", parts_json(facts.source_parts)},
              {"ignored", facts.source_ignored},
              {"last_read", read_at}}},
            {"generation",
             {{"wanted", facts.generation_wanted}, {"applied", facts.generation_applied}, {"missing", facts.missing}}},
            {"engine", engine_json(facts)},
            {"datapath", datapath_json(facts)},
            {"kubelet", kubelet_json(facts.kubelet)},
            {"objects", objects_json(facts.statuses, facts.diagnostics)},
            {"pods", pods_json(facts.pods)},
            {"cni", facts.cni},
            {"writer", writer_json(facts.writer)}};
}

std::string line_of(const Diagnostic& diagnostic) {
    std::string line = diagnostic.object;
    if (!diagnostic.field.empty())
        line += ": " + diagnostic.field;
    return line + ": " + diagnostic.message;
}

std::string line_of(const SourceFault& fault) {
    std::string line = fault.origin;
    for (const std::string* part : {&fault.object, &fault.field})
        if (!part->empty())
            line += ": " + *part;
    return line + ": " + fault.message;
}

std::vector<std::string> unreadable_lines(const std::vector<std::string>& unreadable,
                                          const std::vector<SourceFault>& source_faults) {
    std::vector<std::string> lines;
    for (const std::string& origin : unreadable) {
        const auto fault = std::ranges::find_if(
            source_faults, [&](const SourceFault& each) { return each.origin == origin && each.object.empty(); });
        lines.push_back("the source cannot be read: " + (fault == source_faults.end() ? origin : line_of(*fault)));
    }
    return lines;
}

std::vector<std::string> sync_warnings(const std::vector<SourceFault>& source_faults,
                                       const std::vector<Diagnostic>& diagnostics,
                                       const std::vector<Pods::Failure>& missing_pods) {
    std::vector<std::string> lines;
    for (const SourceFault& fault : source_faults)
        lines.push_back(line_of(fault));
    for (const Diagnostic& diagnostic : diagnostics)
        if (diagnostic.severity != Diagnostic::Severity::warning)
            lines.push_back(line_of(diagnostic));
    for (const Pods::Failure& pod : missing_pods)
        lines.push_back("Pod " + pod.uid + ": " + pod.reason);
    return lines;
}

} // namespace weft::agent
