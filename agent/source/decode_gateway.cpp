// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "agent/source/decode.hpp"
#include "agent/source/names.hpp"

namespace weft::agent {
namespace {

constexpr size_t listeners_max = 64;
constexpr size_t addresses_max = 16;
constexpr size_t route_kinds_max = 8;

bool is_controller_name(std::string_view text) {
    const auto slash = text.find('/');
    return slash != std::string_view::npos && text.size() <= 253 && slash + 1 < text.size() &&
           names::is_dns_subdomain(text.substr(0, slash)) && names::is_route_path(text.substr(slash + 1));
}

bool is_listener_protocol(std::string_view text) {
    if (const auto slash = text.find('/'); slash != std::string_view::npos) // a domain-prefixed one
        return text.size() <= 255 && names::is_dns_subdomain(text.substr(0, slash)) && slash + 1 < text.size();
    return text.size() <= 255 && names::is_kind(text);
}

void decode_allowed_routes(Fields& allowed, Gateway::Listener& out) {
    allowed.map("namespaces", [&](Fields& fields) {
        using enum Gateway::Listener::From;
        const auto from = fields.one_of("from", {"Same", "All", "Selector", "None"});
        out.from = from == "All" ? all : from == "Selector" ? selector : from == "None" ? none : same;
        const bool given =
            fields.map("selector", [&](Fields& selector_fields) { out.selector = decode_selector(selector_fields); });
        if (out.from == selector && !given)
            fields.fault("selector", "is required when from is Selector");
    });
    bool http = false;
    bool other = false;
    const size_t kinds = allowed.each_map("kinds", route_kinds_max, [&](Fields& fields) {
        const auto group = fields.text("group").value_or(names::gateway_group);
        const auto kind = fields.required_text("kind", names::is_kind, "a kind");
        const bool is_http = group == names::gateway_group && kind == "HTTPRoute";
        http = http || is_http;
        other = other || !is_http;
    });
    out.other_routes = other;
    out.http_routes = kinds == 0 || http;
}

Gateway::Listener decode_listener(Fields& fields) {
    Gateway::Listener out;
    out.name = fields.required_text("name", names::is_dns_subdomain, "a DNS subdomain");
    if (const auto hostname = fields.text("hostname"); hostname && !hostname->empty()) {
        if (!names::is_hostname(*hostname))
            fields.fault("hostname", quoted(*hostname) + " is not a host name");
        out.hostname = names::lower_case(*hostname);
    }
    if (!fields.has("port"))
        fields.fault("port", "is required");
    out.port = static_cast<uint16_t>(fields.integer("port", 1, 65535).value_or(0));
    out.protocol = fields.required_text("protocol", is_listener_protocol, "a protocol");
    fields.ignore({"tls"});
    fields.map("allowedRoutes", [&](Fields& allowed) { decode_allowed_routes(allowed, out); });
    return out;
}

void decode_gateway_spec(Fields& spec, Gateway& out) {
    out.class_name = spec.required_text("gatewayClassName", names::is_dns_subdomain, "a DNS subdomain");
    out.asks_for_addresses =
        spec.each_map("addresses", addresses_max, [](Fields& fields) { fields.ignore({"type", "value"}); }) != 0;
    spec.ignore({"allowedListeners", "backendTLS", "defaultScope", "infrastructure", "tls"});
    const size_t count = spec.each_map("listeners", listeners_max,
                                       [&](Fields& fields) { out.listeners.push_back(decode_listener(fields)); });
    if (count == 0)
        spec.fault("listeners", "must hold at least one listener");
    std::set<std::string> seen;
    const Path list = spec.at("listeners");
    for (size_t i = 0; i < out.listeners.size(); ++i) {
        const Path item(&list, i);
        if (!seen.insert(out.listeners[i].name).second)
            spec.faults().add(Path(&item, "name"), quoted(out.listeners[i].name) + " names another listener too");
    }
}

} // namespace

void decode(Fields& object, GatewayClass& out) {
    object.required_map("spec", [&](Fields& spec) {
        out.controller = spec.required_text("controllerName", is_controller_name, "a controller name (DOMAIN/PATH)");
        spec.ignore({"description", "parametersRef"});
    });
    object.ignore({"status"});
}

void decode(Fields& object, Gateway& out) {
    object.required_map("spec", [&](Fields& spec) { decode_gateway_spec(spec, out); });
    object.ignore({"status"});
    const auto label = out.meta.labels.find("istio.io/waypoint-for");
    if (label == out.meta.labels.end())
        return;
    using enum Gateway::WaypointFor;
    const std::string& value = label->second;
    if (value == "service")
        out.waypoint_for = service;
    else if (value == "workload")
        out.waypoint_for = workload;
    else if (value == "all")
        out.waypoint_for = all;
    else if (value == "none")
        out.waypoint_for = none;
    else
        object.faults().push({.field = "metadata.labels[istio.io/waypoint-for]",
                              .message = quoted(value) + " is not one of service, workload, all, none"});
}

} // namespace weft::agent
