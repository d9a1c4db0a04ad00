// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics/server.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <latch>
#include <ostream>
#include <thread>
#include <vector>

#include "config/base/clock.hpp"
#include "config/base/net.hpp"
#include "config/base/unique_fd.hpp"

namespace weft::agent::metrics {
namespace {

UniqueFd connect_to(uint16_t port) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_storage address{};
    const socklen_t length = SocketAddress{*IpAddress::parse("127.0.0.1"), port}.to_sockaddr(address);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    return fd;
}

std::string fetch(uint16_t port, const std::string& request, const char* version = "HTTP/1.1") {
    const UniqueFd fd = connect_to(port);
    const std::string text = request + " " + version + "\r\nHost: a\r\nConnection: close\r\n\r\n";
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
        "127.0.0.1:0", {.metrics = [](std::ostream& out) { out << "a 1\n"; },
                        .busy = [] {},
                        .ready = [&] { return HttpServer::Answer{good, good ? "ready" : "engine not connected"}; },
                        .healthy = [] { return HttpServer::Answer{true, "ok"}; }});
    ASSERT_TRUE(server) << server.error();
    const uint16_t port = (*server)->port();
    EXPECT_TRUE(fetch(port, "GET /readyz").starts_with("HTTP/1.1 503 "));
    EXPECT_TRUE(fetch(port, "GET /readyz").ends_with("engine not connected\n"));
    good = true;
    EXPECT_TRUE(fetch(port, "GET /readyz").starts_with("HTTP/1.1 200 "));
    EXPECT_TRUE(fetch(port, "GET /metrics").ends_with("\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n"));
    EXPECT_TRUE(fetch(port, "GET /metrics", "HTTP/1.0").ends_with("\r\n\r\na 1\n"));
    EXPECT_TRUE(fetch(port, "HEAD /metrics").ends_with("\r\n\r\n"));
    EXPECT_TRUE(fetch(port, "GET /healthz").starts_with("HTTP/1.1 200 "));
    EXPECT_TRUE(fetch(port, "POST /metrics").starts_with("HTTP/1.1 405 "));
    for (const char* path : {"/", "/etc/passwd", "/metricsx", "/../../etc/passwd", "/metrics/x"})
        EXPECT_FALSE(fetch(port, std::string("GET ") + path).starts_with("HTTP/1.1 200 ")) << path;
}

TEST(HttpServer, LargePagesAreSentAsTheyAreWritten) {
    const std::string line(1000, 'x');
    auto server = HttpServer::start("127.0.0.1:0", {.metrics =
                                                        [&](std::ostream& out) {
                                                            for (int i = 0; i < 2000; ++i)
                                                                out << line << i << '\n';
                                                        },
                                                    .busy = [] {},
                                                    .ready = {},
                                                    .healthy = {}});
    ASSERT_TRUE(server) << server.error();
    const std::string answer = fetch((*server)->port(), "GET /metrics", "HTTP/1.0");
    std::string wanted;
    for (int i = 0; i < 2000; ++i)
        wanted += line + std::to_string(i) + '\n';
    EXPECT_TRUE(answer.ends_with("\r\n\r\n" + wanted)) << answer.size();
}

TEST(HttpServer, SilentConnectionsDoNotHoldUpProbes) {
    auto server = HttpServer::start("127.0.0.1:0", {.metrics = [](std::ostream&) {},
                                                    .busy = [] {},
                                                    .ready = {},
                                                    .healthy = [] { return HttpServer::Answer{true, "ok"}; }});
    ASSERT_TRUE(server) << server.error();
    std::vector<UniqueFd> silent;
    for (int i = 0; i < http_threads - 2; ++i)
        silent.push_back(connect_to((*server)->port()));
    const uint64_t begin = monotonic_ms();
    EXPECT_TRUE(fetch((*server)->port(), "GET /healthz").starts_with("HTTP/1.1 200 "));
    EXPECT_LT(monotonic_ms() - begin, uint64_t{http_wait_ms}); // not after they were cut off
}

TEST(HttpServer, OneScrapeTooManyIsRefusedAndProbesGoOn) {
    std::latch written(pages_max);
    std::latch go_on(1);
    std::atomic<int> refused = 0;
    auto server = HttpServer::start("127.0.0.1:0", {.metrics =
                                                        [&](std::ostream& out) {
                                                            written.count_down();
                                                            go_on.wait();
                                                            out << "a 1\n";
                                                        },
                                                    .busy = [&] { ++refused; },
                                                    .ready = {},
                                                    .healthy = [] { return HttpServer::Answer{true, "ok"}; }});
    ASSERT_TRUE(server) << server.error();
    const uint16_t port = (*server)->port();
    {
        std::vector<std::jthread> scrapers;
        for (int i = 0; i < pages_max; ++i)
            scrapers.emplace_back([&] { EXPECT_TRUE(fetch(port, "GET /metrics").starts_with("HTTP/1.1 200 ")); });
        written.wait();
        EXPECT_TRUE(fetch(port, "GET /metrics").starts_with("HTTP/1.1 503 "));
        EXPECT_EQ(refused, 1);
        EXPECT_TRUE(fetch(port, "GET /healthz").starts_with("HTTP/1.1 200 "));
        go_on.count_down();
    }
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
