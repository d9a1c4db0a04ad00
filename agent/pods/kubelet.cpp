// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/kubelet.hpp"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "agent/pods/discovery.hpp"
#include "agent/pods/netns.hpp"
#include "agent/pods/process.hpp"
#include "agent/pods/socket_diag.hpp"

namespace weft::agent {
namespace {

namespace fs = std::filesystem;

constexpr size_t status_bytes_max = 16'384;
constexpr size_t cgroup_bytes_max = 65'536;

/// Of the namespace that the calling thread is in.
Result<std::set<uint32_t>> listening_inodes(uint16_t port) {
    Result<SocketDiag> diag = SocketDiag::open();
    if (!diag)
        return std::unexpected(diag.error());
    const auto sockets = diag->list(1U << TCP_LISTEN, -1);
    if (!sockets)
        return std::unexpected(sockets.error());
    std::set<uint32_t> inodes;
    for (const DiagSocket& socket : *sockets)
        if (socket.local.port == port)
            inodes.insert(socket.inode);
    return inodes;
}

/// "0::/path" and, on v1, "4:memory:/path".
std::vector<std::string> cgroup_paths(const std::string& text) {
    std::vector<std::string> paths;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const size_t first = line.find(':');
        const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second != std::string::npos)
            paths.push_back(line.substr(second + 1));
    }
    return paths;
}

/// "Uid:" of /proc/PID/status has four: real, effective, saved, of files.
std::optional<uid_t> effective_user(const std::string& status) {
    std::istringstream lines(status);
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("Uid:"))
            continue;
        std::istringstream fields(line.substr(4));
        uid_t real = 0;
        uid_t effective = 0;
        return fields >> real >> effective ? std::optional(effective) : std::nullopt;
    }
    return std::nullopt;
}

std::optional<uint32_t> number_between(std::string_view text, std::string_view before, std::string_view after) {
    if (!text.starts_with(before) || !text.ends_with(after) || text.size() <= before.size() + after.size())
        return std::nullopt;
    text = text.substr(before.size(), text.size() - before.size() - after.size());
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

bool has_ended(const UniqueFd& process) {
    pollfd item{.fd = process.get(), .events = POLLIN, .revents = 0};
    return poll(&item, 1, 0) != 0;
}

} // namespace

std::string why_no_kubelet(const KubeletCandidate& candidate) {
    const std::string who = "process " + std::to_string(candidate.pid) + " (" + candidate.name + ")";
    if (!candidate.user || candidate.cgroups.empty())
        return who + " is gone";
    if (*candidate.user != 0)
        return who + " runs as user " + std::to_string(*candidate.user) + ", not as root";
    for (const std::string& path : candidate.cgroups)
        if (const std::optional<PodCgroup> pod = read_cgroup_path(path))
            return who + " is in pod " + pod->uid;
    return "";
}

std::expected<KubeletCandidate, std::string> choose_kubelet(const std::vector<KubeletCandidate>& candidates) {
    const KubeletCandidate* chosen = nullptr;
    std::string reasons;
    for (const KubeletCandidate& each : candidates) {
        if (const std::string reason = why_no_kubelet(each); !reason.empty())
            reasons += (reasons.empty() ? "" : "; ") + reason;
        else if (chosen == nullptr || each.started_ticks < chosen->started_ticks)
            chosen = &each;
    }
    if (chosen != nullptr)
        return *chosen;
    return std::unexpected(
        reasons.empty() ? "no process that is visible here holds the socket (hostPID, CAP_SYS_PTRACE?)" : reasons);
}

bool KubeletFinder::look(uint64_t now_ms) {
    if (found_ && !has_ended(process_) && still_listens(now_ms))
        return false;
    const bool lost = found_.has_value();
    if (!lost && now_ms < next_ms_)
        return false;
    found_.reset();
    process_.reset();
    const std::expected<void, std::string> found = search();
    fault_ = found ? "" : found.error();
    next_ms_ = now_ms + (listening_ ? kubelet_again_ms : kubelet_retry_ms);
    check_ms_ = now_ms + kubelet_check_ms;
    return lost || found_;
}

/// What was said last counts until it is time to look again, and when it cannot be told.
bool KubeletFinder::still_listens(uint64_t now_ms) {
    if (now_ms < check_ms_)
        return true;
    check_ms_ = now_ms + kubelet_check_ms;
    const Result<std::set<uint32_t>> inodes = listening_inodes(settings_.port);
    return !inodes || holds(found_->pid, *inodes);
}

std::expected<void, std::string> KubeletFinder::search() {
    listening_ = false;
    const Result<std::set<uint32_t>> inodes = listening_inodes(settings_.port);
    if (!inodes)
        return std::unexpected(to_string(inodes.error()));
    listening_ = !inodes->empty();
    const std::string where = "TCP port " + std::to_string(settings_.port);
    if (!listening_)
        return std::unexpected("nobody listens at " + where + " of the agent's network namespace (hostNetwork?)");
    std::expected<KubeletCandidate, std::string> chosen = choose_kubelet(holders(*inodes));
    if (!chosen)
        return std::unexpected("who listens at " + where + " is not the kubelet: " + chosen.error());
    // From here on the descriptor names the process; that it is the one which was looked at, its start time says.
    UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, chosen->pid, 0)));
    if (!process || start_ticks(settings_.proc, chosen->pid) != chosen->started_ticks)
        return std::unexpected("process " + std::to_string(chosen->pid) + " is gone");
    process_ = std::move(process);
    found_ = *std::move(chosen);
    return {};
}

std::vector<KubeletCandidate> KubeletFinder::holders(const std::set<uint32_t>& inodes) const {
    std::vector<KubeletCandidate> found;
    const Result<NetnsId> own = NetnsId::of(settings_.proc + "/self/ns/net");
    size_t seen = 0;
    std::error_code error;
    for (fs::directory_iterator entry(settings_.proc, error), end; !error && entry != end && seen < processes_max;
         entry.increment(error)) {
        const std::optional<uint32_t> pid = number_between(entry->path().filename().native(), "", "");
        if (!pid)
            continue;
        ++seen;
        const Result<NetnsId> theirs = NetnsId::of(entry->path().native() + "/ns/net");
        if (!own || !theirs || *theirs != *own)
            continue;
        // Its start before anything else: what is read after it belongs to this process, or search() will notice.
        KubeletCandidate candidate{.pid = static_cast<pid_t>(*pid)};
        candidate.started_ticks = start_ticks(settings_.proc, candidate.pid).value_or(0);
        if (holds(candidate.pid, inodes)) {
            describe(candidate);
            found.push_back(std::move(candidate));
        }
    }
    return found;
}

bool KubeletFinder::holds(pid_t pid, const std::set<uint32_t>& inodes) const {
    size_t seen = 0;
    std::error_code error;
    for (fs::directory_iterator entry(settings_.proc + "/" + std::to_string(pid) + "/fd", error), end;
         !error && entry != end && seen < descriptors_max; entry.increment(error), ++seen) {
        std::array<char, 64> target{};
        const ssize_t length = readlink(entry->path().c_str(), target.data(), target.size());
        if (length <= 0)
            continue;
        const auto inode = number_between({target.data(), static_cast<size_t>(length)}, "socket:[", "]");
        if (inode && inodes.contains(*inode))
            return true;
    }
    return false;
}

void KubeletFinder::describe(KubeletCandidate& candidate) const {
    const std::string folder = settings_.proc + "/" + std::to_string(candidate.pid);
    candidate.name = read_start(folder + "/comm", status_bytes_max);
    candidate.name.resize(std::min(candidate.name.size(), candidate.name.find('\n')));
    candidate.user = effective_user(read_start(folder + "/status", status_bytes_max));
    candidate.cgroups = cgroup_paths(read_start(folder + "/cgroup", cgroup_bytes_max));
}

} // namespace weft::agent
