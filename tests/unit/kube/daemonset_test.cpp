// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/daemonset.hpp"

#include <gtest/gtest.h>

#include "config/base/clock.hpp"
#include "tests/unit/kube/fake_api.hpp"

namespace weft::agent::kube {
namespace {

constexpr const char* not_found = R"({"kind":"Status","reason":"NotFound","details":{"name":"weft"}})";

std::string daemonset(const std::string& version, const std::string& more = "") {
    return R"({"kind":"DaemonSet","metadata":{"name":"weft","resourceVersion":")" + version + "\"" + more + "}}";
}

class Subject {
public:
    DaemonSetFollower follower{"weft-system", "weft"};

    uint64_t answer(int status, const std::string& body, const std::string& error = "") {
        EXPECT_TRUE(follower.take_piece(status, body));
        return follower.ended({.status = status, .error = error, .retry_after_ms = {}});
    }
    void event(const std::string& type, const std::string& object) {
        EXPECT_TRUE(follower.take_piece(200, R"({"type":")" + type + R"(","object":)" + object + "}\n"));
    }
};

TEST(DaemonSetFollower, asks_for_the_object_and_then_watches_it_from_its_version) {
    Subject s;
    EXPECT_EQ(s.follower.next().path, "/apis/apps/v1/namespaces/weft-system/daemonsets/weft");
    EXPECT_FALSE(s.follower.next().watch);
    EXPECT_EQ(s.answer(200, daemonset("17")), 0U);
    EXPECT_EQ(s.follower.existence(), Existence::wanted);
    EXPECT_TRUE(s.follower.next().watch);
    EXPECT_NE(s.follower.next().path.find("resourceVersion=17&"), std::string::npos);
    EXPECT_NE(s.follower.next().path.find("fieldSelector=metadata.name%3Dweft&"), std::string::npos);
}

TEST(DaemonSetFollower, knows_three_ways_to_be_gone) {
    for (const bool watched : {false, true}) {
        Subject foreground;
        const std::string dying = daemonset("18", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")");
        foreground.answer(200, watched ? daemonset("17") : dying);
        if (watched)
            foreground.event("MODIFIED", dying);
        EXPECT_EQ(foreground.follower.existence(), Existence::deleted);
    }
    Subject told;
    told.answer(200, daemonset("17"));
    told.event("MODIFIED", daemonset("18"));
    EXPECT_EQ(told.follower.existence(), Existence::wanted);
    told.event("DELETED", daemonset("19"));
    EXPECT_EQ(told.follower.existence(), Existence::deleted);
    Subject absent;
    absent.answer(404, not_found);
    EXPECT_EQ(absent.follower.existence(), Existence::deleted);
}

TEST(DaemonSetFollower, one_made_anew_is_wanted) {
    Subject s;
    s.answer(404, not_found);
    s.answer(200, daemonset("20"));
    EXPECT_EQ(s.follower.existence(), Existence::wanted);
}

/// What is in force must not go because somebody took the agent's rights away, or the server.
TEST(DaemonSetFollower, a_server_that_does_not_say_changes_nothing) {
    for (const bool known : {false, true}) {
        for (const int status : {0, 401, 403, 404, 500, 503}) {
            Subject s;
            if (known) {
                s.answer(200, daemonset("17"));
                s.answer(200, ""); // the watch ends
            }
            EXPECT_GT(s.answer(status, R"({"kind":"Status"})", status == 0 ? "refused" : ""), 0U);
            EXPECT_EQ(s.follower.existence(), known ? Existence::wanted : Existence::unknown) << status;
            EXPECT_FALSE(s.follower.fault().empty());
            EXPECT_FALSE(s.follower.next().watch);
        }
    }
}

TEST(DaemonSetFollower, a_watch_that_is_refused_says_nothing_about_the_object) {
    Subject s;
    s.answer(200, daemonset("17"));
    s.answer(404, "{}");
    EXPECT_EQ(s.follower.existence(), Existence::wanted);
}

TEST(DaemonSetFollower, what_cannot_be_read_is_a_fault_and_asked_again_ever_later) {
    Subject s;
    uint64_t before = 0;
    for (int i = 0; i < 12; ++i) {
        const uint64_t wait = s.answer(200, "{nonsense");
        EXPECT_GE(wait, before);
        EXPECT_LE(wait, retry_max_ms);
        before = wait;
    }
    EXPECT_EQ(s.follower.existence(), Existence::unknown);
    EXPECT_EQ(s.answer(200, daemonset("17")), 0U);
    EXPECT_TRUE(s.follower.fault().empty());
    s.event("BOOKMARK", daemonset("30"));
    s.event("MODIFIED", "7");
    EXPECT_EQ(s.follower.existence(), Existence::wanted);
}

TEST(DaemonSetFollower, an_answer_has_a_limit) {
    Subject s;
    const std::string piece(1U << 20U, ' ');
    bool more = true;
    for (size_t taken = 0; more && taken <= event_bytes_max; taken += piece.size())
        more = s.follower.take_piece(200, piece);
    EXPECT_FALSE(more);
}

bool becomes(const DaemonSetWatch& watch, Existence wanted) {
    for (const uint64_t deadline = monotonic_ms() + 10'000; monotonic_ms() < deadline;) {
        if (watch.existence() == wanted)
            return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
}

TEST(DaemonSetWatch, hears_of_the_deletion_and_ends_at_once) {
    test::FakeApi api;
    uint64_t ended = 0;
    {
        ApiServer server;
        server.url = api.url();
        const DaemonSetWatch watch(server, "weft-system", "weft");
        EXPECT_TRUE(becomes(watch, Existence::wanted));
        while (api.watches("daemonsets") == 0)
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        api.push("daemonsets", "DELETED", daemonset("200"));
        EXPECT_TRUE(becomes(watch, Existence::deleted));
        ended = monotonic_ms();
    }
    EXPECT_LT(monotonic_ms(), ended + 2'000);
}

} // namespace
} // namespace weft::agent::kube
