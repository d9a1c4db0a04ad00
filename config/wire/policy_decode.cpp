// SPDX-License-Identifier: Apache-2.0
#include "config/wire/policy_decode.hpp"

#include "config/model/limits.hpp"
#include "config/model/pattern.hpp"

namespace weft::wire {
namespace {

namespace limits = config::limits;

bool decode(Decoder& check, const At& at, const proto::StringPattern& in, config::StringPattern& out) {
    using Kind = config::StringPattern::Kind;
    if (!check.enumerator(At{&at, "kind"}, in.kind(), Kind::present, out.kind))
        return false;
    // "*" is the only form without text, and the only one that an empty text could be confused with.
    if ((out.kind == Kind::present) != in.value().empty())
        return check.fail(At{&at, "value"}, in.value().empty() ? "is empty" : "must be empty for kind present");
    return check.text(At{&at, "value"}, in.value(), out.value);
}

bool decode(Decoder& check, const At& at, const proto::PathPattern& in, config::PathPattern& out) {
    out.is_template = in.is_template();
    if (!in.is_template())
        return decode(check, At{&at, "text"}, in.text(), out.text);
    if (!check.name(At{&at, "pattern"}, in.pattern(), out.pattern))
        return false;
    if (!config::is_path_template(in.pattern()))
        return check.fail(At{&at, "pattern"}, "holds no {*} or {**}");
    if (const auto fault = config::path_fault(in.pattern()))
        return check.fail(At{&at, "pattern"}, *fault);
    return true;
}

bool decode(Decoder& check, const At& at, const proto::ServiceAccountRef& in, config::ServiceAccountRef& out) {
    return check.name(At{&at, "ns"}, in.ns(), out.ns) && check.name(At{&at, "name"}, in.name(), out.name);
}

bool decode(Decoder& check, const At& at, const proto::Block& in, Cidr& out) {
    if (!check.address(At{&at, "ip"}, in.ip(), out.address))
        return false;
    if (in.bits() > 128)
        return check.fail(At{&at, "bits"}, std::to_string(in.bits()) + " of 128");
    out.prefix_bits = static_cast<uint8_t>(in.bits());
    return true;
}

bool decode(Decoder& check, const At& at, const std::string& in, std::string& out) {
    return check.name(at, in, out);
}
bool decode(Decoder& check, const At& at, uint32_t in, uint16_t& out) {
    return check.port(at, in, out);
}

template <class In, class T>
bool decode_matches(Decoder& check, const At& at, const In& in, config::Matches<T>& out) {
    const auto one = [&](const At& item, const auto& from, T& to) { return decode(check, item, from, to); };
    return check.each(At{&at, "values"}, in.values(), limits::policy_values_max, out.values, one) &&
           check.each(At{&at, "not_values"}, in.not_values(), limits::policy_values_max, out.not_values, one);
}

bool decode(Decoder& check, const At& at, const proto::PolicySource& in, config::PolicySource& out) {
    return decode_matches(check, At{&at, "principals"}, in.principals(), out.principals) &&
           decode_matches(check, At{&at, "namespaces"}, in.namespaces(), out.namespaces) &&
           decode_matches(check, At{&at, "service_accounts"}, in.service_accounts(), out.service_accounts) &&
           decode_matches(check, At{&at, "ip_blocks"}, in.ip_blocks(), out.ip_blocks) &&
           decode_matches(check, At{&at, "remote_ip_blocks"}, in.remote_ip_blocks(), out.remote_ip_blocks);
}

bool decode(Decoder& check, const At& at, const proto::PolicyOperation& in, config::PolicyOperation& out) {
    return decode_matches(check, At{&at, "hosts"}, in.hosts(), out.hosts) &&
           decode_matches(check, At{&at, "ports"}, in.ports(), out.ports) &&
           decode_matches(check, At{&at, "methods"}, in.methods(), out.methods) &&
           decode_matches(check, At{&at, "paths"}, in.paths(), out.paths);
}

/// A condition whose values sit in the list of another key would be empty, and so always true: it must not arrive.
bool has_values(const config::PolicyCondition& condition) {
    using enum config::PolicyCondition::Key;
    switch (condition.key) {
    case request_header:
    case source_principal:
    case connection_sni: return !condition.strings.empty();
    case source_namespace: return !condition.namespaces.empty();
    case source_service_account: return !condition.service_accounts.empty();
    case source_ip:
    case remote_ip:
    case destination_ip: return !condition.blocks.empty();
    case destination_port: return !condition.ports.empty();
    }
    return false;
}

bool decode(Decoder& check, const At& at, const proto::PolicyCondition& in, config::PolicyCondition& out) {
    using Key = config::PolicyCondition::Key;
    if (!check.enumerator(At{&at, "key"}, in.key(), Key::connection_sni, out.key) ||
        !check.text(At{&at, "header"}, in.header(), out.header) ||
        !decode_matches(check, At{&at, "strings"}, in.strings(), out.strings) ||
        !decode_matches(check, At{&at, "namespaces"}, in.namespaces(), out.namespaces) ||
        !decode_matches(check, At{&at, "service_accounts"}, in.service_accounts(), out.service_accounts) ||
        !decode_matches(check, At{&at, "blocks"}, in.blocks(), out.blocks) ||
        !decode_matches(check, At{&at, "ports"}, in.ports(), out.ports))
        return false;
    if (out.key == Key::request_header && out.header.empty())
        return check.fail(At{&at, "header"}, "is empty");
    return has_values(out) || check.fail(at, "no values for its key");
}

bool decode(Decoder& check, const At& at, const proto::PolicyRule& in, config::PolicyRule& out) {
    const auto one = [&](const At& item, const auto& from, auto& to) { return decode(check, item, from, to); };
    return check.each(At{&at, "from"}, in.from(), limits::policy_parts_max, out.from, one) &&
           check.each(At{&at, "to"}, in.to(), limits::policy_parts_max, out.to, one) &&
           check.each(At{&at, "when"}, in.when(), limits::policy_parts_max, out.when, one);
}

} // namespace

bool decode_policy(Decoder& check, const At& at, const proto::Policy& in, config::Policy& out) {
    out.action = in.deny() ? config::Policy::Action::deny : config::Policy::Action::allow;
    return check.text(At{&at, "ns"}, in.ns(), out.ns) && check.text(At{&at, "name"}, in.name(), out.name) &&
           check.each(At{&at, "rules"}, in.rules(), limits::policy_rules_max, out.rules,
                      [&](const At& item, const auto& from, auto& to) { return decode(check, item, from, to); });
}

} // namespace weft::wire
