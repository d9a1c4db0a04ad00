// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "config/base/clock.hpp"
#include "config/base/net.hpp"
#include "config/base/unique_fd.hpp"
#include "l7engine/io/tcp.hpp"
#include "l7engine/io/worker.hpp"

/// What the tests of the io layer share: a worker on this thread, real sockets, waiting on a condition.
namespace weft::l7 {

inline constexpr uint64_t patience_ms = 20'000;

[[nodiscard]] inline std::unique_ptr<Worker> make_worker(RingSettings settings = {.entries = 64, .buffers = 64}) {
    auto worker = Worker::create(0, settings);
    EXPECT_TRUE(worker.has_value()) << (worker ? "" : to_string(worker.error()));
    return std::move(*worker);
}

/// Turns the loop until the condition holds; false after patience_ms.
template <class Condition>
[[nodiscard]] bool turn_until(Worker& worker, Condition condition) {
    const uint64_t limit = monotonic_ms() + patience_ms;
    while (!condition()) {
        if (monotonic_ms() > limit)
            return false;
        worker.turn(10);
    }
    return true;
}
[[nodiscard]] inline bool finish_tasks(Worker& worker) {
    return turn_until(worker, [&] { return worker.tasks().size() == 0; });
}

[[nodiscard]] inline std::pair<UniqueFd, UniqueFd> socket_pair() {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

[[nodiscard]] inline UniqueFd tcp_socket() {
    return UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/// A listener on a free port of the loopback.
[[nodiscard]] inline UniqueFd listener(SocketAddress& address, int backlog = 128) {
    UniqueFd socket = tcp_socket();
    sockaddr_storage storage{};
    const socklen_t length = SocketAddress{.address = *IpAddress::parse("127.0.0.1"), .port = 0}.to_sockaddr(storage);
    EXPECT_EQ(bind(socket.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    EXPECT_EQ(listen(socket.get(), backlog), 0);
    socklen_t size = sizeof storage;
    EXPECT_EQ(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &size), 0);
    address = *SocketAddress::from_sockaddr(storage);
    return socket;
}

[[nodiscard]] inline UniqueFd plain_connect(const SocketAddress& address) {
    UniqueFd socket = tcp_socket();
    sockaddr_storage storage{};
    const socklen_t length = address.to_sockaddr(storage);
    EXPECT_EQ(connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    return socket;
}

/// Two ends of one loopback TCP connection.
[[nodiscard]] inline std::pair<UniqueFd, UniqueFd> tcp_pair() {
    SocketAddress address;
    const UniqueFd door = listener(address);
    UniqueFd client = plain_connect(address);
    UniqueFd server(accept4(door.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(static_cast<bool>(server));
    return {std::move(client), std::move(server)};
}

/// Bytes that show any loss, repetition or exchange.
[[nodiscard]] inline std::byte pattern(size_t position) {
    return static_cast<std::byte>((position * 2654435761U >> 13U) & 0xffU);
}
[[nodiscard]] inline std::vector<std::byte> pattern_bytes(size_t size) {
    std::vector<std::byte> bytes(size);
    for (size_t i = 0; i < size; ++i)
        bytes[i] = pattern(i);
    return bytes;
}

/// Writes all of it.
inline Task<Result<void>> write_all(ByteStream& stream, std::string_view text, Deadline deadline) {
    size_t done = 0;
    while (done < text.size()) {
        const std::array slices{Slice::of_static(text.substr(done))};
        done += co_await unwrap(co_await stream.write(slices, deadline));
    }
    co_return Result<void>();
}

} // namespace weft::l7
