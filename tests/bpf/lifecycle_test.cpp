// SPDX-License-Identifier: Apache-2.0
// Start, restart, replacement and removal: what is pinned stays in force, and never half of it.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "agent/bpf/links.hpp"
#include "agent/bpf/loader.hpp"
#include "agent/bpf/map.hpp"
#include "agent/bpf/pins.hpp"
#include "tests/bpf/fixture.hpp"

namespace weft::test {
namespace {

using agent::bpf::Datapath;
using agent::bpf::open_pin;
using enum KernelState::PortAction;

constexpr uint16_t port = 9080;
const KernelState::Service l7_service{
    .id = service_id, .l7 = true, .translate = true, .backends = {at(right4, 1), at(right4, 2)}};

class Lifecycle : public DatapathTest {
protected:
    void set_up_service() {
        put_left();
        put_service(at(vip4, port), l7_service);
        beat();
    }
    void expect_redirected(const UniqueFd& engine) {
        const Dialled client = dial(cable_.left, at(vip4, port));
        ASSERT_EQ(client.error, 0);
        EXPECT_TRUE(accept_at(engine.get()).fd);
    }
    [[nodiscard]] static agent::bpf::LinkInfo link_info(const std::string& name) {
        const UniqueFd link = open_pin(pin_dir() + "/" + name);
        agent::bpf::LinkInfo info;
        EXPECT_TRUE(link && agent::bpf::read_link(link.get(), info)) << name;
        return info;
    }
};

const std::vector<std::string> node_links = {"link_connect4",     "link_connect6",     "link_flows",
                                             "link_getpeername4", "link_getpeername6", "link_getsockname4",
                                             "link_getsockname6"};

TEST_F(Lifecycle, a_restart_adopts_state_connections_and_links) {
    set_up_service();
    put_right(true);
    set_action(port, steer);
    const KernelState before = datapath_->current();
    const UniqueFd engine = listen_outbound4();
    const Dialled early = dial(cable_.left, at(vip4, port));
    ASSERT_EQ(early.error, 0);
    const Accepted accepted = accept_at(engine.get());
    const uint32_t old_program = link_info("link_connect4").program;

    datapath_.reset(); // the agent is gone, the kernel goes on
    expect_redirected(engine);
    ASSERT_NO_FATAL_FAILURE(reopen());

    EXPECT_EQ(datapath_->current(), before);
    EXPECT_EQ(datapath_->attached_pods(), std::vector<uint32_t>{right_pod});
    EXPECT_NE(link_info("link_connect4").program, old_program);
    expect_redirected(engine);
    EXPECT_EQ(peer_of(early.fd.get()), at(vip4, port));
    EXPECT_TRUE(talk(early.fd.get(), accepted.fd.get()));
    EXPECT_EQ(dial(cable_.left, at(right4, port)).error, ECONNREFUSED); // still steered, and fail-closed
    expect_counters({{"connect_redirected", 3}, {"connect_untouched", 1}, {"inbound_refused_no_listener", 1}});
}

TEST_F(Lifecycle, numbers_once_given_are_remembered_over_restarts) {
    EXPECT_EQ(datapath_->service_ids().next, uint32_t{WEFT_SERVICE_ID_MIN});
    EXPECT_EQ(datapath_->pod_id_next(), 1U);
    set_up_service();
    put_service(at(vip6, port), {.id = service_id + 5, .l7 = true, .translate = false, .backends = {}});
    apply({agent::RemoveService{at(vip6, port)},
           agent::RemovePod{cable_.left.cookie(), {.id = left_pod, .fail_closed = false, .addresses = {}}}});
    ASSERT_NO_FATAL_FAILURE(reopen());
    const agent::ServiceIds ids = datapath_->service_ids();
    EXPECT_EQ(ids.next, service_id + 6);
    EXPECT_EQ(ids.by_address, (std::map<SocketAddress, uint32_t>{{at(vip4, port), service_id}}));
    EXPECT_EQ(datapath_->pod_id_next(), left_pod + 1);
}

TEST_F(Lifecycle, a_second_agent_is_refused_while_the_first_lives) {
    const auto second = Datapath::open(settings());
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().find("another weft-agent"), std::string::npos) << second.error();
    EXPECT_FALSE(Datapath::cleanup(pin_dir()));
}

TEST_F(Lifecycle, maps_of_another_layout_are_refused_and_stay_in_force) {
    set_up_service();
    const UniqueFd map = open_pin(pin_dir() + "/layout");
    agent::bpf::Map<uint32_t, abi::weft_layout> layout(map.get());
    abi::weft_layout value{};
    ASSERT_TRUE(layout.get(0, value));
    const abi::weft_layout ours = value;
    value.hash ^= 1;
    ASSERT_EQ(layout.put(0, value), 0);
    const uint32_t program = link_info("link_connect4").program;
    datapath_.reset();

    const auto refused = Datapath::open(settings());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().find("--cleanup"), std::string::npos) << refused.error();
    EXPECT_EQ(link_info("link_connect4").program, program);
    expect_redirected(listen_outbound4());

    ASSERT_EQ(layout.put(0, ours), 0);
    ASSERT_NO_FATAL_FAILURE(reopen());
}

TEST_F(Lifecycle, a_missing_map_is_refused) {
    datapath_.reset();
    ASSERT_EQ(unlink((pin_dir() + "/services").c_str()), 0);
    const auto refused = Datapath::open(settings());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().find("services"), std::string::npos) << refused.error();
}

TEST_F(Lifecycle, pins_of_a_start_that_was_cut_off_are_replaced) {
    datapath_.reset();
    for (const std::string& name : node_links)
        ASSERT_EQ(unlink((pin_dir() + "/" + name).c_str()), 0);
    for (const char* map : {"layout", "services", "pods"})
        ASSERT_EQ(unlink((pin_dir() + "/" + map).c_str()), 0);
    ASSERT_NO_FATAL_FAILURE(reopen());
    for (const std::string& name : node_links)
        EXPECT_NE(link_info(name).target, 0U);
}

TEST_F(Lifecycle, a_pin_that_a_killed_run_did_not_rename_is_removed) {
    const UniqueFd link = open_pin(pin_dir() + "/link_connect4");
    ASSERT_EQ(bpf_obj_pin(link.get(), (pin_dir() + "/link_connect4_next").c_str()), 0);
    ASSERT_NO_FATAL_FAILURE(reopen());
    EXPECT_NE(access((pin_dir() + "/link_connect4_next").c_str(), F_OK), 0);
    set_up_service();
    expect_redirected(listen_outbound4());
}

TEST_F(Lifecycle, a_failed_start_leaves_nothing) {
    datapath_.reset();
    ASSERT_TRUE(Datapath::cleanup(pin_dir()));
    auto wrong = settings();
    wrong.cgroup = "/proc";
    EXPECT_FALSE(Datapath::open(wrong));
    wrong.cgroup = lab_cgroup() + "/missing";
    EXPECT_FALSE(Datapath::open(wrong));
    wrong = settings();
    wrong.engine_timeout_ns = 0;
    EXPECT_FALSE(Datapath::open(wrong));
    EXPECT_NE(access(pin_dir().c_str(), F_OK), 0);
    wrong = settings();
    wrong.pin_dir = ::testing::TempDir() + "weft-test-no-bpffs-" + std::to_string(getpid());
    const auto refused = Datapath::open(wrong);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().find("bpffs"), std::string::npos) << refused.error();
    EXPECT_NE(access(wrong.pin_dir.c_str(), F_OK), 0);
}

TEST_F(Lifecycle, a_failed_restart_keeps_every_program_as_it_was) {
    set_up_service();
    std::map<std::string, uint32_t> before;
    for (const std::string& name : node_links)
        before[name] = link_info(name).program;
    datapath_.reset();
    // The first link that a start looks at is in another folder then, and cannot be attached there.
    auto wrong = settings();
    wrong.cgroup = "/proc";
    EXPECT_FALSE(Datapath::open(wrong));
    for (const std::string& name : node_links)
        EXPECT_EQ(link_info(name).program, before[name]) << name;
    expect_redirected(listen_outbound4());
}

/// Those before the last were swapped to the new programs when it fails, and are swapped back.
TEST_F(Lifecycle, a_restart_that_fails_at_its_last_link_keeps_every_program_as_it_was) {
    set_up_service();
    std::map<std::string, uint32_t> before;
    for (const std::string& name : node_links)
        before[name] = link_info(name).program;
    const UniqueFd program(bpf_prog_get_fd_by_id(before.at("link_connect6")));
    datapath_.reset();
    // Somebody else's, attached so that it tolerates no other.
    ASSERT_TRUE(agent::bpf::remove_link(pin_dir() + "/link_connect6"));
    const UniqueFd cgroup(open(lab_cgroup().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_EQ(bpf_prog_attach(program.get(), cgroup.get(), BPF_CGROUP_INET6_CONNECT, 0), 0);
    before.erase("link_connect6");
    const auto refused = Datapath::open(settings());
    ASSERT_EQ(bpf_prog_detach2(program.get(), cgroup.get(), BPF_CGROUP_INET6_CONNECT), 0);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().find("link_connect6"), std::string::npos) << refused.error();
    for (const auto& [name, id] : before)
        EXPECT_EQ(link_info(name).program, id) << name;
    expect_redirected(listen_outbound4());
}

/// The second fails after the first was attached, the third after another was swapped: all is undone.
TEST_F(Lifecycle, a_failing_link_undoes_those_before_it) {
    put_right(true);
    const std::string pod_link = "link_pod_" + std::to_string(right_pod);
    const auto steer_before = link_info(pod_link);
    set_action(port, refuse);
    const auto strict = link_info(pod_link);
    ASSERT_NE(strict.program, steer_before.program);
    const UniqueFd other_program(bpf_prog_get_fd_by_id(steer_before.program));
    const auto connect4 = link_info("link_connect4");
    {
        agent::bpf::LinkChange change;
        const auto failed = change.apply({
            {.path = pin_dir() + "/" + pod_link, .program_fd = other_program.get(), .attach_type = BPF_SK_LOOKUP},
            {.path = pin_dir() + "/link_pod_77",
             .program_fd = other_program.get(),
             .target_fd = cable_.left.fd(),
             .target = 1,
             .attach_type = BPF_SK_LOOKUP},
            {.path = pin_dir() + "/link_connect4",
             .program_fd = other_program.get(), // of another type
             .attach_type = BPF_CGROUP_INET4_CONNECT},
        });
        EXPECT_FALSE(failed);
    }
    EXPECT_EQ(link_info(pod_link).program, strict.program);
    EXPECT_EQ(link_info("link_connect4").program, connect4.program);
    EXPECT_EQ(datapath_->attached_pods(), std::vector<uint32_t>{right_pod});
}

TEST_F(Lifecycle, another_cgroup_gets_new_links_in_place_of_the_old) {
    set_up_service();
    datapath_.reset();
    auto moved = settings();
    moved.cgroup = other_cgroup();
    struct stat folder{};
    ASSERT_EQ(stat(moved.cgroup.c_str(), &folder), 0);
    auto opened = Datapath::open(moved);
    ASSERT_TRUE(opened) << opened.error();
    for (const std::string& name : node_links)
        EXPECT_EQ(link_info(name).target, folder.st_ino) << name;
    // We are not in that folder: once the old links are gone, our connects are untouched.
    const UniqueFd server = listen_at(cable_.right, at(right4, port));
    const Dialled client = dial(cable_.left, at(vip4, port), {.non_blocking = true});
    EXPECT_EQ(client.error, EINPROGRESS);
    EXPECT_EQ(peer_of(dial(cable_.left, at(right4, port)).fd.get()), at(right4, port));
}

TEST_F(Lifecycle, cleanup_leaves_nothing_and_can_be_repeated) {
    set_up_service();
    put_right(true);
    set_action(port, refuse);
    const uint32_t program = link_info("link_connect4").program;
    const uint32_t pod_program = link_info("link_pod_" + std::to_string(right_pod)).program;
    datapath_.reset();
    ASSERT_TRUE(Datapath::cleanup(pin_dir()));
    ASSERT_TRUE(Datapath::cleanup(pin_dir()));
    EXPECT_NE(access(pin_dir().c_str(), F_OK), 0);
    // The kernel frees programs in the background.
    for (const uint32_t id : {program, pod_program})
        EXPECT_TRUE(eventually([&] { return !UniqueFd(bpf_prog_get_fd_by_id(id)); })) << id;
    const UniqueFd server = listen_at(cable_.right, at(right4, port));
    EXPECT_EQ(dial(cable_.left, at(right4, port)).error, 0);
}

/// The maps of a version that named them otherwise.
TEST_F(Lifecycle, cleanup_knows_maps_by_their_folder_and_not_only_by_name) {
    const std::string former = pin_dir() + "/a_former_name";
    ASSERT_EQ(bpf_obj_pin(open_pin(pin_dir() + "/services").get(), former.c_str()), 0);
    datapath_.reset();
    ASSERT_TRUE(Datapath::cleanup(pin_dir()));
    EXPECT_NE(access(pin_dir().c_str(), F_OK), 0);
}

TEST_F(Lifecycle, cleanup_leaves_maps_alone_in_a_folder_that_is_not_ours) {
    ASSERT_EQ(bpf_obj_pin(open_pin(pin_dir() + "/services").get(), (pin_dir() + "/a_former_name").c_str()), 0);
    ASSERT_EQ(unlink((pin_dir() + "/layout").c_str()), 0);
    datapath_.reset();
    const auto cleaned = Datapath::cleanup(pin_dir());
    ASSERT_FALSE(cleaned);
    EXPECT_NE(cleaned.error().find("a_former_name"), std::string::npos) << cleaned.error();
    ASSERT_EQ(unlink((pin_dir() + "/a_former_name").c_str()), 0);
}

TEST_F(Lifecycle, cleanup_leaves_alone_what_is_not_ours) {
    datapath_.reset();
    const std::string foreign = pin_dir() + "/somebody";
    ASSERT_EQ(mkdir(foreign.c_str(), 0700), 0);
    const auto cleaned = Datapath::cleanup(pin_dir());
    ASSERT_FALSE(cleaned);
    EXPECT_NE(cleaned.error().find("somebody"), std::string::npos) << cleaned.error();
    EXPECT_EQ(access(foreign.c_str(), F_OK), 0);
    ASSERT_EQ(rmdir(foreign.c_str()), 0);
}

TEST_F(Lifecycle, the_link_of_a_dead_netns_is_pruned) {
    Netns lonely;
    apply({agent::PutPod{lonely.cookie(), {.id = 3, .fail_closed = false, .addresses = {at("10.0.0.3", 0).address}}}});
    ASSERT_TRUE(datapath_->attach_pod(3, lonely.fd()));
    ASSERT_TRUE(datapath_->attach_pod(3, lonely.fd())); // again: the same link
    EXPECT_TRUE(datapath_->prune_severed().empty());
    lonely.close();
    EXPECT_TRUE(eventually([&] { return datapath_->attached_pods().empty(); }));
    EXPECT_EQ(datapath_->prune_severed(), std::vector<uint32_t>{3});
    EXPECT_NE(access((pin_dir() + "/link_pod_3").c_str(), F_OK), 0);
    ASSERT_NO_FATAL_FAILURE(reopen());
}

TEST_F(Lifecycle, a_dead_link_is_dropped_at_the_next_start) {
    Netns lonely;
    ASSERT_TRUE(datapath_->attach_pod(3, lonely.fd()));
    lonely.close();
    EXPECT_TRUE(eventually([&] { return datapath_->attached_pods().empty(); }));
    ASSERT_NO_FATAL_FAILURE(reopen());
    EXPECT_NE(access((pin_dir() + "/link_pod_3").c_str(), F_OK), 0);
}

TEST_F(Lifecycle, a_pod_id_can_move_to_another_netns) {
    put_right(true);
    set_action(port, refuse);
    ASSERT_TRUE(datapath_->attach_pod(right_pod, cable_.left.fd()));
    struct stat netns{};
    ASSERT_EQ(fstat(cable_.left.fd(), &netns), 0);
    EXPECT_EQ(link_info("link_pod_" + std::to_string(right_pod)).target, netns.st_ino);
}

/// The pin is there and cannot be opened: that is no pod without a link.
TEST_F(Lifecycle, a_pod_whose_program_cannot_be_changed_is_reported_and_followed_later) {
    put_right(true);
    const std::string name = "link_pod_" + std::to_string(right_pod);
    const uint32_t plain = link_info(name).program;
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlimit none = limit;
    none.rlim_cur = 0;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    const std::vector<MapOperation> operations = {agent::PutInboundPort{{right_pod, port}, refuse}};
    const auto applied = datapath_->apply(operations);
    const auto followed = datapath_->follow_governed();
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ASSERT_FALSE(applied);
    EXPECT_EQ(applied.error().detail, EMFILE) << to_string(applied.error());
    EXPECT_FALSE(followed);
    EXPECT_EQ(link_info(name).program, plain);
    ASSERT_TRUE(datapath_->follow_governed());
    EXPECT_NE(link_info(name).program, plain);
    ASSERT_TRUE(datapath_->follow_governed());
}

TEST_F(Lifecycle, bad_arguments_are_errors) {
    EXPECT_FALSE(datapath_->attach_pod(0, cable_.left.fd()));
    EXPECT_FALSE(datapath_->attach_pod(3, -1));
    EXPECT_FALSE(datapath_->mark_engine_socket(-1));
    EXPECT_FALSE(datapath_->set_listener(3, abi::WEFT_LISTENER_INBOUND4, -1));
    const UniqueFd listener = listen_outbound4();
    EXPECT_FALSE(datapath_->set_listener(3, abi::WEFT_LISTENER_OUTBOUND4, listener.get()));
    EXPECT_FALSE(datapath_->set_listener(0, abi::WEFT_LISTENER_INBOUND4, listener.get()));
    const UniqueFd no_netns(open_pin(pin_dir() + "/pods"));
    EXPECT_FALSE(datapath_->attach_pod(3, no_netns.get()));
    EXPECT_TRUE(datapath_->attached_pods().empty());
}

} // namespace
} // namespace weft::test
