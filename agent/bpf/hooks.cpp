// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf/hooks.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "config/base/unique_fd.hpp"

namespace weft::agent::bpf {
namespace {

namespace fs = std::filesystem;

struct HookType {
    bpf_attach_type type;
    const char* name;
    bool chooses; ///< decides where a connect goes: what runs before it matters
};
constexpr std::array hook_types = {
    HookType{BPF_CGROUP_INET4_CONNECT, "cgroup/connect4", true},
    HookType{BPF_CGROUP_INET6_CONNECT, "cgroup/connect6", true},
    HookType{BPF_CGROUP_INET4_GETPEERNAME, "cgroup/getpeername4", false},
    HookType{BPF_CGROUP_INET6_GETPEERNAME, "cgroup/getpeername6", false},
    HookType{BPF_CGROUP_INET4_GETSOCKNAME, "cgroup/getsockname4", false},
    HookType{BPF_CGROUP_INET6_GETSOCKNAME, "cgroup/getsockname6", false},
    HookType{BPF_CGROUP_SOCK_OPS, "sockops", false},
};

std::string name_of(uint32_t program) {
    const UniqueFd fd(bpf_prog_get_fd_by_id(program));
    bpf_prog_info info{};
    uint32_t bytes = sizeof(info);
    if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &bytes) != 0)
        return "";
    return {info.name, strnlen(info.name, sizeof(info.name))};
}

Hook::Sharing sharing_of(uint32_t flags) {
    if ((flags & BPF_F_ALLOW_MULTI) != 0)
        return Hook::Sharing::multi;
    return (flags & BPF_F_ALLOW_OVERRIDE) != 0 ? Hook::Sharing::override : Hook::Sharing::exclusive;
}

/// 0 or errno; no programs: nothing is attached.
int query(int target, bpf_attach_type type, Hook& out) {
    std::array<uint32_t, hook_programs_max> ids{};
    uint32_t count = ids.size();
    uint32_t flags = 0;
    if (bpf_prog_query(target, type, 0, &flags, ids.data(), &count) != 0 && errno != ENOSPC)
        return errno;
    out.sharing = sharing_of(flags);
    for (size_t i = 0; i < std::min<size_t>(count, ids.size()); ++i)
        out.programs.push_back({.id = ids[i], .name = name_of(ids[i])});
    return 0;
}

bool is_cgroup2(const std::string& folder) {
    struct statfs info{};
    return statfs(folder.c_str(), &info) == 0 && static_cast<uint64_t>(info.f_type) == CGROUP2_SUPER_MAGIC;
}

/// Adds what is attached in the folder; errno of the first query that failed, or 0.
int add_hooks(const std::string& folder, Hook::Place place, std::vector<Hook>& out) {
    const UniqueFd target(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!target)
        return errno;
    for (const HookType& type : hook_types) {
        if (place == Hook::Place::below && !type.chooses)
            continue;
        Hook hook{.place = place, .name = type.name, .where = folder, .sharing = {}, .programs = {}};
        if (const int error = query(target.get(), type.type, hook); error != 0)
            return error;
        if (!hook.programs.empty())
            out.push_back(std::move(hook));
    }
    return 0;
}

} // namespace

std::expected<std::vector<Hook>, std::string> cgroup_hooks(const std::string& cgroup) {
    std::vector<Hook> hooks;
    std::error_code error;
    const fs::path here = fs::canonical(cgroup, error);
    if (error)
        return std::unexpected(cgroup + ": " + error.message());
    if (const int failed = add_hooks(here, Hook::Place::here, hooks); failed != 0)
        return std::unexpected("BPF_PROG_QUERY of " + here.native() + ": " + std::strerror(failed));
    for (fs::path parent = here.parent_path(); is_cgroup2(parent) && parent != parent.parent_path();
         parent = parent.parent_path())
        static_cast<void>(add_hooks(parent, Hook::Place::above, hooks)); // it exists: we came from there
    size_t seen = 0;
    for (fs::recursive_directory_iterator entry(here, fs::directory_options::skip_permission_denied, error), end;
         !error && entry != end && seen < hook_folders_max; entry.increment(error)) {
        std::error_code gone;
        if (!entry->is_directory(gone) || entry->is_symlink(gone))
            continue;
        ++seen;
        static_cast<void>(add_hooks(entry->path(), Hook::Place::below, hooks)); // it may go meanwhile
    }
    return hooks;
}

std::vector<Hook> lookup_hooks(const std::string& folder) {
    std::vector<Hook> hooks;
    std::error_code error;
    size_t seen = 0;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end && seen < lookup_netns_max;
         entry.increment(error), ++seen) {
        const UniqueFd netns(open(entry->path().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        Hook hook{
            .place = Hook::Place::netns, .name = "sk_lookup", .where = entry->path(), .sharing = {}, .programs = {}};
        if (netns && query(netns.get(), BPF_SK_LOOKUP, hook) == 0 && !hook.programs.empty())
            hooks.push_back(std::move(hook));
    }
    return hooks;
}

} // namespace weft::agent::bpf
