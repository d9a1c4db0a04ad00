// SPDX-License-Identifier: Apache-2.0
#include "agent/check/judge.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "agent/source/kinds.hpp"

namespace weft::agent::check {
namespace {

using bpf::AttachedProgram;
using bpf::Hook;

constexpr const char* gateway_group = "gateway.networking.k8s.io";

bool is_ours(const AttachedProgram& program) {
    return program.name.starts_with("weft_");
}

std::string described(const AttachedProgram& program) {
    return (program.name.empty() ? std::string("a program") : program.name) + " (id " + std::to_string(program.id) +
           ")";
}

std::string described(const std::vector<AttachedProgram>& programs) {
    std::string text;
    for (const AttachedProgram& program : programs)
        text += (text.empty() ? "" : ", ") + described(program);
    return text;
}

/// Who else is known to change where a connect goes; the kernel keeps 15 characters of a name.
struct Balancer {
    const char* prefix;
    const char* owner;
    const char* remedy;
};
constexpr std::array balancers = {
    Balancer{
        "cil_sock", "Cilium's socket load balancing",
        "set Cilium's Helm value socketLB.hostNamespaceOnly=true, so that it leaves pods' connects alone; if it is "
        "set, nothing is to be done"},
    Balancer{"sock4_connect", "Cilium's socket load balancing",
             "set Cilium's bpf-lb-sock-hostns-only=true, so that it leaves pods' connects alone"},
    Balancer{"sock6_connect", "Cilium's socket load balancing",
             "set Cilium's bpf-lb-sock-hostns-only=true, so that it leaves pods' connects alone"},
    Balancer{"calico_connect", "Calico's connect-time load balancing",
             "set bpfConnectTimeLoadBalancing: Disabled and bpfHostNetworkedNATWithoutCTLB: Enabled in Calico's "
             "FelixConfiguration"},
};

const Balancer* balancer_of(const std::string& name) {
    const auto found = std::ranges::find_if(balancers, [&](const auto& each) { return name.starts_with(each.prefix); });
    return found == balancers.end() ? nullptr : &*found;
}

/// What runs before ours: in the same folder what was attached earlier, in a folder below everything.
std::vector<AttachedProgram> earlier(const Hook& hook) {
    std::vector<AttachedProgram> found;
    for (const AttachedProgram& program : hook.programs) {
        if (is_ours(program)) {
            if (hook.place == Hook::Place::here)
                break;
        } else {
            found.push_back(program);
        }
    }
    return found;
}

bool is_connect(const Hook& hook) {
    return std::string_view(hook.name).starts_with("cgroup/connect");
}

void judge_sharing(const Hook& hook, std::vector<Finding>& out) {
    const bool blocks = hook.place == Hook::Place::here    ? hook.sharing != Hook::Sharing::multi
                        : hook.place == Hook::Place::above ? hook.sharing == Hook::Sharing::exclusive
                                                           : false;
    if (blocks)
        out.push_back({.check = "BPF hooks",
                       .level = Level::failed,
                       .detail = std::string(hook.name) + " of " + hook.where +
                                 " is taken: " + described(hook.programs) + " was attached without BPF_F_ALLOW_MULTI",
                       .remedy = "stop or update what owns the program (bpftool cgroup show " + hook.where +
                                 "), or give --cgroup a folder that it is not above"});
}

void judge_order(const Hook& hook, std::vector<Finding>& out) {
    if (!is_connect(hook) || hook.place == Hook::Place::above)
        return;
    for (const AttachedProgram& program : earlier(hook)) {
        const Balancer* known = balancer_of(program.name);
        const std::string where = std::string(hook.name) + " of " + hook.where;
        out.push_back({.check = "BPF hooks",
                       .level = Level::warning,
                       .detail = described(program) + (known ? std::string(", ") + known->owner + "," : "") +
                                 " runs before ours at " + where +
                                 ": where it replaces a service's address, routes of that service are not applied "
                                 "(policies are, at the server)",
                       .remedy = known
                                     ? known->remedy
                                     : "if it translates services, have it leave pods' connects alone; else nothing"});
    }
}

void judge_lookup(const Hook& hook, std::vector<Finding>& out) {
    std::vector<AttachedProgram> others;
    std::ranges::remove_copy_if(hook.programs, std::back_inserter(others), is_ours);
    if (!others.empty())
        out.push_back({.check = "BPF hooks",
                       .level = Level::warning,
                       .detail = described(others) + " at sk_lookup of " + hook.where +
                                 ": it may take connections away from what a policy governs",
                       .remedy = "if that namespace is a pod's, stop what attached it"});
}

bool serves(const Served& served, const KindInfo& kind, const char* version) {
    const auto found = version == nullptr ? served.end() : served.find(version);
    return found != served.end() && found->second.contains(kind.plural);
}

std::string versions_read(const KindInfo& kind) {
    std::string text;
    for (const char* version : kind.versions)
        if (version != nullptr)
            text += (text.empty() ? "" : ", ") + std::string(version);
    return text;
}

/// Without these nothing of what Weft is for can be said to it; a missing other one is only not used.
bool is_required(const KindInfo& kind) {
    constexpr std::array<std::string_view, 4> required = {"GatewayClass", "Gateway", "HTTPRoute",
                                                          "AuthorizationPolicy"};
    return std::ranges::find(required, kind.kind) != required.end();
}

Finding judge_kind(const KindInfo& kind, const Served& served) {
    Finding finding{.check = std::string("CRD ") + kind.plural + "." + kind.group, .detail = {}, .remedy = {}};
    for (const char* version : kind.versions) {
        if (serves(served, kind, version)) {
            finding.detail = std::string("served as ") + version;
            return finding;
        }
    }
    std::string others;
    for (const auto& [version, plurals] : served)
        if (plurals.contains(kind.plural))
            others += (others.empty() ? "" : ", ") + version;
    finding.level = is_required(kind) ? Level::failed : Level::warning;
    finding.detail = others.empty() ? "missing" : "served as " + others + " only, Weft reads " + versions_read(kind);
    finding.remedy = std::string_view(kind.group) == gateway_group
                         ? "kubectl apply --server-side -f standard-install.yaml of a release of the Gateway API "
                           "(experimental-install.yaml for kinds that the standard channel lacks)"
                         : "install Istio's CRDs: Helm chart istio/base, or crd-all.gen.yaml of its release";
    return finding;
}

/// "v1.4.0-rc.1" → 1; nullopt: no version.
std::optional<int> major_of(std::string_view version) {
    if (!version.starts_with('v'))
        return std::nullopt;
    int major = 0;
    const auto [end, error] = std::from_chars(version.data() + 1, version.data() + version.size(), major);
    return error == std::errc{} && end != version.data() + version.size() && *end == '.' ? std::optional(major)
                                                                                         : std::nullopt;
}

std::string rule_of(const kube::Access& access, const std::string& verbs) {
    const std::string resource = access.resource + (access.subresource.empty() ? "" : "/" + access.subresource);
    const bool own = access.scope == kube::Access::Scope::own;
    return std::string("in the agent's ") + (own ? "Role" : "ClusterRole") + " (the chart makes it): apiGroups: [\"" +
           access.group + "\"], resources: [" + resource + "], " +
           (access.name.empty() ? "" : "resourceNames: [" + access.name + "], ") + "verbs: [" + verbs + "]";
}

bool same_resource(const kube::Access& a, const kube::Access& b) {
    return a.group == b.group && a.resource == b.resource && a.subresource == b.subresource && a.scope == b.scope &&
           a.name == b.name;
}

} // namespace

std::vector<Finding> judge_hooks(const std::vector<Hook>& hooks) {
    std::vector<Finding> found;
    std::set<std::string> others;
    for (const Hook& hook : hooks) {
        if (hook.place == Hook::Place::netns) {
            judge_lookup(hook, found);
            continue;
        }
        judge_sharing(hook, found);
        judge_order(hook, found);
        for (const AttachedProgram& program : hook.programs)
            if (!is_ours(program))
                others.insert(described(program));
    }
    if (found.empty())
        found.push_back({.check = "BPF hooks",
                         .detail = others.empty() ? "nobody else uses those that Weft attaches to"
                                                  : "shared with " + std::to_string(others.size()) +
                                                        " programs of others, none of which is in the way",
                         .remedy = {}});
    return found;
}

Finding judge_cgroup_root(std::string_view first) {
    Finding finding{.check = "cgroup2 root", .detail = "the node's processes are below it", .remedy = {}};
    const size_t line = first.starts_with("0::") ? 0 : first.find("\n0::");
    if (line == std::string_view::npos || first.empty()) {
        finding.level = Level::warning;
        finding.detail = "process 1 is in no cgroup of cgroup2 that is visible here";
        finding.remedy = "in a pod: hostPID: true";
        return finding;
    }
    const std::string_view path = first.substr(first.find("::", line) + 2);
    if (path.starts_with("/..")) {
        finding.level = Level::warning;
        finding.detail = "process 1 is outside of this cgroup namespace: connects of processes outside are not seen";
        finding.remedy = "none if the node itself runs in a cgroup namespace (kind); else mount the host's cgroup2";
    }
    return finding;
}

Finding judge_ring(int error, std::optional<int> disabled) {
    Finding finding{.check = "io_uring", .detail = "the engine's ring can be made", .remedy = {}};
    const auto fail_with = [&](std::string detail, std::string remedy) {
        finding.level = Level::failed;
        finding.detail = std::move(detail);
        finding.remedy = std::move(remedy);
        return finding;
    };
    if (disabled.value_or(0) != 0)
        return fail_with("sysctl kernel.io_uring_disabled is " + std::to_string(*disabled) +
                             (*disabled == 1 ? ": only privileged processes may use it, and the engine is none"
                                             : ": nobody may use it"),
                         "sysctl -w kernel.io_uring_disabled=0 (also in /etc/sysctl.d)");
    switch (error) {
    case 0: return finding;
    case EPERM:
        return fail_with("not permitted here",
                         "give the container a seccompProfile that permits io_uring_setup, io_uring_enter and "
                         "io_uring_register (the chart has one)");
    case ENOSYS:
        return fail_with("this kernel has no io_uring, or a seccomp profile hides it",
                         "a kernel with CONFIG_IO_URING=y, 6.1 or newer, and a seccompProfile that permits it");
    case EINVAL: return fail_with("this kernel's io_uring is too old", "Linux 6.1 or newer");
    default: return fail_with(std::string("io_uring_setup: ") + std::strerror(error), "Linux 6.1 or newer");
    }
}

std::vector<Finding> judge_kinds(const std::map<std::string, Served>& groups) {
    std::vector<Finding> found;
    for (const KindInfo& kind : kinds_read()) {
        if (kind.core)
            continue;
        const auto served = groups.find(kind.group);
        found.push_back(judge_kind(kind, served == groups.end() ? Served{} : served->second));
    }
    return found;
}

Finding judge_bundle(const std::string& version, const std::string& channel) {
    Finding finding{.check = "Gateway API release", .detail = {}, .remedy = {}};
    const std::optional<int> major = major_of(version);
    finding.detail = version.empty() ? "its CRDs do not say which" : version;
    if (!channel.empty())
        finding.detail += ", channel " + channel;
    if (major == 1)
        return finding;
    finding.level = Level::warning;
    finding.detail += major ? ": Weft knows v1" : "";
    finding.remedy = "install the CRDs of a release v1.x";
    return finding;
}

std::vector<Finding> judge_access(const std::vector<Allowed>& answers, const std::string& who) {
    std::vector<Finding> found;
    for (size_t i = 0; i < answers.size();) {
        // Neighbours of one resource are one finding: list and watch are granted together.
        std::string missing;
        std::string error;
        size_t next = i;
        for (; next < answers.size() && same_resource(answers[i].access, answers[next].access); ++next) {
            if (!answers[next].error.empty())
                error = answers[next].error;
            else if (!answers[next].yes)
                missing += (missing.empty() ? "" : ", ") + answers[next].access.verb;
        }
        kube::Access access = answers[i].access;
        if (!error.empty()) {
            found.push_back({.check = "RBAC",
                             .level = Level::failed,
                             .detail = "it cannot be asked for " + kube::to_string(access) + ": " + error,
                             .remedy = "every authenticated user may ask, unless system:basic-user was taken away"});
        } else if (!missing.empty()) {
            access.verb = missing;
            found.push_back({.check = "RBAC",
                             .level = Level::failed,
                             .detail = who + " may not " + kube::to_string(access) + " (" + access.why + ")",
                             .remedy = rule_of(access, missing)});
        }
        i = next;
    }
    if (found.empty())
        found.push_back({.check = "RBAC",
                         .detail = who + " has all " + std::to_string(answers.size()) + " rights that the agent needs",
                         .remedy = {}});
    return found;
}

} // namespace weft::agent::check
