// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "agent/source/decode.hpp"
#include "agent/source/names.hpp"

/// HTTPRoute with the limits and CEL rules of its CRD (gateway-api.md 2.1, 2.2, 2.4).
namespace weft::agent {
namespace {

using config::RouteMatch;

constexpr size_t parents_max = 32;
constexpr size_t hostnames_max = 16;
constexpr size_t rules_max = 16;
constexpr size_t matches_per_rule_max = 64;
constexpr size_t matches_per_route_max = 128;
constexpr size_t pairs_max = 16;
constexpr size_t backends_max = 16;
constexpr size_t path_bytes_max = 1024;
constexpr size_t header_value_max = 4096;
constexpr size_t query_name_max = 256;
constexpr size_t query_value_max = 1024;
constexpr int64_t weight_max = 1'000'000;

HttpRoute::Parent decode_parent(Fields& fields, const std::string& own_namespace) {
    HttpRoute::Parent out;
    if (auto group = fields.text("group", names::is_group, "an API group"))
        out.group = std::move(*group);
    if (auto kind = fields.text("kind", names::is_kind, "a kind"))
        out.kind = std::move(*kind);
    out.ns = fields.text("namespace", names::is_dns_label, "a DNS label").value_or(own_namespace);
    out.name = fields.required_text("name", names::is_path_segment, "an object name");
    out.section = fields.text("sectionName", names::is_dns_subdomain, "a section name").value_or("");
    if (const auto port = fields.integer("port", 1, 65535))
        out.port = static_cast<uint16_t>(*port);
    return out;
}

/// CEL of parentRefs: one parent named twice needs the same optional fields with different values.
void check_parents(Fields& spec, const std::vector<HttpRoute::Parent>& parents) {
    const Path list = spec.at("parentRefs");
    for (size_t i = 0; i < parents.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
            const auto& left = parents[j];
            const auto& right = parents[i];
            if (left.group != right.group || left.kind != right.kind || left.ns != right.ns || left.name != right.name)
                continue;
            if (left.section.empty() != right.section.empty() || left.port.has_value() != right.port.has_value())
                return spec.faults().add(Path(&list, i),
                                         "names the same parent as another entry, so both must set sectionName and "
                                         "port alike");
            if (left.section == right.section && left.port == right.port)
                return spec.faults().add(Path(&list, i), "names the same parent as another entry");
        }
    }
}

const char* path_fault(const std::string& value) {
    if (value.empty() || value[0] != '/')
        return "must begin with /";
    if (value.size() > path_bytes_max)
        return "is longer than 1024 characters";
    for (const char* part : {"//", "/./", "/../", "%2f", "%2F", "#"}) {
        if (value.find(part) != std::string::npos)
            return "must not contain //, /./, /../, %2f, %2F or #";
    }
    if (value.ends_with("/.") || value.ends_with("/.."))
        return "must not end with /. or /..";
    return names::is_route_path(value) ? nullptr : "holds a character that is not allowed in a path";
}

void decode_path(Fields& fields, RouteMatch& out) {
    const auto type = fields.one_of("type", {"Exact", "PathPrefix", "RegularExpression"});
    const auto value = fields.text("value").value_or("/");
    if (type == "RegularExpression")
        return fields.faults().unsupported(fields.at("type"), "RegularExpression paths are not served by this release");
    if (const char* fault = path_fault(value))
        return fields.fault("value", quoted(value) + " " + fault);
    out.path_kind = type == "Exact" ? RouteMatch::Path::exact : RouteMatch::Path::prefix;
    out.path = value;
    if (out.path_kind == RouteMatch::Path::prefix && out.path.size() > 1 && out.path.ends_with('/'))
        out.path.pop_back(); // the trailing slash of a prefix means nothing
}

/// Headers and queries alike. The list is a map by name: a second entry of one name is refused.
void decode_pairs(Fields& match, const char* name, bool header, std::vector<RouteMatch::Pair>& out) {
    std::set<std::string> written;
    std::set<std::string> folded;
    match.each_map(name, pairs_max, [&](Fields& fields) {
        const auto type = fields.one_of("type", {"Exact", "RegularExpression"});
        if (type == "RegularExpression")
            fields.faults().unsupported(fields.at("type"), "RegularExpression matches are not served by this release");
        auto key = fields.required_text("name", names::is_header_name, "a header or query name");
        auto value = fields.text("value");
        const size_t most = header ? header_value_max : query_value_max;
        if (!value || value->empty())
            fields.fault("value", "is required and must not be empty");
        else if (value->size() > most)
            fields.fault("value", "is longer than " + std::to_string(most) + " characters");
        if (!header && key.size() > query_name_max)
            fields.fault("name", "is longer than 256 characters");
        if (!written.insert(key).second)
            return fields.fault("name", quoted(key) + " is given twice");
        if (header)
            key = names::lower_case(std::move(key));
        if (folded.insert(key).second) // of headers that differ by case only, the first counts
            out.push_back({.name = std::move(key), .value = value.value_or("")});
    });
}

RouteMatch decode_match(Fields& fields) {
    RouteMatch out;
    fields.map("path", [&](Fields& path) { decode_path(path, out); });
    decode_pairs(fields, "headers", true, out.headers);
    decode_pairs(fields, "queryParams", false, out.queries);
    out.method =
        fields.one_of("method", {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
            .value_or("");
    return out;
}

/// Filters, timeouts and the like change what a route does: a route that has them is refused, never served without.
void refuse_if_used(Fields& fields, std::string_view name) {
    const Value* value = fields.find(name);
    if (value == nullptr)
        return;
    const bool container = value->type == Value::Type::list || value->type == Value::Type::map;
    if (!container || !value->items.empty())
        fields.faults().unsupported(fields.at(name), "is not served by this release");
}

HttpRoute::Backend decode_backend(Fields& fields, const std::string& own_namespace) {
    HttpRoute::Backend out;
    out.group = fields.text("group", names::is_group, "an API group").value_or("");
    if (auto kind = fields.text("kind", names::is_kind, "a kind"))
        out.kind = std::move(*kind);
    out.ns = fields.text("namespace", names::is_dns_label, "a DNS label").value_or(own_namespace);
    out.name = fields.required_text("name", names::is_path_segment, "an object name");
    if (const auto port = fields.integer("port", 1, 65535))
        out.port = static_cast<uint16_t>(*port);
    else if (out.group.empty() && out.kind == "Service" && !fields.has("port"))
        fields.fault("port", "is required for a Service");
    out.weight = static_cast<uint32_t>(fields.integer("weight", 0, weight_max).value_or(1));
    refuse_if_used(fields, "filters");
    return out;
}

HttpRoute::Rule decode_rule(Fields& fields, const std::string& own_namespace) {
    HttpRoute::Rule out;
    out.name = fields.text("name", names::is_dns_subdomain, "a section name").value_or("");
    fields.each_map("matches", matches_per_rule_max,
                    [&](Fields& match) { out.matches.push_back(decode_match(match)); });
    if (out.matches.empty())
        out.matches.emplace_back();
    fields.each_map("backendRefs", backends_max,
                    [&](Fields& backend) { out.backends.push_back(decode_backend(backend, own_namespace)); });
    for (const char* name : {"filters", "timeouts", "retry", "sessionPersistence"})
        refuse_if_used(fields, name);
    return out;
}

void decode_rules(Fields& spec, HttpRoute& out) {
    size_t matches = 0;
    std::set<std::string> rule_names;
    spec.each_map("rules", rules_max, [&](Fields& fields) {
        out.rules.push_back(decode_rule(fields, out.meta.ns));
        const auto& rule = out.rules.back();
        matches += rule.matches.size();
        if (!rule.name.empty() && !rule_names.insert(rule.name).second)
            fields.fault("name", quoted(rule.name) + " is the name of another rule too");
    });
    if (matches > matches_per_route_max)
        spec.fault("rules", "have more than 128 matches together");
    if (!spec.has("rules")) // the CRD's default: everything, to no backend
        out.rules.push_back({.name = {}, .matches = {RouteMatch{}}, .backends = {}});
    else if (out.rules.empty())
        spec.fault("rules", "must hold at least one rule");
}

} // namespace

std::vector<HttpRoute::Parent> decode_parents(Fields& spec, const std::string& ns) {
    std::vector<HttpRoute::Parent> out;
    spec.each_map("parentRefs", parents_max, [&](Fields& fields) { out.push_back(decode_parent(fields, ns)); });
    check_parents(spec, out);
    return out;
}

void decode(Fields& object, HttpRoute& out) {
    object.required_map("spec", [&](Fields& spec) {
        out.parents = decode_parents(spec, out.meta.ns);
        spec.each("hostnames", hostnames_max, [&](const Value& value, const Path& path) {
            const auto text = text_of(value, path, spec.faults());
            if (text && !names::is_hostname(*text))
                spec.faults().add(path, quoted(*text) + " is not a host name");
            else if (text)
                out.hostnames.push_back(names::lower_case(*text));
        });
        refuse_if_used(spec, "useDefaultGateways");
        decode_rules(spec, out);
    });
    object.ignore({"status"});
}

} // namespace weft::agent
