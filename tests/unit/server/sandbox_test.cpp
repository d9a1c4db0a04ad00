// SPDX-License-Identifier: Apache-2.0
// What the engine can no longer do once it is locked in. Each case is a process of its own.
#include "l7engine/server/sandbox.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <string_view>

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
                  if (dup(1) < 0 || fcntl(1, F_DUPFD_CLOEXEC, 0) < 0)
                      return 2;
                  int one[2], other[2];
                  if (pipe2(one, O_CLOEXEC | O_NONBLOCK) != 0 || pipe2(other, O_CLOEXEC | O_NONBLOCK) != 0)
                      return 3;
                  return splice(one[0], nullptr, other[1], nullptr, 1, SPLICE_F_NONBLOCK) < 0 && errno == EAGAIN ? 0
                                                                                                                 : 4;
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

// ------------------------------------------------------------------ by way of the ring

/// A worker's ring as an intruder on its thread would use it: mapped anew, without the library.
class StolenRing {
public:
    /// Before the lock: later it could neither be found nor measured.
    explicit StolenRing(const RingSettings& settings) {
        char name[64], path[64];
        for (int fd = 3; fd < 256; ++fd) {
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            const ssize_t length = readlink(path, name, sizeof name);
            if (length > 0 && std::string_view(name, static_cast<size_t>(length)) == "anon_inode:[io_uring]")
                fd_ = fd;
        }
        // The layout is that of any ring of this size.
        layout_.flags = IORING_SETUP_CQSIZE;
        layout_.cq_entries = settings.entries * 8;
        const long same = syscall(SYS_io_uring_setup, settings.entries, &layout_);
        if (same >= 0)
            close(static_cast<int>(same));
        rings_ = map(layout_.cq_off.cqes + layout_.cq_entries * sizeof(io_uring_cqe), IORING_OFF_SQ_RING);
        entries_ = reinterpret_cast<io_uring_sqe*>(map(layout_.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    }
    [[nodiscard]] bool usable() const { return fd_ >= 0 && rings_ != MAP_FAILED && entries_ != MAP_FAILED; }

    /// The result that the kernel gives.
    int submit(uint8_t opcode, uint8_t flags) {
        uint32_t& tail = at(layout_.sq_off.tail);
        const uint32_t index = tail & at(layout_.sq_off.ring_mask);
        entries_[index] = {};
        entries_[index].opcode = opcode;
        entries_[index].flags = flags;
        entries_[index].fd = opcode == IORING_OP_SOCKET ? AF_INET : AT_FDCWD;
        entries_[index].off = opcode == IORING_OP_SOCKET ? SOCK_STREAM : 0;
        entries_[index].addr = opcode == IORING_OP_OPENAT ? reinterpret_cast<uintptr_t>("/etc/passwd") : 0;
        (&at(layout_.sq_off.array))[index] = index;
        std::atomic_ref(tail).store(tail + 1, std::memory_order_release);
        if (syscall(SYS_io_uring_enter, fd_, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) < 0)
            return -errno;
        uint32_t& head = at(layout_.cq_off.head);
        const auto* completions = reinterpret_cast<io_uring_cqe*>(rings_ + layout_.cq_off.cqes);
        const int result = completions[head & at(layout_.cq_off.ring_mask)].res;
        std::atomic_ref(head).store(head + 1, std::memory_order_release);
        return result;
    }

private:
    char* map(size_t size, uint64_t offset) const {
        return static_cast<char*>(
            mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, static_cast<off_t>(offset)));
    }
    uint32_t& at(uint32_t offset) { return *reinterpret_cast<uint32_t*>(rings_ + offset); }

    int fd_ = -1;
    io_uring_params layout_{};
    char* rings_ = nullptr;
    io_uring_sqe* entries_ = nullptr;
};

/// What a locked worker's ring says to a submission; 1000 and more: the test itself failed.
int submitted(uint8_t opcode, uint8_t flags) {
    return -in_child([&] {
        const RingSettings settings = {.entries = 16, .buffers = 4, .buffer_bytes = 1024};
        Result<std::unique_ptr<Ring>> ring = Ring::create(settings);
        StolenRing stolen(settings);
        if (!ring || !stolen.usable())
            return 200;
        if (!drop_privileges(65532) || !lock_system_calls())
            return 201;
        _exit(-stolen.submit(opcode, flags)); // the ring's owner knows nothing of it: no clean end
    });
}

TEST(Sandbox, no_ring_opens_what_no_system_call_may) {
    EXPECT_EQ(submitted(IORING_OP_ASYNC_CANCEL, 0), -ENOENT) << "allowed, and nothing to cancel";
    for (const uint8_t opcode : {IORING_OP_OPENAT, IORING_OP_OPENAT2, IORING_OP_SOCKET, IORING_OP_UNLINKAT,
                                 IORING_OP_WRITE, IORING_OP_READ, IORING_OP_SPLICE, IORING_OP_MSG_RING, IORING_OP_NOP})
        EXPECT_EQ(submitted(opcode, 0), -EACCES) << int{opcode};
    EXPECT_EQ(submitted(IORING_OP_ASYNC_CANCEL, IOSQE_FIXED_FILE), -EACCES);
    EXPECT_EQ(submitted(IORING_OP_ASYNC_CANCEL, IOSQE_ASYNC), -EACCES);
}

} // namespace
} // namespace weft::l7::test
