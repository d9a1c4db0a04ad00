// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf/links.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/bpf/pins.hpp"

namespace weft::agent::bpf {
namespace {

std::unexpected<std::string> link_failure(const char* verb, const std::string& path) {
    return std::unexpected("link " + path + " cannot be " + verb + ": " + std::strerror(errno));
}

} // namespace

bool read_link(int link_fd, LinkInfo& out) {
    bpf_link_info info{};
    uint32_t bytes = sizeof(info);
    if (bpf_obj_get_info_by_fd(link_fd, &info, &bytes) != 0)
        return false;
    out.type = info.type;
    out.program = info.prog_id;
    if (info.type == BPF_LINK_TYPE_CGROUP) {
        out.target = info.cgroup.cgroup_id;
        out.attach_type = info.cgroup.attach_type;
        return true;
    }
    if (info.type == BPF_LINK_TYPE_NETNS) {
        out.target = info.netns.netns_ino;
        out.attach_type = info.netns.attach_type;
        return true;
    }
    return false;
}

LinkChange::~LinkChange() {
    if (!done_)
        roll_back();
}

std::expected<void, std::string> LinkChange::apply(const std::vector<LinkWanted>& wanted) {
    for (const LinkWanted& one : wanted) {
        if (auto changed = swap_or_attach(one); !changed)
            return changed;
    }
    if (auto pinned = pin_added(); !pinned)
        return pinned;
    for (const std::string& path : dead_)
        unlink(path.c_str());
    done_ = true;
    return {};
}

std::expected<void, std::string> LinkChange::swap_or_attach(const LinkWanted& wanted) {
    UniqueFd pinned = open_pin(wanted.path);
    LinkInfo info;
    const bool readable = pinned && read_link(pinned.get(), info);
    const bool alive = readable && info.target != 0 && info.attach_type == static_cast<uint32_t>(wanted.attach_type);
    if (alive && (wanted.target_fd < 0 || info.target == wanted.target)) {
        UniqueFd old_program(bpf_prog_get_fd_by_id(info.program));
        if (!old_program || bpf_link_update(pinned.get(), wanted.program_fd, nullptr) != 0)
            return link_failure("updated", wanted.path);
        swapped_.push_back({std::move(pinned), std::move(old_program)});
        return {};
    }
    if (wanted.target_fd < 0) {
        dead_.push_back(wanted.path);
        return {};
    }
    UniqueFd link(bpf_link_create(wanted.program_fd, wanted.target_fd, wanted.attach_type, nullptr));
    if (!link)
        return link_failure("attached", wanted.path);
    added_.push_back({std::move(link), wanted.path, std::move(pinned), false});
    return {};
}

std::expected<void, std::string> LinkChange::pin_added() {
    for (Added& added : added_) {
        if (!replace_pin(added.link.get(), added.path))
            return link_failure("pinned", added.path);
        added.pinned = true;
    }
    return {};
}

void LinkChange::roll_back() {
    for (const Swapped& swapped : swapped_)
        bpf_link_update(swapped.link.get(), swapped.old_program.get(), nullptr);
    for (const Added& added : added_) {
        if (!added.pinned)
            continue; // closing the descriptor detaches it
        if (!added.replaced || !replace_pin(added.replaced.get(), added.path))
            unlink(added.path.c_str());
    }
}

} // namespace weft::agent::bpf
