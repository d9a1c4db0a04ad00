// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/inet_diag.h>

#include <cstdint>
#include <vector>

#include "config/base/error.hpp"
#include "config/base/net.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent {

inline constexpr size_t diag_sockets_max = 262'144; ///< of one namespace; more is an error

/// One TCP socket as the kernel lists it.
struct DiagSocket {
    SocketAddress local;
    SocketAddress remote;
    uint8_t state = 0;   ///< TCP_ESTABLISHED and so on
    bool marked = false; ///< it has an entry in the storage map asked for
    uint8_t family = 0;  ///< the socket's, for destroy()
    uint32_t inode = 0;  ///< as /proc/PID/fd names it; 0: nobody holds it
    inet_diag_sockid id{};
};

/// sock_diag(7) of one network namespace. One thread at a time.
class SocketDiag {
public:
    /// Of the namespace that the calling thread is in now; it may leave it then.
    [[nodiscard]] static Result<SocketDiag> open();

    /// All TCP sockets in these states (bits: 1 << TCP_LISTEN). `storage_map_fd`: an SK_STORAGE map, or -1.
    [[nodiscard]] Result<std::vector<DiagSocket>> list(uint32_t states, int storage_map_fd);
    /// Ends that very connection; both ends see a reset. False: it is gone already. Code::unavailable: this kernel is
    /// built without it (CONFIG_INET_DIAG_DESTROY).
    [[nodiscard]] Result<bool> destroy(const DiagSocket& socket);

private:
    explicit SocketDiag(UniqueFd netlink) : netlink_(std::move(netlink)) {}
    Result<void> list_family(uint8_t family, uint32_t states, int storage_map_fd, std::vector<DiagSocket>& out);
    /// One datagram of answers; false: the last one of the listing.
    Result<bool> take_answers(uint8_t family, std::vector<DiagSocket>& out);

    UniqueFd netlink_;
    std::vector<char> buffer_;
};

} // namespace weft::agent
