// SPDX-License-Identifier: Apache-2.0
// Inbound: what becomes of a connection that arrives in an enrolled pod, and which flows count as judged.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "agent/bpf/map.hpp"
#include "agent/bpf/pins.hpp"
#include "config/base/clock.hpp"
#include "tests/bpf/fixture.hpp"

namespace weft::test {
namespace {

using enum KernelState::PortAction;
constexpr uint16_t port = 8080;

abi::weft_flow_key flow_key(const SocketAddress& source, const SocketAddress& destination) {
    abi::weft_flow_key key{};
    std::memcpy(key.source.bytes, source.address.bytes.data(), 16);
    std::memcpy(key.destination.bytes, destination.address.bytes.data(), 16);
    key.source_port = htons(source.port);
    key.destination_port = htons(destination.port);
    return key;
}

class Steer : public DatapathTest, public ::testing::WithParamInterface<bool> {
protected:
    [[nodiscard]] SocketAddress server() const { return at(GetParam() ? right6 : right4, port); }
    void expect_reaches(const UniqueFd& listener, const SocketOptions& options = {}) {
        const Dialled client = dial(cable_.left, server(), options);
        ASSERT_EQ(client.error, 0);
        const Accepted accepted = accept_at(listener.get());
        ASSERT_TRUE(accepted.fd);
        // Steering changes no address: the engine learns server and client from the socket itself.
        EXPECT_EQ(local_of(accepted.fd.get()), server());
        EXPECT_EQ(accepted.peer, local_of(client.fd.get()));
        EXPECT_TRUE(talk(client.fd.get(), accepted.fd.get()));
        EXPECT_TRUE(talk(accepted.fd.get(), client.fd.get()));
    }
    void expect_refused() { EXPECT_EQ(dial(cable_.left, server()).error, ECONNREFUSED); }
};

TEST_P(Steer, takes_a_port_that_needs_l7_to_the_engine) {
    put_right(true);
    set_action(port, steer);
    beat();
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    const UniqueFd application = listen_at(cable_.right, server());
    expect_reaches(engine);
    EXPECT_FALSE(accept_at(application.get(), false).fd);
    expect_counters({{"inbound_steered", 1}});
}

TEST_P(Steer, shares_nothing_with_a_process_that_joins_the_listeners_reuseport_group) {
    put_right(true);
    set_action(port, steer);
    beat();
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    const UniqueFd thief = listen_at(cable_.right, at(GetParam() ? "::1" : "127.0.0.1", WEFT_INBOUND_PORT),
                                     {.v6_only = GetParam(), .reuse_port = true});
    constexpr int dials = 40; // a group would give the thief none of them with probability 2^-40
    for (int i = 0; i < dials; ++i) {
        const Dialled client = dial(cable_.left, server());
        ASSERT_EQ(client.error, 0);
        EXPECT_FALSE(accept_at(thief.get(), false).fd);
        ASSERT_TRUE(accept_at(engine.get(), false).fd);
    }
    expect_counters({{"inbound_steered", dials}});
}

TEST_P(Steer, takes_a_port_that_nobody_listens_on) {
    put_right(true);
    set_action(0, steer);
    beat();
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    expect_reaches(engine);
    expect_counters({{"inbound_steered", 1}});
}

TEST_P(Steer, prefers_a_ports_own_entry_to_the_one_for_all) {
    put_right(true);
    set_action(0, steer);
    set_action(port, pass);
    beat();
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    const UniqueFd application = listen_at(cable_.right, server());
    expect_reaches(application);
    expect_counters({{"inbound_passed", 1}});
}

TEST_P(Steer, passes_a_pod_without_entries) {
    put_right();
    const UniqueFd application = listen_at(cable_.right, server());
    expect_reaches(application);
    expect_counters({{"inbound_passed", 1}});
}

TEST_P(Steer, leaves_a_pod_alone_that_is_not_attached) {
    put_right();
    set_action(port, refuse);
    ASSERT_TRUE(datapath_->detach_pod(right_pod));
    ASSERT_TRUE(datapath_->detach_pod(right_pod));
    EXPECT_TRUE(datapath_->attached_pods().empty());
    const UniqueFd application = listen_at(cable_.right, server());
    ASSERT_TRUE(eventually([&] { return dial(cable_.left, server()).error == 0; }));
}

TEST_P(Steer, refuses_a_protocol_that_nobody_can_judge) {
    put_right();
    set_action(port, refuse);
    const UniqueFd application = listen_at(cable_.right, server());
    expect_refused();
    expect_counters({{"inbound_refused_protocol", 1}});
    expect_refusals(right_pod, "inbound_refused_protocol", 1);
    apply({agent::RemoveInboundPort{{right_pod, port}}});
    expect_reaches(application);
}

TEST_P(Steer, refuses_if_the_engine_is_silent_and_the_pod_fails_closed) {
    put_right(true);
    set_action(port, steer);
    write_heartbeat(monotonic_ns() - 61'000'000'000U);
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    const UniqueFd application = listen_at(cable_.right, server());
    expect_refused();
    expect_counters({{"inbound_refused_engine_stale", 1}});
    expect_refusals(right_pod, "inbound_refused_engine_stale", 1);
}

TEST_P(Steer, passes_if_the_engine_is_silent_and_the_pod_fails_open) {
    put_right(false);
    set_action(port, steer);
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    const UniqueFd application = listen_at(cable_.right, server());
    expect_reaches(application);
    expect_counters({{"inbound_bypassed_engine_stale", 1}});
}

TEST_P(Steer, refuses_without_a_listener_if_the_pod_fails_closed) {
    put_right(true);
    set_action(port, steer);
    beat();
    UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    engine.reset(); // the entry leaves the map with the socket
    const UniqueFd application = listen_at(cable_.right, server());
    expect_refused();
    expect_counters({{"inbound_refused_no_listener", 1}});
    expect_refusals(right_pod, "inbound_refused_no_listener", 1);
}

TEST_P(Steer, passes_without_a_listener_if_the_pod_fails_open) {
    put_right(false);
    set_action(port, steer);
    beat();
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    ASSERT_TRUE(
        datapath_->remove_listener(right_pod, GetParam() ? abi::WEFT_LISTENER_INBOUND6 : abi::WEFT_LISTENER_INBOUND4));
    const UniqueFd application = listen_at(cable_.right, server());
    expect_reaches(application);
    expect_counters({{"inbound_bypassed_no_listener", 1}});
}

TEST_P(Steer, refuses_connections_from_outside_to_our_own_ports) {
    put_right();
    const std::string address = GetParam() ? right6 : right4;
    for (const uint16_t own : {uint16_t{WEFT_OUTBOUND_PORT}, uint16_t{WEFT_INBOUND_PORT}}) {
        const UniqueFd anybody = listen_at(cable_.right, at(address, own));
        EXPECT_EQ(dial(cable_.left, at(address, own)).error, ECONNREFUSED);
    }
    expect_counters({{"inbound_refused_own_port", 2}});
    expect_refusals(right_pod, "inbound_refused_own_port", 2);
}

TEST_P(Steer, refuses_a_pods_own_connection_to_the_inbound_listener_but_not_to_the_outbound_one) {
    put_right();
    const UniqueFd inbound = listen_inbound(right_pod, cable_.right, GetParam());
    const std::string loopback = GetParam() ? "::1" : "127.0.0.1";
    const UniqueFd outbound = listen_at(cable_.right, at(loopback, WEFT_OUTBOUND_PORT));
    EXPECT_EQ(dial(cable_.right, at(loopback, WEFT_INBOUND_PORT)).error, ECONNREFUSED);
    EXPECT_EQ(dial(cable_.right, at(loopback, WEFT_OUTBOUND_PORT)).error, 0);
    Counters expected = {{"connect_untouched", 2}, {"inbound_refused_own_port", 1}, {"inbound_passed_self", 1}};
    if (GetParam())
        expected["handover_failed"] = 1; // nobody redirected it
    expect_counters(expected);
}

TEST_P(Steer, passes_a_pods_connections_to_itself) {
    put_right(true);
    set_action(0, steer);
    const UniqueFd application = listen_at(cable_.right, at("::", port));
    EXPECT_EQ(dial(cable_.right, server()).error, 0);
    EXPECT_EQ(dial(cable_.right, at(GetParam() ? "::1" : "127.0.0.1", port)).error, 0);
    expect_counters({{"connect_untouched", 2}, {"inbound_passed_self", 2}});
}

TEST_P(Steer, passes_a_pods_connections_between_two_of_its_addresses) {
    const char* second = GetParam() ? "fd77::22" : "10.77.0.22";
    cable_.right.ip(std::string("addr add ") + second + (GetParam() ? "/64 dev eth0 nodad\n" : "/24 dev eth0\n"));
    put_right(true);
    apply({agent::PutPod{
        cable_.right.cookie(),
        {.id = right_pod, .fail_closed = true, .addresses = {server().address, at(second, 0).address}}}});
    set_action(0, steer);
    const UniqueFd application = listen_at(cable_.right, at("::", port));
    EXPECT_EQ(dial(cable_.right, server(), {.bind = at(second, 0)}).error, 0);
    expect_counters({{"connect_untouched", 1}, {"inbound_passed_self", 1}});
}

TEST_P(Steer, refuses_an_unknown_address_of_a_pod_only_if_it_has_ports_to_judge) {
    const SocketAddress hidden = at(GetParam() ? "fd77::33" : "10.77.0.33", port);
    cable_.right.ip("addr add " + hidden.address.to_string() +
                    (GetParam() ? "/64 dev eth0 nodad\n" : "/24 dev eth0\n"));
    put_right(true);
    const UniqueFd application = listen_at(cable_.right, hidden);
    EXPECT_EQ(dial(cable_.left, hidden).error, 0);
    set_action(port + 1, steer);
    EXPECT_EQ(dial(cable_.left, hidden).error, ECONNREFUSED);
    set_action(port + 1, pass);
    EXPECT_EQ(dial(cable_.left, hidden).error, 0);
    expect_counters({{"inbound_passed_unknown_address", 2}, {"inbound_refused_unknown_address", 1}});
    expect_refusals(0, "inbound_refused_unknown_address", 1);
}

TEST_P(Steer, refuses_an_unknown_address_of_a_pod_that_had_ports_to_judge_before_it_was_attached) {
    const SocketAddress hidden = at(GetParam() ? "fd77::33" : "10.77.0.33", port);
    cable_.right.ip("addr add " + hidden.address.to_string() +
                    (GetParam() ? "/64 dev eth0 nodad\n" : "/24 dev eth0\n"));
    set_action(port, refuse);
    put_right(true);
    const UniqueFd application = listen_at(cable_.right, hidden);
    EXPECT_EQ(dial(cable_.left, hidden).error, ECONNREFUSED);
    ASSERT_NO_FATAL_FAILURE(reopen()); // the adopted link must run the strict program again
    EXPECT_EQ(dial(cable_.left, hidden).error, ECONNREFUSED);
    expect_counters({{"inbound_refused_unknown_address", 2}});
}

TEST_P(Steer, passes_the_engines_flows_as_judged_and_forgets_them_when_they_close) {
    put_right(true);
    set_action(port, steer);
    beat();
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    const UniqueFd application = listen_at(cable_.right, server());
    {
        const Dialled upstream = dial(cable_.left, server(), engine_socket());
        ASSERT_EQ(upstream.error, 0);
        const Accepted accepted = accept_at(application.get());
        ASSERT_TRUE(accepted.fd);
        EXPECT_EQ(accepted.peer, local_of(upstream.fd.get()));
        EXPECT_EQ(entries("flows", sizeof(abi::weft_flow_key)), 1U);
        expect_counters({{"connect_engine", 1}, {"flow_recorded", 1}, {"inbound_passed_judged", 1}});
    }
    EXPECT_TRUE(eventually([] { return entries("flows", sizeof(abi::weft_flow_key)) == 0; }));
}

TEST_P(Steer, forgets_a_judged_flow_whose_connect_failed) {
    put_right(true);
    EXPECT_EQ(dial(cable_.left, server(), engine_socket()).error, ECONNREFUSED);
    expect_counters({{"connect_engine", 1}, {"flow_recorded", 1}, {"inbound_passed_judged", 1}});
    EXPECT_EQ(entries("flows", sizeof(abi::weft_flow_key)), 0U);
}

TEST_P(Steer, gives_no_judged_flow_to_another_socket_with_the_same_addresses) {
    put_right(true);
    set_action(port, steer);
    beat();
    const SocketAddress source = at(GetParam() ? left6 : left4, 40123);
    const UniqueFd fd = agent::bpf::open_pin(pin_dir() + "/flows");
    agent::bpf::Map<abi::weft_flow_key, uint8_t> flows(fd.get());
    ASSERT_EQ(flows.put(flow_key(source, server()), WEFT_FLOW_JUDGED), 0);
    const UniqueFd engine = listen_inbound(right_pod, cable_.right, GetParam());
    const UniqueFd application = listen_at(cable_.right, server());
    expect_reaches(engine, {.bind = source});
    expect_counters({{"inbound_steered", 1}});
    EXPECT_EQ(entries("flows", sizeof(abi::weft_flow_key)), 0U);
}

INSTANTIATE_TEST_SUITE_P(Inbound, Steer, ::testing::Bool(),
                         [](const auto& row) { return std::string(row.param ? "v6" : "v4"); });

// ---------------------------------------------------------------- the real client at the application

struct DialCase {
    const char* name;
    const char* client;      ///< the real client's address
    const char* destination; ///< the application's
    const char* listen;      ///< what the application bound
    int shown_family;        ///< of accept()
};

class Dial : public DatapathTest, public ::testing::WithParamInterface<DialCase> {};

constexpr uint32_t slot = 4095;

SocketAddress slot_address(bool v6, uint32_t number) {
    if (!v6)
        return {IpAddress::v4(htonl(uint32_t{WEFT_DIAL_PREFIX4} << 24 | number)), WEFT_DIAL_PORT};
    SocketAddress out = at("100::", WEFT_DIAL_PORT);
    const uint32_t order = htonl(number);
    std::memcpy(out.address.bytes.data() + 12, &order, 4);
    return out;
}

TEST_P(Dial, shows_the_application_the_real_client) {
    const DialCase& row = GetParam();
    put_right(true);
    set_action(0, steer);
    const SocketAddress client = at(row.client, 43210);
    const SocketAddress destination = at(row.destination, port);
    const UniqueFd application = listen_at(cable_.right, at(row.listen, port));
    fill_slot(slot, client, destination);

    const Dialled upstream =
        dial(cable_.right, slot_address(!destination.address.is_v4(), slot), engine_socket_of_slot(slot));
    ASSERT_EQ(upstream.error, 0);
    const Accepted accepted = accept_at(application.get());
    ASSERT_TRUE(accepted.fd);
    EXPECT_EQ(accepted.peer, client);
    EXPECT_EQ(accepted.family, row.shown_family);
    EXPECT_EQ(peer_of(accepted.fd.get()), client);
    EXPECT_EQ(local_of(accepted.fd.get()), destination);
    EXPECT_EQ(peer_of(upstream.fd.get()), destination);
    EXPECT_TRUE(talk(upstream.fd.get(), accepted.fd.get()));
    EXPECT_TRUE(talk(accepted.fd.get(), upstream.fd.get()));
    expect_counters({{"connect_engine_inbound", 1}, {"flow_recorded", 1}, {"inbound_passed_self", 1}});
}

INSTANTIATE_TEST_SUITE_P(Inbound, Dial,
                         ::testing::Values(DialCase{"v4", "10.77.0.1", right4, right4, AF_INET},
                                           DialCase{"v6", "fd77::1", right6, right6, AF_INET6},
                                           DialCase{"v4_to_dual_stack_listener", "10.77.0.1", right4, "::", AF_INET6},
                                           DialCase{"v6_to_dual_stack_listener", "fd77::1", right6, "::", AF_INET6},
                                           DialCase{"to_loopback_only_listener", "10.77.0.1", "127.0.0.1", "127.0.0.1",
                                                    AF_INET}),
                         [](const auto& row) { return std::string(row.param.name); });

class DialSlots : public DatapathTest {};

/// The kernel dials a secondary address from the primary one: source and destination differ.
TEST_F(DialSlots, show_the_client_also_behind_a_pods_second_address) {
    const SocketAddress second = at("10.77.0.22", port);
    cable_.right.ip("addr add 10.77.0.22/24 dev eth0\n");
    put_right(true);
    const UniqueFd application = listen_at(cable_.right, second);
    fill_slot(1, at(left4, 1000), second);
    const Dialled upstream = dial(cable_.right, slot_address(false, 1), engine_socket_of_slot(1));
    ASSERT_EQ(upstream.error, 0);
    EXPECT_EQ(local_of(upstream.fd.get())->address, at(right4, 0).address);
    EXPECT_EQ(accept_at(application.get()).peer, at(left4, 1000));
}

TEST_F(DialSlots, that_are_empty_missing_or_of_another_family_are_refused) {
    put_right(true);
    const SocketAddress client = at(left4, 1000);
    const UniqueFd application = listen_at(cable_.right, at("::", port));
    fill_slot(1, client, at(right4, port), 0);
    fill_slot(2, client, at(right6, port));
    fill_slot(3, client, at(right4, 0));
    fill_slot(4, client, at(right4, port));
    const auto expect_refused = [&](bool v6, uint32_t number, const SocketOptions& options) {
        EXPECT_EQ(dial(cable_.right, slot_address(v6, number), options).error, ECONNREFUSED) << number;
    };
    for (const uint32_t number : {1U, 2U, 3U})
        expect_refused(false, number, engine_socket_of_slot(number));
    for (const uint32_t number : {1U, 4U})
        expect_refused(true, number, engine_socket_of_slot(number));
    for (const uint32_t number : {uint32_t{WEFT_DIAL_SLOTS_MAX}, 0x00ffffffU})
        expect_refused(false, number, engine_socket());
    for (const uint32_t number : {uint32_t{WEFT_DIAL_SLOTS_MAX}, 0xffffffffU})
        expect_refused(true, number, engine_socket());
    expect_counters({{"connect_refused_bad_slot", 9}});
}

/// Two engines that both believe that a slot is theirs: the later one has filled it, the earlier one connects.
TEST_F(DialSlots, that_were_filled_for_another_socket_are_refused) {
    put_right(true);
    const UniqueFd application = listen_at(cable_.right, at("::", port));
    for (const char* destination : {right4, right6}) {
        const SocketAddress to = at(destination, port);
        const bool v6 = !to.address.is_v4();
        fill_slot(1, at(left4, 1000), to);
        SocketOptions early = engine_socket_of_slot(1);
        early.before = [this, fill = early.before](int fd) {
            fill(fd);
            const SocketOptions late = engine_socket_of_slot(1);
            const UniqueFd other(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            late.before(other.get());
        };
        EXPECT_EQ(dial(cable_.right, slot_address(v6, 1), early).error, ECONNREFUSED);
        EXPECT_EQ(dial(cable_.right, slot_address(v6, 1), engine_socket()).error, ECONNREFUSED);
        EXPECT_FALSE(accept_at(application.get(), false).fd);
        EXPECT_EQ(dial(cable_.right, slot_address(v6, 1), engine_socket_of_slot(1)).error, 0);
        EXPECT_TRUE(accept_at(application.get()).fd);
    }
    expect_counters({{"connect_refused_bad_slot", 4},
                     {"connect_engine_inbound", 2},
                     {"flow_recorded", 2},
                     {"inbound_passed_self", 2}});
}

/// 240/4 is reserved, not forbidden: there are networks that number their pods from it.
TEST_F(DialSlots, are_known_by_their_port_too) {
    cable_.right.ip("addr add 240.0.0.1/32 dev eth0\naddr add 100::1/128 dev eth0 nodad\n");
    put_right(true);
    fill_slot(1, at(left4, 1000), at(right4, port));
    for (const char* address : {"240.0.0.1", "100::1"}) {
        const UniqueFd application = listen_at(cable_.right, at(address, port));
        EXPECT_EQ(dial(cable_.right, at(address, port), engine_socket()).error, 0);
        EXPECT_TRUE(accept_at(application.get()).fd);
    }
    expect_counters({{"connect_engine", 2}, {"flow_recorded", 2}, {"inbound_passed_self", 2}});
}

TEST_F(DialSlots, are_nothing_to_a_socket_that_is_not_the_engines) {
    put_right(true);
    const UniqueFd application = listen_at(cable_.right, at("::", port));
    fill_slot(1, at(left4, 1000), at(right4, port));
    EXPECT_NE(dial(cable_.right, slot_address(false, 1), {.non_blocking = true}).error, 0);
    EXPECT_FALSE(accept_at(application.get(), false).fd);
    expect_counters({{"connect_untouched", 1}});
}

TEST_F(DialSlots, leave_no_false_client_behind_for_the_next_connection) {
    put_right(true);
    fill_slot(1, at(left4, 1000), at(right4, port));
    // Nobody listens: the dial fails, and what it handed over must go with it.
    SocketOptions options = engine_socket_of_slot(1);
    options.bind = at(right4, 40124);
    ASSERT_EQ(dial(cable_.right, slot_address(false, 1), options).error, ECONNREFUSED);
    const UniqueFd application = listen_at(cable_.right, at(right4, port));
    const Dialled own = dial(cable_.right, at(right4, port), {.bind = at(right4, 40124)});
    ASSERT_EQ(own.error, 0);
    EXPECT_EQ(accept_at(application.get()).peer, at(right4, 40124));
}

TEST_F(DialSlots, can_be_left_by_the_same_socket_for_an_ordinary_dial) {
    put_right(true);
    fill_slot(1, at(left4, 1000), at(right4, port));
    const Dialled upstream = dial(cable_.right, slot_address(false, 1), engine_socket_of_slot(1));
    ASSERT_EQ(upstream.error, ECONNREFUSED);
    const UniqueFd application = listen_at(cable_.left, at(left4, port));
    ASSERT_EQ(connect_again(upstream.fd.get(), at(left4, port), false), 0);
    EXPECT_EQ(accept_at(application.get()).peer, local_of(upstream.fd.get()));
    // The slot's client is not the client of this connection.
    EXPECT_EQ(entries("handovers", sizeof(abi::weft_handover_key)), 0U);
    expect_counters(
        {{"connect_engine_inbound", 1}, {"connect_engine", 1}, {"flow_recorded", 2}, {"inbound_passed_self", 1}});
}

} // namespace
} // namespace weft::test
