// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/discovery.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

#include "agent/pods/process.hpp"

namespace weft::agent {
namespace {

namespace fs = std::filesystem;

constexpr size_t container_id_digits = 64;

bool is_letter_or_digit(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_hex(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_uid(std::string_view text) {
    return !text.empty() && text.size() <= pod_uid_bytes_max && is_letter_or_digit(text.front()) &&
           std::ranges::all_of(text, [](char c) { return is_letter_or_digit(c) || c == '-'; });
}

/// `name` itself, or behind the names of slices above it: systemd repeats these.
bool is_or_ends_slice(std::string_view text, std::string_view name) {
    return text == name ||
           (text.size() > name.size() && text.ends_with(name) && text[text.size() - name.size() - 1] == '-');
}

bool cut_end(std::string_view& text, std::string_view end) {
    if (!text.ends_with(end))
        return false;
    text.remove_suffix(end.size());
    return true;
}

bool is_qos_slice(std::string_view name) {
    return is_or_ends_slice(name, "kubepods-burstable") || is_or_ends_slice(name, "kubepods-besteffort");
}

bool is_qos_folder(std::string_view name) {
    return name == "burstable" || name == "besteffort" || (cut_end(name, ".slice") && is_qos_slice(name));
}

/// kubepods-burstable-pod1234_ab.slice: in the name of a slice a dash is a level, so uids have underscores there.
std::optional<std::string> uid_of_slice(std::string_view name) {
    if (!cut_end(name, ".slice"))
        return std::nullopt;
    constexpr std::string_view mark = "-pod";
    const size_t at = name.rfind(mark);
    if (at == std::string_view::npos)
        return std::nullopt;
    const std::string_view above = name.substr(0, at);
    if (!is_or_ends_slice(above, "kubepods") && !is_qos_slice(above))
        return std::nullopt;
    std::string uid(name.substr(at + mark.size()));
    std::ranges::replace(uid, '_', '-');
    return is_uid(uid) ? std::optional(uid) : std::nullopt;
}

std::optional<std::string> uid_of_folder(std::string_view name) {
    if (!name.starts_with("pod") || !is_uid(name.substr(3)))
        return std::nullopt;
    return std::string(name.substr(3));
}

/// cri-containerd-ID.scope, crio-ID.scope, crio-ID, docker-ID.scope, ID; but not crio-conmon-ID.scope.
std::optional<std::string> container_of(std::string_view name) {
    cut_end(name, ".scope");
    if (name.size() < container_id_digits)
        return std::nullopt;
    const std::string_view id = name.substr(name.size() - container_id_digits);
    const std::string_view before = name.substr(0, name.size() - id.size());
    const bool parted = before.empty() || before.ends_with('-') || before.ends_with('_');
    if (!is_hex(id) || !parted || before.find("conmon") != std::string_view::npos)
        return std::nullopt;
    return std::string(id);
}

std::vector<std::string> folders_in(const std::string& folder, size_t most) {
    std::vector<std::string> found;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end && found.size() < most;
         entry.increment(error)) {
        std::error_code gone;
        if (entry->is_directory(gone) && !entry->is_symlink(gone))
            found.push_back(entry->path().string());
    }
    std::ranges::sort(found);
    return found;
}

std::string name_of(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

/// The first ones, which on v1 are those with the lowest ids and on v2, mostly, the oldest.
std::vector<pid_t> processes_in(const std::string& folder) {
    std::vector<pid_t> pids;
    std::istringstream text(read_start(folder + "/cgroup.procs", processes_bytes_max));
    for (pid_t pid = 0; pids.size() < folder_processes_max && text >> pid;)
        pids.push_back(pid);
    return pids;
}

/// As in fstab(5): what would part the fields is written in octal.
std::string unescaped(const std::string& text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        unsigned value = 0;
        const char* from = text.data() + i + 1;
        if (text[i] == '\\' && i + 3 < text.size() && std::from_chars(from, from + 3, value, 8).ptr == from + 3) {
            out += static_cast<char>(value);
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

/// cgroup2 first: it is where a hybrid machine, too, has all of them.
std::vector<std::string> cgroup_mounts(const std::string& list) {
    std::vector<std::string> unified;
    std::vector<std::string> others;
    std::ifstream lines(list);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string device;
        std::string point;
        std::string type;
        fields >> device >> point >> type;
        if (type == "cgroup2")
            unified.push_back(unescaped(point));
        else if (type == "cgroup")
            others.push_back(unescaped(point));
    }
    unified.insert(unified.end(), others.begin(), others.end());
    return unified;
}

} // namespace

bool is_kubepods_folder(std::string_view name) {
    return name == "kubepods" || (cut_end(name, ".slice") && is_or_ends_slice(name, "kubepods"));
}

std::optional<PodCgroup> read_cgroup_path(std::string_view path) {
    std::optional<PodCgroup> pod;
    bool below_kubepods = false;
    while (!path.empty()) {
        const std::string_view name = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(path.size(), name.size() + 1));
        if (name.empty())
            continue;
        if (pod) { // its first folder tells; what is inside that belongs to it
            const std::optional<std::string> container = container_of(name);
            pod->kind = container ? PodCgroup::Kind::container : PodCgroup::Kind::other;
            pod->container = container.value_or("");
            return pod;
        }
        std::optional<std::string> uid = uid_of_slice(name);
        if (!uid && below_kubepods)
            uid = uid_of_folder(name);
        if (uid)
            pod = PodCgroup{.uid = *std::move(uid), .kind = PodCgroup::Kind::pod, .container = {}};
        // "..": we are in a cgroup namespace whose root is, or is below, a pod's folder.
        below_kubepods = below_kubepods || name == ".." || is_kubepods_folder(name);
    }
    return pod;
}

void Discovery::start_round(uint64_t now_ms) {
    now_ms_ = now_ms;
    folders_.clear();
    indexed_ = false;
}

Result<Netns> Discovery::find(const std::string& uid) {
    Result<std::vector<Process>> processes = processes_of(uid);
    if (!processes)
        return std::unexpected(processes.error());
    if (processes->empty() && hidden_processes_)
        return fail(Code::invalid, "discovery: processes of the pod are in no pid namespace of the agent's (hostPID?)");
    const Result<NetnsId> own = NetnsId::of(settings_.self);
    if (!own)
        return std::unexpected(own.error());
    const Result<NetnsId> host = NetnsId::of(settings_.proc + "/1/ns/net"); // absent: we are in no host's pid namespace
    std::erase_if(*processes, [&](const Process& each) { return each.netns == *own || (host && each.netns == *host); });
    Result<Netns> found =
        fail(Code::unavailable, "discovery: no process of the pod is in a network namespace of its own (yet)", ENOENT);
    for (const Process& process : *processes) {
        // If the first cannot be opened, another of the same namespace may do; who is elsewhere waits for the next
        // round.
        if (process.netns != processes->front().netns)
            continue;
        found = open(process);
        if (found)
            break;
    }
    return found;
}

Result<Netns> Discovery::find_again(const std::string& uid, const Netns& former) {
    const Result<std::vector<Process>> processes = processes_of(uid);
    if (!processes)
        return std::unexpected(processes.error());
    for (const Process& process : *processes) {
        if (process.netns != former.id())
            continue;
        Result<Netns> netns = open(process);
        if (netns && netns->cookie() == former.cookie())
            return netns;
    }
    return fail(Code::unavailable, "discovery: no process of the pod is left in its network namespace", ENOENT);
}

/// Those in containers, the first to be started first; of the first hierarchy that has any.
Result<std::vector<Discovery::Process>> Discovery::processes_of(const std::string& uid) {
    index_pods();
    if (roots_.empty())
        return fail(Code::unavailable, "discovery: there is no kubepods cgroup (--kubepods-root)");
    auto found = folders_.find(uid);
    if (found == folders_.end() && seek_roots())
        found = folders_.find(uid);
    if (found == folders_.end())
        return fail(Code::unavailable, "discovery: the pod has no cgroup (yet)", ENOENT);
    hidden_processes_ = false;
    std::vector<Process> processes;
    for (const std::string& pod : found->second) {
        for (const std::string& folder : container_folders(pod))
            add_processes(folder, processes);
        if (!processes.empty())
            break;
    }
    std::ranges::sort(processes, [](const Process& left, const Process& right) {
        return std::tie(left.started, left.pid) < std::tie(right.started, right.pid);
    });
    return processes;
}

void Discovery::add_processes(const std::string& folder, std::vector<Process>& out) {
    for (const pid_t pid : processes_in(folder)) {
        if (pid <= 0) {
            hidden_processes_ = true;
            continue;
        }
        const std::optional<uint64_t> started = start_ticks(settings_.proc, pid);
        const Result<NetnsId> netns = NetnsId::of(netns_path(pid));
        if (started && netns) // else it is gone, or a zombie, which is in no namespace
            out.push_back({.started = *started, .pid = pid, .netns = *netns, .folder = folder});
    }
}

/// Breadth first: a container that makes thousands of folders hides none of the pod's others.
std::vector<std::string> Discovery::container_folders(const std::string& pod) const {
    std::vector<std::string> folders;
    for (std::string& folder : folders_in(pod, container_folders_max)) {
        const std::optional<PodCgroup> known = read_cgroup_path(folder);
        if (known && known->kind == PodCgroup::Kind::container)
            folders.push_back(std::move(folder));
    }
    size_t level_begin = 0;
    for (size_t depth = 1; depth < container_depth_max && folders.size() < container_folders_max; ++depth) {
        const size_t level_end = folders.size();
        for (; level_begin < level_end; ++level_begin)
            for (std::string& folder : folders_in(folders[level_begin], container_folders_max - folders.size()))
                folders.push_back(std::move(folder));
    }
    return folders;
}

std::string Discovery::netns_path(pid_t pid) const {
    return settings_.proc + "/" + std::to_string(pid) + "/ns/net";
}

/// A process id may have come to another process since it was listed: what was opened must be what was seen, and the
/// id must still be listed in that folder.
Result<Netns> Discovery::open(const Process& process) const {
    Result<Netns> netns = Netns::open(netns_path(process.pid));
    if (!netns)
        return netns;
    const std::vector<pid_t> now = processes_in(process.folder);
    if (netns->id() != process.netns || std::ranges::find(now, process.pid) == now.end())
        return fail(Code::unavailable, "discovery: the process is gone", ENOENT);
    return netns;
}

void Discovery::index_pods() {
    if (std::exchange(indexed_, true))
        return;
    std::erase_if(roots_, [](const std::string& root) { return access(root.c_str(), F_OK) != 0; });
    if (roots_.empty() && seek_roots())
        return;
    for (const std::string& root : roots_)
        index_pods_in(root, true);
}

/// Another kubelet or hierarchy may have come. Not often: it is a walk through folders of everybody's.
bool Discovery::seek_roots() {
    if (roots_sought_ms_ && now_ms_ < *roots_sought_ms_ + (roots_.empty() ? kubepods_retry_ms : kubepods_again_ms))
        return false;
    roots_sought_ms_ = now_ms_;
    roots_.clear();
    folders_.clear();
    find_roots();
    for (const std::string& root : roots_)
        index_pods_in(root, true);
    return true;
}

void Discovery::index_pods_in(const std::string& folder, bool qos) {
    for (const std::string& path : folders_in(folder, pod_folders_max)) {
        if (qos && is_qos_folder(name_of(path))) {
            index_pods_in(path, false);
            continue;
        }
        const std::optional<PodCgroup> pod = read_cgroup_path(path);
        if (pod && pod->kind == PodCgroup::Kind::pod &&
            (folders_.size() < pod_folders_max || folders_.contains(pod->uid)))
            folders_[pod->uid].push_back(path);
    }
}

void Discovery::find_roots() {
    if (!settings_.root.empty())
        return find_roots_below(settings_.root);
    std::set<dev_t> hierarchies; // a hierarchy may be mounted more than once
    for (const std::string& mount : cgroup_mounts(settings_.mounts)) {
        struct stat status{};
        const size_t before = roots_.size();
        if (hierarchies.size() >= hierarchies_max || ::stat(mount.c_str(), &status) != 0 ||
            hierarchies.contains(status.st_dev))
            continue;
        find_roots_below(mount);
        if (roots_.size() > before)
            hierarchies.insert(status.st_dev);
    }
}

void Discovery::find_roots_below(const std::string& top) {
    std::vector<std::string> level{top};
    size_t most = kubepods_folders_max;
    for (size_t depth = 0; depth <= kubepods_depth_max && !level.empty(); ++depth) {
        std::vector<std::string> below;
        for (const std::string& folder : level) {
            if (is_kubepods_folder(name_of(folder))) { // what is inside belongs to its pods
                if (roots_.size() < kubepods_roots_max)
                    roots_.push_back(folder);
                continue;
            }
            if (depth == kubepods_depth_max)
                continue;
            for (std::string& each : folders_in(folder, most)) {
                below.push_back(std::move(each));
                --most;
            }
        }
        level = std::move(below);
    }
}

} // namespace weft::agent
