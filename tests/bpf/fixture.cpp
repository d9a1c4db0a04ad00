// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/fixture.hpp"

#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cstring>

#include "agent/bpf/map.hpp"
#include "agent/bpf/pins.hpp"
#include "config/base/clock.hpp"

namespace weft::test {

using agent::bpf::Datapath;

void DatapathTest::SetUp() {
    ASSERT_TRUE(Datapath::cleanup(pin_dir()));
    auto opened = Datapath::open(settings());
    ASSERT_TRUE(opened) << opened.error();
    datapath_ = std::make_unique<Datapath>(std::move(*opened));
}

void DatapathTest::TearDown() {
    datapath_.reset();
    const auto cleaned = Datapath::cleanup(pin_dir());
    EXPECT_TRUE(cleaned) << cleaned.error();
}

agent::bpf::DatapathSettings DatapathTest::settings() {
    return {.pin_dir = pin_dir(), .cgroup = lab_cgroup(), .engine_timeout_ns = 60'000'000'000};
}

void DatapathTest::reopen() {
    datapath_.reset();
    auto opened = Datapath::open(settings());
    ASSERT_TRUE(opened) << opened.error();
    datapath_ = std::make_unique<Datapath>(std::move(*opened));
}

void DatapathTest::apply(const std::vector<MapOperation>& operations) {
    const auto applied = datapath_->apply(operations);
    ASSERT_TRUE(applied) << to_string(applied.error());
}

void DatapathTest::put_left(bool fail_closed) {
    apply({agent::PutPod{
        cable_.left.cookie(),
        {.id = left_pod, .fail_closed = fail_closed, .addresses = {at(left4, 0).address, at(left6, 0).address}}}});
}

void DatapathTest::put_right(bool fail_closed) {
    apply({agent::PutPod{
        cable_.right.cookie(),
        {.id = right_pod, .fail_closed = fail_closed, .addresses = {at(right4, 0).address, at(right6, 0).address}}}});
    const auto attached = datapath_->attach_pod(right_pod, cable_.right.fd());
    ASSERT_TRUE(attached) << to_string(attached.error());
}

void DatapathTest::put_service(const SocketAddress& address, const KernelState::Service& service) {
    apply({agent::PutService{address, service}});
}

void DatapathTest::set_action(uint16_t port, KernelState::PortAction action, uint32_t pod_id) {
    apply({agent::PutInboundPort{{pod_id, port}, action}});
}

void DatapathTest::write_heartbeat(uint64_t stamp) {
    // Through mmap, as the engine does it.
    void* memory = mmap(nullptr, sizeof(abi::weft_engine_state), PROT_READ | PROT_WRITE, MAP_SHARED,
                        datapath_->engine_state_fd(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    static_cast<volatile abi::weft_engine_state*>(memory)->heartbeat_ns = stamp;
    munmap(memory, sizeof(abi::weft_engine_state));
    ASSERT_EQ(datapath_->heartbeat_ns(), stamp);
}

void DatapathTest::beat() {
    write_heartbeat(monotonic_ns());
}

void DatapathTest::expect_counters(const Counters& expected) {
    Counters actual;
    for (const auto& counter : datapath_->counters()) {
        if (counter.value != 0)
            actual[counter.name] = counter.value;
    }
    EXPECT_EQ(actual, expected);
}

void DatapathTest::expect_refusals(uint32_t pod_id, const std::string& counter, uint64_t expected) {
    uint64_t actual = 0;
    for (const auto& refusals : datapath_->pod_refusals()) {
        if (refusals.pod_id == pod_id && refusals.counter == counter)
            actual += refusals.value;
    }
    EXPECT_EQ(actual, expected) << counter;
}

size_t DatapathTest::entries(const std::string& map, uint32_t key_bytes) {
    const UniqueFd fd = agent::bpf::open_pin(pin_dir() + "/" + map);
    agent::bpf::RawMap walked(fd.get(), key_bytes);
    walked.recount();
    return walked.entries();
}

UniqueFd DatapathTest::listen_outbound4() {
    return listen_at(cable_.left, at("0.0.0.0", WEFT_OUTBOUND_PORT), {.device = "lo"});
}

UniqueFd DatapathTest::listen_outbound6() {
    return listen_at(cable_.left, at("::1", WEFT_OUTBOUND_PORT), {.v6_only = true});
}

UniqueFd DatapathTest::listen_inbound(uint32_t pod_id, const Netns& netns, bool v6) {
    UniqueFd listener = listen_at(netns, at(v6 ? "::1" : "127.0.0.1", WEFT_INBOUND_PORT),
                                  {.v6_only = v6, .reuse_port = true}); // as the agent makes it
    const auto set =
        datapath_->set_listener(pod_id, v6 ? abi::WEFT_LISTENER_INBOUND6 : abi::WEFT_LISTENER_INBOUND4, listener.get());
    EXPECT_TRUE(set) << to_string(set.error());
    return listener;
}

SocketOptions DatapathTest::engine_socket() {
    return {.before = [this](int fd) {
        const auto marked = datapath_->mark_engine_socket(fd);
        EXPECT_TRUE(marked) << to_string(marked.error());
    }};
}

SocketOptions DatapathTest::engine_socket_of_slot(uint32_t slot) {
    return {.before = [this, slot, mark = engine_socket().before](int fd) {
        mark(fd);
        on_slot(slot, [fd](abi::weft_dial_slot& out) {
            socklen_t bytes = sizeof(out.socket_cookie);
            EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &out.socket_cookie, &bytes), 0);
        });
    }};
}

void DatapathTest::fill_slot(uint32_t slot, const SocketAddress& client, const SocketAddress& destination,
                             uint32_t used) {
    on_slot(slot, [&](abi::weft_dial_slot& out) {
        std::memcpy(out.client.bytes, client.address.bytes.data(), 16);
        std::memcpy(out.destination.bytes, destination.address.bytes.data(), 16);
        out.client_port = htons(client.port);
        out.destination_port = htons(destination.port);
        out.used = used;
    });
}

void DatapathTest::on_slot(uint32_t slot, const std::function<void(abi::weft_dial_slot&)>& act) {
    constexpr size_t bytes = sizeof(abi::weft_dial_slot) * WEFT_DIAL_SLOTS_MAX;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, datapath_->dial_slots_fd(), 0);
    ASSERT_NE(memory, MAP_FAILED);
    act(static_cast<abi::weft_dial_slot*>(memory)[slot]);
    munmap(memory, bytes);
}

} // namespace weft::test
