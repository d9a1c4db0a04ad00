// SPDX-License-Identifier: Apache-2.0
#include "agent/status/merge.hpp"

#include <gtest/gtest.h>

#include "tests/unit/status/objects.hpp"

namespace weft::agent::status::test {
namespace {

constexpr int64_t later = 1'000'000;

/// A shop with one of each.
Objects everything() {
    Objects objects;
    objects.put("GatewayClass", "weft-waypoint",
                R"("spec":{"controllerName":"weftmesh.io/gateway-controller"},"status":{"conditions":[
                   {"type":"Accepted","status":"Unknown","reason":"Pending","message":"Waiting for controller",
                    "lastTransitionTime":"1970-01-01T00:00:00Z"}]})",
                R"("generation":1)");
    objects.put("Gateway", "w", our_gateway, R"("generation":2)");
    objects.put("Service", "web", web_service, R"("labels":{"istio.io/use-waypoint":"w"})");
    objects.put("HTTPRoute", "r", to_web, generation_3);
    objects.put(
        "HTTPRoute", "both",
        R"("spec":{"parentRefs":[{"group":"","kind":"Service","name":"web","sectionName":"http"},{"name":"w"}]})",
        generation_3);
    objects.put("TLSRoute", "t", R"("spec":{"parentRefs":[{"name":"w","sectionName":"mesh"}]})", generation_3);
    objects.put("AuthorizationPolicy", "p",
                R"("spec":{"rules":[{}],"targetRefs":[{"group":"","kind":"Service","name":"web"}]})",
                R"("generation":4)");
    objects.put("RequestAuthentication", "j", R"("spec":{"jwtRules":[]})", R"("generation":5)");
    return objects;
}

TEST(Merge, what_is_written_is_what_is_read_back) {
    Objects objects = everything();
    EXPECT_EQ(objects.write_all(), 7U) << "all but the Service";
    for (const WantedStatus& each : objects.wanted()) {
        const KindInfo& kind = kinds_read()[each.key.kind];
        if (method_of(kind.kind) == Method::replace)
            EXPECT_EQ(digest(each.lines), each.live) << kind.kind << " " << each.key.name.name;
    }
    EXPECT_EQ(objects.write_all(), 0U) << "our own writes come back and are no reason to write";
}

TEST(Merge, an_object_that_says_so_already_is_not_written) {
    Objects objects = everything();
    objects.write_all();
    for (const WantedStatus& each : objects.wanted()) {
        const KindInfo& kind = kinds_read()[each.key.kind];
        if (method_of(kind.kind) == Method::replace)
            EXPECT_FALSE(
                merged(objects.live[std::string(kind.kind) + " " + each.key.name.name], each, each.lines, later));
    }
}

const char* const foreign_parent = R"({"controllerName":"example.com/c","parentRef":{"name":"x"},"conditions":[
    {"type":"Accepted","status":"True","reason":"Theirs","message":"","lastTransitionTime":"2020-01-01T00:00:00Z"}],
    "unknown":[1,2]})";

TEST(Merge, other_controllers_entries_stay_as_they_are) {
    Objects objects = everything();
    const Json foreign = parse(foreign_parent);
    Json route = objects.live["HTTPRoute r"];
    route["status"]["parents"] = Json::array({foreign});
    route["status"]["other"] = 7;
    objects.put("HTTPRoute", route);
    objects.write_all();
    const Json written = objects.live["HTTPRoute r"]["status"];
    ASSERT_EQ(written["parents"].size(), 2U);
    EXPECT_EQ(written["parents"][0], foreign);
    EXPECT_EQ(written["parents"][1]["controllerName"], controller_name);
    EXPECT_EQ(written["parents"][1]["parentRef"], parse(R"({"group":"","kind":"Service","name":"web","port":80})"))
        << "as the spec writes it";
    EXPECT_EQ(written["other"], 7);
}

TEST(Merge, entries_of_ours_for_parents_that_are_gone_go) {
    Objects objects = everything();
    objects.write_all();
    Json route = objects.live["HTTPRoute both"];
    ASSERT_EQ(route["status"]["parents"].size(), 2U);
    route["status"]["parents"].insert(route["status"]["parents"].begin(), parse(foreign_parent));
    route["spec"]["parentRefs"].erase(0);
    route["metadata"]["generation"] = 9;
    objects.put("HTTPRoute", route);
    objects.write_all();
    const Json parents = objects.live["HTTPRoute both"]["status"]["parents"];
    ASSERT_EQ(parents.size(), 2U);
    EXPECT_EQ(parents[0], parse(foreign_parent));
    EXPECT_EQ(parents[1]["parentRef"]["name"], "w");
    EXPECT_EQ(parents[1]["conditions"][0]["observedGeneration"], 9);
}

TEST(Merge, twice_the_same_entry_becomes_one) {
    Objects objects = everything();
    objects.write_all();
    Json route = objects.live["HTTPRoute r"];
    route["status"]["parents"].push_back(route["status"]["parents"][0]);
    objects.put("HTTPRoute", route);
    EXPECT_EQ(objects.write_all(), 1U);
    EXPECT_EQ(objects.live["HTTPRoute r"]["status"]["parents"].size(), 1U);
}

TEST(Merge, foreign_entries_leave_what_room_they_leave) {
    Objects objects = everything();
    Json route = objects.live["HTTPRoute both"];
    for (size_t i = 0; i + 1 < parents_max; ++i)
        route["status"]["parents"].push_back(parse(foreign_parent));
    objects.put("HTTPRoute", route);
    objects.write_all();
    EXPECT_EQ(objects.live["HTTPRoute both"]["status"]["parents"].size(), parents_max);
}

TEST(Merge, a_transition_is_one_of_the_status_only) {
    Objects objects = everything();
    objects.write_all(0);
    Json route = objects.live["HTTPRoute r"];
    const auto time = [](const Json& of, size_t condition) -> std::string {
        return of["status"]["parents"][0]["conditions"][condition]["lastTransitionTime"];
    };
    EXPECT_EQ(time(route, 0), "1970-01-01T00:00:00Z");
    route["spec"]["rules"][0]["backendRefs"][0]["name"] = "gone";
    route["metadata"]["generation"] = 4;
    objects.put("HTTPRoute", route);
    objects.write_all(later);
    const Json written = objects.live["HTTPRoute r"];
    EXPECT_EQ(time(written, 0), "1970-01-01T00:00:00Z") << "Accepted is as it was, at a newer generation";
    EXPECT_EQ(written["status"]["parents"][0]["conditions"][0]["observedGeneration"], 4);
    EXPECT_EQ(written["status"]["parents"][0]["conditions"][1]["status"], "False");
    EXPECT_EQ(time(written, 1), "1970-01-12T13:46:40Z");
}

TEST(Merge, foreign_conditions_of_gateways_listeners_and_policies_stay) {
    Objects objects = everything();
    const Json theirs = parse(R"({"type":"example.com/Ready","status":"True","reason":"R","message":"",
        "lastTransitionTime":"2020-01-01T00:00:00Z"})");
    Json gateway = objects.live["Gateway w"];
    gateway["status"] = {{"conditions", {theirs}},
                         {"addresses", {{{"value", "10.0.0.1"}}}},
                         {"listeners",
                          {{{"name", "mesh"}, {"attachedRoutes", 7}, {"conditions", {theirs}}, {"extra", 1}},
                           {{"name", "gone"}, {"attachedRoutes", 1}, {"conditions", Json::array()}}}}};
    objects.put("Gateway", gateway);
    Json policy = objects.live["AuthorizationPolicy p"];
    policy["status"] = {{"conditions", {theirs}}, {"validationMessages", Json::array()}};
    objects.put("AuthorizationPolicy", policy);
    objects.write_all();
    const Json written = objects.live["Gateway w"]["status"];
    EXPECT_EQ(written["conditions"][0], theirs);
    EXPECT_EQ(written["conditions"].size(), 3U);
    EXPECT_EQ(written["addresses"][0]["value"], "10.0.0.1");
    ASSERT_EQ(written["listeners"].size(), 1U) << "the other is no listener any more";
    EXPECT_EQ(written["listeners"][0]["conditions"][0], theirs);
    EXPECT_EQ(written["listeners"][0]["attachedRoutes"], 1);
    EXPECT_EQ(written["listeners"][0]["extra"], 1);
    const Json of_policy = objects.live["AuthorizationPolicy p"]["status"];
    EXPECT_EQ(of_policy["conditions"][0], theirs);
    EXPECT_EQ(of_policy["conditions"].size(), 3U);
    EXPECT_TRUE(of_policy.contains("validationMessages"));
}

TEST(Merge, the_default_condition_of_a_class_is_replaced_in_its_place) {
    Objects objects = everything();
    objects.write_all(later);
    const Json status = objects.live["GatewayClass weft-waypoint"]["status"];
    ASSERT_EQ(status["conditions"].size(), 1U);
    EXPECT_EQ(status["conditions"][0]["status"], "True");
    EXPECT_EQ(status["conditions"][0]["lastTransitionTime"], "1970-01-12T13:46:40Z");
    const Json& features = status["supportedFeatures"];
    ASSERT_GE(features.size(), 2U);
    for (size_t i = 1; i < features.size(); ++i)
        EXPECT_LT(text(features[i - 1], "name"), text(features[i], "name"));
}

TEST(Merge, a_service_gets_its_condition_by_apply) {
    Objects objects = everything();
    const auto wanted = objects.wanted("Service", "web");
    ASSERT_TRUE(wanted);
    EXPECT_EQ(method_of("Service"), Method::apply);
    const auto body = applied(objects.live["Service web"], *wanted, wanted->lines, 0);
    ASSERT_TRUE(body);
    EXPECT_EQ((*body)["apiVersion"], "v1");
    EXPECT_EQ((*body)["metadata"], parse(R"({"name":"web","namespace":"shop","uid":"uid-web"})"))
        << "labels or a spec would become ours";
    ASSERT_EQ((*body)["status"]["conditions"].size(), 1U);
    EXPECT_EQ((*body)["status"]["conditions"][0]["type"], waypoint_bound_type);
    Json service = objects.live["Service web"];
    service["status"] = (*body)["status"];
    objects.put("Service", service);
    EXPECT_EQ(objects.wanted("Service", "web")->live, digest(wanted->lines));
    EXPECT_FALSE(applied(service, *wanted, wanted->lines, later));
    const auto nothing = applied(service, *wanted, {}, later);
    ASSERT_TRUE(nothing);
    EXPECT_EQ((*nothing)["status"]["conditions"], Json::array());
}

TEST(Merge, another_object_or_generation_is_not_written_to) {
    const auto outdated = [](const std::string& meta) {
        return is_outdated(parse(R"({"metadata":{)" + meta + "}}"),
                           {.key = {}, .uid = "u", .generation = 3, .lines = {}, .refused = {}});
    };
    EXPECT_FALSE(outdated(R"("uid":"u","generation":3)"));
    EXPECT_TRUE(outdated(R"("uid":"v","generation":3)"));
    EXPECT_TRUE(outdated(R"("uid":"u","generation":4)"));
    EXPECT_TRUE(outdated(R"("uid":"u","generation":2)"));
    EXPECT_TRUE(outdated(R"("uid":"u","generation":3,"deletionTimestamp":"2020-01-01T00:00:00Z")"));
    EXPECT_TRUE(outdated(""));
}

TEST(Merge, no_status_of_whatever_shape_ends_the_agent) {
    Objects objects = everything();
    const std::vector<WantedStatus> wanted = objects.wanted();
    for (const char* status : {"7", "[]", "{}", "null", R"({"parents":7,"conditions":7,"listeners":{}})",
                               R"({"parents":[7,{},{"controllerName":7}],"conditions":[7,{}],"listeners":[7,{}]})"}) {
        for (const WantedStatus& each : wanted) {
            Json live = objects.live[std::string(kinds_read()[each.key.kind].kind) + " " + each.key.name.name];
            live["status"] = Json::parse(status);
            const auto body = method_of(kinds_read()[each.key.kind].kind) == Method::apply
                                  ? applied(live, each, each.lines, 0)
                                  : merged(live, each, each.lines, 0);
            EXPECT_TRUE(body) << status;
        }
    }
}

} // namespace
} // namespace weft::agent::status::test
