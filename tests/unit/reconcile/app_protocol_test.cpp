// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile/app_protocol.hpp"

#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using Speaks = config::Protocol;

struct Case {
    const char* name;
    const char* app_protocol; ///< nullptr: none
    uint16_t port;
    Speaks expected;
};

Speaks of(const Case& each, Protocol transport = Protocol::tcp) {
    ServicePort port;
    port.name = each.name;
    port.port = each.port;
    port.protocol = transport;
    if (each.app_protocol != nullptr)
        port.app_protocol = each.app_protocol;
    return app_protocol(port);
}

TEST(AppProtocol, comes_from_app_protocol_then_the_name_then_the_number) {
    const Case cases[] = {
        {"", nullptr, 80, Speaks::undeclared},
        {"web", nullptr, 80, Speaks::undeclared},
        {"http", nullptr, 80, Speaks::http1},
        {"http-web", nullptr, 80, Speaks::http1},
        {"HTTP", nullptr, 80, Speaks::http1},
        {"httpx", nullptr, 80, Speaks::undeclared},
        {"http2", nullptr, 80, Speaks::http2},
        {"http2-x", nullptr, 80, Speaks::http2},
        {"grpc", nullptr, 80, Speaks::grpc},
        {"grpc-api", nullptr, 80, Speaks::grpc},
        {"grpc-web", nullptr, 80, Speaks::grpc},
        {"grpc-web-x", nullptr, 80, Speaks::grpc},
        {"https", nullptr, 443, Speaks::tls},
        {"tls-x", nullptr, 443, Speaks::tls},
        {"tcp", nullptr, 80, Speaks::tcp},
        {"mongo", nullptr, 80, Speaks::tcp},
        {"redis-main", nullptr, 80, Speaks::tcp},
        {"mysql", nullptr, 80, Speaks::tcp},
        // appProtocol wins
        {"tcp", "http", 80, Speaks::http1},
        {"http", "tcp", 80, Speaks::tcp},
        {"tcp", "HTTP", 80, Speaks::http1},
        {"tcp", "kubernetes.io/h2c", 80, Speaks::http2},
        {"tcp", "kubernetes.io/ws", 80, Speaks::http1},
        {"tcp", "kubernetes.io/wss", 80, Speaks::tls},
        {"tcp", "grpc", 80, Speaks::grpc},
        // one that nobody knows hides the name
        {"tcp", "example.com/x", 80, Speaks::undeclared},
        {"http", "kubernetes.io/other", 80, Speaks::undeclared},
        {"http", "example.com/x", 3306, Speaks::tcp},
        // numbers count last
        {"http", nullptr, 3306, Speaks::http1},
        {"web", nullptr, 3306, Speaks::tcp},
        {"", nullptr, 25, Speaks::tcp},
        {"", nullptr, 53, Speaks::tcp},
        {"", nullptr, 27017, Speaks::tcp},
        {"", nullptr, 22, Speaks::tcp},
        {"", nullptr, 6379, Speaks::undeclared},
    };
    for (const auto& each : cases)
        EXPECT_EQ(of(each), each.expected) << each.name << " " << (each.app_protocol ? each.app_protocol : "-");
}

TEST(AppProtocol, other_transports_are_opaque) {
    EXPECT_EQ(of({"http", "http", 80, {}}, Protocol::udp), Speaks::tcp);
    EXPECT_EQ(of({"http", nullptr, 80, {}}, Protocol::sctp), Speaks::tcp);
}

} // namespace
} // namespace weft::agent
