// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/trust_domain.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

#include "config/model/pattern.hpp"

namespace weft::agent {
namespace {

using config::StringPattern;
using enum config::PolicyCondition::Key;

config::Matches<StringPattern> both(const std::string& text) {
    return {.values = {config::parse_string_pattern(text)}, .not_values = {config::parse_string_pattern(text)}};
}
config::PolicyCondition when(config::PolicyCondition::Key key, const std::string& text) {
    config::PolicyCondition out;
    out.key = key;
    out.strings = both(text);
    return out;
}

TEST(TrustDomain, principals_that_say_cluster_local_mean_the_meshs_own) {
    const std::initializer_list<std::pair<const char*, const char*>> cases = {
        {"cluster.local/ns/a/sa/b", "corp.example/ns/a/sa/b"},
        {"cluster.local/ns/a/sa/*", "corp.example/ns/a/sa/*"},
        {"*.local/ns/a/sa/b", "corp.example/ns/a/sa/b"},
        {"*/ns/a/sa/b", "*/ns/a/sa/b"},                             // any trust domain already
        {"*-local/ns/a/sa/b", "*-local/ns/a/sa/b"},                 // no end of it
        {"cluster.local/ns/a", "cluster.local/ns/a"},               // not five parts
        {"cluster.local/*", "cluster.local/*"},                     // not five parts
        {"cluster.local.x/ns/a/sa/b", "cluster.local.x/ns/a/sa/b"}, // another
        {"foreign/ns/a/sa/b", "foreign/ns/a/sa/b"},
        {"*", "*"},
    };
    for (const auto& [written, meant] : cases) {
        config::PolicyRule rule;
        rule.from.emplace_back().principals = both(written);
        rule.when = {when(source_principal, written), when(request_header, written)};
        const auto out = in_trust_domain({rule}, "corp.example");
        EXPECT_EQ(out[0].from[0].principals, both(meant)) << written;
        EXPECT_EQ(out[0].when[0].strings, both(meant)) << written;
        EXPECT_EQ(out[0].when[1].strings, both(written)) << written; // no principal
        EXPECT_EQ(in_trust_domain({rule}, "cluster.local"), std::vector{rule}) << written;
    }
}

} // namespace
} // namespace weft::agent
