// SPDX-License-Identifier: Apache-2.0
// The feature probe: one line that names what is missing.
#include "agent/bpf/probe.hpp"

#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <string>

#include "agent/bpf/pins.hpp"
#include "tests/bpf/lab.hpp"

#include <gtest/gtest.h>

namespace weft::test {
namespace {

using agent::bpf::probe;
using agent::bpf::ProbeSettings;

ProbeSettings good() {
    return {.pin_dir = pin_dir(), .cgroup = lab_cgroup()};
}

void expect_missing(const ProbeSettings& settings, const std::string& what) {
    const auto outcome = probe(settings);
    ASSERT_FALSE(outcome) << what;
    EXPECT_NE(outcome.error().find(what), std::string::npos) << outcome.error();
    EXPECT_EQ(outcome.error().find('\n'), std::string::npos);
}

TEST(Probe, finds_everything_here) {
    const auto outcome = probe(good());
    EXPECT_TRUE(outcome) << outcome.error();
    const auto mount_point = agent::bpf::find_cgroup2_mount();
    ASSERT_TRUE(mount_point) << mount_point.error();
    EXPECT_TRUE(lab_cgroup().starts_with(*mount_point));
}

TEST(Probe, names_a_folder_that_is_no_cgroup2) {
    ProbeSettings settings = good();
    settings.cgroup = "/proc";
    expect_missing(settings, "cgroup2 at /proc");
    settings.cgroup = lab_cgroup() + "/missing";
    expect_missing(settings, settings.cgroup);
}

TEST(Probe, names_a_missing_bpffs) {
    ProbeSettings settings = good();
    settings.pin_dir = "/proc/weft";
    expect_missing(settings, "bpffs mounted at /proc");
}

/// Runs in a child, since what it takes away does not come back. The child's exit code tells: 0 as expected.
int in_child(const std::function<bool()>& inside) {
    const pid_t child = fork();
    if (child == 0)
        _exit(inside() ? 0 : 1);
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

constexpr int layers_max = 8;

TEST(Probe, mounts_the_usual_bpffs_itself) {
    EXPECT_EQ(in_child([] {
                  // Under the lab's own there may be the node's: our mount namespace is private.
                  int layers = 0;
                  while (umount2("/sys/fs/bpf", MNT_DETACH) == 0 && layers < layers_max)
                      ++layers;
                  const bool gone = !agent::bpf::is_bpffs("/sys/fs/bpf");
                  const bool found = probe(good()).has_value();
                  const bool mounted = agent::bpf::is_bpffs("/sys/fs/bpf");
                  umount2("/sys/fs/bpf", MNT_DETACH);
                  return gone && found && mounted;
              }),
              0);
    // The child shares our mount namespace: give the lab its own back.
    ASSERT_EQ(mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr), 0);
}

TEST(Probe, names_a_missing_capability) {
    struct Row {
        unsigned capability;
        const char* name;
    };
    for (const Row row :
         {Row{CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, Row{CAP_NET_ADMIN, "CAP_NET_ADMIN"}, Row{CAP_BPF, "CAP_BPF"}}) {
        EXPECT_EQ(in_child([&] {
                      __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
                      std::array<__user_cap_data_struct, 2> data{};
                      syscall(SYS_capget, &header, data.data());
                      data[row.capability / 32].effective &= ~(1U << row.capability % 32);
                      syscall(SYS_capset, &header, data.data());
                      const auto outcome = probe(good());
                      return !outcome && outcome.error() == std::string("missing: capability ") + row.name;
                  }),
                  0)
            << row.name;
    }
}

} // namespace
} // namespace weft::test
