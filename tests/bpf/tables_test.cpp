// SPDX-License-Identifier: Apache-2.0
// Operations on the maps: what is put is read back, nothing half, a full map is a clear error; and the layout itself.
#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "agent/bpf/layout.hpp"
#include "agent/bpf/loader.hpp"
#include "agent/bpf/pins.hpp"
#include "agent/bpf/tables.hpp"
#include "tests/bpf/fixture.hpp"

namespace weft::test {
namespace {

using agent::PutInboundPort;
using agent::PutPod;
using agent::PutService;
using agent::RemoveInboundPort;
using agent::RemovePod;
using agent::RemoveService;
using enum KernelState::PortAction;

class TablesTest : public DatapathTest {
protected:
    [[nodiscard]] std::map<std::string, uint32_t> used() const {
        std::map<std::string, uint32_t> out;
        for (const auto& map : datapath_->usage()) {
            if (map.entries != 0)
                out[map.name] = map.entries;
        }
        return out;
    }
    void expect_failure(const MapOperation& operation, Code code, const std::string& during) {
        const KernelState before = datapath_->current();
        const auto used_before = used();
        const auto applied = datapath_->apply({{operation}});
        ASSERT_FALSE(applied);
        EXPECT_EQ(applied.error().code, code) << to_string(applied.error());
        EXPECT_NE(std::string(applied.error().during).find(during), std::string::npos) << applied.error().during;
        EXPECT_EQ(datapath_->current(), before);
        EXPECT_EQ(used(), used_before);
    }
};

const KernelState::Pod pod_a{.id = 1, .fail_closed = false, .addresses = {at("10.0.0.1", 0).address}};
const KernelState::Pod pod_b{
    .id = 2, .fail_closed = true, .addresses = {at("10.0.0.2", 0).address, at("fd00::2", 0).address}};
const KernelState::Service plain{
    .id = 0x10000, .l7 = false, .translate = true, .backends = {at("10.0.0.1", 80), at("10.0.0.2", 80)}};
const KernelState::Service l7{.id = 0xffffff, .l7 = true, .translate = false, .backends = {}};

TEST_F(TablesTest, read_back_what_was_put_and_hold_nothing_after_its_removal) {
    KernelState wanted;
    wanted.pods = {{11, pod_a}, {12, pod_b}};
    wanted.inbound_ports = {{{1, 0}, steer}, {{1, 80}, pass}, {{2, 443}, refuse}};
    wanted.services = {{at("10.96.0.1", 80), plain}, {at("fd96::1", 80), l7}};
    const std::vector<MapOperation> put = {PutPod{11, pod_a},
                                           PutPod{12, pod_b},
                                           PutInboundPort{{1, 0}, steer},
                                           PutInboundPort{{1, 80}, pass},
                                           PutInboundPort{{2, 443}, refuse},
                                           PutService{at("10.96.0.1", 80), plain},
                                           PutService{at("fd96::1", 80), l7}};
    const std::map<std::string, uint32_t> used_wanted = {
        {"pods", 2}, {"pod_addresses", 3}, {"inbound_ports", 3}, {"services", 2}, {"backends", 2}};
    for (int i = 0; i < 2; ++i) { // twice: each operation is idempotent
        apply(put);
        EXPECT_EQ(datapath_->current(), wanted);
        EXPECT_EQ(used(), used_wanted);
    }
    ASSERT_NO_FATAL_FAILURE(reopen());
    EXPECT_EQ(datapath_->current(), wanted);
    EXPECT_EQ(used(), used_wanted);
    const std::vector<MapOperation> remove = {RemoveService{at("10.96.0.1", 80)},
                                              RemoveService{at("fd96::1", 80)},
                                              RemoveInboundPort{{1, 0}},
                                              RemoveInboundPort{{1, 80}},
                                              RemoveInboundPort{{2, 443}},
                                              RemovePod{11, pod_a},
                                              RemovePod{12, pod_b}};
    for (int i = 0; i < 2; ++i) {
        apply(remove);
        EXPECT_EQ(datapath_->current(), KernelState{});
        EXPECT_EQ(used(), (std::map<std::string, uint32_t>{}));
    }
}

TEST_F(TablesTest, a_changed_pod_loses_the_addresses_that_it_no_longer_has) {
    apply({PutPod{12, pod_b}});
    KernelState::Pod changed = pod_b;
    changed.addresses = {at("10.0.0.9", 0).address};
    changed.fail_closed = false;
    apply({PutPod{12, changed}});
    EXPECT_EQ(datapath_->current().pods, (std::map<uint64_t, KernelState::Pod>{{12, changed}}));
    EXPECT_EQ(used()["pod_addresses"], 1U);
}

TEST_F(TablesTest, an_address_that_went_to_another_pod_stays_with_it) {
    apply({PutPod{11, pod_a}});
    KernelState::Pod heir = pod_a;
    heir.id = 5;
    apply({PutPod{15, heir}, RemovePod{11, pod_a}});
    EXPECT_EQ(used()["pod_addresses"], 1U);
    ASSERT_NO_FATAL_FAILURE(reopen());
    EXPECT_EQ(datapath_->current().pods, (std::map<uint64_t, KernelState::Pod>{{15, heir}}));
}

TEST_F(TablesTest, a_changed_service_replaces_its_whole_set) {
    const SocketAddress address = at("10.96.0.1", 80);
    apply({PutService{address, plain}});
    KernelState::Service changed = plain;
    changed.backends = {at("10.0.0.3", 81)};
    apply({PutService{address, changed}});
    EXPECT_EQ(datapath_->current().services.at(address), changed);
    EXPECT_EQ(used()["backends"], 1U);
}

TEST_F(TablesTest, a_set_that_an_interrupted_run_left_is_removed_at_adoption) {
    apply({PutService{at("10.96.0.1", 80), plain}});
    const UniqueFd fd = agent::bpf::open_pin(pin_dir() + "/backends");
    agent::bpf::Map<abi::weft_backend_key, abi::weft_backend> backends(fd.get());
    for (uint32_t i = 0; i < 3; ++i)
        ASSERT_EQ(backends.put({.backend_set = 900, .index = i}, {}), 0);
    ASSERT_NO_FATAL_FAILURE(reopen());
    EXPECT_EQ(used()["backends"], 2U);
    EXPECT_EQ(datapath_->current().services.at(at("10.96.0.1", 80)), plain);
}

TEST_F(TablesTest, refusals_of_a_pod_go_with_it) {
    const UniqueFd fd = agent::bpf::open_pin(pin_dir() + "/pod_refusals");
    const abi::weft_pod_counter_key key{.pod_id = 1, .counter = abi::WEFT_COUNTER_inbound_refused_protocol};
    const std::vector<uint64_t> values(1024, 1);
    ASSERT_EQ(bpf_map_update_elem(fd.get(), &key, values.data(), BPF_ANY), 0);
    apply({PutPod{11, pod_a}});
    EXPECT_EQ(datapath_->pod_refusals().size(), 1U);
    apply({RemovePod{11, pod_a}});
    EXPECT_TRUE(datapath_->pod_refusals().empty());
}

TEST_F(TablesTest, operations_that_break_the_contract_are_refused_whole) {
    const SocketAddress address = at("10.96.0.1", 80);
    const auto service = [](auto change) {
        KernelState::Service out = plain;
        change(out);
        return out;
    };
    const std::vector<std::pair<MapOperation, std::string>> rows = {
        {PutPod{0, pod_a}, "put_pod"},
        {PutPod{11, {.id = 0, .fail_closed = false, .addresses = {}}}, "put_pod"},
        {PutInboundPort{{0, 80}, steer}, "put_inbound_port"},
        {PutService{at("10.96.0.1", 0), plain}, "put_service"},
        {PutService{address, service([](auto& s) { s.id = WEFT_SERVICE_ID_MIN - 1; })}, "put_service"},
        {PutService{address, service([](auto& s) { s.id = WEFT_SERVICE_IDS_MAX + 1; })}, "put_service"},
        {PutService{address, service([](auto& s) { s.backends[1] = at("fd00::1", 80); })}, "put_service"},
        {PutService{address, service([](auto& s) { s.backends[1].port = 0; })}, "put_service"},
    };
    for (const auto& [operation, during] : rows)
        expect_failure(operation, Code::invalid, during);
}

TEST_F(TablesTest, a_full_map_is_an_error_that_names_it_and_changes_nothing) {
    const auto address = [](uint32_t number) { return IpAddress::v4(htonl(0x0a000000U + number)); };
    std::vector<MapOperation> pods;
    for (uint32_t i = 1; i <= WEFT_PODS_MAX; ++i)
        pods.emplace_back(PutPod{i, {.id = i, .fail_closed = false, .addresses = {address(i)}}});
    apply(pods);
    const uint32_t next = WEFT_PODS_MAX + 1;
    expect_failure(PutPod{next, {.id = next, .fail_closed = false, .addresses = {address(next)}}}, Code::too_large,
                   "map pods");
    KernelState::Pod rich{.id = 1, .fail_closed = true, .addresses = {}};
    for (uint32_t i = 0; i < WEFT_ADDRESSES_MAX; ++i)
        rich.addresses.push_back(address(0x10000 + i));
    const auto applied = datapath_->apply({{PutPod{1, rich}}});
    ASSERT_FALSE(applied);
    EXPECT_EQ(applied.error().code, Code::too_large);
    EXPECT_STREQ(applied.error().during, "put_pod: map pod_addresses");
    EXPECT_EQ(datapath_->current().pods.at(1).addresses, std::vector<IpAddress>{address(1)});
    EXPECT_EQ(used()["pod_addresses"], uint32_t{WEFT_PODS_MAX});
}

TEST_F(TablesTest, too_many_ports_or_backends_are_errors_that_name_the_map) {
    std::vector<MapOperation> ports;
    for (uint32_t i = 0; i < WEFT_INBOUND_PORTS_MAX; ++i)
        ports.emplace_back(PutInboundPort{{1, static_cast<uint16_t>(i)}, pass});
    apply(ports);
    expect_failure(PutInboundPort{{2, 80}, refuse}, Code::too_large, "map inbound_ports");

    KernelState::Service broad = plain;
    broad.backends.assign(WEFT_BACKENDS_PER_SERVICE_MAX + 1, at("10.0.0.1", 80));
    expect_failure(PutService{at("10.96.0.1", 80), broad}, Code::too_large, "backends of one service");
    broad.backends.pop_back();
    const uint32_t fitting = WEFT_BACKENDS_MAX / WEFT_BACKENDS_PER_SERVICE_MAX;
    for (uint32_t i = 0; i < fitting; ++i)
        apply({PutService{at("10.96.0.2", static_cast<uint16_t>(1000 + i)), broad}});
    expect_failure(PutService{at("10.96.0.1", 80), plain}, Code::too_large, "map backends");
}

// ---------------------------------------------------------------- layout

struct Size {
    uint32_t key;
    uint32_t value;
    uint32_t entries_max;
    bool operator==(const Size&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Size& size) {
    return out << size.key << "/" << size.value << "/" << size.entries_max;
}

const std::map<std::string, Size> sizes = {
    {"layout", {4, sizeof(abi::weft_layout), 1}},
    {"pods", {8, sizeof(abi::weft_pod), WEFT_PODS_MAX}},
    {"pod_addresses", {sizeof(abi::weft_address), sizeof(abi::weft_pod_ref), WEFT_ADDRESSES_MAX}},
    {"inbound_ports", {sizeof(abi::weft_port_key), sizeof(abi::weft_port_action), WEFT_INBOUND_PORTS_MAX}},
    {"kubelets", {4, sizeof(abi::weft_kubelet), 1}},
    {"services", {sizeof(abi::weft_service_key), sizeof(abi::weft_service), WEFT_SERVICES_MAX}},
    {"backends", {sizeof(abi::weft_backend_key), sizeof(abi::weft_backend), WEFT_BACKENDS_MAX}},
    {"listeners", {sizeof(abi::weft_listener_key), 8, WEFT_LISTENERS_MAX}},
    {"sockets", {4, sizeof(abi::weft_socket), 0}},
    {"inbound_marks", {4, 4, 0}},
    {"flows", {sizeof(abi::weft_flow_key), 1, WEFT_FLOWS_MAX}},
    {"handovers", {sizeof(abi::weft_handover_key), sizeof(abi::weft_socket), WEFT_HANDOVERS_MAX}},
    {"dial_slots", {4, sizeof(abi::weft_dial_slot), WEFT_DIAL_SLOTS_MAX}},
    {"engine_state", {4, sizeof(abi::weft_engine_state), 1}},
    {"counters", {4, 8, WEFT_COUNTER_ENTRIES}},
    {"pod_refusals", {sizeof(abi::weft_pod_counter_key), 8, WEFT_POD_REFUSALS_MAX}},
};

TEST_F(TablesTest, every_map_in_the_kernel_has_the_sizes_of_the_header) {
    std::map<std::string, Size> actual;
    for (const std::string& name : agent::bpf::datapath_map_names()) {
        const UniqueFd map = agent::bpf::open_pin(pin_dir() + "/" + name);
        bpf_map_info info{};
        uint32_t bytes = sizeof(info);
        ASSERT_EQ(bpf_obj_get_info_by_fd(map.get(), &info, &bytes), 0) << name;
        actual[name] = {info.key_size, info.value_size, info.max_entries};
    }
    EXPECT_EQ(actual, sizes);
}

TEST_F(TablesTest, the_folder_holds_all_maps_and_links_and_nothing_else) {
    std::set<std::string> expected = {"link_connect4",     "link_connect6",     "link_flows",       "link_getpeername4",
                                      "link_getpeername6", "link_getsockname4", "link_getsockname6"};
    for (const auto& [name, size] : sizes)
        expected.insert(name);
    const std::vector<std::string> pins = agent::bpf::list_pins(pin_dir());
    EXPECT_EQ(std::set<std::string>(pins.begin(), pins.end()), expected);
}

TEST_F(TablesTest, the_documentation_names_every_map_port_and_counter) {
    std::ifstream file("docs/ports-and-maps.md");
    std::stringstream text;
    text << file.rdbuf();
    ASSERT_FALSE(text.str().empty()) << "run from the top of the tree";
    const auto names = [&](const std::string& what) { return text.str().find(what) != std::string::npos; };
    for (const auto& [name, size] : sizes) {
        EXPECT_TRUE(names("| `" + name + "` |")) << name;
        EXPECT_TRUE(size.entries_max < 2 || names(" " + std::to_string(size.entries_max) + " |")) << name;
    }
    for (const auto& counter : datapath_->counters())
        EXPECT_TRUE(names("| `" + std::string(counter.name) + "` | " + counter.help + " |")) << counter.name;
    EXPECT_TRUE(names("| 15001 |") && names("| 15006 |"));
}

} // namespace
} // namespace weft::test
