// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf/probe.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>

#include "agent/bpf/pins.hpp"
#include "config/base/unique_fd.hpp"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace weft::agent::bpf {
namespace {

using Outcome = std::expected<void, std::string>;

constexpr const char* usual_bpffs = "/sys/fs/bpf";
constexpr ino_t first_pid_namespace = 0xEFFFFFFCU; ///< PROC_PID_INIT_INO

std::unexpected<std::string> missing(const std::string& what) {
    return std::unexpected("missing: " + what);
}

Outcome probe_capabilities(const ProbeSettings&) {
    std::ifstream status("/proc/self/status");
    std::string line;
    uint64_t effective = 0;
    while (std::getline(status, line)) {
        constexpr std::string_view label = "CapEff:\t";
        if (line.starts_with(label))
            std::from_chars(line.data() + label.size(), line.data() + line.size(), effective, 16);
    }
    struct Needed {
        unsigned number;
        const char* name;
    };
    constexpr std::array needed = {Needed{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, Needed{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                   Needed{CAP_BPF, "CAP_BPF"}};
    for (const Needed& one : needed) {
        if ((effective >> one.number & 1) == 0)
            return missing(std::string("capability ") + one.name);
    }
    return {};
}

std::string parent_of(const std::string& path) {
    const size_t slash = path.find_last_of('/');
    return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

void mount_bpffs(const std::string& pin_dir) {
    if (parent_of(pin_dir) == usual_bpffs && !is_bpffs(usual_bpffs) && access(usual_bpffs, F_OK) == 0)
        static_cast<void>(mount("bpf", usual_bpffs, "bpf", 0, "mode=0700")); // probe_bpffs() tells
}

Outcome probe_bpffs(const ProbeSettings& settings) {
    const std::string parent = parent_of(settings.pin_dir);
    if (is_bpffs(parent))
        return {};
    return missing("a bpffs mounted at " + parent + " (mount -t bpf bpf " + parent + ")");
}

Outcome probe_cgroup(const ProbeSettings& settings) {
    const std::string& cgroup = settings.cgroup;
    if (cgroup.empty())
        return missing("a mounted cgroup2");
    struct statfs info{};
    if (statfs(cgroup.c_str(), &info) != 0)
        return missing("cgroup2 folder " + cgroup + ": " + std::strerror(errno));
    if (static_cast<uint64_t>(info.f_type) != CGROUP2_SUPER_MAGIC)
        return missing("cgroup2 at " + cgroup + " (it is another file system)");
    return {};
}

Outcome probe_btf(const ProbeSettings&) {
    if (access("/sys/kernel/btf/vmlinux", R_OK) != 0)
        return missing("kernel BTF at /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)");
    return {};
}

/// "return 1" as a program of the type: the kernel refuses the attach types that it does not know.
bool can_load(bpf_prog_type type, bpf_attach_type attach_type) {
    const std::array<bpf_insn, 2> program = {{
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
    }};
    bpf_prog_load_opts options{};
    options.sz = sizeof(options);
    options.expected_attach_type = attach_type;
    return UniqueFd(bpf_prog_load(type, nullptr, "Dual BSD/GPL", program.data(), program.size(), &options)).get() >= 0;
}

Outcome probe_programs(const ProbeSettings&) {
    struct Needed {
        bpf_prog_type type;
        bpf_attach_type attach_type;
        const char* name;
    };
    constexpr std::array needed = {
        Needed{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, "BPF cgroup connect hook"},
        Needed{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT, "BPF cgroup connect hook for IPv6"},
        Needed{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETPEERNAME, "BPF cgroup getpeername hook (Linux 5.8)"},
        Needed{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETSOCKNAME, "BPF cgroup getsockname hook (Linux 5.8)"},
        Needed{BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, "BPF sockops programs"},
        Needed{BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, "BPF sk_lookup programs (Linux 5.9)"},
    };
    for (const Needed& one : needed) {
        if (!can_load(one.type, one.attach_type))
            return missing(one.name);
    }
    return {};
}

Outcome probe_maps_and_helpers(const ProbeSettings&) {
    if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, nullptr) != 1)
        return missing("BPF socket storage maps");
    if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SOCKHASH, nullptr) != 1)
        return missing("BPF sockhash maps");
    struct Needed {
        bpf_prog_type type;
        bpf_func_id helper;
        const char* name;
    };
    constexpr std::array needed = {
        Needed{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_sk_storage_get, "BPF socket storage in cgroup connect hooks"},
        Needed{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_netns_cookie, "BPF netns cookie in cgroup connect hooks"},
        Needed{BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_sk_storage_get, "BPF socket storage in sockops"},
        Needed{BPF_PROG_TYPE_SOCK_OPS, BPF_FUNC_get_netns_cookie, "BPF netns cookie in sockops (Linux 5.15)"},
        Needed{BPF_PROG_TYPE_SK_LOOKUP, BPF_FUNC_sk_assign, "BPF sk_assign in sk_lookup"},
    };
    for (const Needed& one : needed) {
        if (libbpf_probe_bpf_helper(one.type, one.helper, nullptr) != 1)
            return missing(one.name);
    }
    return {};
}

Outcome probe_netns_cookie(const ProbeSettings&) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    uint64_t cookie = 0;
    socklen_t bytes = sizeof(cookie);
    if (!socket || getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &bytes) != 0)
        return missing("socket option SO_NETNS_COOKIE (Linux 5.14)");
    return {};
}

struct Step {
    const char* name;
    const char* remedy;
    Outcome (*run)(const ProbeSettings& settings);
    bool loads; ///< tries to load BPF: says nothing without the capabilities
};
constexpr std::array steps = {
    Step{"capabilities",
         "run it as root; in a pod: securityContext.capabilities.add BPF, NET_ADMIN, SYS_ADMIN (and SYS_PTRACE)",
         probe_capabilities, false},
    Step{"bpffs", "mount -t bpf bpf /sys/fs/bpf, at boot; in a pod: a hostPath volume of /sys/fs/bpf", probe_bpffs,
         false},
    Step{"cgroup2",
         "mount -t cgroup2 none /sys/fs/cgroup (systemd.unified_cgroup_hierarchy=1 at boot); in a pod: a hostPath "
         "volume of the host's mount, and --cgroup if it is elsewhere",
         probe_cgroup, false},
    Step{"kernel BTF", "a kernel with CONFIG_DEBUG_INFO_BTF=y", probe_btf, false},
    Step{"BPF programs", "Linux 5.15 or newer with CONFIG_CGROUP_BPF=y and CONFIG_BPF_SYSCALL=y", probe_programs, true},
    Step{"BPF maps and helpers", "Linux 5.15 or newer with CONFIG_BPF_STREAM_PARSER=y or CONFIG_NET_SOCK_MSG=y",
         probe_maps_and_helpers, true},
    Step{"netns cookie", "Linux 5.15 or newer", probe_netns_cookie, false},
};

/// Trying features that are missing is noisy otherwise; the one line is ours.
class SilentLibrary {
public:
    SilentLibrary() : printer_(libbpf_set_print(nullptr)) {}
    SilentLibrary(const SilentLibrary&) = delete;
    SilentLibrary& operator=(const SilentLibrary&) = delete;
    ~SilentLibrary() { libbpf_set_print(printer_); }

private:
    libbpf_print_fn_t printer_;
};

} // namespace

std::vector<Requirement> requirements(const ProbeSettings& settings) {
    const SilentLibrary silent;
    const bool capable = probe_capabilities(settings).has_value();
    std::vector<Requirement> list;
    for (const Step& step : steps)
        if (capable || !step.loads)
            list.push_back({.name = step.name, .remedy = step.remedy, .there = step.run(settings)});
    return list;
}

TaskView probe_tasks() {
    const SilentLibrary silent;
    const auto has = [](bpf_func_id helper) {
        return libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, helper, nullptr) == 1;
    };
    TaskView view;
    struct stat pids{};
    if (!has(BPF_FUNC_get_current_task_btf))
        view.fault = "this kernel does not show BPF connect hooks who connects (Linux 5.15)";
    else if (stat("/proc/self/ns/pid", &pids) != 0)
        view.fault = "no /proc/self/ns/pid";
    else if (pids.st_ino == first_pid_namespace)
        return view;
    else if (!has(BPF_FUNC_get_ns_current_pid_tgid))
        view.fault =
            "the agent is in a pid namespace, whose ids this kernel does not show BPF connect hooks (Linux 6.10)";
    // The kernel's own encoding of a device number, which is not that of stat(2).
    constexpr unsigned kernel_minor_bits = 20;
    view.device = uint64_t{major(pids.st_dev)} << kernel_minor_bits | minor(pids.st_dev);
    view.inode = pids.st_ino;
    return view;
}

std::expected<void, std::string> probe(const ProbeSettings& settings) {
    const SilentLibrary silent;
    if (settings.may_mount && probe_capabilities(settings))
        mount_bpffs(settings.pin_dir);
    for (const Step& step : steps)
        if (Outcome outcome = step.run(settings); !outcome)
            return outcome;
    return {};
}

std::expected<std::string, std::string> find_cgroup2_mount() {
    std::ifstream mounts("/proc/self/mountinfo");
    std::string line;
    while (std::getline(mounts, line)) {
        // "36 35 98:0 /root /mount/point options [optional fields] - type source options"
        const size_t separator = line.find(" - cgroup2 ");
        if (separator == std::string::npos)
            continue;
        std::istringstream fields(line.substr(0, separator));
        std::string id;
        std::string parent;
        std::string device;
        std::string root;
        std::string point;
        if (fields >> id >> parent >> device >> root >> point)
            return point;
    }
    return std::unexpected("missing: a mounted cgroup2");
}

} // namespace weft::agent::bpf
