// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/bpf/datapath.hpp"
#include "tests/bpf/lab.hpp"

namespace weft::test {

using agent::KernelState;
using agent::MapOperation;

inline constexpr uint32_t left_pod = 7;
inline constexpr uint32_t right_pod = 9;
inline constexpr uint32_t service_id = 0x00012345;
inline constexpr const char* service_loopback = "127.1.35.69"; ///< 127.<service_id>
inline constexpr const char* vip4 = "10.96.0.10";
inline constexpr const char* vip6 = "fd96::10";

/// Two pods on a cable and a datapath on new maps for each test; all counters start at zero.
class DatapathTest : public ::testing::Test {
protected:
    using Counters = std::map<std::string, uint64_t>;

    void SetUp() override;
    void TearDown() override;

    [[nodiscard]] static agent::bpf::DatapathSettings settings();
    void reopen();
    void apply(const std::vector<MapOperation>& operations);
    void put_left(bool fail_closed = false);
    void put_right(bool fail_closed = false);
    void put_service(const SocketAddress& address, const KernelState::Service& service);
    void set_action(uint16_t port, KernelState::PortAction action, uint32_t pod_id = right_pod);

    void write_heartbeat(uint64_t stamp);
    void beat();
    /// Everything that is not zero, and nothing else.
    void expect_counters(const Counters& expected);
    void expect_refusals(uint32_t pod_id, const std::string& counter, uint64_t expected);

    /// How many entries a pinned map has now.
    [[nodiscard]] static size_t entries(const std::string& map, uint32_t key_bytes);

    UniqueFd listen_outbound4();
    UniqueFd listen_outbound6();
    UniqueFd listen_inbound(uint32_t pod_id, const Netns& netns, bool v6);
    SocketOptions engine_socket();
    /// An engine's socket for which that slot is filled.
    SocketOptions engine_socket_of_slot(uint32_t slot);
    void fill_slot(uint32_t slot, const SocketAddress& client, const SocketAddress& destination, uint32_t used = 1);

private:
    void on_slot(uint32_t slot, const std::function<void(abi::weft_dial_slot&)>& act);

protected:
    Cable cable_;
    std::unique_ptr<agent::bpf::Datapath> datapath_;
};

} // namespace weft::test
