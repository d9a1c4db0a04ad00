// SPDX-License-Identifier: Apache-2.0
#include "l7engine/server/sandbox.hpp"

#include <grp.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEFT_SANITIZED
#endif
#endif

namespace weft::l7 {

namespace {

std::unexpected<Error> failed(const char* during) {
    return std::unexpected(from_errno(errno, during));
}

Result<void> become(uid_t user) {
    const gid_t group = user;
    if (setgroups(0, nullptr) != 0)
        return failed("setgroups");
    if (setresgid(group, group, group) != 0)
        return failed("setresgid");
    if (setresuid(user, user, user) != 0)
        return failed("setresuid");
    return {};
}

Result<void> clear_bounding_set() {
    for (int capability = 0; CAP_IS_SUPPORTED(capability); ++capability) {
        if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1 && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return failed("bounding set");
    }
    return {};
}

Result<void> clear_capabilities() {
    const std::unique_ptr<void, int (*)(void*)> none(cap_init(), cap_free);
    if (none == nullptr || cap_set_proc(static_cast<cap_t>(none.get())) != 0)
        return failed("capabilities");
    return {};
}

/// Each with the reason why it is needed after start.
constexpr int allowed[] = {
    // ring and descriptors of the data path
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(close),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt),
    SCMP_SYS(fcntl),
    SCMP_SYS(dup),
    SCMP_SYS(pipe2),
    SCMP_SYS(splice),
    // mailboxes (eventfd), log lines
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(lseek),
    // the agent's socket
    SCMP_SYS(connect),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    // memory and threads
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall),
    // clocks where the vDSO does not serve them, random request ids
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    // signals: SIGTERM's handler returns, abort() raises
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(tgkill),
#ifdef WEFT_SANITIZED
    // the sanitizers' reports, and their leak check at exit: a tracer thread that stops the others
    SCMP_SYS(openat),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(clone),
    SCMP_SYS(clone3),
    SCMP_SYS(wait4),
    SCMP_SYS(ptrace),
    SCMP_SYS(prctl),
    SCMP_SYS(getdents64),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getppid),
    SCMP_SYS(kill),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(ioctl),
    SCMP_SYS(uname),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(access),
    SCMP_SYS(arch_prctl),
#endif
};

/// A ring gives back what it registered when its worker ends; it registers nothing new (linux/io_uring.h).
constexpr scmp_datum_t unregister_ring_fds = 21;
constexpr scmp_datum_t unregister_buffer_ring = 23;
constexpr scmp_datum_t register_opcode_mask = 0x7fffffff; ///< the top bit says how the ring is named

bool allow_unregister(scmp_filter_ctx filter, scmp_datum_t opcode) {
    const scmp_arg_cmp this_one{.arg = 1, .op = SCMP_CMP_MASKED_EQ, .datum_a = register_opcode_mask, .datum_b = opcode};
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(io_uring_register), 1, &this_one) == 0;
}

bool allow_calls(scmp_filter_ctx filter) {
    for (const int call : allowed) {
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) != 0)
            return false;
    }
    if (!allow_unregister(filter, unregister_ring_fds) || !allow_unregister(filter, unregister_buffer_ring))
        return false;
    // The only sockets of our own are to the agent.
    const scmp_arg_cmp unix_only{.arg = 0, .op = SCMP_CMP_EQ, .datum_a = AF_UNIX, .datum_b = 0};
    if (seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, &unix_only) != 0)
        return false;
#ifndef WEFT_SANITIZED
    // malloc asks /proc for the overcommit mode before it gives back memory of a thread's arena. Refused, it does so by
    // madvise.
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(openat), 0) != 0)
        return false;
#endif
    // Memory is never executable. mprotect: malloc's arenas of threads grow by it.
    const scmp_arg_cmp no_exec{.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0};
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &no_exec) == 0 &&
           seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, &no_exec) == 0;
}

} // namespace

Result<void> drop_privileges(uid_t user) {
    if (geteuid() == 0) {
        // The bounding set needs CAP_SETPCAP, so before the uid.
        if (const Result<void> cleared = clear_bounding_set(); !cleared)
            return cleared;
        if (const Result<void> became = become(user); !became)
            return became;
    }
    if (const Result<void> cleared = clear_capabilities(); !cleared)
        return cleared;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return failed("no_new_privs");
    return {};
}

Result<void> lock_system_calls() {
    const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_KILL_PROCESS), seccomp_release);
    // TSYNC: workers are running already, since each makes its ring itself.
    if (filter == nullptr || seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1) != 0 ||
        !allow_calls(filter.get()))
        return fail(Code::kernel, "seccomp filter", ENOMEM);
    if (const int result = seccomp_load(filter.get()); result != 0)
        return std::unexpected(from_errno(-result, "seccomp"));
    return {};
}

} // namespace weft::l7
