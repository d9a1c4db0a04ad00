// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/sockets.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "config/base/net.hpp"
#include "tests/unit/pods/lab.hpp"

namespace weft::agent {
namespace {

Netns open_lab(const LabNetns& lab) {
    auto netns = Netns::open(lab.name());
    EXPECT_TRUE(netns);
    return *netns;
}

TEST(Listeners, AllKindsListenInsideThePod) {
    const LabNetns lab("l");
    const Netns netns = open_lab(lab);
    const auto made = make_listeners(netns, {});
    ASSERT_FALSE(made.fault) << to_string(*made.fault);
    for (uint32_t kind = 0; kind < listener_kinds; ++kind) {
        const UniqueFd& listener = made.listeners[kind];
        ASSERT_TRUE(listener) << kind;
        const auto facts = inspect_listener(listener.get(), kind);
        ASSERT_TRUE(facts) << to_string(facts.error());
        EXPECT_EQ(facts->netns_cookie, netns.cookie());
        EXPECT_NE(fcntl(listener.get(), F_GETFD) & FD_CLOEXEC, 0);
        EXPECT_NE(fcntl(listener.get(), F_GETFL) & O_NONBLOCK, 0);
    }
}

TEST(Listeners, PresentOnesAreKept) {
    const LabNetns lab("l");
    const Netns netns = open_lab(lab);
    auto first = make_listeners(netns, {});
    ASSERT_FALSE(first.fault);
    const uint64_t kept = *socket_identity(first.listeners[2].get());
    Listeners present;
    present[2] = std::move(first.listeners[2]);
    const auto second = make_listeners(netns, std::move(present));
    ASSERT_FALSE(second.fault) << to_string(*second.fault);
    EXPECT_EQ(*socket_identity(second.listeners[2].get()), kept);
    EXPECT_TRUE(second.listeners[0]);
}

TEST(Listeners, WithoutIpv6TheseKindsAreAbsent) {
    const LabNetns lab("l");
    ASSERT_EQ(lab.exec("sysctl -q -w net.ipv6.conf.lo.disable_ipv6=1"), 0);
    const auto made = make_listeners(open_lab(lab), {});
    ASSERT_FALSE(made.fault) << to_string(*made.fault);
    EXPECT_TRUE(made.listeners[0] && made.listeners[2]);
    EXPECT_FALSE(made.listeners[1] || made.listeners[3]);
}

TEST(Listeners, LoopbackDownIsAnError) {
    const LabNetns lab("l", false);
    const auto made = make_listeners(open_lab(lab), {});
    ASSERT_TRUE(made.fault);
    EXPECT_STREQ(made.fault->during, "netns: the loopback interface is down");
    for (const UniqueFd& listener : made.listeners)
        EXPECT_FALSE(listener);
}

TEST(Listeners, APortInUseIsNamedAndCostsNoOtherListener) {
    const LabNetns lab("l");
    const Netns netns = open_lab(lab);
    UniqueFd squatter;
    {
        const auto scope = netns.enter();
        ASSERT_TRUE(scope);
        squatter = UniqueFd(socket(AF_INET, SOCK_STREAM, 0));
        sockaddr_storage address{};
        const socklen_t length = SocketAddress{*IpAddress::parse("127.0.0.1"), WEFT_INBOUND_PORT}.to_sockaddr(address);
        ASSERT_EQ(bind(squatter.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
        ASSERT_EQ(listen(squatter.get(), 1), 0);
    }
    const auto made = make_listeners(netns, {});
    ASSERT_TRUE(made.fault);
    EXPECT_EQ(made.fault->detail, EADDRINUSE);
    EXPECT_STREQ(made.fault->during, "listener on 127.0.0.1:15006");
    EXPECT_TRUE(made.listeners[0] && made.listeners[1] && made.listeners[3]);
    EXPECT_FALSE(made.listeners[2]);
}

TEST(Inspect, RefusesEveryFalseClaim) {
    const LabNetns lab("l");
    const auto all = make_listeners(open_lab(lab), {});
    ASSERT_FALSE(all.fault);
    const Listeners& made = all.listeners;
    const UniqueFd fresh(socket(AF_INET, SOCK_STREAM, 0));
    const UniqueFd datagram(socket(AF_INET, SOCK_DGRAM, 0));
    const UniqueFd unix_socket(socket(AF_UNIX, SOCK_STREAM, 0));
    const UniqueFd file(open("/dev/null", O_RDONLY));
    EXPECT_FALSE(inspect_listener(made[0].get(), 2)); // right socket, wrong kind
    EXPECT_FALSE(inspect_listener(made[1].get(), 3));
    EXPECT_FALSE(inspect_listener(made[0].get(), 4));
    for (const int fd : {fresh.get(), datagram.get(), unix_socket.get(), file.get(), -1})
        EXPECT_FALSE(inspect_listener(fd, 0));
}

TEST(UpstreamSockets, AreInsideAndBounded) {
    const LabNetns lab("l");
    const Netns netns = open_lab(lab);
    for (const bool ipv6 : {false, true}) {
        const auto made = make_upstream_sockets(netns, ipv6, 5);
        ASSERT_TRUE(made);
        ASSERT_EQ(made->size(), 5U);
        for (const UniqueFd& socket : *made) {
            EXPECT_EQ(netns_cookie_of(socket.get()).value_or(0), netns.cookie());
            int keeps_alive = 0;
            socklen_t length = sizeof(keeps_alive);
            ASSERT_EQ(getsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &keeps_alive, &length), 0);
            EXPECT_EQ(keeps_alive, 1);
        }
    }
    EXPECT_EQ(make_upstream_sockets(netns, false, 1'000'000)->size(), upstream_batch_max);
    EXPECT_EQ(make_upstream_sockets(netns, false, 0)->size(), 1U);
}

} // namespace
} // namespace weft::agent
