// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/connections.hpp"

#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "tests/unit/pods/lab.hpp"

namespace weft::agent {
namespace {

using Action = KernelState::PortAction;

SocketAddress at(const std::string& text) {
    return *SocketAddress::parse(text);
}

struct Row {
    const char* what;
    const char* local;
    const char* remote;
    bool cut;
    std::map<uint16_t, Action> actions = {{8080, Action::steer}};
    uint8_t state = TCP_ESTABLISHED;
    bool marked = false;
};

TEST(Unjudged, AreServerEndsOfGovernedPortsThatNobodyJudges) {
    const std::map<uint16_t, Action> all = {{0, Action::steer}, {8081, Action::pass}};
    const std::map<uint16_t, Action> refused = {{8080, Action::refuse}};
    const Row rows[] = {
        {"a stranger's", "10.0.0.1:8080", "10.0.0.9:4000", true},
        {"over IPv6", "[fd00::1]:8080", "[fd00::9]:4000", true},
        {"of another port", "10.0.0.1:8081", "10.0.0.9:4000", false},
        {"half closed", "10.0.0.1:8080", "10.0.0.9:4000", true, {{8080, Action::steer}}, TCP_CLOSE_WAIT},
        {"the listener", "0.0.0.0:8080", "0.0.0.0:0", false, {{8080, Action::steer}}, TCP_LISTEN},
        {"accepted by the engine", "10.0.0.1:8080", "10.0.0.9:4000", false, all, TCP_ESTABLISHED, true},
        {"redirected to the engine", "127.1.0.5:15001", "10.0.0.7:4000", false, all},
        {"judged", "10.0.0.1:8080", "10.0.0.5:5555", false},
        {"judged, but the port refuses", "10.0.0.1:8080", "10.0.0.5:5555", true, refused},
        {"from loopback", "127.0.0.1:8080", "127.0.0.1:4000", false},
        {"from IPv6 loopback", "[::1]:8080", "[::1]:4000", false},
        {"from its own address", "10.0.0.1:8080", "10.0.0.1:4000", false},
        {"from another address of its own", "10.0.0.1:8080", "10.0.0.2:4000", false},
        {"from itself, though the port refuses", "10.0.0.1:8080", "10.0.0.2:4000", false, refused},
        {"of a served port where all are governed", "10.0.0.1:9000", "10.0.0.9:4000", true, all},
        {"of a port that is excepted", "10.0.0.1:8081", "10.0.0.9:4000", false, all},
        {"the pod's own dial where all are governed", "10.0.0.1:40000", "10.0.0.9:443", false, all},
        {"of a governed port whose listener is closed",
         "10.0.0.1:8090",
         "10.0.0.9:4000",
         true,
         {{8090, Action::steer}}},
    };
    for (const Row& row : rows) {
        std::vector<DiagSocket> sockets;
        for (const char* listener : {"0.0.0.0:8080", "0.0.0.0:8081", "0.0.0.0:9000"})
            sockets.push_back({.local = at(listener), .remote = at("0.0.0.0:0"), .state = TCP_LISTEN});
        sockets.push_back({.local = at(row.local), .remote = at(row.remote), .state = row.state, .marked = row.marked});
        const CutRules rules{.actions = row.actions,
                             .addresses = {at("10.0.0.1:0").address, at("10.0.0.2:0").address},
                             .is_judged = [](const SocketAddress& client, const SocketAddress& server) {
                                 return client == at("10.0.0.5:5555") && server == at("10.0.0.1:8080");
                             }};
        const Unjudged found = unjudged(sockets, rules);
        EXPECT_EQ(found.connections.size(), row.cut ? 1U : 0U) << row.what;
        EXPECT_TRUE(found.handshakes.empty()) << row.what;
        // Under way it is never ended, and followed where the connection would be.
        if (row.state == TCP_LISTEN)
            continue;
        sockets.back().state = TCP_SYN_RECV;
        const Unjudged early = unjudged(sockets, rules);
        EXPECT_TRUE(early.connections.empty()) << row.what;
        EXPECT_EQ(early.handshakes.size(), row.cut ? 1U : 0U) << row.what;
    }
}

/// A connection between two addresses of one namespace.
struct Pair {
    UniqueFd listener;
    UniqueFd client;
    UniqueFd server;
};

Pair connect_in(const Netns& netns, const std::string& server, const std::string& client) {
    const auto scope = netns.enter();
    EXPECT_TRUE(scope);
    sockaddr_storage to{};
    sockaddr_storage from{};
    const socklen_t to_bytes = at(server).to_sockaddr(to);
    const socklen_t from_bytes = at(client).to_sockaddr(from);
    Pair pair;
    pair.listener.reset(socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    pair.client.reset(socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(pair.listener.get(), reinterpret_cast<sockaddr*>(&to), to_bytes), 0);
    EXPECT_EQ(listen(pair.listener.get(), 8), 0);
    EXPECT_EQ(bind(pair.client.get(), reinterpret_cast<sockaddr*>(&from), from_bytes), 0);
    EXPECT_EQ(connect(pair.client.get(), reinterpret_cast<sockaddr*>(&to), to_bytes), 0);
    pair.server.reset(accept4(pair.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(pair.server);
    return pair;
}

bool is_reset(const UniqueFd& socket) {
    char byte = 0;
    return recv(socket.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

TEST(Cut, EndsTheConnectionsOfTheNamespaceAndNoOthers) {
    ASSERT_TRUE(probe_cut());
    const LabNetns lab("c");
    ASSERT_EQ(lab.exec("ip addr add 10.9.0.1/32 dev lo"), 0);
    ASSERT_EQ(lab.exec("ip addr add 10.9.0.9/32 dev lo"), 0);
    ASSERT_EQ(lab.exec("ip addr add fd09::1/128 dev lo"), 0);
    ASSERT_EQ(lab.exec("ip addr add fd09::9/128 dev lo"), 0);
    const LabNetns other("d");
    ASSERT_EQ(other.exec("ip addr add 10.9.0.1/32 dev lo"), 0);
    ASSERT_EQ(other.exec("ip addr add 10.9.0.9/32 dev lo"), 0);
    const auto netns = Netns::open(lab.name());
    const auto elsewhere = Netns::open(other.name());
    ASSERT_TRUE(netns && elsewhere);
    const Pair four = connect_in(*netns, "10.9.0.1:8080", "10.9.0.9:4000");
    const Pair six = connect_in(*netns, "[fd09::1]:8080", "[fd09::9]:4000");
    const Pair free = connect_in(*netns, "10.9.0.1:8081", "10.9.0.9:4001");
    const Pair foreign = connect_in(*elsewhere, "10.9.0.1:8080", "10.9.0.9:4000");
    const CutRules rules{.actions = {{8080, Action::steer}},
                         .addresses = {at("10.9.0.1:0").address, at("[fd09::1]:0").address},
                         .is_judged = [](const auto&, const auto&) { return false; }};
    const auto done = cut_unjudged(*netns, -1, rules);
    ASSERT_TRUE(done) << to_string(done.error());
    EXPECT_EQ(done->cut, 2U);
    EXPECT_EQ(done->left, 0U);
    EXPECT_TRUE(is_reset(four.client));
    EXPECT_TRUE(is_reset(six.client));
    EXPECT_FALSE(is_reset(free.client));
    EXPECT_FALSE(is_reset(foreign.client));
    const auto again = cut_unjudged(*netns, -1, rules);
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_EQ(again->cut, 0U);
}

/// The listener waits for the first byte: until then the client is connected, and the server's end a handshake.
TEST(Cut, LeavesAHandshakeAndFindsTheConnectionThatItBecomes) {
    const LabNetns lab("c");
    ASSERT_EQ(lab.exec("ip addr add 10.9.0.1/32 dev lo"), 0);
    ASSERT_EQ(lab.exec("ip addr add 10.9.0.9/32 dev lo"), 0);
    const auto netns = Netns::open(lab.name());
    ASSERT_TRUE(netns);
    const auto scope = netns->enter();
    ASSERT_TRUE(scope);
    sockaddr_storage to{};
    sockaddr_storage from{};
    const socklen_t to_bytes = at("10.9.0.1:8080").to_sockaddr(to);
    const socklen_t from_bytes = at("10.9.0.9:4000").to_sockaddr(from);
    const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int defer_s = 30;
    ASSERT_EQ(setsockopt(listener.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer_s, sizeof(defer_s)), 0);
    ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&to), to_bytes), 0);
    ASSERT_EQ(listen(listener.get(), 8), 0);
    ASSERT_EQ(bind(client.get(), reinterpret_cast<sockaddr*>(&from), from_bytes), 0);
    ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&to), to_bytes), 0);
    const CutRules rules{.actions = {{8080, Action::steer}},
                         .addresses = {at("10.9.0.1:0").address},
                         .is_judged = [](const auto&, const auto&) { return false; }};
    const auto first = cut_unjudged(*netns, -1, rules);
    ASSERT_TRUE(first) << to_string(first.error());
    EXPECT_EQ(first->cut, 0U);
    EXPECT_EQ(first->handshakes.size(), 1U);
    EXPECT_FALSE(is_reset(client));
    const auto again = cut_unjudged(*netns, -1, rules);
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_EQ(again->handshakes, first->handshakes);
    ASSERT_EQ(send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
    const auto last = cut_unjudged(*netns, -1, rules);
    ASSERT_TRUE(last) << to_string(last.error());
    EXPECT_EQ(last->cut, 1U);
    EXPECT_TRUE(last->handshakes.empty());
    EXPECT_TRUE(is_reset(client));
}

TEST(Cut, OfANamespaceThatIsGoneIsAnError) {
    LabNetns lab("c");
    const auto netns = Netns::open(lab.name());
    ASSERT_TRUE(netns);
    lab.remove();
    EXPECT_FALSE(cut_unjudged(*netns, -1, {}));
}

TEST(Cut, WithAMapThatIsNoneIsAnError) {
    const LabNetns lab("c");
    const auto netns = Netns::open(lab.name());
    ASSERT_TRUE(netns);
    EXPECT_FALSE(cut_unjudged(*netns, 0, {}));
}

} // namespace
} // namespace weft::agent
