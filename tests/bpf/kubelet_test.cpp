// SPDX-License-Identifier: Apache-2.0
// Probes: the kubelet's connections pass whatever governs the port, and nobody else's do. The test's own process is the
// kubelet, in the namespace on the left, which is no pod's: it stands for the host.
#include <arpa/inet.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "agent/bpf/map.hpp"
#include "agent/bpf/pins.hpp"
#include "tests/bpf/fixture.hpp"

namespace weft::test {
namespace {

using enum KernelState::PortAction;
constexpr uint16_t port = 8080;

/// Field 22 of /proc/PID/stat, counted behind the name, which may hold anything.
uint64_t own_start_ticks() {
    std::ifstream file("/proc/self/stat");
    std::string text{std::istreambuf_iterator<char>(file), {}};
    std::istringstream fields(text.substr(text.rfind(')') + 1));
    std::string field;
    for (int i = 0; i < 20; ++i)
        fields >> field;
    return std::stoull(field);
}

struct Family {
    const char* name;
    const char* client;
    const char* server;
    bool mapped; ///< an AF_INET6 socket to an IPv4-mapped address, as Go's dual-stack dialler may use
};

class Probe : public DatapathTest, public ::testing::WithParamInterface<Family> {
protected:
    [[nodiscard]] abi::weft_kubelet self() const {
        return {.netns_cookie = cable_.left.cookie(),
                .started_ticks = own_start_ticks(),
                .process = static_cast<uint32_t>(getpid()),
                .pad = 0};
    }
    void be_kubelet(const abi::weft_kubelet& kubelet) { ASSERT_TRUE(datapath_->set_kubelet(kubelet)); }
    [[nodiscard]] static SocketAddress server() { return at(GetParam().server, port); }
    [[nodiscard]] static SocketOptions options() { return {.force_v6 = GetParam().mapped}; }
    [[nodiscard]] int dial_server() const { return dial(cable_.left, server(), options()).error; }
    /// As another process of the same namespace: errno of its connect.
    [[nodiscard]] int dial_from_child() const {
        const pid_t child = fork();
        if (child == 0)
            _exit(dial_server());
        int status = 0;
        waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    /// A pod that denies everything, with an engine that could say so.
    void put_governed(KernelState::PortAction action) {
        put_right(true);
        set_action(port, action);
        ASSERT_EQ(datapath_->kubelet_fault(), "");
    }
    [[nodiscard]] static size_t flows() { return entries("flows", sizeof(abi::weft_flow_key)); }
};

TEST_P(Probe, reaches_the_application_where_everybody_else_goes_to_the_engine) {
    put_governed(steer);
    beat();
    be_kubelet(self());
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, std::strchr(GetParam().server, ':') != nullptr);
    const UniqueFd application = listen_at(cable_.right, server());
    {
        const Dialled probe = dial(cable_.left, server(), options());
        ASSERT_EQ(probe.error, 0);
        const Accepted accepted = accept_at(application.get());
        ASSERT_TRUE(accepted.fd);
        EXPECT_EQ(accepted.peer, local_of(probe.fd.get()));
        EXPECT_EQ(peer_of(probe.fd.get()), server());
        EXPECT_TRUE(talk(probe.fd.get(), accepted.fd.get()));
        EXPECT_EQ(flows(), 1U);
        EXPECT_TRUE(datapath_->is_judged(*accepted.peer, server())); // no change of policy cuts it
    }
    EXPECT_TRUE(eventually([] { return flows() == 0; }));
    EXPECT_EQ(dial_from_child(), 0);
    EXPECT_FALSE(accept_at(application.get(), false).fd);
    EXPECT_TRUE(accept_at(engine.get()).fd);
    expect_counters({{"probe_recorded", 1}, {"inbound_passed_probe", 1}, {"inbound_steered", 1}});
}

TEST_P(Probe, passes_while_the_engine_is_silent_and_where_everybody_is_refused) {
    for (const auto action : {steer, refuse}) {
        put_governed(action);
        be_kubelet(self());
        const UniqueFd application = listen_at(cable_.right, server());
        EXPECT_EQ(dial_server(), 0);
        EXPECT_EQ(dial_from_child(), ECONNREFUSED);
    }
    expect_counters({{"probe_recorded", 2},
                     {"inbound_passed_probe", 2},
                     {"inbound_refused_engine_stale", 1},
                     {"inbound_refused_protocol", 1}});
}

TEST_P(Probe, is_recognised_on_any_thread_of_the_kubelet) {
    put_governed(refuse);
    be_kubelet(self());
    const UniqueFd application = listen_at(cable_.right, server());
    int error = -1;
    std::thread([&] { error = dial_server(); }).join();
    EXPECT_EQ(error, 0);
}

TEST_P(Probe, is_no_probe_from_another_namespace_or_a_process_with_the_same_id) {
    put_governed(refuse);
    const UniqueFd application = listen_at(cable_.right, server());
    abi::weft_kubelet other = self();
    other.netns_cookie = cable_.right.cookie();
    be_kubelet(other);
    EXPECT_EQ(dial_server(), ECONNREFUSED);
    other = self();
    other.started_ticks += 1;
    be_kubelet(other);
    EXPECT_EQ(dial_server(), ECONNREFUSED);
    be_kubelet({});
    EXPECT_EQ(dial_server(), ECONNREFUSED);
    expect_counters({{"inbound_refused_protocol", 3}});
    be_kubelet(self());
    EXPECT_EQ(dial_server(), 0);
}

TEST_P(Probe, is_one_still_after_a_restart_of_the_agent) {
    put_governed(refuse);
    be_kubelet(self());
    const UniqueFd application = listen_at(cable_.right, server());
    ASSERT_NO_FATAL_FAILURE(reopen());
    EXPECT_EQ(dial_server(), 0);
}

TEST_P(Probe, is_none_where_no_pod_of_this_node_is) {
    be_kubelet(self());
    const UniqueFd application = listen_at(cable_.right, server());
    EXPECT_EQ(dial_server(), 0);
    expect_counters({});
    EXPECT_EQ(flows(), 0U);
}

TEST_P(Probe, leaves_nothing_when_it_fails) {
    put_governed(refuse);
    be_kubelet(self());
    EXPECT_EQ(dial_server(), ECONNREFUSED); // by the pod's kernel: nobody listens
    expect_counters({{"probe_recorded", 1}, {"inbound_passed_probe", 1}});
    EXPECT_EQ(flows(), 0U);
}

TEST_P(Probe, leaves_nothing_to_another_socket_with_the_same_addresses) {
    put_governed(refuse);
    const SocketAddress source = at(GetParam().client, 40124);
    const UniqueFd fd = agent::bpf::open_pin(pin_dir() + "/flows");
    agent::bpf::Map<abi::weft_flow_key, uint8_t> recorded(fd.get());
    abi::weft_flow_key key{};
    std::memcpy(key.source.bytes, source.address.bytes.data(), 16);
    std::memcpy(key.destination.bytes, server().address.bytes.data(), 16);
    key.source_port = htons(source.port);
    key.destination_port = htons(port);
    ASSERT_EQ(recorded.put(key, WEFT_FLOW_PROBE), 0);
    const UniqueFd application = listen_at(cable_.right, server());
    SocketOptions bound = options();
    bound.bind = source;
    EXPECT_EQ(dial(cable_.left, server(), bound).error, ECONNREFUSED);
    expect_counters({{"inbound_refused_protocol", 1}});
}

TEST_P(Probe, may_not_reach_the_listeners_of_the_engine) {
    put_governed(steer);
    be_kubelet(self());
    EXPECT_EQ(dial(cable_.left, at(GetParam().server, WEFT_INBOUND_PORT), options()).error, ECONNREFUSED);
    expect_refusals(right_pod, "inbound_refused_own_port", 1);
}

/// The kubelet's socket is a probe once: what it connects to next is looked at anew.
TEST_P(Probe, is_a_mark_of_one_connection) {
    put_governed(refuse);
    be_kubelet(self());
    const UniqueFd application = listen_at(cable_.right, server());
    const Dialled probe = dial(cable_.left, server(), options());
    ASSERT_EQ(probe.error, 0);
    disconnect(probe.fd.get());
    EXPECT_EQ(flows(), 0U);
    be_kubelet({});
    EXPECT_EQ(connect_again(probe.fd.get(), server(), GetParam().mapped), ECONNREFUSED);
}

INSTANTIATE_TEST_SUITE_P(Kubelet, Probe,
                         ::testing::Values(Family{"v4", left4, right4, false}, Family{"v6", left6, right6, false},
                                           Family{"v4_mapped", left4, right4, true}),
                         [](const auto& row) { return std::string(row.param.name); });

} // namespace
} // namespace weft::test
