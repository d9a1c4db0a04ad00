// SPDX-License-Identifier: Apache-2.0
#include "agent/check/node.hpp"

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>

#include "agent/bpf/hooks.hpp"
#include "agent/bpf/probe.hpp"
#include "agent/check/judge.hpp"
#include "agent/pods/connections.hpp"
#include "agent/pods/kubelet.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent::check {
namespace {

constexpr const char* netns_folder = "/run/netns";

Finding kernel() {
    utsname name{};
    uname(&name);
    return {
        .check = "kernel", .detail = std::string(name.sysname) + " " + name.release + " " + name.machine, .remedy = {}};
}

std::vector<Finding> datapath(const bpf::ProbeSettings& settings) {
    std::vector<Finding> found;
    for (const bpf::Requirement& each : bpf::requirements(settings)) {
        const std::string_view name = each.name;
        const std::string place = name == "bpffs" ? settings.pin_dir : name == "cgroup2" ? settings.cgroup : "there";
        found.push_back({.check = each.name,
                         .level = each.there ? Level::ok : Level::failed,
                         .detail = each.there ? place : each.there.error(),
                         .remedy = each.there ? "" : each.remedy});
    }
    return found;
}

bool is_ok(const std::vector<Finding>& findings, const std::string& check) {
    return std::ranges::any_of(findings,
                               [&](const Finding& each) { return each.check == check && each.level == Level::ok; });
}

std::vector<Finding> hooks(const std::string& cgroup) {
    auto hooks = bpf::cgroup_hooks(cgroup);
    if (!hooks)
        return {{.check = "BPF hooks", .level = Level::failed, .detail = hooks.error(), .remedy = "run it as root"}};
    std::ranges::move(bpf::lookup_hooks(netns_folder), std::back_inserter(*hooks));
    return judge_hooks(*hooks);
}

Finding cgroup_root() {
    std::ifstream file("/proc/1/cgroup");
    return judge_cgroup_root(std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
}

Finding resets() {
    const Result<void> can = probe_cut();
    if (can)
        return {.check = "socket destroy", .detail = "connections older than a policy can be reset", .remedy = {}};
    return {.check = "socket destroy",
            .level = Level::warning,
            .detail = to_string(can.error()) + ": connections that are older than a policy go on",
            .remedy = "a kernel with CONFIG_INET_DIAG_DESTROY=y"};
}

Finding kubelet(uint16_t port) {
    Finding finding{.check = "kubelet", .level = Level::warning, .detail = {}, .remedy = {}};
    KubeletFinder finder({.port = port});
    finder.look(0);
    if (const bpf::TaskView tasks = bpf::probe_tasks(); !tasks.fault.empty()) {
        finding.detail = tasks.fault;
        finding.remedy = "in a pod: hostPID: true; else a newer kernel";
    } else if (!finder.found()) {
        finding.detail = finder.fault();
        finding.remedy = "--kubelet-port, if it listens elsewhere; in a pod: hostPID: true, hostNetwork: true";
    } else {
        finding.level = Level::ok;
        finding.detail =
            finder.found()->name + ", pid " + std::to_string(finder.found()->pid) + ": its probes will pass";
        return finding;
    }
    finding.detail += ": its probes would be judged like any connection";
    return finding;
}

/// As l7engine/io/ring.cpp asks for it: what an older kernel does not know is refused.
int try_ring() {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                       IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED;
    parameters.cq_entries = 16;
    constexpr unsigned entries = 8;
    const UniqueFd ring(static_cast<int>(syscall(SYS_io_uring_setup, entries, &parameters)));
    return ring ? 0 : errno;
}

Finding ring() {
    std::ifstream file("/proc/sys/kernel/io_uring_disabled");
    int disabled = 0;
    const bool known = static_cast<bool>(file >> disabled); // Linux 6.6
    return judge_ring(try_ring(), known ? std::optional(disabled) : std::nullopt);
}

} // namespace

std::vector<Finding> check_node(const NodeOptions& options) {
    bpf::ProbeSettings settings{.pin_dir = options.pin_dir, .cgroup = options.cgroup};
    if (settings.cgroup.empty())
        settings.cgroup = bpf::find_cgroup2_mount().value_or("");
    std::vector<Finding> found = {kernel()};
    std::ranges::move(datapath(settings), std::back_inserter(found));
    const auto skip = [&](const char* check, const char* without) {
        found.push_back({.check = check, .level = Level::skipped, .detail = without, .remedy = {}});
    };
    const bool capable = is_ok(found, "capabilities");
    if (!capable)
        skip("BPF programs", "not tried without the capabilities");
    if (!is_ok(found, "cgroup2"))
        skip("BPF hooks", "not looked at without cgroup2");
    else if (!capable)
        skip("BPF hooks", "not looked at without the capabilities");
    else
        std::ranges::move(hooks(settings.cgroup), std::back_inserter(found));
    if (options.cgroup.empty() && is_ok(found, "cgroup2"))
        found.push_back(cgroup_root());
    if (capable) {
        found.push_back(resets());
        found.push_back(kubelet(options.kubelet_port));
    } else {
        skip("kubelet", "not looked for without the capabilities");
    }
    found.push_back(ring());
    return found;
}

} // namespace weft::agent::check
