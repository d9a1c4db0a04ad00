// SPDX-License-Identifier: Apache-2.0
// What the engine can no longer do once it is locked in. Each case is a process of its own.
#include "l7engine/server/sandbox.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "l7engine/server/engine.hpp"

namespace weft::l7::test {
namespace {

/// The exit status of a child that runs `act`; -signal if one ended it.
int in_child(const std::function<int()>& act) {
    const pid_t child = fork();
    if (child == 0)
        _exit(act());
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

TEST(Sandbox, drops_root_capabilities_and_privileges_for_good) {
    ASSERT_EQ(geteuid(), 0U) << "needs root";
    EXPECT_EQ(in_child([] {
                  if (!drop_privileges(65532))
                      return 1;
                  if (getuid() != 65532 || geteuid() != 65532 || getgid() != 65532 || getgroups(0, nullptr) != 0)
                      return 2;
                  if (setuid(0) == 0 || setgid(0) == 0)
                      return 3;
                  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
                      return 4;
                  for (int capability = 0; CAP_IS_SUPPORTED(capability); ++capability) {
                      if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) != 0)
                          return 5;
                  }
                  return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0 ? 6 : 0;
              }),
              0);
}

/// Runs `act` after the whole lock-down with a running engine.
int locked(const std::function<int()>& act) {
    return in_child([&] {
        if (!drop_privileges(65532))
            return 100;
        EngineSettings settings;
        settings.ring = {.entries = 16, .buffers = 4, .buffer_bytes = 1024};
        Result<std::unique_ptr<Engine>> engine = Engine::start(settings, [](uint32_t, SocketStock::Wish) {});
        if (!engine)
            return 101;
        if (!lock_system_calls())
            return 102;
        const int result = act();
        engine->reset();
        return result;
    });
}

TEST(Sandbox, leaves_what_the_engine_needs) {
    EXPECT_EQ(locked([] {
                  const int unix_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                  if (unix_socket < 0)
                      return 1;
                  close(unix_socket);
                  return dup(1) >= 0 && fcntl(1, F_DUPFD_CLOEXEC, 0) >= 0 ? 0 : 2;
              }),
              0);
}

TEST(Sandbox, kills_who_does_anything_else) {
    const std::pair<const char*, std::function<int()>> cases[] = {
        {"tcp socket", [] { return socket(AF_INET, SOCK_STREAM, 0); }},
        {"bpf", [] { return static_cast<int>(syscall(SYS_bpf, 0, nullptr, 0)); }},
        {"exec", [] { return execl("/bin/true", "true", nullptr); }},
        {"another ring", [] { return static_cast<int>(syscall(SYS_io_uring_setup, 1, nullptr)); }},
        {"setns", [] { return static_cast<int>(syscall(SYS_setns, 0, 0)); }},
        {"bind", [] { return static_cast<int>(syscall(SYS_bind, 0, nullptr, 0)); }},
        {"executable memory",
         [] { return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == nullptr; }},
    };
    for (const auto& [name, act] : cases)
        EXPECT_EQ(locked(act), -SIGSYS) << name;
}

} // namespace
} // namespace weft::l7::test
