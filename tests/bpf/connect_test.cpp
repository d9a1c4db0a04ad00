// SPDX-License-Identifier: Apache-2.0
// Outbound: where a connect goes, what the two ends see, and what is counted.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

#include "agent/bpf/map.hpp"
#include "agent/bpf/pins.hpp"
#include "config/base/clock.hpp"
#include "tests/bpf/fixture.hpp"

namespace weft::test {
namespace {

constexpr uint16_t port = 9080;
const KernelState::Service l7_service{.id = service_id, .l7 = true, .translate = false, .backends = {}};

struct RedirectCase {
    std::string name;
    SocketAddress dialled;
    SocketOptions options;
    std::string shown_local; ///< what getsockname shall show
};

std::vector<RedirectCase> redirect_cases() {
    return {
        {"v4", at(vip4, port), {}, left4},
        {"v6", at(vip6, port), {}, left6},
        {"v6_only", at(vip6, port), {.v6_only = true}, left6},
        {"v4_mapped", at(vip4, port), {.force_v6 = true}, left4},
        {"v4_bound_to_pod", at(vip4, port), {.bind = at(left4, 0)}, left4},
        {"v6_bound_to_pod", at(vip6, port), {.bind = at(left6, 0)}, left6},
        {"v4_mapped_bound_to_pod", at(vip4, port), {.force_v6 = true, .bind = at(left4, 0)}, left4},
        {"v4_device", at(vip4, port), {.device = "eth0"}, left4},
        {"v6_device", at(vip6, port), {.device = "eth0"}, left6},
        {"v4_mapped_device", at(vip4, port), {.force_v6 = true, .device = "eth0"}, left4},
        {"v4_non_blocking", at(vip4, port), {.non_blocking = true}, left4},
        {"v6_non_blocking", at(vip6, port), {.non_blocking = true}, left6},
    };
}

class Redirect : public DatapathTest, public ::testing::WithParamInterface<RedirectCase> {};

TEST_P(Redirect, reaches_the_engine_and_the_application_notices_nothing) {
    const RedirectCase& row = GetParam();
    put_left();
    put_service(row.dialled, l7_service);
    beat();
    const UniqueFd engine4 = listen_outbound4();
    const UniqueFd engine6 = listen_outbound6();
    const bool v4 = row.dialled.address.is_v4();

    const Dialled client = dial(cable_.left, row.dialled, row.options);
    ASSERT_EQ(client.error, row.options.non_blocking ? EINPROGRESS : 0);
    const Accepted accepted = accept_at(v4 ? engine4.get() : engine6.get());
    ASSERT_TRUE(accepted.fd);

    // The engine reads where the client wanted to go from its own end.
    EXPECT_EQ(local_of(accepted.fd.get()), v4 ? at(service_loopback, WEFT_OUTBOUND_PORT) : row.dialled);
    EXPECT_EQ(peer_of(client.fd.get()), row.dialled);
    ASSERT_TRUE(local_of(client.fd.get()));
    EXPECT_EQ(local_of(client.fd.get())->address, at(row.shown_local, 0).address);
    EXPECT_EQ(local_of(client.fd.get())->port, accepted.peer->port);
    EXPECT_TRUE(talk(client.fd.get(), accepted.fd.get()));
    EXPECT_TRUE(talk(accepted.fd.get(), client.fd.get()));
    expect_counters({{"connect_redirected", 1}});
}

INSTANTIATE_TEST_SUITE_P(Connect, Redirect, ::testing::ValuesIn(redirect_cases()),
                         [](const auto& row) { return row.param.name; });

class Connect : public DatapathTest {
protected:
    /// Directly to an application in the other pod, nothing in between.
    void expect_direct(const SocketAddress& address, const SocketOptions& options = {}) {
        const UniqueFd server = listen_at(cable_.right, address, {.force_v6 = options.force_v6});
        const Dialled client = dial(cable_.left, address, options);
        ASSERT_EQ(client.error, 0);
        const Accepted accepted = accept_at(server.get());
        ASSERT_TRUE(accepted.fd);
        EXPECT_EQ(accepted.peer, local_of(client.fd.get()));
        EXPECT_EQ(peer_of(client.fd.get()), address);
        EXPECT_TRUE(talk(client.fd.get(), accepted.fd.get()));
    }
    void expect_refused(const SocketAddress& address, const SocketOptions& options = {}) {
        EXPECT_EQ(dial(cable_.left, address, options).error, ECONNREFUSED);
    }
};

TEST_F(Connect, of_a_pod_that_is_not_enrolled_is_untouched_and_uncounted) {
    put_service(at(right4, port), l7_service);
    put_service(at(right6, port), l7_service);
    beat();
    expect_direct(at(right4, port));
    expect_direct(at(right6, port));
    expect_counters({});
}

TEST_F(Connect, to_what_is_no_service_is_untouched) {
    put_left();
    put_service(at(right4, port + 1), l7_service);
    beat();
    expect_direct(at(right4, port));
    expect_direct(at(right6, port));
    expect_direct(at(right4, port), {.force_v6 = true});
    expect_counters({{"connect_untouched", 3}});
}

TEST_F(Connect, to_a_service_left_to_kube_proxy_is_untouched) {
    put_left();
    put_service(at(right4, port), {.id = service_id, .l7 = false, .translate = false, .backends = {at(right4, 1)}});
    expect_direct(at(right4, port));
    expect_counters({{"connect_untouched", 1}});
}

TEST_F(Connect, by_udp_is_untouched) {
    put_left();
    put_service(at(vip4, port), l7_service);
    put_service(at(vip6, port), l7_service);
    beat();
    for (const SocketAddress& address : {at(vip4, port), at(vip6, port)}) {
        const Dialled client = dial(cable_.left, address, {.type = SOCK_DGRAM});
        ASSERT_EQ(client.error, 0);
        EXPECT_EQ(peer_of(client.fd.get()), address);
        EXPECT_EQ(local_of(client.fd.get())->address, at(address.address.is_v4() ? left4 : left6, 0).address);
    }
    expect_counters({});
}

TEST_F(Connect, to_a_plain_service_picks_every_backend) {
    put_left();
    const UniqueFd first = listen_at(cable_.right, at(right4, 8001));
    const UniqueFd second = listen_at(cable_.right, at(right4, 8002));
    put_service(at(vip4, port),
                {.id = service_id, .l7 = false, .translate = true, .backends = {at(right4, 8001), at(right4, 8002)}});
    std::map<int, int> seen;
    constexpr int dials = 60; // each backend is missed with probability 2^-60
    for (int i = 0; i < dials; ++i) {
        const Dialled client = dial(cable_.left, at(vip4, port), {.force_v6 = i % 2 == 1});
        ASSERT_EQ(client.error, 0);
        EXPECT_EQ(peer_of(client.fd.get()), at(vip4, port));
        for (const UniqueFd* server : {&first, &second}) {
            const Accepted accepted = accept_at(server->get(), false);
            if (accepted.fd) {
                EXPECT_EQ(accepted.peer, local_of(client.fd.get()));
                ++seen[server->get()];
            }
        }
    }
    EXPECT_EQ(seen[first.get()] + seen[second.get()], dials);
    EXPECT_GT(seen[first.get()], 0);
    EXPECT_GT(seen[second.get()], 0);
    expect_counters({{"connect_translated", dials}});
}

TEST_F(Connect, to_a_plain_service_works_for_v6) {
    put_left();
    const UniqueFd server = listen_at(cable_.right, at(right6, 8001));
    put_service(at(vip6, port), {.id = service_id, .l7 = false, .translate = true, .backends = {at(right6, 8001)}});
    const Dialled client = dial(cable_.left, at(vip6, port), {.device = "eth0"});
    ASSERT_EQ(client.error, 0);
    EXPECT_TRUE(accept_at(server.get()).fd);
    EXPECT_EQ(peer_of(client.fd.get()), at(vip6, port));
    expect_counters({{"connect_translated", 1}});
}

TEST_F(Connect, to_a_service_without_backend_is_refused) {
    put_left();
    for (const char* vip : {vip4, vip6})
        put_service(at(vip, port), {.id = service_id, .l7 = false, .translate = true, .backends = {}});
    expect_refused(at(vip4, port));
    expect_refused(at(vip6, port));
    expect_refused(at(vip4, port), {.force_v6 = true});
    expect_counters({{"connect_refused_no_backend", 3}});
    expect_refusals(left_pod, "connect_refused_no_backend", 3);
}

TEST_F(Connect, finds_no_backend_in_a_set_that_is_gone_or_of_another_family) {
    put_left();
    const UniqueFd map = agent::bpf::open_pin(pin_dir() + "/services");
    agent::bpf::Map<abi::weft_service_key, abi::weft_service> services(map.get());
    abi::weft_service_key key{};
    std::memcpy(key.address.bytes, at(vip4, 0).address.bytes.data(), 16);
    key.port = htons(port);
    ASSERT_EQ(services.put(key, {.service_id = service_id,
                                 .backend_set = 4711,
                                 .backend_count = 3,
                                 .l7 = 0,
                                 .translate = 1,
                                 .fail_closed = 0,
                                 .pad = 0}),
              0);
    expect_refused(at(vip4, port));
    const UniqueFd backend_map = agent::bpf::open_pin(pin_dir() + "/backends");
    agent::bpf::Map<abi::weft_backend_key, abi::weft_backend> backends(backend_map.get());
    abi::weft_backend six{};
    std::memcpy(six.address.bytes, at(right6, 0).address.bytes.data(), 16);
    six.port = htons(port);
    for (uint32_t i = 0; i < 3; ++i)
        ASSERT_EQ(backends.put({.backend_set = 4711, .index = i}, six), 0);
    expect_refused(at(vip4, port));
    expect_counters({{"connect_refused_no_backend", 2}});
}

struct StaleCase {
    const char* name;
    uint64_t (*stamp)();
};
class Stale : public Connect, public ::testing::WithParamInterface<StaleCase> {};

/// The property is the service's: a client that is governed itself reaches what no policy governs.
TEST_P(Stale, engine_is_bypassed_where_no_policy_governs_the_service) {
    for (const bool client_is_governed : {false, true}) {
        put_left(client_is_governed);
        write_heartbeat(GetParam().stamp());
        put_service(at(right4, port), l7_service);
        put_service(at(vip4, port), {.id = service_id, .l7 = true, .translate = true, .backends = {at(right4, 8001)}});
        expect_direct(at(right4, port));
        const UniqueFd server = listen_at(cable_.right, at(right4, 8001));
        const Dialled client = dial(cable_.left, at(vip4, port));
        EXPECT_EQ(client.error, 0);
        EXPECT_TRUE(accept_at(server.get()).fd);
    }
    expect_counters({{"connect_bypassed_engine_stale", 4}, {"connect_translated", 2}});
}

TEST_P(Stale, engine_makes_a_service_that_a_policy_governs_refuse) {
    put_left(false);
    write_heartbeat(GetParam().stamp());
    put_service(at(vip4, port),
                {.id = service_id, .l7 = true, .translate = true, .fail_closed = true, .backends = {at(right4, 8001)}});
    put_service(at(vip6, port),
                {.id = service_id, .l7 = true, .translate = false, .fail_closed = true, .backends = {}});
    expect_refused(at(vip4, port));
    expect_refused(at(vip6, port));
    expect_counters({{"connect_refused_engine_stale", 2}});
    expect_refusals(left_pod, "connect_refused_engine_stale", 2);
}

INSTANTIATE_TEST_SUITE_P(Connect, Stale,
                         ::testing::Values(StaleCase{"never", [] { return uint64_t{0}; }},
                                           StaleCase{"past", [] { return monotonic_ns() - 61'000'000'000U; }},
                                           StaleCase{"future", [] { return monotonic_ns() + 100'000'000'000U; }}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_F(Connect, a_second_time_by_one_socket_forgets_the_first) {
    put_left();
    put_service(at(vip4, port), l7_service);
    beat();
    const UniqueFd engine = listen_outbound4();
    const UniqueFd server = listen_at(cable_.right, at(right4, port));
    const Dialled client = dial(cable_.left, at(vip4, port));
    ASSERT_EQ(client.error, 0);
    EXPECT_EQ(peer_of(client.fd.get()), at(vip4, port));
    disconnect(client.fd.get());
    ASSERT_EQ(connect_again(client.fd.get(), at(right4, port), false), 0);
    EXPECT_EQ(peer_of(client.fd.get()), at(right4, port));
    EXPECT_EQ(accept_at(server.get()).peer, local_of(client.fd.get()));
    expect_counters({{"connect_redirected", 1}, {"connect_untouched", 1}});
}

TEST_F(Connect, is_refused_if_the_kernel_has_no_memory_for_the_original_destination) {
    put_left();
    put_service(at(vip4, port), l7_service);
    put_service(at(vip6, port), {.id = service_id, .l7 = false, .translate = true, .backends = {at(right6, 1)}});
    beat();
    cable_.left.run([] { std::ofstream("/proc/sys/net/core/optmem_max") << "1"; });
    expect_refused(at(vip4, port));
    expect_refused(at(vip6, port));
    expect_counters({{"connect_refused_storage", 2}});
    expect_refusals(left_pod, "connect_refused_storage", 2);
}

TEST_F(Connect, to_the_engines_v6_port_by_hand_has_no_destination) {
    put_left();
    const UniqueFd engine = listen_outbound6();
    const Dialled client = dial(cable_.left, at("::1", WEFT_OUTBOUND_PORT));
    ASSERT_EQ(client.error, 0);
    const Accepted accepted = accept_at(engine.get());
    ASSERT_TRUE(accepted.fd);
    EXPECT_EQ(local_of(accepted.fd.get()), at("::1", WEFT_OUTBOUND_PORT));
    expect_counters({{"connect_untouched", 1}, {"handover_failed", 1}});
}

TEST_F(Connect, is_never_refused_while_the_agent_replaces_backend_sets) {
    put_left();
    const UniqueFd server = listen_at(cable_.right, at(right4, 8001));
    KernelState::Service service{.id = service_id, .l7 = false, .translate = true, .backends = {at(right4, 8001)}};
    put_service(at(vip4, port), service);
    constexpr int dials = 500;
    std::atomic<int> connected = 0;
    std::atomic<bool> done = false;
    const std::jthread dialler([&] {
        for (int i = 0; i < dials; ++i) {
            const Dialled client = dial(cable_.left, at(vip4, port));
            connected += client.error == 0 && accept_at(server.get()).fd ? 1 : 0;
        }
        done = true;
    });
    while (!done) {
        service.backends.assign(service.backends.size() % 3 + 1, at(right4, 8001));
        put_service(at(vip4, port), service);
    }
    EXPECT_EQ(connected, dials);
    expect_counters({{"connect_translated", dials}});
}

TEST_F(Connect, of_many_at_once_hands_each_v6_destination_to_its_own_connection) {
    put_left();
    constexpr int services = 8;
    constexpr int dials = 200;
    for (uint16_t i = 0; i < services; ++i)
        put_service(at(vip6, static_cast<uint16_t>(port + i)), l7_service);
    beat();
    const UniqueFd engine = listen_outbound6();
    const auto dial_many = [&] {
        for (int i = 0; i < dials; ++i) {
            const auto wanted = static_cast<uint16_t>(port + i % services);
            const Dialled client = dial(cable_.left, at(vip6, wanted));
            EXPECT_EQ(send(client.fd.get(), &wanted, sizeof(wanted), MSG_NOSIGNAL), ssize_t{sizeof(wanted)});
        }
    };
    const std::jthread first(dial_many);
    const std::jthread second(dial_many);
    for (int i = 0; i < 2 * dials; ++i) {
        const Accepted accepted = accept_at(engine.get());
        ASSERT_TRUE(accepted.fd);
        const auto shown = local_of(accepted.fd.get()); // before the client has said anything
        uint16_t wanted = 0;
        ASSERT_EQ(recv(accepted.fd.get(), &wanted, sizeof(wanted), MSG_WAITALL), ssize_t{sizeof(wanted)});
        EXPECT_EQ(shown, at(vip6, wanted));
    }
    EXPECT_EQ(entries("handovers", sizeof(abi::weft_handover_key)), 0U);
    expect_counters({{"connect_redirected", 2 * dials}});
}

} // namespace
} // namespace weft::test
