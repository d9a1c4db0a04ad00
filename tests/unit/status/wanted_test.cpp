// SPDX-License-Identifier: Apache-2.0
#include "agent/status/wanted.hpp"

#include <gtest/gtest.h>

#include "tests/unit/status/objects.hpp"

namespace weft::agent::status::test {
namespace {

using Lines = std::vector<std::string>;

TEST(Wanted, a_route_answers_each_parent_of_ours) {
    Objects objects;
    objects.put("Service", "web", web_service);
    objects.put("Gateway", "w", our_gateway);
    objects.put("HTTPRoute", "r",
                R"("spec":{"parentRefs":[{"group":"","kind":"Service","name":"web"},{"name":"w"},
                   {"group":"x.io","kind":"Mesh","name":"m"}],"rules":[{"backendRefs":[{"name":"gone","port":1}]}]})",
                generation_3);
    const auto wanted = objects.wanted("HTTPRoute", "r");
    ASSERT_TRUE(wanted);
    EXPECT_EQ(
        shown(wanted->lines),
        (Lines{"Gateway shop/w Accepted=True(Accepted)@3", "Gateway shop/w ResolvedRefs=False(BackendNotFound)@3",
               "Gateway shop/w weftmesh.io/Programmed=True(Programmed)@3", "Service shop/web Accepted=True(Accepted)@3",
               "Service shop/web ResolvedRefs=False(BackendNotFound)@3",
               "Service shop/web weftmesh.io/Programmed=True(Programmed)@3"}))
        << "another program answers for the kind that we do not know";
    EXPECT_EQ(wanted->uid, "uid-r");
    EXPECT_EQ(wanted->generation, 3);
    EXPECT_EQ(wanted->version, 103U);
    EXPECT_EQ(wanted->refused, "");
}

TEST(Wanted, refused_objects_say_why_and_are_in_force_nowhere) {
    Objects objects;
    objects.put("Service", "web", web_service);
    objects.put("Gateway", "w", our_gateway);
    const std::string parents = R"("parentRefs":[{"group":"","kind":"Service","name":"web"}])";
    objects.put("HTTPRoute", "r", R"("spec":{)" + parents + R"(,"rules":[{"timeouts":{"request":"1s"}}]})",
                generation_3);
    objects.put("GRPCRoute", "g", R"("spec":{)" + parents + "}", generation_3);
    objects.put("AuthorizationPolicy", "p",
                R"("spec":{"action":"AUDIT","rules":[{}],
                   "targetRefs":[{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"w"}]})",
                generation_3);
    objects.put("RequestAuthentication", "j", R"("spec":{"jwtRules":[]})", generation_3);
    for (const auto& [kind, name, line] :
         {std::tuple{"HTTPRoute", "r", "Service shop/web Accepted=False(UnsupportedValue)@3"},
          std::tuple{"GRPCRoute", "g", "Service shop/web Accepted=False(UnsupportedValue)@3"},
          std::tuple{"AuthorizationPolicy", "p", "WaypointAccepted=False(UnsupportedValue)@3"},
          std::tuple{"RequestAuthentication", "j", "WaypointAccepted=False(UnsupportedValue)@3"}}) {
        const auto wanted = objects.wanted(kind, name);
        ASSERT_TRUE(wanted) << kind;
        EXPECT_EQ(shown(wanted->lines), Lines{line});
        EXPECT_EQ(wanted->uid, std::string("uid-") + name);
        EXPECT_NE(wanted->refused, "");
        EXPECT_FALSE(waits_for_nodes(wanted->lines));
    }
    EXPECT_NE(objects.wanted("HTTPRoute", "r")->lines[0].message.find("spec.rules[0].timeouts: "), std::string::npos);
}

TEST(Wanted, refused_objects_of_kubernetes_are_there_for_their_event) {
    Objects objects;
    objects.put("EndpointSlice", "e", R"("endpoints":7)");
    objects.put("Service", "s", R"("spec":{"ports":[{"port":"x"}]})");
    const auto slice = objects.wanted("EndpointSlice", "e");
    ASSERT_TRUE(slice);
    EXPECT_FALSE(slice->has_status);
    EXPECT_NE(slice->refused, "");
    const auto service = objects.wanted("Service", "s");
    ASSERT_TRUE(service);
    EXPECT_EQ(shown(service->lines), Lines{"weftmesh.io/Accepted=False(Invalid)"});
}

TEST(Wanted, gateways_and_classes_belong_to_the_classes_controller) {
    Objects objects;
    const auto put_class = [&](const char* name, const char* controller) {
        objects.put("GatewayClass", name, std::string(R"("spec":{"controllerName":")") + controller + "\"}");
    };
    objects.put("Gateway", "w", our_gateway, generation_3);
    objects.put("Gateway", "t", their_gateway);
    const auto gateway = objects.wanted("Gateway", "w");
    ASSERT_TRUE(gateway) << "nobody else claims that name";
    EXPECT_EQ(
        shown(gateway->lines),
        (Lines{"Accepted=True(Accepted)@3", "Programmed=True(Programmed)@3", "mesh Accepted=True(Accepted)@3",
               "mesh Programmed=True(Programmed)@3", "mesh Conflicted=False(NoConflicts)@3",
               "mesh ResolvedRefs=True(ResolvedRefs)@3", "mesh attachedRoutes=0", "mesh supportedKinds=HTTPRoute"}));
    EXPECT_TRUE(waits_for_nodes(gateway->lines));
    EXPECT_FALSE(objects.wanted("Gateway", "t")) << "served by option, but whose class is it?";
    put_class("istio-waypoint", "istio.io/mesh-controller");
    EXPECT_FALSE(objects.wanted("Gateway", "t"));
    EXPECT_FALSE(objects.wanted("GatewayClass", "istio-waypoint"));
    put_class("istio-waypoint", controller_name);
    EXPECT_TRUE(objects.wanted("Gateway", "t"));
    EXPECT_TRUE(objects.wanted("GatewayClass", "istio-waypoint"));
    put_class("weft-waypoint", "example.com/other");
    EXPECT_FALSE(objects.wanted("Gateway", "w"));
    put_class("weft-waypoint", controller_name);
    const auto of_class = objects.wanted("GatewayClass", "weft-waypoint");
    ASSERT_TRUE(of_class);
    ASSERT_EQ(of_class->lines.size(), 2U);
    EXPECT_EQ(of_class->lines[1].type, "supportedFeatures");
}

TEST(Wanted, a_refused_gateway_is_told_if_it_is_ours) {
    Objects objects;
    objects.put("Gateway", "w", R"("spec":{"gatewayClassName":"weft-waypoint","listeners":[],"unknown":1})");
    objects.put("Gateway", "t", R"("spec":{"gatewayClassName":"nginx","listeners":[],"unknown":1})");
    const auto wanted = objects.wanted("Gateway", "w");
    ASSERT_TRUE(wanted);
    EXPECT_EQ(shown(wanted->lines), (Lines{"Accepted=False(Invalid)", "Programmed=False(Invalid)"}));
    EXPECT_FALSE(objects.wanted("Gateway", "t"));
}

TEST(Wanted, what_others_answer_for_is_left_alone) {
    Objects objects;
    objects.put("GatewayClass", "nginx", R"("spec":{"controllerName":"nginx.org/c"})");
    objects.put("Gateway", "t",
                R"("spec":{"gatewayClassName":"nginx","listeners":[{"name":"l","port":80,"protocol":"HTTP"}]})");
    objects.put("Service", "web", web_service, R"("labels":{"istio.io/use-waypoint":"t"})");
    objects.put("AuthorizationPolicy", "p",
                R"("spec":{"rules":[{}],
                   "targetRefs":[{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"t"}]})");
    objects.put("HTTPRoute", "r", R"("spec":{"parentRefs":[{"name":"t"}]})");
    objects.put("HTTPRoute", "x", R"("spec":{"parentRefs":[{"name":"t"}],"rules":[{"timeouts":{"request":"1s"}}]})");
    EXPECT_TRUE(objects.wanted().empty());
}

TEST(Wanted, what_nobody_wants_any_more_is_there_to_be_removed) {
    Objects objects;
    objects.put("Service", "web",
                std::string(web_service) +
                    R"(,"status":{"conditions":[{"type":"istio.io/WaypointBound","status":"True"}]})");
    const auto service = objects.wanted("Service", "web");
    ASSERT_TRUE(service);
    EXPECT_TRUE(service->lines.empty());
    EXPECT_NE(service->live, 0U);
    objects.put("Service", "web", web_service);
    EXPECT_FALSE(objects.wanted("Service", "web"));
}

TEST(Wanted, awaiting_turns_what_depends_on_nodes_and_nothing_else) {
    const std::vector<StatusLine> lines{{"", "Accepted", "True", "Accepted", "", 1},
                                        {"", "Programmed", "True", "Programmed", "", 1},
                                        {"l", "Programmed", "False", "Invalid", "m", 1},
                                        {"p", programmed_type, "True", "Programmed", "", 1}};
    EXPECT_EQ(awaiting(lines, {}), lines);
    auto expected = lines;
    expected[1] = {"", "Programmed", "False", "Pending", "waiting for the nodes a, b", 1};
    expected[3] = {"p", programmed_type, "False", "Pending", "waiting for the nodes a, b", 1};
    EXPECT_EQ(awaiting(lines, {"a", "b"}), expected);
    EXPECT_TRUE(waits_for_nodes(lines));
    EXPECT_FALSE(waits_for_nodes(expected));
}

} // namespace
} // namespace weft::agent::status::test
