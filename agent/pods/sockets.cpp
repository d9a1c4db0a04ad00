// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/sockets.hpp"

#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "config/base/net.hpp"

namespace weft::agent {
namespace {

struct ListenerForm {
    int family;
    const char* address;
    uint16_t port;
    bool on_loopback_only; ///< SO_BINDTODEVICE lo: 0.0.0.0 would answer on the pod's address too
    const char* during;
};

const std::array<ListenerForm, listener_kinds> forms = {{
    {AF_INET, "0.0.0.0", WEFT_OUTBOUND_PORT, true, "listener on 0.0.0.0:15001"},
    {AF_INET6, "::1", WEFT_OUTBOUND_PORT, false, "listener on [::1]:15001"},
    {AF_INET, "127.0.0.1", WEFT_INBOUND_PORT, false, "listener on 127.0.0.1:15006"},
    {AF_INET6, "::1", WEFT_INBOUND_PORT, false, "listener on [::1]:15006"},
}};

std::unexpected<Error> fail_errno(const char* during) {
    return std::unexpected(from_errno(errno, during));
}

Result<void> set_int(int fd, int level, int option, int value, const char* during) {
    if (setsockopt(fd, level, option, &value, sizeof(value)) != 0)
        return fail_errno(during);
    return {};
}

/// What a listener accepts inherits it.
Result<void> keep_alive(int fd, const char* during) {
    if (Result<void> set = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1, during); !set)
        return set;
    for (const auto& [option, value] :
         {std::pair{TCP_KEEPIDLE, keepalive_idle_s}, std::pair{TCP_KEEPINTVL, keepalive_interval_s},
          std::pair{TCP_KEEPCNT, keepalive_probes}})
        if (Result<void> set = set_int(fd, IPPROTO_TCP, option, value, during); !set)
            return set;
    return {};
}

Result<int> get_int(int fd, int level, int option, const char* during) {
    int value = 0;
    socklen_t length = sizeof(value);
    if (getsockopt(fd, level, option, &value, &length) != 0)
        return fail_errno(during);
    return value;
}

Result<void> prepare(int fd, const ListenerForm& form) {
    for (const auto& [level, option] : {std::pair{SOL_SOCKET, SO_REUSEADDR}, std::pair{SOL_SOCKET, SO_REUSEPORT}})
        if (Result<void> set = set_int(fd, level, option, 1, form.during); !set)
            return set;
    if (form.family == AF_INET6)
        if (Result<void> set = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, form.during); !set)
            return set;
    if (form.on_loopback_only && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) != 0)
        return fail_errno(form.during);
    return keep_alive(fd, form.during);
}

/// Nothing: the namespace has no such address (IPv6 is off there).
Result<std::optional<UniqueFd>> make_listener(const ListenerForm& form) {
    UniqueFd fd(socket(form.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) {
        if (errno == EAFNOSUPPORT && form.family == AF_INET6)
            return std::nullopt;
        return fail_errno(form.during);
    }
    if (Result<void> prepared = prepare(fd.get(), form); !prepared)
        return std::unexpected(prepared.error());
    sockaddr_storage address{};
    const socklen_t length = SocketAddress{*IpAddress::parse(form.address), form.port}.to_sockaddr(address);
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
        if (errno == EADDRNOTAVAIL && form.family == AF_INET6)
            return std::nullopt;
        return fail_errno(form.during);
    }
    if (listen(fd.get(), listener_backlog) != 0)
        return fail_errno(form.during);
    return fd;
}

/// In the calling thread's namespace.
Result<void> loopback_is_up() {
    const UniqueFd probe(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!probe)
        return fail_errno("netns: socket");
    ifreq request{};
    std::memcpy(request.ifr_name, "lo", 3);
    if (ioctl(probe.get(), SIOCGIFFLAGS, &request) != 0)
        return fail_errno("netns: the loopback interface cannot be read");
    if ((request.ifr_flags & IFF_UP) == 0)
        return fail(Code::unavailable, "netns: the loopback interface is down");
    return {};
}

/// In the calling thread's namespace.
Result<std::vector<UniqueFd>> make_sockets_here(bool ipv6, uint32_t count) {
    std::vector<UniqueFd> made;
    const uint32_t wanted = std::clamp(count, 1U, upstream_batch_max);
    made.reserve(wanted);
    while (made.size() < wanted) {
        UniqueFd fd(socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (!fd) {
            // Out of descriptors half-way: some are better than none.
            if (!made.empty())
                break;
            return fail_errno("upstream socket in the pod's netns");
        }
        if (Result<void> set = keep_alive(fd.get(), "upstream socket"); !set)
            return std::unexpected(set.error());
        made.push_back(std::move(fd));
    }
    return made;
}

} // namespace

MadeListeners make_listeners(const Netns& netns, Listeners present) {
    MadeListeners made{.listeners = std::move(present), .fault = std::nullopt};
    const Result<NetnsScope> scope = netns.enter();
    const Result<void> up = scope ? loopback_is_up() : std::unexpected(scope.error());
    if (!up) {
        made.fault = up.error();
        return made;
    }
    for (size_t kind = 0; kind < listener_kinds; ++kind) {
        if (made.listeners[kind])
            continue;
        Result<std::optional<UniqueFd>> listener = make_listener(forms[kind]);
        if (!listener)
            made.fault = listener.error();
        else if (*listener)
            made.listeners[kind] = std::move(**listener);
    }
    return made;
}

Result<std::vector<UniqueFd>> make_upstream_sockets(const Netns& netns, bool ipv6, uint32_t count) {
    const Result<NetnsScope> scope = netns.enter();
    if (!scope)
        return std::unexpected(scope.error());
    return make_sockets_here(ipv6, count);
}

Result<std::vector<UniqueFd>> make_upstream_sockets(const UniqueFd& netns, bool ipv6, uint32_t count) {
    const Result<NetnsScope> scope = NetnsScope::enter(netns);
    if (!scope)
        return std::unexpected(scope.error());
    return make_sockets_here(ipv6, count);
}

Result<UniqueFd> netns_of(int socket) {
    UniqueFd netns(ioctl(socket, SIOCGSKNS));
    if (!netns)
        return fail_errno("listener: its network namespace");
    return netns;
}

Result<uint64_t> socket_identity(int fd) {
    uint64_t identity = 0;
    socklen_t length = sizeof(identity);
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &identity, &length) != 0)
        return fail_errno("listener: SO_COOKIE");
    return identity;
}

Result<ListenerFacts> inspect_listener(int fd, uint32_t kind) {
    if (kind >= listener_kinds)
        return fail(Code::invalid, "listener: unknown kind");
    const ListenerForm& form = forms[kind];
    const Result<int> type = get_int(fd, SOL_SOCKET, SO_TYPE, "listener: not a socket");
    const Result<int> protocol = get_int(fd, SOL_SOCKET, SO_PROTOCOL, "listener: not a socket");
    const Result<int> listening = get_int(fd, SOL_SOCKET, SO_ACCEPTCONN, "listener: not a socket");
    if (!type || !protocol || !listening)
        return std::unexpected(!type ? type.error() : !protocol ? protocol.error() : listening.error());
    if (*type != SOCK_STREAM || *protocol != IPPROTO_TCP)
        return fail(Code::invalid, "listener: not a TCP socket");
    if (*listening == 0)
        return fail(Code::invalid, "listener: the socket does not listen");
    sockaddr_storage bound{};
    socklen_t length = sizeof(bound);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0)
        return fail_errno("listener: getsockname");
    const std::optional<SocketAddress> address = SocketAddress::from_sockaddr(bound);
    if (bound.ss_family != form.family || !address || address->port != form.port ||
        address->address != *IpAddress::parse(form.address))
        return fail(Code::invalid, "listener: bound to another address than its kind says");
    std::array<char, IFNAMSIZ> device{};
    length = device.size();
    if (form.on_loopback_only && (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.data(), &length) != 0 ||
                                  std::string_view(device.data()) != "lo"))
        return fail(Code::invalid, "listener: not bound to the loopback interface");
    const Result<uint64_t> cookie = netns_cookie_of(fd);
    const Result<uint64_t> identity = socket_identity(fd);
    if (!cookie || !identity)
        return std::unexpected(!cookie ? cookie.error() : identity.error());
    return ListenerFacts{.netns_cookie = *cookie, .identity = *identity};
}

} // namespace weft::agent
