// SPDX-License-Identifier: Apache-2.0
#include "agent/bpf/pins.hpp"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <memory>

namespace weft::agent::bpf {
namespace {

constexpr std::string_view link_prefix = "link_";
constexpr std::string_view pod_link_prefix = "link_pod_";
constexpr std::string_view next_suffix = "_next";
const std::string layout_name = "layout";

std::string because(const std::string& what, int error_number) {
    return what + ": " + std::strerror(error_number);
}

bool is_map(const std::string& path) {
    const UniqueFd pinned = open_pin(path);
    std::array<char, 32> kind{};
    const std::string own = "/proc/self/fd/" + std::to_string(pinned.get());
    const ssize_t bytes = readlink(own.c_str(), kind.data(), kind.size());
    return bytes > 0 && std::string_view(kind.data(), static_cast<size_t>(bytes)) == "anon_inode:bpf-map";
}

} // namespace

bool is_bpffs(const std::string& path) {
    struct statfs info{};
    return statfs(path.c_str(), &info) == 0 && static_cast<uint32_t>(info.f_type) == BPF_FS_MAGIC;
}

std::expected<UniqueFd, std::string> lock_pins(const std::string& pin_dir) {
    if (mkdir(pin_dir.c_str(), 0700) != 0 && errno != EEXIST)
        return std::unexpected(because("pin folder " + pin_dir + " cannot be made", errno));
    if (!is_bpffs(pin_dir)) {
        rmdir(pin_dir.c_str()); // only if it is empty, that is, if we have just made it
        return std::unexpected("pin folder " + pin_dir + " is not on a bpffs");
    }
    UniqueFd folder(open(pin_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder)
        return std::unexpected(because("pin folder " + pin_dir, errno));
    if (flock(folder.get(), LOCK_EX | LOCK_NB) != 0)
        return std::unexpected("another weft-agent owns the datapath pinned at " + pin_dir);
    return folder;
}

std::vector<std::string> list_pins(const std::string& pin_dir) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(pin_dir.c_str()), closedir);
    if (!folder)
        return names;
    while (const dirent* entry = readdir(folder.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..")
            names.emplace_back(name);
    }
    std::ranges::sort(names);
    return names;
}

UniqueFd open_pin(const std::string& path) {
    return UniqueFd(bpf_obj_get(path.c_str()));
}

bool replace_pin(int fd, const std::string& path) {
    const std::string next = path + std::string(next_suffix);
    unlink(next.c_str()); // left by a run that was killed between pin and rename
    if (bpf_obj_pin(fd, next.c_str()) != 0)
        return false;
    if (rename(next.c_str(), path.c_str()) == 0)
        return true;
    const int error_number = errno;
    unlink(next.c_str());
    errno = error_number;
    return false;
}

bool remove_link(const std::string& path) {
    if (const UniqueFd link = open_pin(path))
        bpf_link_detach(link.get()); // fails if its target is gone: then there is nothing to detach
    return unlink(path.c_str()) == 0 || errno == ENOENT;
}

void remove_half_pins(const std::string& pin_dir) {
    for (const std::string& name : list_pins(pin_dir)) {
        // Not detached: it may be the same link as the one that bears the name.
        if (name.starts_with(link_prefix) && name.ends_with(next_suffix))
            unlink((pin_dir + "/" + name).c_str());
    }
}

std::string pod_link_name(uint32_t pod_id) {
    return std::string(pod_link_prefix) + std::to_string(pod_id);
}

uint32_t pod_of_link_name(std::string_view name) {
    if (!name.starts_with(pod_link_prefix))
        return 0;
    name.remove_prefix(pod_link_prefix.size());
    uint32_t pod_id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pod_id);
    return error == std::errc{} && end == name.data() + name.size() ? pod_id : 0;
}

std::expected<void, std::string> remove_pins(const std::string& pin_dir, const std::vector<std::string>& map_names) {
    struct stat info{};
    if (stat(pin_dir.c_str(), &info) != 0) {
        if (errno == ENOENT)
            return {};
        return std::unexpected(because("pin folder " + pin_dir, errno));
    }
    std::string foreign;
    std::vector<std::string> names = list_pins(pin_dir);
    const auto layout = std::ranges::find(names, layout_name);
    const bool ours = layout != names.end() && is_map(pin_dir + "/" + layout_name);
    if (ours)
        std::iter_swap(layout, std::prev(names.end())); // last: it is what tells that the others are ours
    for (const bool links : {true, false}) {
        for (const std::string& name : names) {
            const bool is_link = name.starts_with(link_prefix);
            if (is_link != links)
                continue;
            const std::string path = pin_dir + "/" + name;
            if (!is_link && std::ranges::find(map_names, name) == map_names.end() && !(ours && is_map(path))) {
                foreign = name;
                continue;
            }
            if (is_link ? !remove_link(path) : unlink(path.c_str()) != 0 && errno != ENOENT)
                return std::unexpected(because("pin " + path + " cannot be removed", errno));
        }
    }
    if (!foreign.empty())
        return std::unexpected("pin folder " + pin_dir + " holds something that is not Weft's: " + foreign);
    if (rmdir(pin_dir.c_str()) != 0 && errno != ENOENT)
        return std::unexpected(because("pin folder " + pin_dir + " cannot be removed", errno));
    return {};
}

} // namespace weft::agent::bpf
