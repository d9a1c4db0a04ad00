// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>

#include "agent/source/decode.hpp"
#include "agent/source/names.hpp"
#include "config/model/limits.hpp"
#include "config/model/pattern.hpp"

/// rules[] of an AuthorizationPolicy (istio.md 1.1, 1.4, 1.5): from, to, when.
namespace weft::agent {
namespace {

using config::Matches;
using config::PathPattern;
using config::PolicyCondition;
using config::PolicyOperation;
using config::PolicyRule;
using config::PolicySource;
using config::ServiceAccountRef;
using config::StringPattern;

constexpr size_t parts_max = config::limits::policy_parts_max;
constexpr size_t values_max = config::limits::policy_values_max;
constexpr size_t service_accounts_max = 16;
constexpr size_t service_account_bytes_max = 320;

/// Visits the texts of one list; an empty text is a fault. Returns whether the list holds anything.
template <class F>
bool each_text(Fields& fields, std::string_view name, F&& visit, size_t most = values_max) {
    return fields.each(name, most, [&](const Value& value, const Path& path) {
        const auto text = text_of(value, path, fields.faults());
        if (!text)
            return;
        if (text->empty())
            fields.faults().add(path, "must not be empty");
        else if (text->size() > config::limits::text_bytes_max)
            fields.faults().add(path, "is too long");
        else
            visit(*text, path);
    }) > 0;
}

bool strings(Fields& fields, std::string_view name, std::vector<StringPattern>& out) {
    return each_text(fields, name,
                     [&](const std::string& text, const Path&) { out.push_back(config::parse_string_pattern(text)); });
}

bool namespaces(Fields& fields, std::string_view name, std::vector<std::string>& out) {
    return each_text(fields, name, [&](const std::string& text, const Path&) { out.push_back(text); });
}

bool blocks(Fields& fields, std::string_view name, std::vector<Cidr>& out) {
    return each_text(fields, name, [&](const std::string& text, const Path& path) {
        if (const auto block = Cidr::parse(text))
            out.push_back(*block);
        else
            fields.faults().add(path, quoted(text) + " is neither an IP address nor a CIDR block");
    });
}

bool ports(Fields& fields, std::string_view name, std::vector<uint16_t>& out) {
    return each_text(fields, name, [&](const std::string& text, const Path& path) {
        uint16_t port = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
        if (error != std::errc{} || end != text.data() + text.size())
            fields.faults().add(path, quoted(text) + " is not a port (0..65535)");
        else
            out.push_back(port);
    });
}

bool paths(Fields& fields, std::string_view name, std::vector<PathPattern>& out) {
    return each_text(fields, name, [&](const std::string& text, const Path& path) {
        if (const auto fault = config::path_fault(text))
            fields.faults().add(path, quoted(text) + ": " + *fault);
        else
            out.push_back(config::parse_path_pattern(text));
    });
}

bool service_accounts(Fields& fields, std::string_view name, const std::string& ns,
                      std::vector<ServiceAccountRef>& out) {
    const auto visit = [&](const std::string& text, const Path& path) {
        const auto slash = text.find('/');
        ServiceAccountRef ref{.ns = slash == std::string::npos ? ns : text.substr(0, slash),
                              .name = slash == std::string::npos ? text : text.substr(slash + 1)};
        if (text.size() > service_account_bytes_max)
            fields.faults().add(path, "is longer than 320 characters");
        else if (text.find('*') != std::string::npos)
            fields.faults().add(path, quoted(text) + ": * is not allowed in a service account");
        else if (ref.ns.empty() || ref.name.empty() || ref.name.find('/') != std::string::npos)
            fields.faults().add(path, quoted(text) + " is neither NAMESPACE/NAME nor NAME");
        else
            out.push_back(std::move(ref));
    };
    return each_text(fields, name, visit, service_accounts_max);
}

bool unsupported_lists(Fields& fields, std::initializer_list<const char*> list_names) {
    bool any = false;
    for (const char* name : list_names) {
        if (each_text(fields, name, [](const std::string&, const Path&) {})) {
            fields.faults().unsupported(fields.at(name), "is not served by this release");
            any = true;
        }
    }
    return any;
}

PolicySource decode_source(Fields& fields, const std::string& ns) {
    PolicySource out;
    bool any = strings(fields, "principals", out.principals.values);
    any |= strings(fields, "notPrincipals", out.principals.not_values);
    any |= namespaces(fields, "namespaces", out.namespaces.values);
    any |= namespaces(fields, "notNamespaces", out.namespaces.not_values);
    const bool identity = any;
    bool accounts = service_accounts(fields, "serviceAccounts", ns, out.service_accounts.values);
    accounts |= service_accounts(fields, "notServiceAccounts", ns, out.service_accounts.not_values);
    if (identity && accounts)
        fields.fault(fields.has("serviceAccounts") ? "serviceAccounts" : "notServiceAccounts",
                     "cannot stand beside principals or namespaces in one source");
    any |= accounts;
    any |= blocks(fields, "ipBlocks", out.ip_blocks.values);
    any |= blocks(fields, "notIpBlocks", out.ip_blocks.not_values);
    any |= blocks(fields, "remoteIpBlocks", out.remote_ip_blocks.values);
    any |= blocks(fields, "notRemoteIpBlocks", out.remote_ip_blocks.not_values);
    any |= unsupported_lists(fields, {"requestPrincipals", "notRequestPrincipals", "trustDomains", "notTrustDomains"});
    if (!any)
        fields.faults().add(fields.path(), "must hold at least one non-empty list");
    return out;
}

PolicyOperation decode_operation(Fields& fields) {
    PolicyOperation out;
    bool any = strings(fields, "hosts", out.hosts.values);
    any |= strings(fields, "notHosts", out.hosts.not_values);
    any |= ports(fields, "ports", out.ports.values);
    any |= ports(fields, "notPorts", out.ports.not_values);
    any |= strings(fields, "methods", out.methods.values);
    any |= strings(fields, "notMethods", out.methods.not_values);
    any |= paths(fields, "paths", out.paths.values);
    any |= paths(fields, "notPaths", out.paths.not_values);
    if (!any)
        fields.faults().add(fields.path(), "must hold at least one non-empty list");
    return out;
}

struct KnownKey {
    const char* name;
    PolicyCondition::Key key;
};
using enum PolicyCondition::Key;
constexpr std::array known_keys = {
    KnownKey{"source.ip", source_ip},
    KnownKey{"remote.ip", remote_ip},
    KnownKey{"source.namespace", source_namespace},
    KnownKey{"source.principal", source_principal},
    KnownKey{"source.serviceAccount", source_service_account},
    KnownKey{"destination.ip", destination_ip},
    KnownKey{"destination.port", destination_port},
    KnownKey{"connection.sni", connection_sni},
};

/// False: the key is faulty, and the fault is reported.
bool decode_key(Fields& fields, PolicyCondition& out) {
    const auto key = fields.text("key").value_or("");
    for (const auto& known : known_keys) {
        if (key == known.name) {
            out.key = known.key;
            return true;
        }
    }
    constexpr std::string_view header = "request.headers[";
    if (key.starts_with(header) && key.ends_with(']')) {
        out.key = request_header;
        out.header = names::lower_case(key.substr(header.size(), key.size() - header.size() - 1));
        if (names::is_header_name(out.header))
            return true;
        fields.fault("key", quoted(key) + " does not hold a header name");
    } else if (key.starts_with("request.auth.") || key == "source.trustDomain" || key.starts_with("experimental.")) {
        fields.faults().unsupported(fields.at("key"), quoted(key) + " is not served by this release");
    } else if (key.empty()) {
        fields.fault("key", "is required");
    } else {
        fields.fault("key", quoted(key) + " is not a known attribute");
    }
    return false;
}

PolicyCondition decode_condition(Fields& fields, const std::string& ns) {
    PolicyCondition out;
    if (!decode_key(fields, out)) {
        fields.ignore({"values", "notValues"});
        return out;
    }
    const auto both = [&](auto read, auto& matches) {
        const bool positive = read("values", matches.values);
        const bool negative = read("notValues", matches.not_values);
        if (!positive && !negative)
            fields.fault("values", "one of values and notValues is required");
    };
    switch (out.key) {
    case source_ip:
    case remote_ip:
    case destination_ip: both([&](auto name, auto& list) { return blocks(fields, name, list); }, out.blocks); break;
    case destination_port: both([&](auto name, auto& list) { return ports(fields, name, list); }, out.ports); break;
    case source_namespace:
        both([&](auto name, auto& list) { return namespaces(fields, name, list); }, out.namespaces);
        break;
    case source_service_account:
        both([&](auto name, auto& list) { return service_accounts(fields, name, ns, list); }, out.service_accounts);
        break;
    case request_header:
    case source_principal:
    case connection_sni: both([&](auto name, auto& list) { return strings(fields, name, list); }, out.strings); break;
    }
    return out;
}

} // namespace

void decode_policy_rule(Fields& rule, const std::string& ns, PolicyRule& out) {
    const size_t from = rule.each_map("from", parts_max, [&](Fields& entry) {
        entry.required_map("source", [&](Fields& fields) { out.from.push_back(decode_source(fields, ns)); });
    });
    const size_t to = rule.each_map("to", parts_max, [&](Fields& entry) {
        entry.required_map("operation", [&](Fields& fields) { out.to.push_back(decode_operation(fields)); });
    });
    rule.each_map("when", parts_max, [&](Fields& fields) { out.when.push_back(decode_condition(fields, ns)); });
    // An empty list would mean "anything": Istio refuses it as a probable mistake.
    if (from == 0 && rule.has("from"))
        rule.fault("from", "must not be an empty list");
    if (to == 0 && rule.has("to"))
        rule.fault("to", "must not be an empty list");
}

} // namespace weft::agent
