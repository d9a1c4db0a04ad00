// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/netns.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace weft::agent {
namespace {

/// The namespace that the process was started in; the only one that is kept open.
const UniqueFd& own_netns() {
    static const UniqueFd own{::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)};
    return own;
}

std::unexpected<Error> fail_errno(const char* during) {
    return std::unexpected(from_errno(errno, during));
}

Result<std::string> path_of(std::string_view name_or_path) {
    if (name_or_path.empty() || name_or_path.size() > netns_path_bytes_max ||
        name_or_path.find('\0') != std::string_view::npos)
        return fail(Code::invalid, "netns: neither a name under /run/netns nor an absolute path");
    if (name_or_path.front() == '/')
        return std::string(name_or_path);
    if (name_or_path.find('/') != std::string_view::npos || name_or_path == "." || name_or_path == "..")
        return fail(Code::invalid, "netns: neither a name under /run/netns nor an absolute path");
    return "/run/netns/" + std::string(name_or_path);
}

/// O_PATH first: the annotation is the pod author's text, and opening a FIFO would block and a device could act.
Result<UniqueFd> open_netns_file(const std::string& path) {
    const UniqueFd named(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!named)
        return fail_errno("netns: cannot open the path");
    struct statfs filesystem{};
    if (fstatfs(named.get(), &filesystem) != 0)
        return fail_errno("netns: fstatfs");
    if (filesystem.f_type != NSFS_MAGIC)
        return fail(Code::invalid, "netns: the path is not a network namespace file");
    const std::string again = "/proc/self/fd/" + std::to_string(named.get());
    UniqueFd opened(::open(again.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!opened)
        return fail_errno("netns: cannot open the namespace");
    if (ioctl(opened.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
        return fail(Code::invalid, "netns: the path names a namespace of another type");
    return opened;
}

Result<NetnsId> identity_of(const UniqueFd& netns) {
    struct stat status{};
    if (fstat(netns.get(), &status) != 0)
        return fail_errno("netns: fstat");
    return NetnsId{.device = status.st_dev, .inode = status.st_ino};
}

Result<uint64_t> current_cookie() {
    const UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!probe)
        return fail_errno("netns: socket");
    return netns_cookie_of(probe.get());
}

} // namespace

Result<uint64_t> netns_cookie_of(int socket) {
    uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);
    if (getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0)
        return fail_errno("netns: SO_NETNS_COOKIE");
    return cookie;
}

Result<NetnsId> NetnsId::of(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0)
        return fail_errno("netns: cannot stat the path");
    return NetnsId{.device = status.st_dev, .inode = status.st_ino};
}

Result<NetnsScope> NetnsScope::enter(const UniqueFd& netns) {
    // Opened before the first setns: afterwards /proc/self could name another thread's idea of "own".
    if (!own_netns())
        return fail(Code::kernel, "netns: /proc/self/ns/net cannot be opened");
    if (setns(netns.get(), CLONE_NEWNET) != 0)
        return fail_errno("netns: setns");
    return NetnsScope();
}

NetnsScope::NetnsScope(NetnsScope&& other) noexcept : inside_(std::exchange(other.inside_, false)) {}

NetnsScope::~NetnsScope() {
    // A thread that stays in a pod's namespace would make every later socket there: die instead.
    if (inside_ && setns(own_netns().get(), CLONE_NEWNET) != 0) {
        std::perror("weft-agent: cannot return to the agent's network namespace");
        std::abort();
    }
}

Result<Netns> Netns::open(std::string_view name_or_path) {
    Netns netns;
    Result<std::string> path = path_of(name_or_path);
    if (!path)
        return std::unexpected(path.error());
    netns.path_ = *path;
    const Result<UniqueFd> opened = open_netns_file(netns.path_);
    if (!opened)
        return std::unexpected(opened.error());
    const Result<NetnsId> theirs = identity_of(*opened);
    const Result<NetnsId> ours = identity_of(own_netns());
    if (!theirs || !ours)
        return std::unexpected(theirs ? ours.error() : theirs.error());
    if (*theirs == *ours)
        return fail(Code::refused, "netns: it is the agent's own network namespace (a host-network pod?)");
    netns.id_ = *theirs;
    const Result<NetnsScope> scope = NetnsScope::enter(*opened);
    if (!scope)
        return std::unexpected(scope.error());
    const Result<uint64_t> cookie = current_cookie();
    if (!cookie)
        return std::unexpected(cookie.error());
    netns.cookie_ = *cookie;
    return netns;
}

Result<UniqueFd> Netns::reopen() const {
    Result<UniqueFd> opened = open_netns_file(path_);
    if (!opened)
        return opened;
    const Result<NetnsId> now = identity_of(*opened);
    if (!now)
        return std::unexpected(now.error());
    if (*now != id_)
        return fail(Code::unavailable, "netns: the path now names another network namespace");
    return opened;
}

Result<NetnsScope> Netns::enter() const {
    const Result<UniqueFd> opened = reopen();
    if (!opened)
        return std::unexpected(opened.error());
    Result<NetnsScope> scope = NetnsScope::enter(*opened);
    if (!scope)
        return scope;
    // An inode number can come back for a new namespace; a cookie never does.
    const Result<uint64_t> cookie = current_cookie();
    if (!cookie)
        return std::unexpected(cookie.error());
    if (*cookie != cookie_)
        return fail(Code::unavailable, "netns: the path now names another network namespace");
    return scope;
}

bool Netns::exists() const {
    const Result<NetnsId> now = NetnsId::of(path_);
    return now && *now == id_;
}

} // namespace weft::agent
