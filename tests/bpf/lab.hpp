// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/base/net.hpp"
#include "config/base/unique_fd.hpp"

/// Real network namespaces and real sockets for the datapath's tests. Everything is anonymous (held by descriptors, or
/// mounted in the test's own mount namespace), so that nothing is left even after SIGKILL but an empty cgroup folder,
/// which the next run removes.
namespace weft::test {

inline constexpr auto patience = std::chrono::seconds(5);

/// The process's folder of cgroup2; the process is in it. Never the root: a faulty hook there would cut off the
/// machine.
[[nodiscard]] const std::string& lab_cgroup();
/// A further folder beside it, without processes.
[[nodiscard]] const std::string& other_cgroup();
/// A folder in a bpffs that nobody else sees.
[[nodiscard]] std::string pin_dir();

class Netns {
public:
    Netns();
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] uint64_t cookie() const;
    void run(const std::function<void()>& inside) const;
    /// Runs ip(8) with a batch; aborts the test process if it fails.
    void ip(const std::string& batch) const;
    void close() { fd_.reset(); }

private:
    UniqueFd fd_;
};

/// Two pods joined by a cable: each has eth0 with an IPv4 and an IPv6 address, and a default route to the other.
struct Cable {
    Netns left;
    Netns right;
    Cable();
};
inline constexpr const char* left4 = "10.77.0.1";
inline constexpr const char* right4 = "10.77.0.2";
inline constexpr const char* left6 = "fd77::1";
inline constexpr const char* right6 = "fd77::2";

struct SocketOptions {
    int type = 1;          ///< SOCK_STREAM
    bool force_v6 = false; ///< AF_INET6 also for an IPv4 address (then IPv4-mapped)
    bool v6_only = false;
    bool non_blocking = false;
    bool reuse_port = false;
    std::string device = {}; ///< SO_BINDTODEVICE
    std::optional<SocketAddress> bind = {};
    std::function<void(int)> before = {}; ///< called with the descriptor before connect or listen
};

[[nodiscard]] SocketAddress at(const std::string& address, uint16_t port);
[[nodiscard]] UniqueFd listen_at(const Netns& netns, const SocketAddress& address, const SocketOptions& options = {});
struct Dialled {
    UniqueFd fd;
    int error = 0; ///< errno of connect, EINPROGRESS included
};
[[nodiscard]] Dialled dial(const Netns& netns, const SocketAddress& address, const SocketOptions& options = {});
/// connect(2) once more on the same socket.
[[nodiscard]] int connect_again(int fd, const SocketAddress& address, bool force_v6);
void disconnect(int fd);

struct Accepted {
    UniqueFd fd;
    std::optional<SocketAddress> peer; ///< as accept() said; IPv4-mapped and IPv4 are the same
    int family = 0;
};
/// Empty descriptor: nothing came within the patience (or at once with `patient` false).
[[nodiscard]] Accepted accept_at(int listener, bool patient = true);
[[nodiscard]] std::optional<SocketAddress> local_of(int fd);
[[nodiscard]] std::optional<SocketAddress> peer_of(int fd);
/// Sends one byte from one end and reads it at the other.
[[nodiscard]] bool talk(int from, int to);
[[nodiscard]] bool eventually(const std::function<bool()>& condition);

} // namespace weft::test
