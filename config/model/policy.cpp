// SPDX-License-Identifier: Apache-2.0
#include "config/model/policy.hpp"

#include <algorithm>

namespace weft::config {

namespace {

bool asks_for(const PolicyRule& rule, PolicyCondition::Key key) {
    return std::ranges::any_of(rule.when, [&](const PolicyCondition& condition) { return condition.key == key; });
}

} // namespace

bool reads_request(const PolicyRule& rule) {
    return asks_for(rule, PolicyCondition::Key::request_header) ||
           std::ranges::any_of(rule.to, [](const PolicyOperation& operation) {
               return !operation.hosts.empty() || !operation.methods.empty() || !operation.paths.empty();
           });
}

bool reads_server_name(const PolicyRule& rule) {
    return asks_for(rule, PolicyCondition::Key::connection_sni);
}

} // namespace weft::config
