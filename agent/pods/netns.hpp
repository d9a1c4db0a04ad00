// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "config/base/error.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent {

inline constexpr size_t netns_path_bytes_max = 4096;

/// Puts the calling thread into a network namespace while it lives, and back into the agent's own when it dies.
/// setns(2) is per thread: never hand a scope to another thread.
class [[nodiscard]] NetnsScope {
public:
    [[nodiscard]] static Result<NetnsScope> enter(const UniqueFd& netns);
    NetnsScope(NetnsScope&& other) noexcept;
    NetnsScope& operator=(NetnsScope&&) = delete;
    ~NetnsScope();

private:
    NetnsScope() = default;
    bool inside_ = true;
};

/// Which namespace a path names now. Comes back for another one when it is free: only a cookie never does.
struct NetnsId {
    dev_t device = 0;
    ino_t inode = 0;
    bool operator==(const NetnsId&) const = default;
    /// One stat(2), no descriptor. Does not look whether it is a namespace at all.
    [[nodiscard]] static Result<NetnsId> of(const std::string& path);
};

/// One pod's network namespace: where it is named and which one it was when it was first seen. Plain data that any
/// thread may copy. It never keeps a descriptor: an open one would pin the namespace after the pod is gone. Each use
/// opens the path again and verifies that it still is the same namespace.
class Netns {
public:
    /// `name_or_path`: a name under /run/netns, or an absolute path. Refused: anything but a network namespace file,
    /// and the namespace that the agent itself lives in.
    [[nodiscard]] static Result<Netns> open(std::string_view name_or_path);

    /// Opens it again; fails if the path names nothing, or another namespace than the first time.
    [[nodiscard]] Result<UniqueFd> reopen() const;
    /// reopen(), and the calling thread enters it; the cookie is verified too.
    [[nodiscard]] Result<NetnsScope> enter() const;
    /// Whether the path still names this namespace. One stat(2), no descriptor.
    [[nodiscard]] bool exists() const;

    [[nodiscard]] uint64_t cookie() const { return cookie_; }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] NetnsId id() const { return id_; }

private:
    std::string path_;
    NetnsId id_;
    uint64_t cookie_ = 0;
};

/// SO_NETNS_COOKIE of a socket: the namespace it was made in.
[[nodiscard]] Result<uint64_t> netns_cookie_of(int socket);

} // namespace weft::agent
