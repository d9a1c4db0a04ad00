// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/engine/control.hpp"

namespace weft::agent::engine {
namespace {

constexpr int control_backlog = 64;

std::unexpected<std::string> failed(const std::string& path, const char* what) {
    return std::unexpected(path + ": " + what + ": " + std::strerror(errno));
}

} // namespace

std::expected<UniqueFd, std::string> listen_at(const std::string& path, uid_t owner, int type) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path))
        return std::unexpected(path + ": longer than a Unix socket's path can be");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    struct stat there{};
    if (lstat(path.c_str(), &there) == 0) {
        if (!S_ISSOCK(there.st_mode))
            return std::unexpected(path + ": something is there that is no socket");
        unlink(path.c_str());
    }
    UniqueFd fd(socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd)
        return failed(path, "socket");
    // Mode of the file from the first moment; nobody can connect before listen() anyway.
    if (fchmod(fd.get(), 0600) != 0)
        return failed(path, "fchmod");
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
        return failed(path, "bind");
    if (chmod(path.c_str(), 0600) != 0 || chown(path.c_str(), owner, static_cast<gid_t>(-1)) != 0)
        return failed(path, "chown");
    if (listen(fd.get(), control_backlog) != 0)
        return failed(path, "listen");
    return fd;
}

} // namespace weft::agent::engine
