// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/trust_domain.hpp"

#include <algorithm>
#include <string_view>

namespace weft::agent {
namespace {

using config::Matches;
using config::StringPattern;

constexpr std::string_view own_name = "cluster.local";
constexpr long slashes_of_principal = 4; ///< cluster.local/ns/NAMESPACE/sa/ACCOUNT

void rewrite(StringPattern& pattern, const std::string& trust_domain) {
    if (std::ranges::count(pattern.value, '/') != slashes_of_principal)
        return;
    const size_t slash = pattern.value.find('/');
    const std::string_view first = std::string_view(pattern.value).substr(0, slash);
    const bool suffix = pattern.kind == StringPattern::Kind::suffix;
    if (suffix ? first.empty() || !own_name.ends_with(first) : first != own_name)
        return;
    pattern.value = trust_domain + pattern.value.substr(slash);
    if (suffix)
        pattern.kind = StringPattern::Kind::exact;
}

void rewrite(Matches<StringPattern>& matches, const std::string& trust_domain) {
    for (auto* list : {&matches.values, &matches.not_values})
        for (StringPattern& pattern : *list)
            rewrite(pattern, trust_domain);
}

} // namespace

std::vector<config::PolicyRule> in_trust_domain(std::vector<config::PolicyRule> rules,
                                                const std::string& trust_domain) {
    if (trust_domain == own_name)
        return rules;
    for (config::PolicyRule& rule : rules) {
        for (config::PolicySource& source : rule.from)
            rewrite(source.principals, trust_domain);
        for (config::PolicyCondition& condition : rule.when)
            if (condition.key == config::PolicyCondition::Key::source_principal)
                rewrite(condition.strings, trust_domain);
    }
    return rules;
}

} // namespace weft::agent
