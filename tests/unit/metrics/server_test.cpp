// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/server.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>

#include "config/base/net.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent::metrics {
namespace {

std::string fetch(uint16_t port, const std::string& request) {
    const UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_storage address{};
    const socklen_t length = SocketAddress{*IpAddress::parse("127.0.0.1"), port}.to_sockaddr(address);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0)
        return "no connection";
    const std::string text = request + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(send(fd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    std::string answer;
    char part[4096];
    for (ssize_t count = 0; (count = recv(fd.get(), part, sizeof(part), 0)) > 0;)
        answer.append(part, static_cast<size_t>(count));
    return answer;
}

TEST(HttpServer, AnswersByWhatTheAgentSays) {
    std::atomic<bool> good = false;
    auto server = HttpServer::start(
        "127.0.0.1:0", {.metrics = [] { return std::string("a 1\n"); },
                        .ready = [&] { return HttpServer::Answer{good, good ? "ready" : "engine not connected"}; },
                        .healthy = [] { return HttpServer::Answer{true, "ok"}; }});
    ASSERT_TRUE(server) << server.error();
    const uint16_t port = (*server)->port();
    EXPECT_TRUE(fetch(port, "GET /readyz").starts_with("HTTP/1.1 503 "));
    EXPECT_TRUE(fetch(port, "GET /readyz").ends_with("engine not connected\n"));
    good = true;
    EXPECT_TRUE(fetch(port, "GET /readyz").starts_with("HTTP/1.1 200 "));
    EXPECT_TRUE(fetch(port, "GET /metrics").ends_with("\r\n\r\na 1\n"));
    EXPECT_TRUE(fetch(port, "HEAD /metrics").ends_with("\r\n\r\n"));
    EXPECT_TRUE(fetch(port, "GET /healthz").starts_with("HTTP/1.1 200 "));
    EXPECT_TRUE(fetch(port, "POST /metrics").starts_with("HTTP/1.1 405 "));
    for (const char* path : {"/", "/etc/passwd", "/metricsx", "/../../etc/passwd", "/metrics/x"})
        EXPECT_FALSE(fetch(port, std::string("GET ") + path).starts_with("HTTP/1.1 200 ")) << path;
}

TEST(HttpServer, AddressFaultsAreNamed) {
    for (const char* address : {"", "15020", "localhost:15020", "127.0.0.1", "127.0.0.1:70000", "::1:15020"}) {
        const auto server = HttpServer::start(address, {});
        ASSERT_FALSE(server) << address;
        EXPECT_TRUE(server.error().starts_with("--metrics-address: not ADDRESS:PORT")) << server.error();
    }
    auto first = HttpServer::start("127.0.0.1:0", {});
    ASSERT_TRUE(first);
    const auto second = HttpServer::start("127.0.0.1:" + std::to_string((*first)->port()), {});
    ASSERT_FALSE(second);
    EXPECT_TRUE(second.error().starts_with("--metrics-address: cannot listen on")) << second.error();
}

} // namespace
} // namespace weft::agent::metrics
