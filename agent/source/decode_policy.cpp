// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "agent/source/decode.hpp"
#include "agent/source/names.hpp"
#include "config/model/limits.hpp"

/// AuthorizationPolicy: attachment and action (istio.md 1.1, 1.8). The rules are in decode_policy_rule.cpp.
namespace weft::agent {
namespace {

using config::Policy;
using Target = AuthorizationPolicy::Target;

constexpr size_t targets_max = 16;

std::optional<Target> decode_target(Fields& fields, const std::string& own_namespace) {
    const auto group = fields.text("group", names::is_group, "an API group").value_or("");
    const auto kind = fields.required_text("kind", names::is_kind, "a kind");
    const auto name = fields.required_text("name", names::is_path_segment, "an object name");
    const auto ns = fields.text("namespace");
    if (ns && !ns->empty() && *ns != own_namespace)
        fields.fault("namespace", "must be the policy's own namespace");
    if (group == names::gateway_group && kind == "Gateway")
        return Target{.kind = Target::Kind::gateway, .name = name};
    if (group == names::gateway_group && kind == "GatewayClass")
        return Target{.kind = Target::Kind::gateway_class, .name = name};
    if (group.empty() && kind == "Service")
        return Target{.kind = Target::Kind::service, .name = name};
    if (group == "networking.istio.io" && kind == "ServiceEntry")
        fields.faults().unsupported(fields.at("kind"), "ServiceEntry targets are not served by this release");
    else if (!kind.empty())
        fields.fault("kind", quoted(group + "/" + kind) + " is not one of " + names::gateway_group + "/Gateway, " +
                                 names::gateway_group + "/GatewayClass, /Service");
    return std::nullopt;
}

} // namespace

std::vector<Target> decode_targets(Fields& spec, const std::string& ns) {
    std::vector<Target> out;
    const bool selector = spec.has("selector");
    const bool many = spec.has("targetRefs");
    const bool one = spec.has("targetRef");
    if (selector + many + one > 1) {
        spec.fault(many ? "targetRefs" : "targetRef", "only one of selector, targetRef and targetRefs may be given");
        return out;
    }
    if (selector) {
        spec.faults().unsupported(spec.at("selector"), "policies with a selector are not served by this release");
        return out;
    }
    const auto add = [&](Fields& fields) {
        if (auto target = decode_target(fields, ns))
            out.push_back(std::move(*target));
    };
    size_t count = spec.each_map("targetRefs", targets_max, add);
    count += spec.map("targetRef", add) ? 1 : 0;
    if (count == 0)
        spec.faults().unsupported(spec.at("targetRefs"),
                                  "policies for all workloads of a namespace are not served by this release: name a "
                                  "Gateway or Service in targetRefs");
    return out;
}

namespace {

void decode_action(Fields& spec, AuthorizationPolicy& out) {
    const auto action = spec.one_of("action", {"ALLOW", "DENY", "AUDIT", "CUSTOM"}).value_or("ALLOW");
    out.action = action == "DENY" ? Policy::Action::deny : Policy::Action::allow;
    if (action == "AUDIT" || action == "CUSTOM")
        spec.faults().unsupported(spec.at("action"), "the action " + action + " is not served by this release");
    if (spec.has("provider") && action != "CUSTOM")
        spec.fault("provider", "is only allowed with action CUSTOM");
}

/// Go's strconv.ParseBool.
std::optional<bool> parse_bool(std::string_view text) {
    for (const char* word : {"1", "t", "T", "true", "TRUE", "True"}) {
        if (text == word)
            return true;
    }
    for (const char* word : {"0", "f", "F", "false", "FALSE", "False"}) {
        if (text == word)
            return false;
    }
    return std::nullopt;
}

void check_dry_run(Fields& object, const AuthorizationPolicy& policy) {
    const auto found = policy.meta.annotations.find("istio.io/dry-run");
    if (found == policy.meta.annotations.end())
        return;
    const auto value = parse_bool(found->second);
    const char* field = "metadata.annotations[istio.io/dry-run]";
    if (!value)
        object.faults().push({.field = field, .message = quoted(found->second) + " is neither true nor false"});
    else if (*value)
        object.faults().push(
            {.field = field, .message = "dry-run policies are not served by this release", .unsupported = true});
}

} // namespace

void decode(Fields& object, AuthorizationPolicy& out) {
    object.required_map("spec", [&](Fields& spec) {
        out.targets = decode_targets(spec, out.meta.ns);
        decode_action(spec, out);
        const size_t rules = spec.each_map("rules", config::limits::policy_rules_max, [&](Fields& fields) {
            decode_policy_rule(fields, out.meta.ns, out.rules.emplace_back());
        });
        if (rules == 0 && out.action == Policy::Action::deny)
            spec.fault("rules", "a DENY policy without rules would never match; rules: [{}] matches everything");
    });
    object.ignore({"status"});
    check_dry_run(object, out);
}

} // namespace weft::agent
