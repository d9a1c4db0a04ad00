// SPDX-License-Identifier: Apache-2.0
#include "agent/source/own_status.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "agent/source/json.hpp"
#include "agent/source/parse.hpp"
#include "agent/source/revision.hpp"

namespace weft::agent {
namespace {

std::vector<StatusLine> lines_of(const char* kind, const std::string& text) {
    const auto object = parse_json(text);
    EXPECT_TRUE(object) << text;
    auto lines = own_status(*object, kind_info(kind));
    std::ranges::sort(lines);
    return lines;
}

TEST(OwnStatus, of_a_route_is_what_bears_the_controllers_name) {
    const auto lines = lines_of("HTTPRoute", R"({"metadata":{"namespace":"shop"},"status":{"parents":[
        {"controllerName":"example.com/other","parentRef":{"name":"g"},
         "conditions":[{"type":"Accepted","status":"False","reason":"Theirs","message":"m"}]},
        {"controllerName":"weftmesh.io/gateway-controller",
         "parentRef":{"group":"","kind":"Service","name":"web","port":80,"sectionName":"http"},
         "conditions":[{"type":"Accepted","status":"True","reason":"Accepted","message":"m","observedGeneration":3,
                        "lastTransitionTime":"2024-01-01T00:00:00Z"},
                       {"type":"x.io/Any","status":"True","reason":"R","message":""}]},
        7, {"controllerName":"weftmesh.io/gateway-controller"}]}})");
    const std::string place = "Service shop/web:80/http";
    EXPECT_EQ(lines, (std::vector<StatusLine>{{place, "Accepted", "True", "Accepted", "m", 3},
                                              {place, "x.io/Any", "True", "R", "", 0}}));
}

TEST(OwnStatus, of_other_kinds_goes_by_the_type) {
    const std::string status = R"({"status":{"conditions":[
        {"type":"Accepted","status":"True","reason":"A"},{"type":"Programmed","status":"True","reason":"P"},
        {"type":"WaypointAccepted","status":"True","reason":"W","observedGeneration":"7"},
        {"type":"weftmesh.io/Programmed","status":"True","reason":"P"},
        {"type":"istio.io/WaypointBound","status":"True","reason":"B"},
        {"type":"weftmesh.io/Accepted","status":"False","reason":"I"},
        {"type":"example.com/Theirs","status":"True","reason":"T"}]}})";
    const auto types = [&](const char* kind) {
        std::vector<std::string> out;
        for (const StatusLine& line : lines_of(kind, status))
            out.push_back(line.type);
        return out;
    };
    using Types = std::vector<std::string>;
    EXPECT_EQ(types("Gateway"), (Types{"Accepted", "Programmed"}));
    EXPECT_EQ(types("GatewayClass"), Types{"Accepted"});
    EXPECT_EQ(types("AuthorizationPolicy"), (Types{"WaypointAccepted", "weftmesh.io/Programmed"}));
    EXPECT_EQ(types("RequestAuthentication"), (Types{"WaypointAccepted", "weftmesh.io/Programmed"}));
    EXPECT_EQ(types("Service"), (Types{"istio.io/WaypointBound", "weftmesh.io/Accepted"}));
    EXPECT_EQ(types("Pod"), Types{});
    EXPECT_EQ(lines_of("AuthorizationPolicy", status)[0].generation, 7) << "Istio's schema allows text";
}

TEST(OwnStatus, of_a_gateway_has_its_listeners_and_of_a_class_its_features) {
    EXPECT_EQ(lines_of("Gateway", R"({"status":{"listeners":[{"name":"mesh","attachedRoutes":2,
                  "supportedKinds":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute"}],
                  "conditions":[{"type":"Programmed","status":"True","reason":"Programmed","observedGeneration":1},
                                {"type":"x.io/Theirs","status":"True"}]}]}})"),
              (std::vector<StatusLine>{{"mesh", "Programmed", "True", "Programmed", "", 1},
                                       {"mesh", "attachedRoutes", "2"},
                                       {"mesh", "supportedKinds", "HTTPRoute"}}));
    EXPECT_EQ(lines_of("GatewayClass", R"({"status":{"supportedFeatures":[{"name":"A"},{"name":"B"}]}})"),
              (std::vector<StatusLine>{{"", "supportedFeatures", "A,B"}}));
}

TEST(OwnStatus, is_nothing_where_there_is_none) {
    for (const char* text : {"{}", R"({"status":null})", R"({"status":[]})", R"({"status":{"parents":{}}})",
                             R"({"status":{"conditions":"x"}})", R"({"status":{"parents":[{"controllerName":1}]}})"}) {
        for (const KindInfo& kind : kinds_read())
            EXPECT_TRUE(lines_of(kind.kind, text).empty()) << kind.kind << " " << text;
    }
    EXPECT_EQ(digest({}), 0U);
}

TEST(OwnStatus, the_digest_knows_every_field_and_no_order) {
    const StatusLine a{"p", "t", "s", "r", "m", 1};
    const StatusLine b{"p", "u", "s", "r", "m", 1};
    EXPECT_EQ(digest({a, b}), digest({b, a}));
    const uint64_t one = digest({a});
    for (const StatusLine& other : {StatusLine{"q", "t", "s", "r", "m", 1}, StatusLine{"p", "tt", "s", "r", "m", 1},
                                    StatusLine{"p", "t", "x", "r", "m", 1}, StatusLine{"p", "t", "s", "x", "m", 1},
                                    StatusLine{"p", "t", "s", "r", "x", 1}, StatusLine{"p", "t", "s", "r", "m", 2},
                                    StatusLine{"p", "t", "s", "rm", "", 1}, StatusLine{"pt", "", "s", "r", "m", 1}})
        EXPECT_NE(digest({other}), one);
    EXPECT_NE(digest({a, a}), one);
}

TEST(Revision, is_read_from_the_metadata) {
    const auto read = [](const std::string& text) { return read_revision(*parse_json(text), kind_info("Gateway")); };
    const Revision revision = read(R"({"metadata":{"uid":"u-1","resourceVersion":"42","generation":5},"status":{
        "conditions":[{"type":"Programmed","status":"True","reason":"P","observedGeneration":5}]}})");
    EXPECT_EQ(revision.uid, "u-1");
    EXPECT_EQ(revision.version, 42U);
    EXPECT_EQ(revision.newest, 42U);
    EXPECT_EQ(revision.generation, 5);
    EXPECT_NE(revision.own_status, 0U);
    EXPECT_TRUE(revision.programmed);
    EXPECT_FALSE(read(R"({"metadata":{"generation":6},"status":{
        "conditions":[{"type":"Programmed","status":"True","observedGeneration":5}]}})")
                     .programmed)
        << "of an older generation";
    EXPECT_EQ(read("{}"), Revision());
    for (const char* bad : {"", "x", "1x", "-1", "99999999999999999999999"})
        EXPECT_EQ(parse_version(bad), 0U) << bad;
}

TEST(OwnStatus, a_refusal_says_what_it_means_however_long_its_reasons_are) {
    const std::string short_one =
        refusal_text({{.field = "spec.x", .message = "is unknown"}, {.field = "", .message = "no"}}, true);
    EXPECT_TRUE(short_one.starts_with("spec.x: is unknown; no; the last good version stays in force where"))
        << short_one;
    EXPECT_EQ(refusal_text({{.field = "kind", .message = "not served"}}, false), "kind: not served");
    for (size_t shift = 0; shift < 3; ++shift) {
        std::string many(shift, 'x');
        while (many.size() < 5'000)
            many += "\u00e9";
        const std::string text = refusal_text({{.field = "", .message = many}}, true);
        EXPECT_LE(text.size(), 1024U) << "an Event takes no more";
        EXPECT_TRUE(
            text.ends_with(" ...; the last good version stays in force where an agent had one, elsewhere nothing of "
                           "it is"));
        EXPECT_TRUE(parse_json("\"" + text + "\"")) << "not cut inside a character";
    }
}

} // namespace
} // namespace weft::agent
