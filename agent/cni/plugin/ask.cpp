// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/plugin/ask.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "config/base/clock.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::cni {
namespace {

std::string reason(const char* what) {
    return std::string(what) + ": " + std::strerror(errno);
}

std::expected<UniqueFd, std::string> connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path))
        return std::unexpected("the socket's path is too long");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd)
        return std::unexpected(reason("socket"));
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
        return std::unexpected(reason("the agent is not there"));
    ucred peer{};
    socklen_t length = sizeof(peer);
    if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.uid != geteuid())
        return std::unexpected("the socket is not the agent's: another user listens there");
    return fd;
}

bool send_request(int fd, const std::string& message, int netns) {
    iovec part{.iov_base = const_cast<char*>(message.data()), .iov_len = message.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (netns >= 0) {
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        cmsghdr* const rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(rights), &netns, sizeof(int));
    }
    return sendmsg(fd, &header, MSG_NOSIGNAL) == static_cast<ssize_t>(message.size());
}

int left(uint64_t deadline_ms) {
    const uint64_t now = monotonic_ms();
    return now >= deadline_ms ? 0 : static_cast<int>(deadline_ms - now);
}

/// One connection's try.
std::expected<Answer, std::string> try_once(const std::string& socket, const std::string& message, int netns,
                                            uint64_t deadline_ms) {
    const auto fd = connect_to(socket);
    if (!fd)
        return std::unexpected(fd.error());
    if (!send_request(fd->get(), message, netns))
        return std::unexpected(reason("the agent cannot be asked"));
    pollfd item{.fd = fd->get(), .events = POLLIN, .revents = 0};
    while (poll(&item, 1, left(deadline_ms)) < 0 && errno == EINTR) {
    }
    if (item.revents == 0)
        return std::unexpected("the agent does not answer");
    std::string answer(message_bytes_max + 1, '\0');
    const ssize_t got = recv(fd->get(), answer.data(), answer.size(), 0);
    if (got <= 0)
        return std::unexpected("the agent closed the connection");
    return decode_answer(std::string_view(answer).substr(0, static_cast<size_t>(got)));
}

} // namespace

std::expected<Answer, std::string> ask(const std::string& socket, const Request& request, const std::string& netns,
                                       uint32_t within_ms) {
    const uint64_t deadline_ms = monotonic_ms() + within_ms;
    const UniqueFd namespace_fd(netns.empty() ? -1 : open(netns.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    std::expected<Answer, std::string> answer;
    while (true) {
        Request now = request;
        now.wait_ms = std::min(request.wait_ms, static_cast<uint32_t>(left(deadline_ms)));
        answer = try_once(socket, encode(now), namespace_fd.get(), deadline_ms + grace_ms);
        if (answer || left(deadline_ms) == 0)
            return answer;
        poll(nullptr, 0, std::min(reconnect_ms, left(deadline_ms)));
    }
}

void record_fail_open(const std::string& socket, const Request& request) {
    static_cast<void>(mkdir(socket.substr(0, socket.rfind('/')).c_str(), 0755)); // /run may be new since the last agent
    const UniqueFd file(open((socket + std::string(fail_open_suffix)).c_str(),
                             O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600));
    struct stat status{};
    if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size >= record_bytes_max)
        return;
    const std::string line = request.ns + "/" + request.pod + " " + request.uid + "\n";
    static_cast<void>(!write(file.get(), line.data(), line.size()));
}

} // namespace weft::cni
