// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/table.hpp"

#include <algorithm>
#include <array>

namespace weft::agent::ctl {
namespace {

using Rows = std::vector<std::vector<std::string>>;

/// The member's text; empty if it is missing or no text. Another version's status must not end the program.
std::string text(const Json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null())
        return "";
    return found->is_string() ? found->get<std::string>() : found->dump();
}

const Json& list(const Json& object, const char* key) {
    static const Json empty = Json::array();
    const auto found = object.find(key);
    return found == object.end() || !found->is_array() ? empty : *found;
}

const Json& member(const Json& object, const char* key) {
    static const Json empty = Json::object();
    const auto found = object.find(key);
    return found == object.end() || !found->is_object() ? empty : *found;
}

std::string object_name(const Json& object) {
    const std::string ns = text(object, "namespace");
    const std::string name = text(object, "name");
    return text(object, "kind") + " " + (ns.empty() ? name : ns + "/" + name);
}

std::string joined(std::initializer_list<std::string> parts) {
    std::string line;
    for (const std::string& part : parts)
        if (!part.empty())
            line += (line.empty() ? "" : ": ") + part;
    return line;
}

Rows fault_rows(const Json& status) {
    Rows rows;
    for (const Json& line : list(member(status, "generation"), "missing"))
        rows.push_back({"not in force", line.is_string() ? line.get<std::string>() : ""});
    for (const Json& fault : list(member(status, "source"), "faults"))
        rows.push_back({"source", joined({text(fault, "origin"), text(fault, "object"), text(fault, "field"),
                                          text(fault, "message")})});
    for (const Json& fault : list(member(status, "writer"), "faults"))
        rows.push_back({"api", fault.is_string() ? fault.get<std::string>() : ""});
    Rows warnings;
    std::vector<std::string> said; // an object with several parents repeats its diagnostics
    for (const Json& object : list(status, "objects")) {
        for (const Json& diagnostic : list(object, "diagnostics")) {
            const std::string line =
                joined({object_name(object), text(diagnostic, "field"), text(diagnostic, "message")});
            if (std::ranges::find(said, line) != said.end())
                continue;
            said.push_back(line);
            const std::string severity = text(diagnostic, "severity");
            (severity == "warning" ? warnings : rows).push_back({severity, line});
        }
    }
    for (const Json& pod : list(status, "pods"))
        if (const std::string state = text(pod, "state"); state == "failed" || state == "waiting")
            rows.push_back({"pod", joined({text(pod, "uid"), text(pod, "reason")})});
    for (const Json& pod : list(member(status, "cni"), "starting"))
        rows.push_back({"starting", joined({text(pod, "pod"), text(pod, "reason")})});
    rows.insert(rows.end(), warnings.begin(), warnings.end());
    return rows;
}

std::string writer_line(const Json& writer) {
    const std::string leader = text(writer, "leader");
    std::string line = text(writer, "leads") == "true" ? "written by this node"
                       : leader.empty()                ? "nobody leads"
                                                       : "written by the node " + leader;
    line += ", " + text(writer, "writes") + " writes, " + text(writer, "failures") + " failures";
    if (const std::string pending = text(writer, "pending"); pending != "0")
        line += ", " + pending + " to be written";
    if (const std::string awaiting = text(writer, "awaiting"); awaiting != "0")
        line += ", " + awaiting + " objects wait for nodes";
    return line;
}

Rows node_rows(const Json& status) {
    const Json& engine = member(status, "engine");
    const Json& generation = member(status, "generation");
    const Json& datapath = member(status, "datapath");
    std::string engine_line = "not connected";
    if (text(engine, "connected") == "true")
        engine_line = "connected, pid " + text(engine, "pid") + ", version " + text(engine, "version") + ", " +
                      text(engine, "workers") + " workers, " + text(engine, "restarts") + " restarts";
    const std::string age = text(datapath, "heartbeat_age_ms");
    const Json& source = member(status, "source");
    const std::string ignored = text(source, "ignored");
    const std::string others =
        ignored.empty() || ignored == "0" ? "" : ", " + ignored + " objects of kinds that Weft does not read";
    std::string stale;
    for (const Json& part : list(source, "parts"))
        if (!text(part, "fault").empty())
            stale = ", not heard of for " + text(part, "silent_ms") + " ms: the last version seen is in force";
    const Json& kubelet = member(status, "kubelet");
    std::string kubelet_line = text(kubelet, "fault");
    if (kubelet.empty())
        kubelet_line = "not looked for";
    else if (kubelet_line.empty())
        kubelet_line = "pid " + text(kubelet, "pid") + " (" + text(kubelet, "name") + "), its probes pass";
    else
        kubelet_line = "its probes are judged like any connection: " + kubelet_line;
    const Json& installed = member(member(status, "cni"), "installed");
    std::string cni = text(installed, "state");
    for (const char* const key : {"file", "reason"})
        cni += text(installed, key).empty() ? "" : ", " + text(installed, key);
    Rows rows = {{"agent", text(status, "version") + ", source " + text(source, "path") + others + stale},
                 {"generation", text(generation, "applied") + " in force, " + text(generation, "wanted") + " wanted"},
                 {"engine", engine_line},
                 {"heartbeat", age.empty() ? "never" : age + " ms ago"},
                 {"kubelet", kubelet_line},
                 {"cgroup", text(datapath, "cgroup")}};
    if (!cni.empty())
        rows.push_back({"cni", cni});
    if (const Json& writer = member(status, "writer"); !writer.empty())
        rows.push_back({"status", writer_line(writer)});
    return rows;
}

Rows pod_rows(const Json& status) {
    Rows rows;
    for (const Json& pod : list(status, "pods")) {
        std::string addresses;
        for (const Json& address : list(pod, "addresses"))
            addresses += (addresses.empty() ? "" : ",") + (address.is_string() ? address.get<std::string>() : "");
        rows.push_back({text(pod, "uid"), text(pod, "state"), text(pod, "id"), addresses, text(pod, "netns")});
    }
    return rows;
}

Rows object_rows(const Json& status) {
    Rows rows;
    for (const Json& object : list(status, "objects")) {
        std::string conditions;
        for (const Json& condition : list(object, "conditions")) {
            const bool holds = text(condition, "status") == "True";
            conditions += (conditions.empty() ? "" : " ") + text(condition, "type") + "=" + text(condition, "status") +
                          (holds ? "" : "(" + text(condition, "reason") + ")");
        }
        if (!conditions.empty())
            rows.push_back({object_name(object), text(object, "parent"), conditions});
    }
    return rows;
}

} // namespace

std::string printable(std::string_view raw) {
    std::string clean(raw);
    std::ranges::replace_if(clean, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return clean;
}

std::string table(const std::vector<std::string>& head, const Rows& rows) {
    if (rows.empty())
        return "";
    Rows lines = rows;
    if (!head.empty())
        lines.insert(lines.begin(), head);
    std::vector<size_t> widths;
    for (auto& line : lines) {
        widths.resize(std::max(widths.size(), line.size()));
        for (size_t i = 0; i < line.size(); ++i) {
            line[i] = line[i].empty() ? "-" : printable(line[i]);
            widths[i] = std::max(widths[i], line[i].size());
        }
    }
    std::string out;
    for (const auto& line : lines) {
        for (size_t i = 0; i + 1 < line.size(); ++i)
            out += line[i] + std::string(widths[i] - line[i].size() + 2, ' ');
        out += line.back() + "\n";
    }
    return out;
}

std::string status_text(const Json& status) {
    const std::array<std::string, 4> parts = {
        table({}, fault_rows(status)),
        table({}, node_rows(status)),
        table({"POD", "STATE", "ID", "ADDRESSES", "NETNS"}, pod_rows(status)),
        table({"OBJECT", "PARENT", "CONDITIONS"}, object_rows(status)),
    };
    std::string out;
    for (const std::string& part : parts)
        if (!part.empty())
            out += (out.empty() ? "" : "\n") + part;
    return out;
}

} // namespace weft::agent::ctl
