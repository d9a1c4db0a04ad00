// SPDX-License-Identifier: Apache-2.0
#include "agent/status/writer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "agent/status/acks.hpp"
#include "agent/status/redirection.hpp"
#include "config/base/clock.hpp"
#include "tests/unit/status/fake_store.hpp"
#include "tests/unit/status/objects.hpp"

namespace weft::agent::status::test {
namespace {

constexpr uint64_t deadline_ms = 20'000;
const std::string leases = "/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/";
const std::string routes = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/";
const std::string pods = "/api/v1/namespaces/shop/pods/";

/// An agent without a data plane: what its watch shows is what the test puts into `objects`.
struct Subject {
    explicit Subject(FakeStore& api, std::string node = "n1")
        : writer({.server = api.server(), .ns = "weft-system", .node = std::move(node)}, counters) {}

    void look() {
        if (!writer.wants_news())
            return;
        CompileOptions options;
        std::set<std::string> enrolled;
        for (const auto& [name, id] : captured)
            enrolled.insert(name);
        const Compiled compiled = compile(objects.store, options, {}, {});
        writer.look({.store = objects.store,
                     .statuses = compiled.statuses,
                     .serial = ++serial,
                     .versions = versions,
                     .in_force = in_force,
                     .captured = captured,
                     .enrolled = std::move(enrolled)});
    }
    template <class Done>
    bool until(Done done) {
        for (const uint64_t end = monotonic_ms() + deadline_ms; monotonic_ms() < end;) {
            look();
            if (done())
                return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return false;
    }

    metrics::Counters counters;
    Objects objects;
    std::vector<uint64_t> versions = std::vector<uint64_t>(kinds_read().size(), 1'000);
    bool in_force = true;
    PodIds captured;
    uint64_t serial = 0;
    Writer writer;
};

/// A route in both: the API and the agent's view of it.
void put_route(FakeStore& api, Subject& s, const std::string& name, const std::string& spec) {
    s.objects.put("HTTPRoute", name, spec, generation_3);
    api.put(routes + name, s.objects.live["HTTPRoute " + name]);
}

std::string condition(FakeStore& api, const std::string& name, const std::string& type) {
    const Json route = api.get(routes + name);
    for (const Json& parent : list(member(route, "status"), "parents"))
        for (const Json& each : list(parent, "conditions"))
            if (text(parent, "controllerName") == controller_name && text(each, "type") == type)
                return text(each, "status") + " " + text(each, "reason");
    return "";
}

TEST(Writer, leads_and_writes_a_status_once) {
    FakeStore api;
    Subject s(api);
    s.objects.put("Service", "web", web_service);
    put_route(api, s, "r", to_web);
    ASSERT_TRUE(s.until([&] { return condition(api, "r", programmed_type) == "True Programmed"; }));
    EXPECT_EQ(text(member(api.get(leases + "weft-status"), "spec"), "holderIdentity"), "n1");
    EXPECT_EQ(s.writer.report().leader, "n1");
    EXPECT_TRUE(s.writer.report().leads);
    s.objects.put("HTTPRoute", api.get(routes + "r")); // the watch shows it
    const uint64_t before = s.serial;
    ASSERT_TRUE(s.until([&] { return s.serial > before + 4; }));
    EXPECT_EQ(api.count("PUT", "/r/status"), 1U) << "what comes back is no reason to write";
    EXPECT_EQ(s.counters.total(metrics::Event::api_write_failure), 0U);
    EXPECT_GT(s.counters.total(metrics::Event::api_write), 2U);
}

TEST(Writer, what_somebody_undoes_comes_back_and_not_in_a_loop) {
    FakeStore api;
    Subject s(api);
    s.objects.put("Service", "web", web_service);
    put_route(api, s, "r", to_web);
    const auto watch = [&] {
        const Json route = api.get(routes + "r");
        s.objects.show("HTTPRoute", route, text(member(route, "metadata"), "resourceVersion"));
    };
    watch();
    // The writer has its answer, too: what is undone before is no undoing.
    ASSERT_TRUE(s.until(
        [&] { return condition(api, "r", programmed_type) == "True Programmed" && s.writer.report().pending == 0; }));
    const uint64_t written_ms = monotonic_ms();
    Json bare = api.get(routes + "r");
    bare.erase("status");
    api.put(routes + "r", bare);
    watch(); // it never showed what was written
    ASSERT_TRUE(s.until([&] { return condition(api, "r", "Accepted") == "True Accepted"; }));
    EXPECT_GE(monotonic_ms() - written_ms, 9'000U);
    EXPECT_EQ(api.count("PUT", "/r/status"), 2U);
}

TEST(Writer, programmed_waits_until_the_node_has_it_in_force) {
    FakeStore api;
    Subject s(api);
    s.in_force = false;
    s.objects.put("Service", "web", web_service);
    put_route(api, s, "r", to_web);
    ASSERT_TRUE(s.until([&] { return condition(api, "r", programmed_type) == "False Pending"; }));
    EXPECT_EQ(condition(api, "r", "Accepted"), "True Accepted");
    EXPECT_EQ(s.writer.report().awaiting, 1U);
    s.in_force = true;
    ASSERT_TRUE(s.until([&] { return condition(api, "r", programmed_type) == "True Programmed"; }));
    EXPECT_EQ(parse_versions(text(member(member(api.get(leases + "weft-node-n1"), "metadata"), "annotations"),
                                  in_force_annotation)),
              (Versions{{"AuthorizationPolicy", 1'000}, {"Gateway", 1'000}, {"HTTPRoute", 1'000}}));
}

TEST(Writer, a_conflict_is_read_and_done_again) {
    FakeStore api;
    int conflicts = 0;
    api.intercept([&](const FakeStore::Received& got) -> std::optional<FakeStore::Reply> {
        if (got.method == "PUT" && conflicts < 2) { // somebody else is quicker
            ++conflicts;
            api.touch(routes + "r", [&](Json& route) {
                route["status"]["parents"].push_back({{"controllerName", "example.com/" + std::to_string(conflicts)},
                                                      {"parentRef", {{"name", "x"}}},
                                                      {"conditions", Json::array()}});
            });
        }
        return std::nullopt;
    });
    Subject s(api);
    s.objects.put("Service", "web", web_service);
    put_route(api, s, "r", to_web);
    ASSERT_TRUE(s.until([&] { return condition(api, "r", "Accepted") == "True Accepted"; }));
    EXPECT_EQ(conflicts, 2);
    EXPECT_EQ(api.get(routes + "r")["status"]["parents"].size(), 3U) << "both of the others are there";
    EXPECT_GE(s.counters.total(metrics::Event::api_write_failure), 2U);
}

TEST(Writer, a_refused_object_has_one_event_and_then_its_status) {
    FakeStore api;
    Subject s(api);
    s.objects.put("Service", "web", web_service);
    put_route(
        api, s, "r",
        R"("spec":{"parentRefs":[{"group":"","kind":"Service","name":"web"}],"rules":[{"retry":{"attempts":1}}]})");
    ASSERT_TRUE(s.until([&] { return condition(api, "r", "Accepted") == "False UnsupportedValue"; }));
    EXPECT_EQ(api.count("POST", "/namespaces/shop/events"), 1U);
    const uint64_t before = s.serial;
    ASSERT_TRUE(s.until([&] { return s.serial > before + 4; })) << "although the watch does not show it yet";
    EXPECT_EQ(api.count("POST", "/namespaces/shop/events"), 1U);
    EXPECT_EQ(api.count("PUT", "/r/status"), 1U);
}

TEST(Writer, a_missing_permission_is_named_and_stops_nothing_else) {
    FakeStore api;
    std::atomic<bool> allowed = false;
    api.intercept([&](const FakeStore::Received& got) -> std::optional<FakeStore::Reply> {
        if (!allowed && got.target.find("/events") != std::string::npos)
            return FakeStore::Reply{.status = 403, .body = "{}"};
        if (!allowed && got.method == "PUT" && got.target.find("/bad/") != std::string::npos)
            return FakeStore::Reply{.status = 403, .body = "{}"};
        return std::nullopt;
    });
    Subject s(api);
    s.objects.put("Service", "web", web_service);
    put_route(api, s, "bad", R"("spec":{"parentRefs":[{"group":"","kind":"Service","name":"web"}],"x":1})");
    ASSERT_TRUE(s.until([&] { return s.writer.report().faults.size() == 2; }));
    EXPECT_EQ(s.writer.report().faults[0],
              "permission missing: create events: add it to the agent's Role or ClusterRole");
    EXPECT_EQ(
        s.writer.report().faults[1],
        "permission missing: update httproutes/status of gateway.networking.k8s.io: add it to the agent's Role or "
        "ClusterRole");
    put_route(api, s, "good", to_web);
    EXPECT_TRUE(s.until([&] { return condition(api, "good", "Accepted") == "True Accepted"; }));
    allowed = true;
    EXPECT_TRUE(s.until([&] { return condition(api, "bad", "Accepted") == "False Invalid"; }));
}

TEST(Writer, of_two_one_writes_and_the_other_follows_when_it_stops) {
    FakeStore api;
    auto first = std::make_unique<Subject>(api, "n1");
    ASSERT_TRUE(first->until([&] { return first->writer.report().leads; }));
    Subject second(api, "n2");
    second.objects.put("Service", "web", web_service);
    put_route(api, second, "r", to_web);
    ASSERT_TRUE(second.until([&] { return second.writer.report().leader == "n1"; }));
    EXPECT_EQ(condition(api, "r", "Accepted"), "");
    first->writer.stop(true);
    EXPECT_EQ(text(member(api.get(leases + "weft-status"), "spec"), "holderIdentity"), "");
    EXPECT_TRUE(api.get(leases + "weft-node-n1").is_null()) << "its node is not waited for";
    EXPECT_TRUE(second.until([&] { return condition(api, "r", "Accepted") == "True Accepted"; }));
    EXPECT_EQ(second.counters.total(metrics::Event::leader_change), 1U);
}

TEST(Writer, pods_are_marked_once_in_force_and_no_more_at_the_end) {
    FakeStore api;
    Subject s(api);
    const auto marked = [&](const std::string& name) {
        return text(member(member(api.get(pods + name), "metadata"), "annotations"), redirection_annotation);
    };
    for (const char* name : {"a", "b"}) {
        s.objects.put("Pod", name, R"("spec":{"nodeName":"n1","containers":[]},"status":{"podIP":"10.0.0.1"})");
        api.put(pods + name, s.objects.live[std::string("Pod ") + name]);
    }
    s.captured = {{"shop/a", 1}};
    s.in_force = false;
    const uint64_t before = s.serial;
    ASSERT_TRUE(s.until([&] { return s.serial > before + 3; }));
    EXPECT_EQ(api.count("PATCH", "/a/status"), 0U) << "kernel and engine have not acknowledged it";
    s.in_force = true;
    ASSERT_TRUE(s.until([&] { return marked("a") == "enabled"; }));
    EXPECT_EQ(marked("b"), "");
    s.writer.stop(true);
    EXPECT_EQ(marked("a"), "") << "although the watch never showed it";
    EXPECT_EQ(api.count("PATCH", "/b/status"), 0U);
}

/// A StatefulSet's: the name was acknowledged, the pod that has it now is not.
TEST(Writer, a_pod_made_anew_is_marked_once_it_is_in_force_itself) {
    FakeStore api;
    Subject s(api);
    const std::string spec = R"("spec":{"nodeName":"n1","containers":[]},"status":{"podIP":"10.0.0.1"})";
    s.objects.put("Pod", "a", spec);
    api.put(pods + "a", s.objects.live["Pod a"]);
    s.captured = {{"shop/a", 1}};
    ASSERT_TRUE(s.until([&] { return api.count("PATCH", "/a/status") == 1; }));
    Json anew = s.objects.live["Pod a"];
    anew["metadata"]["uid"] = "uid-a2";
    s.objects.put("Pod", anew);
    api.put(pods + "a", s.objects.live["Pod a"]);
    s.captured = {{"shop/a", 2}};
    s.in_force = false;
    const uint64_t before = s.serial;
    ASSERT_TRUE(s.until([&] { return s.serial > before + 3; }));
    EXPECT_EQ(api.count("PATCH", "/a/status"), 1U);
    s.in_force = true;
    EXPECT_TRUE(s.until([&] { return api.count("PATCH", "/a/status") == 2; }));
    s.writer.stop(false);
}

TEST(Writer, with_keep_the_marks_stay) {
    FakeStore api;
    Subject s(api);
    s.objects.put("Pod", "a", R"("spec":{"nodeName":"n1","containers":[]},"status":{"podIP":"10.0.0.1"})");
    api.put(pods + "a", s.objects.live["Pod a"]);
    s.captured = {{"shop/a", 1}};
    ASSERT_TRUE(s.until([&] { return api.count("PATCH", "/a/status") == 1; }));
    s.writer.stop(false);
    EXPECT_EQ(api.count("PATCH", "/a/status"), 1U);
    EXPECT_FALSE(api.get(leases + "weft-node-n1").is_null());
}

TEST(Writer, nobody_waits_for_a_server_that_is_not_there) {
    metrics::Counters counters;
    kube::ApiServer nobody;
    nobody.url = "http://127.0.0.1:1";
    Writer writer({.server = nobody, .ns = "weft-system", .node = "n1"}, counters);
    const uint64_t start = monotonic_ms();
    while (writer.report().faults.empty() && monotonic_ms() < start + deadline_ms)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_FALSE(writer.report().faults.empty());
    EXPECT_FALSE(writer.report().leads);
    const uint64_t stop = monotonic_ms();
    writer.stop(true);
    EXPECT_LT(monotonic_ms() - stop, unmark_max_ms);
}

} // namespace
} // namespace weft::agent::status::test
