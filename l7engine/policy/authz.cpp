// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/authz.hpp"

#include <algorithm>

#include "l7engine/policy/match.hpp"

namespace weft::l7 {
namespace {

using config::Matches;
using config::PolicyCondition;

constexpr std::string_view spiffe_scheme = "spiffe://";

/// (OR over values) AND NOT (OR over not_values). An empty list is true.
template <class T, class Test>
bool holds(const Matches<T>& field, Test&& test) {
    return (field.values.empty() || std::ranges::any_of(field.values, test)) &&
           std::ranges::none_of(field.not_values, test);
}

bool holds_text(const Matches<config::StringPattern>& field, std::string_view text) {
    return holds(field, [&](const auto& pattern) { return matches(pattern, text); });
}

bool holds_host(const Matches<config::StringPattern>& field, std::string_view host) {
    return holds(field, [&](const auto& pattern) { return matches_ignoring_case(pattern, host); });
}

bool holds_address(const Matches<Cidr>& field, const IpAddress& address) {
    return holds(field, [&](const Cidr& block) { return block.contains(address); });
}

bool holds_port(const Matches<uint16_t>& field, uint16_t port) {
    return holds(field, [&](uint16_t value) { return value == port; });
}

bool holds_namespace(const Matches<std::string>& field, std::string_view ns) {
    return holds(field, [&](const std::string& pattern) { return !ns.empty() && matches_glob(pattern, ns); });
}

bool holds_account(const Matches<config::ServiceAccountRef>& field, const AuthzInput& input) {
    return holds(field, [&](const config::ServiceAccountRef& account) {
        return !input.service_account.empty() && account.ns == input.ns && account.name == input.service_account;
    });
}

bool holds_header(const PolicyCondition& condition, const AuthzInput& input) {
    std::string scratch;
    const auto value = input.request.field(condition.header, scratch);
    return holds(condition.strings, [&](const config::StringPattern& pattern) {
        if (!value)
            return false;
        // An empty header is a present one, unlike an empty text anywhere else.
        return pattern.kind == config::StringPattern::Kind::present || matches(pattern, *value);
    });
}

bool holds(const config::PolicySource& source, const AuthzInput& input) {
    return holds_text(source.principals, input.principal) && holds_namespace(source.namespaces, input.ns) &&
           holds_account(source.service_accounts, input) && holds_address(source.ip_blocks, input.peer) &&
           holds_address(source.remote_ip_blocks, input.remote);
}

bool holds(const config::PolicyOperation& operation, const AuthzInput& input) {
    if (input.judged == Judged::connection)
        return holds_port(operation.ports, input.destination_port);
    return holds_host(operation.hosts, input.request.authority) &&
           holds_port(operation.ports, input.destination_port) && holds_text(operation.methods, input.request.method) &&
           holds(operation.paths, [&](const auto& pattern) { return matches(pattern, input.request.path); });
}

bool holds(const PolicyCondition& condition, const AuthzInput& input) {
    using enum PolicyCondition::Key;
    switch (condition.key) {
    case request_header: return input.judged == Judged::connection || holds_header(condition, input);
    case source_ip: return holds_address(condition.blocks, input.peer);
    case remote_ip: return holds_address(condition.blocks, input.remote);
    case source_namespace: return holds_namespace(condition.namespaces, input.ns);
    case source_principal: return holds_text(condition.strings, input.principal);
    case source_service_account: return holds_account(condition.service_accounts, input);
    case destination_ip: return holds_address(condition.blocks, input.destination);
    case destination_port: return holds_port(condition.ports, input.destination_port);
    case connection_sni: return input.sni_unknown || holds_text(condition.strings, input.sni);
    }
    return false;
}

bool holds(const config::PolicyRule& rule, const AuthzInput& input) {
    const auto test = [&](const auto& part) { return holds(part, input); };
    return (rule.from.empty() || std::ranges::any_of(rule.from, test)) &&
           (rule.to.empty() || std::ranges::any_of(rule.to, test)) && std::ranges::all_of(rule.when, test);
}

} // namespace

void AuthzInput::identify(const config::Workload* workload) {
    principal = ns = service_account = {};
    if (workload == nullptr || workload->principal.empty())
        return;
    principal = workload->principal;
    if (principal.starts_with(spiffe_scheme))
        principal.remove_prefix(spiffe_scheme.size());
    ns = workload->ns;
    service_account = workload->service_account;
}

uint32_t matching_rule(const config::Policy& policy, const AuthzInput& input) {
    const bool denies = policy.action == config::Policy::Action::deny;
    const bool proves_requests = input.judged == Judged::request || denies;
    const bool proves_names = !input.sni_unknown || denies;
    const auto rule = std::ranges::find_if(policy.rules, [&](const auto& candidate) {
        return (proves_requests || !config::reads_request(candidate)) &&
               (proves_names || !config::reads_server_name(candidate)) && holds(candidate, input);
    });
    return rule == policy.rules.end() ? config::none : static_cast<uint32_t>(rule - policy.rules.begin());
}

AuthzVerdict judge(const config::Snapshot& snapshot, const config::PolicySet& set, const AuthzInput& input) {
    for (const uint32_t index : set.deny) {
        // An index out of range is a broken snapshot: refuse, never skip.
        if (index >= snapshot.policies.size())
            return {.allowed = false};
        const uint32_t rule = matching_rule(snapshot.policies[index], input);
        if (rule != config::none)
            return {.allowed = false, .policy = index, .rule = rule};
    }
    if (set.allow.empty())
        return {.allowed = true};
    for (const uint32_t index : set.allow) {
        if (index >= snapshot.policies.size())
            return {.allowed = false};
        const uint32_t rule = matching_rule(snapshot.policies[index], input);
        if (rule != config::none)
            return {.allowed = true, .policy = index, .rule = rule};
    }
    return {.allowed = false};
}

AuthzVerdict judge(const config::Snapshot& snapshot, uint32_t policies, const AuthzInput& input) {
    if (policies == config::none)
        return {.allowed = true};
    if (policies >= snapshot.policy_sets.size())
        return {.allowed = false};
    return judge(snapshot, snapshot.policy_sets[policies], input);
}

AuthzVerdict judge_guards(const config::Snapshot& snapshot, std::span<const config::Guard> guards, AuthzInput input) {
    AuthzVerdict last{.allowed = true};
    const uint16_t dialled_port = input.destination_port;
    for (const config::Guard& guard : guards) {
        input.destination_port = guard.destination_port == 0 ? dialled_port : guard.destination_port;
        last = judge(snapshot, guard.policies, input);
        if (!last.allowed)
            return last;
    }
    return last;
}

IpAddress remote_address(const Headers& headers, const IpAddress& peer, uint32_t trusted_hops) {
    std::string scratch;
    const auto field = headers.joined("x-forwarded-for", scratch);
    if (!field)
        return peer;
    std::string_view list = *field;
    for (uint32_t i = 0; i < trusted_hops; ++i) {
        const size_t comma = list.rfind(',');
        if (comma == std::string_view::npos)
            return peer;
        list = list.substr(0, comma);
    }
    if (const size_t comma = list.rfind(','); comma != std::string_view::npos)
        list.remove_prefix(comma + 1);
    constexpr std::string_view blanks = " \t";
    const size_t first = list.find_first_not_of(blanks);
    if (first == std::string_view::npos)
        return peer;
    list = list.substr(first, list.find_last_not_of(blanks) - first + 1);
    return IpAddress::parse(list).value_or(peer);
}

} // namespace weft::l7
