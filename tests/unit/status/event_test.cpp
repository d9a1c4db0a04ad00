// SPDX-License-Identifier: Apache-2.0
#include "agent/status/event.hpp"

#include <gtest/gtest.h>

#include "agent/status/redirection.hpp"
#include "tests/unit/status/objects.hpp"

namespace weft::agent::status::test {
namespace {

WantedStatus refused(const std::string& uid, int64_t generation, const std::string& why = "spec.x: no") {
    return {.key = {.kind = kind_info("HTTPRoute").index, .name = {.ns = "shop", .name = "r"}},
            .uid = uid,
            .generation = generation,
            .lines = {},
            .refused = why};
}

TEST(Event, names_the_object_and_why) {
    const Json event = refusal_event(refused("u", 3), "n1", 0);
    EXPECT_EQ(event["involvedObject"], parse(R"({"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute",
        "name":"r","uid":"u","namespace":"shop"})"));
    EXPECT_EQ(event["metadata"]["namespace"], "shop");
    EXPECT_EQ(event["message"], "spec.x: no");
    EXPECT_EQ(event["type"], "Warning");
    EXPECT_EQ(event["reason"], "Refused");
    EXPECT_EQ(event["firstTimestamp"], "1970-01-01T00:00:00Z");
}

TEST(Event, has_one_name_per_object_generation_and_text) {
    const auto name = [](const WantedStatus& of) { return text(refusal_event(of, "n", 7)["metadata"], "name"); };
    EXPECT_EQ(name(refused("u", 3)), name(refused("u", 3)));
    EXPECT_NE(name(refused("u", 3)), name(refused("u", 4)));
    EXPECT_NE(name(refused("u", 3)), name(refused("v", 3)));
    EXPECT_NE(name(refused("u", 3)), name(refused("u", 3, "other")));
    WantedStatus long_one = refused("u", 3);
    long_one.key.name.name = std::string(253, 'a');
    EXPECT_LE(name(long_one).size(), 253U);
}

TEST(Event, of_a_cluster_scoped_object_is_in_default_and_long_text_is_cut_between_characters) {
    WantedStatus of = refused("u", 1, std::string(1023, 'x') + "éé");
    of.key = {.kind = kind_info("GatewayClass").index, .name = {.ns = "", .name = "c"}};
    const Json event = refusal_event(of, "n", 0);
    EXPECT_EQ(event["metadata"]["namespace"], "default");
    EXPECT_FALSE(event["involvedObject"].contains("namespace"));
    EXPECT_EQ(event["message"], std::string(1023, 'x'));
}

TEST(EventMemory, a_generation_is_told_once_and_the_memory_is_bounded) {
    EventMemory memory;
    EXPECT_FALSE(memory.contains(refused("u", 1)));
    memory.insert(refused("u", 1));
    memory.insert(refused("u", 1));
    EXPECT_TRUE(memory.contains(refused("u", 1, "another text")));
    EXPECT_FALSE(memory.contains(refused("u", 2)));
    EXPECT_FALSE(memory.contains(refused("v", 1)));
    memory.insert(refused("core", 0, "a"));
    EXPECT_TRUE(memory.contains(refused("core", 0, "a")));
    EXPECT_FALSE(memory.contains(refused("core", 0, "b"))) << "kinds without a generation go by the text";
    for (size_t i = 0; i < events_remembered_max + 10; ++i)
        memory.insert(refused("x" + std::to_string(i), 1));
    EXPECT_EQ(memory.size(), events_remembered_max);
    EXPECT_FALSE(memory.contains(refused("u", 1))) << "the oldest goes";
}

// ------------------------------------------------------------------ the pods' annotation

TEST(Redirection, follows_capture_on_this_nodes_pods) {
    Objects objects;
    const auto pod = [&](const std::string& name, const std::string& value, const std::string& node = "n1",
                         const std::string& rest = "", const std::string& meta = "") {
        objects.put("Pod", name,
                    R"("spec":{"nodeName":")" + node + R"(","containers":[]},"status":{"podIP":"10.0.0.1")" + rest +
                        "}",
                    R"("annotations":{)" + (value.empty() ? "" : R"("ambient.istio.io/redirection":")" + value + "\"") +
                        "}" + meta);
    };
    pod("captured", "");
    pod("marked", "enabled");
    pod("stale", "enabled");
    pod("soon", "enabled");
    pod("odd", "pending");
    pod("elsewhere", "enabled", "n2");
    pod("over", "enabled", "n1", R"(,"phase":"Succeeded")");
    pod("ending", "enabled", "n1", "", R"(,"deletionTimestamp":"2020-01-01T00:00:00Z")");
    pod("plain", "");
    const auto shown_marks = [](const std::vector<PodMark>& marks) {
        std::vector<std::string> out;
        for (const PodMark& mark : marks)
            out.push_back((mark.enabled ? "+" : "-") + mark.name.name);
        return out;
    };
    using Marks = std::vector<std::string>;
    EXPECT_EQ(shown_marks(marks_to_change(objects.store, "n1", {{"shop/captured", 1}, {"shop/marked", 2}},
                                          {"shop/captured", "shop/marked", "shop/soon"})),
              (Marks{"+captured", "-stale"}))
        << "one that is enrolled and not captured just now keeps it";
    EXPECT_EQ(shown_marks(marks_to_remove(objects.store, "n1")), (Marks{"-marked", "-soon", "-stale"}));
    EXPECT_EQ(shown_marks(marks_to_change(objects.store, "n2", {}, {})), Marks{"-elsewhere"});
}

TEST(Redirection, the_patch_names_the_pod_by_its_uid) {
    const PodMark mark{.name = {.ns = "shop", .name = "p"}, .uid = "u-1", .enabled = true};
    EXPECT_EQ(mark_patch(mark),
              parse(R"({"metadata":{"uid":"u-1","annotations":{"ambient.istio.io/redirection":"enabled"}}})"));
    EXPECT_EQ(mark_patch({.name = mark.name, .uid = "u-1", .enabled = false}),
              parse(R"({"metadata":{"uid":"u-1","annotations":{"ambient.istio.io/redirection":null}}})"));
}

} // namespace
} // namespace weft::agent::status::test
