// SPDX-License-Identifier: Apache-2.0
#include "agent/stage.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "agent/reconcile/plan.hpp"

namespace weft::agent {
namespace {

using PortAction = KernelState::PortAction;

SocketAddress at(const std::string& text) {
    return *SocketAddress::parse(text);
}
IpAddress ip(const std::string& text) {
    return *IpAddress::parse(text);
}

TEST(BeforeEngine, AServiceDoesNotBecomeL7YetButStaysIt) {
    KernelState now;
    KernelState wanted;
    const auto service = [](bool l7, const std::string& backend) {
        return KernelState::Service{.id = 0x10000, .l7 = l7, .translate = true, .backends = {at(backend)}};
    };
    now.services[at("10.1.0.1:80")] = service(false, "10.0.0.1:80");
    now.services[at("10.1.0.2:80")] = service(true, "10.0.0.1:80");
    now.services[at("10.1.0.3:80")] = service(true, "10.0.0.1:80");
    now.services[at("10.1.0.4:80")] = service(true, "10.0.0.1:80");
    now.services[at("10.1.0.5:80")] = service(false, "10.0.0.1:80");
    wanted.services[at("10.1.0.1:80")] = service(true, "10.0.0.9:80");
    wanted.services[at("10.1.0.2:80")] = service(true, "10.0.0.9:80");
    wanted.services[at("10.1.0.3:80")] = service(false, "10.0.0.9:80");
    wanted.services[at("10.1.0.6:80")] = service(true, "10.0.0.9:80");

    KernelState held = before_engine(now, wanted, true);
    EXPECT_EQ(held.services.at(at("10.1.0.1:80")), service(false, "10.0.0.9:80")); // becomes L7 later, endpoints now
    EXPECT_EQ(held.services.at(at("10.1.0.2:80")), service(true, "10.0.0.9:80"));
    EXPECT_TRUE(held.services.at(at("10.1.0.3:80")).l7);     // loosening waits
    EXPECT_TRUE(held.services.contains(at("10.1.0.4:80")));  // so does the removal of a redirect
    EXPECT_FALSE(held.services.contains(at("10.1.0.5:80"))); // a plain one goes at once
    EXPECT_FALSE(held.services.at(at("10.1.0.6:80")).l7);

    KernelState free = before_engine(now, wanted, false);
    EXPECT_FALSE(free.services.at(at("10.1.0.1:80")).l7); // nobody is there to send clients to
    EXPECT_TRUE(free.services.at(at("10.1.0.2:80")).l7);
    EXPECT_FALSE(free.services.at(at("10.1.0.3:80")).l7);
    EXPECT_FALSE(free.services.contains(at("10.1.0.4:80")));
}

TEST(BeforeEngine, AServiceIsGovernedAtOnceAndFreeLater) {
    for (const bool before : {false, true})
        for (const bool after : {false, true}) {
            KernelState now;
            KernelState wanted;
            now.services[at("10.1.0.1:80")] = {.id = 0x10000, .l7 = true, .fail_closed = before, .backends = {}};
            wanted.services[at("10.1.0.1:80")] = {.id = 0x10000, .l7 = true, .fail_closed = after, .backends = {}};
            EXPECT_EQ(before_engine(now, wanted, true).services.at(at("10.1.0.1:80")).fail_closed, before || after);
            EXPECT_EQ(before_engine(now, wanted, false), wanted);
        }
}

TEST(BeforeEngine, PortsAreOnlyTightened) {
    const std::array actions = {PortAction::pass, PortAction::steer, PortAction::refuse};
    const IpAddress address = ip("10.0.0.1");
    // Every combination of own entry and entry for all others, or none, before and after.
    std::vector<KernelState> states;
    for (int own = -1; own < 3; ++own)
        for (int others = -1; others < 3; ++others) {
            KernelState state;
            state.pods[11] = {.id = 1, .fail_closed = true, .addresses = {address}};
            if (own >= 0)
                state.inbound_ports[{.pod_id = 1, .port = 80}] = actions[static_cast<size_t>(own)];
            if (others >= 0)
                state.inbound_ports[{.pod_id = 1, .port = 0}] = actions[static_cast<size_t>(others)];
            states.push_back(std::move(state));
        }
    for (const KernelState& now : states)
        for (const KernelState& wanted : states) {
            const KernelState held = before_engine(now, wanted, true);
            for (const uint16_t port : {uint16_t{80}, uint16_t{81}})
                EXPECT_EQ(action_at(held, address, port),
                          std::max(action_at(now, address, port), action_at(wanted, address, port)));
            EXPECT_EQ(before_engine(now, wanted, false), wanted);
            EXPECT_EQ(before_engine(held, wanted, true), held); // waiting longer changes nothing
        }
}

TEST(BeforeEngine, PodsComeAtOnceAndGoLater) {
    KernelState now;
    KernelState wanted;
    now.pods[11] = {.id = 1, .fail_closed = true, .addresses = {ip("10.0.0.1"), ip("10.0.0.2")}};
    now.pods[13] = {.id = 3, .fail_closed = true, .addresses = {}};
    now.inbound_ports[{.pod_id = 1, .port = 80}] = PortAction::steer;
    wanted.pods[12] = {.id = 2, .fail_closed = false, .addresses = {ip("10.0.0.1")}};
    wanted.pods[13] = {.id = 3, .fail_closed = false, .addresses = {}};
    const KernelState held = before_engine(now, wanted, true);
    EXPECT_EQ(held.pods.at(12), wanted.pods.at(12));
    EXPECT_EQ(held.pods.at(11).addresses, std::vector<IpAddress>{ip("10.0.0.2")}); // the other has a new owner
    EXPECT_TRUE(held.pods.at(13).fail_closed);
    EXPECT_EQ(held.inbound_ports.at({.pod_id = 1, .port = 80}), PortAction::steer);
    EXPECT_EQ(before_engine(now, wanted, false), wanted);
}

} // namespace
} // namespace weft::agent
