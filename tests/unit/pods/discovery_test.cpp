// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/discovery.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <vector>

#include "agent/pods/registry.hpp"
#include "tests/unit/pods/lab.hpp"

namespace weft::agent {
namespace {

namespace fs = std::filesystem;

const std::string uid = "0a6bcf4b-5d6a-4f6e-9d2a-6b7f3c1f9e01";
const std::string uid_slice = "0a6bcf4b_5d6a_4f6e_9d2a_6b7f3c1f9e01";
const std::string hash = "7f4b0e5f3b7c6b8f6c7b3a0c2f3f1c9e"; // of a static pod
const std::string id = "3f1c9e7f4b0e5f3b7c6b8f6c7b3a0c2f3f1c9e7f4b0e5f3b7c6b8f6c7b3a0c2f";

TEST(CgroupPath, NamesPodAndContainer) {
    using enum PodCgroup::Kind;
    struct Row {
        std::string path;
        std::string uid;
        PodCgroup::Kind kind;
    };
    const std::string burst = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid_slice + ".slice";
    const std::string kind_burst = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
                                   "kubelet-kubepods-burstable-pod" +
                                   uid_slice + ".slice";
    const Row rows[] = {
        // cgroupfs: guaranteed, burstable, besteffort; containerd and docker, CRI-O
        {"/kubepods/pod" + uid + "/" + id, uid, container},
        {"/kubepods/burstable/pod" + uid + "/" + id, uid, container},
        {"/kubepods/besteffort/pod" + uid + "/" + id, uid, container},
        {"/kubepods/besteffort/pod" + uid + "/crio-" + id, uid, container},
        {"/kubepods/besteffort/pod" + uid + "/crio-conmon-" + id, uid, other},
        {"/kubepods/burstable/pod" + uid, uid, pod},
        {"/kubepods/burstable/pod" + hash + "/" + id, hash, container},
        {"/node1/kubepods/burstable/pod" + uid + "/" + id, uid, container},
        {"/sys/fs/cgroup/unified/node1/kubepods/pod" + uid + "/" + id, uid, container},
        {"/docker/" + id + "/kubelet/kubepods/besteffort/pod" + uid + "/" + id, uid, container}, // kind on v1
        // systemd
        {"/kubepods.slice/kubepods-pod" + uid_slice + ".slice/cri-containerd-" + id + ".scope", uid, container},
        {burst + "/cri-containerd-" + id + ".scope", uid, container},
        {burst + "/docker-" + id + ".scope", uid, container},
        {burst + "/crio-" + id + ".scope", uid, container},
        {burst + "/crio-" + id + ".scope/container", uid, container}, // crun's own folder
        {burst + "/crio-conmon-" + id + ".scope", uid, other},
        {burst + "/libpod-conmon-" + id + ".scope", uid, other},
        {burst, uid, pod},
        {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + hash + ".slice", hash, pod},
        {kind_burst + "/cri-containerd-" + id + ".scope", uid, container}, // kind on v2
        {kind_burst + "/cri-containerd-" + id + ".scope/init.scope", uid, container},
        {"/sys/fs/cgroup/systemd" + burst + "/cri-containerd-" + id + ".scope", uid, container},
        // as seen from inside a cgroup namespace of another pod
        {"/../../pod" + uid + "/" + id, uid, container},
        {"/../../kubepods-burstable-pod" + uid_slice + ".slice/cri-containerd-" + id + ".scope", uid, container},
        // a kubelet in a pod: the outer pod is this node's
        {"/kubepods/pod" + uid + "/" + id + "/kubelet/kubepods/pod" + hash + "/" + id, uid, container},
        // what runtimes add
        {"/kubepods/pod" + uid + "/kata_overhead", uid, other},
        {"/kubepods/pod" + uid + "/kata_" + id, uid, container},
        {"/kubepods/pod" + uid + "/" + id.substr(1), uid, other},
        {"/kubepods/pod" + uid + "/x" + id, uid, other},
    };
    for (const Row& row : rows) {
        const auto read = read_cgroup_path(row.path);
        ASSERT_TRUE(read) << row.path;
        EXPECT_EQ(read->uid, row.uid) << row.path;
        EXPECT_EQ(read->kind, row.kind) << row.path;
        EXPECT_EQ(read->container, row.kind == container ? id : "") << row.path;
    }
}

TEST(CgroupPath, OfNobodysPod) {
    for (const std::string& path :
         {std::string(), std::string("/"), std::string("/system.slice/containerd.service"), std::string("/kubepods"),
          std::string("/kubepods/burstable"), std::string("/kubepods.slice/kubepods-besteffort.slice"),
          "/user/pod" + uid + "/" + id, "/docker/" + id, std::string("/kubepods/pod"), std::string("/kubepods/pod-a"),
          "/kubepods/pod" + std::string(pod_uid_bytes_max + 1, 'a'),
          std::string("/kubepods/poda/").substr(0, 13) + "\x01", "/machine.slice/machine-pod" + uid_slice + ".slice",
          std::string("/kubepods.slice/kubepods-pod.slice")})
        EXPECT_FALSE(read_cgroup_path(path)) << path;
    for (const char* name : {"kubepods", "kubepods.slice", "kubelet-kubepods.slice", "a-b-kubepods.slice"})
        EXPECT_TRUE(is_kubepods_folder(name)) << name;
    for (const char* name : {"", "kubepods-burstable.slice", "mykubepods.slice", "kubepods.scope", "mykubepods"})
        EXPECT_FALSE(is_kubepods_folder(name)) << name;
}

/// A cgroup mount, a /proc and the list of mounts in a folder. The namespaces that /proc names are real.
class DiscoveryTest : public testing::Test {
protected:
    DiscoveryTest() {
        std::string name = "/tmp/weft-discovery-XXXXXX";
        top_ = mkdtemp(name.data());
        fs::create_directories(cgroup());
        process(1, 1, host_.path());
        mount("cgroup2", cgroup());
    }
    ~DiscoveryTest() override { fs::remove_all(top_); }

    [[nodiscard]] std::string cgroup() const { return top_ + "/unified mount"; }
    [[nodiscard]] std::string proc() const { return top_ + "/proc"; }
    [[nodiscard]] Discovery::Settings settings() const { return {.proc = proc(), .mounts = top_ + "/mounts"}; }

    void mount(const std::string& type, std::string point) const {
        if (const size_t space = point.find(' '); space != std::string::npos)
            point.replace(space, 1, "\\040");
        std::ofstream(top_ + "/mounts", std::ios::app) << "none " << point << ' ' << type << " rw 0 0\n";
    }
    void process(int pid, int started, const std::string& netns) const {
        const std::string folder = proc() + "/" + std::to_string(pid);
        fs::create_directories(folder + "/ns");
        std::ofstream(folder + "/stat") << pid << " (a) b (c) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 " << started
                                        << " 1044480 1 0\n";
        fs::remove(folder + "/ns/net");
        fs::create_symlink(netns, folder + "/ns/net");
    }
    void end(int pid) const { fs::remove_all(proc() + "/" + std::to_string(pid)); }
    static void list(const std::string& folder, const std::vector<int>& pids) {
        fs::create_directories(folder);
        std::ofstream out(folder + "/cgroup.procs");
        for (const int pid : pids)
            out << pid << '\n';
    }
    static std::string container(int number) {
        std::string name = id;
        name.replace(0, 3, std::to_string(100 + number));
        return name;
    }
    [[nodiscard]] std::string pod_folder() const { return cgroup() + "/node1/kubepods/burstable/pod" + uid; }
    static const char* reason(const Result<Netns>& found) { return found ? "" : found.error().during; }

    std::string top_;
    const LabNetns host_{"d0"};
    const LabNetns pod_{"d1"};
    const LabNetns other_{"d2"};
    const uint64_t pod_cookie_ = Netns::open(pod_.name())->cookie();
    const uint64_t other_cookie_ = Netns::open(other_.name())->cookie();
};

TEST_F(DiscoveryTest, TheProcessThatWasStartedFirstTells) {
    process(50, 700, other_.path()); // `unshare -n` in the application, and a lower id than the sandbox
    process(51, 710, other_.path());
    process(90, 600, pod_.path());
    list(pod_folder() + "/" + container(0), {50, 51});
    list(pod_folder() + "/" + container(1), {90});
    Discovery discovery(settings());
    const auto found = discovery.find(uid);
    ASSERT_TRUE(found) << reason(found);
    EXPECT_EQ(found->cookie(), pod_cookie_);
    EXPECT_EQ(found->path(), proc() + "/90/ns/net");
    EXPECT_EQ(discovery.roots(), std::vector<std::string>{cgroup() + "/node1/kubepods"});
}

TEST_F(DiscoveryTest, NeitherTheHostsNorTheAgentsNamespaceIsAPods) {
    process(20, 100, host_.path());
    process(21, 101, "/proc/self/ns/net");
    process(22, 102, pod_.path());
    list(pod_folder() + "/" + container(0), {20, 21});
    Discovery discovery(settings());
    const auto none = discovery.find(uid);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().detail, ENOENT); // a sandbox that is just being made looks like this
    list(pod_folder() + "/" + container(1), {22});
    EXPECT_TRUE(discovery.find(uid));
}

TEST_F(DiscoveryTest, WhatIsNoContainerDoesNotCount) {
    process(20, 100, other_.path());
    process(21, 200, pod_.path());
    list(pod_folder(), {20});
    list(pod_folder() + "/crio-conmon-" + id, {20});
    list(pod_folder() + "/kata_overhead", {20});
    Discovery discovery(settings());
    EXPECT_FALSE(discovery.find(uid));
    list(pod_folder() + "/crio-" + id + ".scope/container/init.scope", {21});
    const auto found = discovery.find(uid);
    ASSERT_TRUE(found) << reason(found);
    EXPECT_EQ(found->cookie(), pod_cookie_);
}

TEST_F(DiscoveryTest, WhatIsGoneOrUnreadableIsPassedOver) {
    process(30, 300, pod_.path());
    list(pod_folder() + "/" + container(0), {});               // terminated
    list(pod_folder() + "/" + container(1), {28, 29});         // gone since they were listed
    fs::create_directories(pod_folder() + "/" + container(2)); // no cgroup.procs
    fs::create_directories(proc() + "/31");
    std::ofstream(proc() + "/31/stat") << "31 (half";
    fs::create_directories(proc() + "/32/ns");
    process(32, 10, "/nowhere"); // a zombie
    list(pod_folder() + "/" + container(3), {31, 32});
    Discovery discovery(settings());
    EXPECT_FALSE(discovery.find(uid));
    discovery.start_round(1);
    list(pod_folder() + "/" + container(4), {30});
    const auto found = discovery.find(uid);
    ASSERT_TRUE(found) << reason(found);
    EXPECT_EQ(found->path(), proc() + "/30/ns/net");
}

TEST_F(DiscoveryTest, AnotherProcessOfTheSameNamespaceIsFoundAgain) {
    process(20, 100, pod_.path());
    process(21, 200, other_.path());
    process(22, 300, pod_.path());
    list(pod_folder() + "/" + container(0), {20, 21, 22});
    Discovery discovery(settings());
    const auto first = discovery.find(uid);
    ASSERT_TRUE(first) << reason(first);
    end(20);
    EXPECT_FALSE(first->exists());
    const auto again = discovery.find_again(uid, *first);
    ASSERT_TRUE(again) << reason(again);
    EXPECT_EQ(again->cookie(), pod_cookie_);
    EXPECT_EQ(again->path(), proc() + "/22/ns/net");
    end(22);
    EXPECT_FALSE(discovery.find_again(uid, *first)); // the other namespace is not taken for it
}

TEST_F(DiscoveryTest, AllLayoutsAndQosFoldersAreWalked) {
    const std::vector<std::pair<std::string, std::string>> pods = {
        {"kubepods/pod", "a1"}, {"kubepods/burstable/pod", "a2"}, {"kubepods/besteffort/pod", "a3"}};
    int pid = 20;
    for (const auto& [folder, name] : pods) {
        process(pid, pid, pod_.path());
        list(cgroup() + "/" + folder + name + "/" + id, {pid++});
    }
    const std::string slice = cgroup() + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods";
    process(pid, pid, pod_.path());
    list(slice + "-podb1.slice/cri-containerd-" + id + ".scope", {pid++});
    process(pid, pid, pod_.path());
    list(slice + "-besteffort.slice/kubelet-kubepods-besteffort-podb_2.slice/crio-" + id + ".scope", {pid++});
    Discovery discovery(settings());
    for (const char* name : {"a1", "a2", "a3", "b1", "b-2"})
        EXPECT_TRUE(discovery.find(name)) << name;
    EXPECT_FALSE(discovery.find("a4"));
    EXPECT_EQ(discovery.roots().size(), 2U);
    Discovery one({.root = cgroup() + "/kubepods", .proc = proc()});
    EXPECT_TRUE(one.find("a1"));
    EXPECT_FALSE(one.find("b1"));
}

TEST_F(DiscoveryTest, WithoutProcessesInCgroup2TheOthersTell) {
    fs::create_directories(pod_folder() + "/" + id);
    process(20, 100, pod_.path());
    Discovery discovery({.root = top_, .proc = proc(), .mounts = top_ + "/mounts"});
    list(top_ + "/v1/kubepods/burstable/pod" + uid + "/" + id, {20});
    const auto found = discovery.find(uid);
    ASSERT_TRUE(found) << reason(found);
    EXPECT_EQ(found->cookie(), pod_cookie_);
}

TEST_F(DiscoveryTest, WhyNothingIsFound) {
    Discovery discovery(settings());
    EXPECT_STREQ(reason(discovery.find(uid)), "discovery: there is no kubepods cgroup (--kubepods-root)");
    fs::create_directories(cgroup() + "/kubepods");
    discovery.start_round(kubepods_retry_ms - 1); // not sought again yet
    EXPECT_STREQ(reason(discovery.find(uid)), "discovery: there is no kubepods cgroup (--kubepods-root)");
    discovery.start_round(kubepods_retry_ms);
    EXPECT_STREQ(reason(discovery.find(uid)), "discovery: the pod has no cgroup (yet)");
    list(pod_folder() + "/" + id, {0});
    discovery.start_round(kubepods_retry_ms + kubepods_again_ms);
    EXPECT_STREQ(reason(discovery.find(uid)),
                 "discovery: processes of the pod are in no pid namespace of the agent's (hostPID?)");
}

TEST_F(DiscoveryTest, ACapturedPodIsFollowedAndVanishesWithItsLastProcess) {
    process(20, 100, pod_.path());
    process(21, 200, pod_.path());
    list(pod_folder() + "/" + container(0), {20});
    list(pod_folder() + "/" + container(1), {21});
    Pods pods{Discovery(settings())};
    const PodToCapture wanted{.uid = "default/a", .netns = {}, .kubelet_uid = uid, .addresses = {}};
    pods.want({wanted});
    const auto first = pods.sweep(0);
    ASSERT_EQ(first.captured.size(), 1U);
    EXPECT_EQ(pods.views().at(0).netns, proc() + "/20/ns/net");
    end(20);
    auto second = pods.sweep(1);
    EXPECT_TRUE(second.vanished.empty() && second.captured.empty());
    ASSERT_EQ(second.followed.size(), 1U);
    EXPECT_EQ(second.followed[0]->id, first.captured[0]->id);
    EXPECT_TRUE(second.followed[0]->netns.exists());
    for (size_t kind = 0; kind < listener_kinds; ++kind)
        EXPECT_EQ(bool(second.followed[0]->listeners[kind]), bool(first.captured[0]->listeners[kind]));
    EXPECT_TRUE(pods.missing().empty());
    EXPECT_TRUE(pods.sweep(2).followed.empty());
    end(21);
    EXPECT_EQ(pods.sweep(3).vanished, std::vector<std::string>{"default/a"});
    EXPECT_TRUE(pods.lose("default/a", false));
    EXPECT_TRUE(pods.sweep(1000).captured.empty());
    EXPECT_EQ(pods.views().at(0).state, Pods::State::waiting);
    EXPECT_EQ(pods.views().at(0).reason, "discovery: no process of the pod is in a network namespace of its own (yet)");
    // The same name, another pod: StatefulSets do that.
    const std::string next = "ffffffff-5d6a-4f6e-9d2a-6b7f3c1f9e01";
    process(40, 900, other_.path());
    list(cgroup() + "/node1/kubepods/pod" + next + "/" + id, {40});
    pods.want({{.uid = "default/a", .netns = {}, .kubelet_uid = next, .addresses = {}}});
    const auto last = pods.sweep(2000);
    ASSERT_EQ(last.captured.size(), 1U);
    EXPECT_EQ(last.captured[0]->netns.cookie(), other_cookie_);
}

TEST_F(DiscoveryTest, WhileItsNamespaceLivesAPodIsFoundInNoOther) {
    process(20, 100, pod_.path());
    process(21, 200, other_.path());
    list(pod_folder() + "/" + container(0), {20, 21});
    Pods pods{Discovery(settings())};
    pods.want({{.uid = "default/a", .netns = {}, .kubelet_uid = uid, .addresses = {}}});
    const auto first = pods.sweep(0);
    ASSERT_EQ(first.captured.size(), 1U);
    EXPECT_FALSE(pods.has_kept());
    end(20);
    ASSERT_EQ(pods.sweep(1).vanished.size(), 1U);
    EXPECT_TRUE(pods.lose("default/a", true));
    EXPECT_TRUE(pods.has_kept());
    EXPECT_TRUE(pods.sweep(1000).captured.empty());
    EXPECT_NE(pods.views().at(0).reason.find("its processes are in others"), std::string::npos);
    pods.severed(first.captured[0]->id); // the kubelet makes a new sandbox for the same pod, in a new namespace
    EXPECT_FALSE(pods.has_kept());
    const auto next = pods.sweep(2000);
    ASSERT_EQ(next.captured.size(), 1U);
    EXPECT_EQ(next.captured[0]->netns.cookie(), other_cookie_);
    EXPECT_NE(next.captured[0]->id, first.captured[0]->id);
}

/// A figure to read, and a bound that only a mistake passes: the sanitizers run this too.
TEST_F(DiscoveryTest, CostOf250PodsInOneRound) {
    constexpr int pods = 250;
    for (int pid = 100; pid < 106; ++pid) // the same for all: what is read is as much
        process(pid, pid, pod_.path());
    for (int pod = 0; pod < pods; ++pod) {
        const std::string folder = cgroup() + "/node1/kubepods/burstable/podu" + std::to_string(pod);
        for (int each = 0; each < 3; ++each)
            list(folder + "/" + container(each), {100 + each * 2, 101 + each * 2});
    }
    Discovery discovery(settings());
    const auto began = std::chrono::steady_clock::now();
    discovery.start_round(0);
    for (int pod = 0; pod < pods; ++pod)
        EXPECT_TRUE(discovery.find("u" + std::to_string(pod)));
    const auto took = std::chrono::steady_clock::now() - began;
    discovery.start_round(1);
    const auto again = std::chrono::steady_clock::now();
    for (int pod = 0; pod < pods; ++pod)
        EXPECT_FALSE(discovery.find("w" + std::to_string(pod)));
    const auto waiting = std::chrono::steady_clock::now() - again;
    using ms = std::chrono::duration<double, std::milli>;
    std::printf("250 pods of 3 containers and 6 processes: found in %.1f ms; 250 pods without a cgroup: %.1f ms\n",
                ms(took).count(), ms(waiting).count());
    EXPECT_LT(took, std::chrono::seconds(5));
}

} // namespace
} // namespace weft::agent
