// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/client.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "config/base/clock.hpp"
#include "tests/unit/kube/fake_server.hpp"

namespace weft::agent::kube::test {
namespace {

constexpr uint64_t deadline_ms = 20'000;

Answer ask(Client& client, const Request& request) {
    std::optional<Answer> out;
    client.call(request, [&](const Answer& answer) { out = answer; });
    for (const uint64_t end = monotonic_ms() + deadline_ms; !out && monotonic_ms() < end;)
        client.turn(50);
    EXPECT_TRUE(out) << request.method << " " << request.path;
    return out.value_or(Answer{});
}

TEST(Client, sends_method_type_and_body_and_gives_the_whole_answer) {
    FakeServer server([](const Received& got) { return Reply{.status = 201, .body = got.method + " " + got.body}; });
    Client client(server.server());
    const std::string large(2'000'000, 'x'); // libcurl would ask for a 100 first
    for (const char* method : {"POST", "PUT", "PATCH"}) {
        for (const std::string& body : {std::string("{\"a\":1}"), large}) {
            const Answer answer =
                ask(client, {.method = method, .path = "/x?y=1", .content_type = "application/x", .body = body});
            EXPECT_EQ(answer.outcome.status, 201);
            EXPECT_EQ(answer.body, std::string(method) + " " + body);
            EXPECT_TRUE(answer.ok());
        }
    }
    EXPECT_EQ(ask(client, {.method = "DELETE", .path = "/z"}).body, "DELETE ");
    EXPECT_EQ(ask(client, {.path = "/z"}).body, "GET ");
    for (const Received& got : server.received()) {
        if (got.body.empty())
            continue;
        EXPECT_EQ(got.target, "/x?y=1");
        EXPECT_EQ(got.content_type, "application/x");
    }
}

TEST(Client, several_calls_end_each_in_its_own_time_and_may_begin_others) {
    FakeServer server([](const Received& got) { return Reply{.status = 200, .body = got.target}; });
    Client client(server.server());
    std::vector<std::string> bodies;
    for (int i = 0; i < 20; ++i)
        client.call({.path = "/" + std::to_string(i)}, [&](const Answer& answer) {
            bodies.push_back(answer.body);
            if (answer.body.size() == 3) // two digits
                client.call({.path = "/again"}, [&](const Answer& next) { bodies.push_back(next.body); });
        });
    EXPECT_EQ(client.under_way(), 20U);
    for (const uint64_t end = monotonic_ms() + deadline_ms; client.under_way() != 0 && monotonic_ms() < end;)
        client.turn(50);
    EXPECT_EQ(bodies.size(), 30U);
    EXPECT_EQ(std::ranges::count(bodies, "/again"), 10);
}

TEST(Client, an_answer_without_end_is_cut) {
    const std::string too_much(answer_bytes_max + 1, 'x');
    FakeServer server(
        [&](const Received& got) { return got.target == "/much" ? Reply{.body = too_much} : Reply{.body = "ok"}; });
    Client client(server.server());
    const Answer answer = ask(client, {.path = "/much"});
    EXPECT_FALSE(answer.ok());
    EXPECT_NE(answer.outcome.error.find("more than"), std::string::npos);
    EXPECT_LE(answer.body.size(), answer_bytes_max);
    EXPECT_EQ(ask(client, {.path = "/"}).body, "ok");
}

TEST(Client, errors_and_nobody_at_home_are_told_apart) {
    FakeServer server([](const Received&) { return Reply{.status = 503, .head = "Retry-After: 7\r\n"}; });
    Client client(server.server());
    const Answer busy = ask(client, {.path = "/"});
    EXPECT_EQ(busy.outcome.status, 503);
    EXPECT_EQ(busy.outcome.retry_after_ms, 7'000U);
    EXPECT_FALSE(busy.ok());
    ApiServer nobody;
    nobody.url = "http://127.0.0.1:1";
    Client alone(nobody);
    const Answer none = ask(alone, {.path = "/"});
    EXPECT_EQ(none.outcome.status, 0);
    EXPECT_NE(none.outcome.error, "");
}

TEST(Client, ends_with_calls_under_way) {
    FakeServer server([](const Received&) { return Reply{}; });
    bool called = false;
    {
        Client client(server.server());
        client.call({.path = "/"}, [&](const Answer&) { called = true; });
    }
    EXPECT_FALSE(called);
}

} // namespace
} // namespace weft::agent::kube::test
