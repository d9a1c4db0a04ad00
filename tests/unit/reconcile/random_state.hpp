// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "agent/reconcile/state.hpp"

namespace weft::agent {

inline constexpr uint32_t addresses = 6;
inline constexpr uint16_t ports = 3;

inline IpAddress address(uint32_t n) {
    return *IpAddress::parse("10.0.0." + std::to_string(n + 1));
}

/// Any state: no address has two owners, ids are unique.
inline KernelState random_state(std::mt19937& random) {
    const auto dice = [&](uint32_t sides) { return static_cast<uint32_t>(random() % sides); };
    KernelState out;
    std::vector<uint32_t> free(addresses);
    for (uint32_t i = 0; i < addresses; ++i)
        free[i] = i;
    std::shuffle(free.begin(), free.end(), random);
    for (uint64_t cookie = 1; cookie <= 4; ++cookie) {
        const auto id = static_cast<uint32_t>(cookie * 10 + dice(2));
        for (uint16_t port = 0; port <= ports;
             ++port) { // ports of pods that are not there: an interrupted plan leaves them
            if (dice(2) == 0)
                out.inbound_ports[{id, port}] = static_cast<KernelState::PortAction>(dice(3));
        }
        if (dice(3) == 0)
            continue;
        KernelState::Pod pod{.id = id, .fail_closed = dice(2) == 0, .addresses = {}};
        for (uint32_t i = dice(3); i > 0 && !free.empty(); --i) {
            pod.addresses.push_back(address(free.back()));
            free.pop_back();
        }
        out.pods[cookie] = pod;
    }
    for (uint32_t i = 0; i < 4; ++i) {
        if (dice(2) == 0)
            out.services[{address(i), 80}] = {.id = 0x10000 + i,
                                              .l7 = dice(2) == 0,
                                              .translate = true,
                                              .fail_closed = dice(2) == 0,
                                              .backends = std::vector<SocketAddress>(dice(3), {address(i), 81})};
    }
    return out;
}

} // namespace weft::agent
