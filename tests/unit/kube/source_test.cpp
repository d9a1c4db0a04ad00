// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/source.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include "config/base/clock.hpp"
#include "tests/unit/kube/fake_api.hpp"

namespace weft::agent::kube::test {
namespace {

constexpr uint64_t deadline_ms = 20'000;

std::string service(const std::string& name, int port) {
    return R"({"metadata":{"name":")" + name +
           R"(","namespace":"default","resourceVersion":"1"},"spec":{"ports":[{"port":)" + std::to_string(port) +
           "}]}}";
}

/// The loop's side of a source.
struct Subject {
    explicit Subject(FakeApi& api) : source(server(api)) {}
    static ApiServer server(const FakeApi& api) {
        ApiServer out;
        out.url = api.url();
        return out;
    }
    template <class Done>
    bool until(Done done) {
        for (const uint64_t end = monotonic_ms() + deadline_ms; monotonic_ms() < end;) {
            if (done())
                return true;
            pollfd item{.fd = source.fd(), .events = POLLIN, .revents = 0};
            ::poll(&item, 1, 20);
            if (source.ready()) {
                ++loads;
                loaded = source.load(loaded.store);
            }
        }
        return false;
    }
    [[nodiscard]] int port(const std::string& name) const {
        const Service* found = loaded.store.find<Service>({.ns = "default", .name = name});
        return found == nullptr ? 0 : found->ports.at(0).port;
    }
    KubeSource source;
    LoadResult loaded;
    int loads = 0;
};

TEST(KubeSource, is_settled_when_every_kind_was_listed_and_then_follows) {
    FakeApi api;
    api.set("services", service("a", 1) + "," + service("b", 2));
    api.set("httproutes", "", 503);
    Subject s(api);
    ASSERT_TRUE(s.until([&] { return s.port("a") == 1 && s.port("b") == 2; }));
    EXPECT_TRUE(s.source.unsettled());
    s.loaded = s.source.load(s.loaded.store);
    EXPECT_EQ(s.loaded.unread, std::vector<std::string>{"HTTPRoute of gateway.networking.k8s.io"});
    api.set("httproutes", "");
    ASSERT_TRUE(s.until([&] { return !s.source.unsettled(); }));
    ASSERT_TRUE(s.until([&] { return s.loaded.unread.empty() && s.loaded.faults.empty(); }));

    ASSERT_TRUE(s.until([&] { return api.watches("services") == 1; }));
    api.push("services", "MODIFIED", service("a", 3));
    api.push("services", "DELETED", service("b", 2));
    ASSERT_TRUE(s.until([&] { return s.port("a") == 3 && s.port("b") == 0; }));
}

TEST(KubeSource, a_burst_of_changes_is_few_loads) {
    FakeApi api;
    Subject s(api);
    ASSERT_TRUE(s.until([&] { return !s.source.unsettled() && api.watches("services") == 1; }));
    s.loads = 0;
    for (int port = 1; port <= 300; ++port)
        api.push("services", "MODIFIED", service("a", port));
    ASSERT_TRUE(s.until([&] { return s.port("a") == 300; }));
    EXPECT_LE(s.loads, 20);
}

TEST(KubeSource, while_the_server_is_gone_everything_stays_and_is_caught_up_with_after) {
    FakeApi api;
    api.set("services", service("a", 1));
    Subject s(api);
    ASSERT_TRUE(s.until([&] { return !s.source.unsettled() && api.watches("services") == 1; }));
    const size_t lists = api.lists("services");
    api.set_down(true);
    ASSERT_TRUE(s.until([&] { return !s.loaded.faults.empty(); }));
    EXPECT_EQ(s.port("a"), 1);
    EXPECT_FALSE(s.source.unsettled());
    EXPECT_TRUE(s.loaded.unread.empty());
    api.push("services", "MODIFIED", service("a", 7));
    api.set_down(false);
    const uint64_t back_ms = monotonic_ms();
    ASSERT_TRUE(s.until([&] { return s.port("a") == 7; }));
    EXPECT_LE(monotonic_ms() - back_ms, 2'500U);
    ASSERT_TRUE(s.until([&] { return s.loaded.faults.empty(); }))
        << s.loaded.faults.front().message << "; now: " << s.source.load(s.loaded.store).faults.size();
    EXPECT_EQ(api.lists("services"), lists) << "the watch went on where it was";
}

TEST(KubeSource, a_status_is_no_change_and_the_version_goes_on) {
    FakeApi api;
    api.set("services", service("a", 1));
    Subject s(api);
    ASSERT_TRUE(s.until([&] { return s.port("a") == 1 && !s.source.unsettled() && api.watches("services") == 1; }));
    const size_t index = kind_info("Service").index;
    const auto push = [&](const std::string& version, int port, const std::string& more) {
        api.push("services", "MODIFIED",
                 R"({"metadata":{"name":"a","namespace":"default","resourceVersion":")" + version +
                     R"("},"spec":{"ports":[{"port":)" + std::to_string(port) + "}]}" + more + "}");
        return s.until([&] { return s.loaded.versions.at(index) == parse_version(version); });
    };
    ASSERT_TRUE(push("900", 2, ""));
    EXPECT_TRUE(s.loaded.changed);
    ASSERT_TRUE(push("901", 2, R"(,"status":{"conditions":[{"type":"istio.io/WaypointBound","status":"True"}]})"));
    EXPECT_FALSE(s.loaded.changed) << "nothing is to be compiled anew";
    const Revision& revision = s.loaded.store.all<Service>().begin()->second.revision;
    EXPECT_NE(revision.own_status, 0U);
    EXPECT_EQ(revision.version, 900U);
    EXPECT_EQ(revision.newest, 901U);
}

TEST(KubeSource, kinds_that_are_not_served_hold_nothing_up) {
    FakeApi api;
    api.set("grpcroutes", "", 403);
    Subject s(api);
    ASSERT_TRUE(s.until([&] { return !s.source.unsettled(); }));
    ASSERT_TRUE(s.until([&] { return !s.loaded.faults.empty(); }));
    EXPECT_TRUE(s.loaded.unread.empty());
}

TEST(KubeSource, ends_while_requests_are_under_way) {
    FakeApi api;
    for (int i = 0; i < 20; ++i)
        const Subject s(api);
}

} // namespace
} // namespace weft::agent::kube::test
