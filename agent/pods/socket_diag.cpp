// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/socket_diag.hpp"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

namespace weft::agent {
namespace {

constexpr size_t answer_bytes_max = 65'536;
constexpr timeval answer_wait{.tv_sec = 5, .tv_usec = 0}; ///< the kernel answers at once; nothing may stop the loop

std::unexpected<Error> fail_errno(const char* during) {
    return std::unexpected(from_errno(errno, during));
}

/// sock_diag's request: a socket or all of a family; the last attribute only if a storage map is asked for.
struct Request {
    nlmsghdr header;
    inet_diag_req_v2 diag;
    nlattr storages;
    nlattr map_fd;
    uint32_t map_fd_value;
};
static_assert(offsetof(Request, storages) == NLMSG_LENGTH(sizeof(inet_diag_req_v2)));

Request request_of(uint16_t type, uint16_t flags, uint8_t family) {
    Request request{};
    request.header.nlmsg_len = offsetof(Request, storages);
    request.header.nlmsg_type = type;
    request.header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    request.diag.sdiag_family = family;
    request.diag.sdiag_protocol = IPPROTO_TCP;
    return request;
}

Result<void> send_request(int netlink, const Request& request, const char* during) {
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    if (sendto(netlink, &request, request.header.nlmsg_len, 0, reinterpret_cast<const sockaddr*>(&kernel),
               sizeof(kernel)) < 0)
        return fail_errno(during);
    return {};
}

SocketAddress address_of(uint8_t family, const __be32* words, __be16 port) {
    IpAddress address;
    if (family == AF_INET)
        address = IpAddress::v4(words[0]);
    else
        std::memcpy(address.bytes.data(), words, address.bytes.size());
    return {.address = address, .port = ntohs(port)};
}

/// The storages attribute has an entry only for a socket that the map knows.
bool has_storage(std::span<const char> attributes) {
    while (attributes.size() >= sizeof(nlattr)) {
        nlattr attribute{};
        std::memcpy(&attribute, attributes.data(), sizeof(attribute));
        if (attribute.nla_len < sizeof(nlattr) || attribute.nla_len > attributes.size())
            return false;
        if ((attribute.nla_type & NLA_TYPE_MASK) == INET_DIAG_SK_BPF_STORAGES && attribute.nla_len > sizeof(nlattr))
            return true;
        attributes = attributes.subspan(std::min<size_t>(NLA_ALIGN(attribute.nla_len), attributes.size()));
    }
    return false;
}

DiagSocket socket_of(const inet_diag_msg& message, std::span<const char> attributes) {
    return {.local = address_of(message.idiag_family, message.id.idiag_src, message.id.idiag_sport),
            .remote = address_of(message.idiag_family, message.id.idiag_dst, message.id.idiag_dport),
            .state = message.idiag_state,
            .marked = has_storage(attributes),
            .family = message.idiag_family,
            .inode = message.idiag_inode,
            .id = message.id};
}

/// 0 or an errno.
int error_in(std::span<const char> payload) {
    nlmsgerr error{};
    std::memcpy(&error.error, payload.data(), std::min(sizeof(error.error), payload.size()));
    return -error.error;
}

} // namespace

Result<SocketDiag> SocketDiag::open() {
    UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!netlink)
        return fail_errno("sock_diag: socket");
    if (setsockopt(netlink.get(), SOL_SOCKET, SO_RCVTIMEO, &answer_wait, sizeof(answer_wait)) != 0)
        return fail_errno("sock_diag: socket");
    SocketDiag diag(std::move(netlink));
    diag.buffer_.resize(answer_bytes_max);
    return diag;
}

Result<std::vector<DiagSocket>> SocketDiag::list(uint32_t states, int storage_map_fd) {
    std::vector<DiagSocket> sockets;
    for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}})
        if (const Result<void> listed = list_family(family, states, storage_map_fd, sockets); !listed)
            return std::unexpected(listed.error());
    return sockets;
}

Result<void> SocketDiag::list_family(uint8_t family, uint32_t states, int storage_map_fd,
                                     std::vector<DiagSocket>& out) {
    Request request = request_of(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family);
    request.diag.idiag_states = states;
    if (storage_map_fd >= 0) {
        request.header.nlmsg_len = sizeof(request);
        request.map_fd = {.nla_len = sizeof(nlattr) + sizeof(uint32_t), .nla_type = SK_DIAG_BPF_STORAGE_REQ_MAP_FD};
        request.storages = {.nla_len = static_cast<uint16_t>(sizeof(nlattr) + request.map_fd.nla_len),
                            .nla_type = NLA_F_NESTED | INET_DIAG_REQ_SK_BPF_STORAGES};
        request.map_fd_value = static_cast<uint32_t>(storage_map_fd);
    }
    if (Result<void> sent = send_request(netlink_.get(), request, "sock_diag: list"); !sent)
        return sent;
    while (true) {
        const Result<bool> more = take_answers(family, out);
        if (!more)
            return std::unexpected(more.error());
        if (!*more)
            return {};
        if (out.size() > diag_sockets_max)
            return fail(Code::too_large, "sock_diag: sockets of a namespace");
    }
}

Result<bool> SocketDiag::take_answers(uint8_t family, std::vector<DiagSocket>& out) {
    const ssize_t received = recv(netlink_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC);
    if (received < 0)
        return fail_errno("sock_diag: list");
    if (static_cast<size_t>(received) > buffer_.size())
        return fail(Code::too_large, "sock_diag: list");
    std::span<const char> rest(buffer_.data(), static_cast<size_t>(received));
    while (rest.size() >= sizeof(nlmsghdr)) {
        nlmsghdr header{};
        std::memcpy(&header, rest.data(), sizeof(header));
        if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > rest.size())
            return fail(Code::malformed, "sock_diag: list");
        const std::span<const char> payload = rest.subspan(sizeof(header), header.nlmsg_len - sizeof(header));
        if (header.nlmsg_type == NLMSG_DONE)
            return false;
        if (header.nlmsg_type == NLMSG_ERROR)
            return std::unexpected(from_errno(error_in(payload), "sock_diag: list"));
        inet_diag_msg message{};
        if (payload.size() < sizeof(message))
            return fail(Code::malformed, "sock_diag: list");
        std::memcpy(&message, payload.data(), sizeof(message));
        if (message.idiag_family == family)
            out.push_back(socket_of(message, payload.subspan(sizeof(message))));
        rest = rest.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
    }
    return true;
}

Result<bool> SocketDiag::destroy(const DiagSocket& socket) {
    Request request = request_of(SOCK_DESTROY, NLM_F_ACK, socket.family);
    request.diag.id = socket.id;
    if (const Result<void> sent = send_request(netlink_.get(), request, "sock_diag: destroy"); !sent)
        return std::unexpected(sent.error());
    const ssize_t received = recv(netlink_.get(), buffer_.data(), buffer_.size(), 0);
    if (received < 0)
        return fail_errno("sock_diag: destroy");
    nlmsghdr header{};
    if (static_cast<size_t>(received) < sizeof(header) + sizeof(int))
        return fail(Code::malformed, "sock_diag: destroy");
    std::memcpy(&header, buffer_.data(), sizeof(header));
    if (header.nlmsg_type != NLMSG_ERROR)
        return fail(Code::malformed, "sock_diag: destroy");
    const int error = error_in(std::span<const char>(buffer_).subspan(sizeof(header)));
    if (error == 0)
        return true;
    if (error == ENOENT || error == ESTALE) // its addresses belong to nobody, or to another socket, by now
        return false;
    if (error == EOPNOTSUPP)
        return fail(Code::unavailable, "sock_diag: destroy", error);
    return std::unexpected(from_errno(error, "sock_diag: destroy"));
}

} // namespace weft::agent
