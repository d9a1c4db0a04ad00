// SPDX-License-Identifier: Apache-2.0
#include "agent/pods/kubelet.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "agent/pods/process.hpp"

namespace weft::agent {
namespace {

const std::string pod_uid = "0a6bcf4b-5d6a-4f6e-9d2a-6b7f3c1f9e01";
const std::string container(64, 'a');

struct Row {
    const char* what;
    KubeletCandidate candidate;
    std::string why;
};

TEST(Kubelet, RunsAsRootOutsideOfAllPods) {
    const std::string slice = "/system.slice/kubelet.service";
    const Row rows[] = {
        {"a service of the host", {.pid = 7, .name = "kubelet", .user = 0, .cgroups = {slice}}, ""},
        {"k3s on cgroup v1",
         {.pid = 7, .name = "k3s-server", .user = 0, .cgroups = {"/system.slice/k3s.service", "/", "/user.slice"}},
         ""},
        {"seen from the agent's cgroup namespace",
         {.pid = 7, .name = "kubelet", .user = 0, .cgroups = {"/../../../../daemons"}},
         ""},
        {"its name does not count", {.pid = 7, .name = "other", .user = 0, .cgroups = {slice}}, ""},
        {"another user",
         {.pid = 7, .name = "kubelet", .user = 1000, .cgroups = {slice}},
         "process 7 (kubelet) runs as user 1000, not as root"},
        {"a pod with hostNetwork",
         {.pid = 7, .name = "kubelet", .user = 0, .cgroups = {"/kubepods/burstable/pod" + pod_uid + "/" + container}},
         "process 7 (kubelet) is in pod " + pod_uid},
        {"a pod, by one hierarchy",
         {.pid = 7, .name = "kubelet", .user = 0, .cgroups = {"/", "/kubepods/pod" + pod_uid}},
         "process 7 (kubelet) is in pod " + pod_uid},
        {"a pod, seen from another one's cgroup namespace",
         {.pid = 7, .name = "kubelet", .user = 0, .cgroups = {"/../../pod" + pod_uid + "/" + container}},
         "process 7 (kubelet) is in pod " + pod_uid},
        {"gone", {.pid = 7, .name = ""}, "process 7 () is gone"},
    };
    for (const Row& row : rows)
        EXPECT_EQ(why_no_kubelet(row.candidate), row.why) << row.what;
}

TEST(Kubelet, IsTheOldestThatCanBeOne) {
    const KubeletCandidate kubelet{.pid = 9, .started_ticks = 500, .name = "kubelet", .user = 0, .cgroups = {"/"}};
    KubeletCandidate child = kubelet;
    child.pid = 8;
    child.started_ticks = 900;
    KubeletCandidate user = kubelet;
    user.pid = 3;
    user.started_ticks = 100;
    user.user = 1000;
    for (const auto& candidates : {std::vector{child, user, kubelet}, std::vector{kubelet, child, user}})
        EXPECT_EQ(choose_kubelet(candidates), kubelet);
    KubeletCandidate other = user;
    other.pid = 4;
    EXPECT_EQ(choose_kubelet({user, other}).error(), "process 3 (kubelet) runs as user 1000, not as root; process 4 "
                                                     "(kubelet) runs as user 1000, not as root");
    EXPECT_EQ(choose_kubelet({}).error(),
              "no process that is visible here holds the socket (hostPID, CAP_SYS_PTRACE?)");
}

/// A child of the test that listens until it is told to stop; its port.
struct Listener {
    pid_t pid = 0;
    uint16_t port = 0;
    UniqueFd said{};

    explicit Listener(uint16_t wanted) {
        int answer[2] = {};
        EXPECT_EQ(pipe(answer), 0);
        pid = fork();
        if (pid == 0) {
            const int fd = socket(AF_INET6, SOCK_STREAM, 0);
            const int on = 1;
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
            sockaddr_in6 address{};
            address.sin6_family = AF_INET6;
            address.sin6_addr = in6addr_loopback;
            address.sin6_port = htons(wanted);
            socklen_t length = sizeof(address);
            const bool good = bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(fd, 1) == 0 &&
                              getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
            const uint16_t bound = good ? ntohs(address.sin6_port) : 0;
            sigset_t told;
            sigemptyset(&told);
            sigaddset(&told, SIGUSR1);
            sigprocmask(SIG_BLOCK, &told, nullptr);
            if (write(answer[1], &bound, sizeof(bound)) != sizeof(bound))
                _exit(1);
            int signal = 0;
            sigwait(&told, &signal);
            close(fd);
            if (write(answer[1], &bound, sizeof(bound)) == sizeof(bound))
                pause();
            _exit(1);
        }
        EXPECT_EQ(read(answer[0], &port, sizeof(port)), static_cast<ssize_t>(sizeof(port)));
        EXPECT_NE(port, 0);
        said.reset(answer[0]);
        close(answer[1]);
    }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener() { end(); }
    /// It lives on.
    void stop_listening() const {
        kill(pid, SIGUSR1);
        uint16_t done = 0;
        EXPECT_EQ(read(said.get(), &done, sizeof(done)), static_cast<ssize_t>(sizeof(done)));
    }
    void end() {
        if (pid == 0)
            return;
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        pid = 0;
    }
};

TEST(Kubelet, IsFoundByItsPortAndFoundAnewWhenItRestarts) {
    Listener first(0);
    KubeletFinder finder({.port = first.port});
    EXPECT_TRUE(finder.look(1000));
    ASSERT_TRUE(finder.found()) << finder.fault();
    EXPECT_EQ(finder.found()->pid, first.pid);
    EXPECT_EQ(finder.found()->started_ticks, start_ticks("/proc", first.pid));
    EXPECT_EQ(finder.fault(), "");
    EXPECT_FALSE(finder.look(1000));
    EXPECT_TRUE(finder.found());

    first.end();
    EXPECT_TRUE(finder.look(1000)) << "its end is a change, however soon";
    EXPECT_FALSE(finder.found());
    EXPECT_TRUE(finder.fault().starts_with("nobody listens at TCP port " + std::to_string(first.port)))
        << finder.fault();
    const Listener second(first.port);
    EXPECT_FALSE(finder.look(1000 + kubelet_retry_ms - 1));
    EXPECT_TRUE(finder.look(1000 + kubelet_retry_ms));
    ASSERT_TRUE(finder.found()) << finder.fault();
    EXPECT_EQ(finder.found()->pid, second.pid);
}

TEST(Kubelet, IsLookedForAnewWhenItLivesButListensNoMore) {
    const Listener first(0);
    KubeletFinder finder({.port = first.port});
    ASSERT_TRUE(finder.look(1000));
    EXPECT_FALSE(finder.look(1000 + kubelet_check_ms)) << "it still listens";
    EXPECT_EQ(finder.found()->pid, first.pid);

    first.stop_listening();
    const Listener second(first.port);
    EXPECT_FALSE(finder.look(1000 + 2 * kubelet_check_ms - 1)) << "not looked at each tick";
    EXPECT_TRUE(finder.look(1000 + 2 * kubelet_check_ms));
    ASSERT_TRUE(finder.found()) << finder.fault();
    EXPECT_EQ(finder.found()->pid, second.pid);

    second.stop_listening();
    EXPECT_TRUE(finder.look(1000 + 3 * kubelet_check_ms));
    EXPECT_FALSE(finder.found()) << "nobody does now";
    EXPECT_NE(finder.fault(), "");
}

} // namespace
} // namespace weft::agent
