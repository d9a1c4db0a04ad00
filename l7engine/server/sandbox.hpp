// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include "config/base/error.hpp"

namespace weft::l7 {

/// What the engine gives up before it parses the first byte of a pod: user, capabilities, new privileges, system calls.

/// Becomes `user` (uid and gid, no groups) if this process is root; drops every capability and the bounding set; sets
/// no_new_privs. Before any thread is started.
[[nodiscard]] Result<void> drop_privileges(uid_t user);

/// Allows only the system calls that engine.cpp and its libraries make from here on, in all threads; any other one
/// ends the process (SIGSYS: the kernel logs it). Rings must exist by now: io_uring_setup is no longer possible. What
/// they can submit is restricted by themselves (io/ring), since no filter sees it.
[[nodiscard]] Result<void> lock_system_calls();

} // namespace weft::l7
