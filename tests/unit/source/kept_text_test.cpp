// SPDX-License-Identifier: Apache-2.0
#include "agent/source/kept_text.hpp"

#include <gtest/gtest.h>

#include "agent/source/json.hpp"
#include "agent/source/parse.hpp"

namespace weft::agent {
namespace {

constexpr const char* route = R"({"metadata":{"name":"r","namespace":"a","uid":"u","labels":{"x":"y"},
    "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","istio.io/z":"1\n2"},
    "creationTimestamp":"2026-01-01T00:00:00Z","managedFields":[{"a":1}]},"spec":{"parentRefs":[{"group":"",
    "kind":"Service","name":"s"}],"rules":[{"matches":[{"path":{"type":"PathPrefix","value":"/a"}}],
    "backendRefs":[{"name":"s","port":80,"weight":3}]}]},"status":{"parents":[]}})";

TEST(KeptText, MeansTheSame) {
    const auto value = parse_json(route);
    ASSERT_TRUE(value);
    const std::string text = kept_text(*value, kind_info("HTTPRoute"), "v1");
    EXPECT_EQ(text.find_first_of("\n\t"), std::string::npos);
    EXPECT_EQ(text.find("kubectl"), std::string::npos);
    EXPECT_EQ(text.find("status"), std::string::npos);
    ParsedFile served;
    parse_served(*value, kind_info("HTTPRoute"), "v1", served);
    ParsedFile again;
    parse_object(*parse_json(text), {}, again);
    ASSERT_EQ(served.objects.size(), 1U);
    ASSERT_EQ(again.objects.size(), 1U);
    ASSERT_TRUE(again.objects[0].faults.empty()) << again.objects[0].faults[0].message;
    EXPECT_EQ(*std::get<std::shared_ptr<const HttpRoute>>(again.objects[0].object),
              *std::get<std::shared_ptr<const HttpRoute>>(served.objects[0].object));
    EXPECT_EQ(unpack(served.objects[0].text), text);
}

TEST(KeptText, IsPackedSmallAndComesBackWhole) {
    const std::string text = kept_text(*parse_json(route), kind_info("HTTPRoute"), "v1");
    const std::string packed = pack(text);
    EXPECT_LT(packed.size() * 2, text.size());
    EXPECT_EQ(packed, pack(text));
    for (const std::string& each : {text, std::string(), std::string("x"), std::string(300'000, 'a') + text})
        EXPECT_EQ(unpack(pack(each)), each);
}

TEST(KeptText, WhatIsNotPackedIsNothing) {
    const std::string packed = pack("some text that is long enough to be cut");
    EXPECT_EQ(unpack(""), "");
    EXPECT_EQ(unpack("abc"), "");
    EXPECT_EQ(unpack(packed.substr(0, packed.size() - 1)), "");
    EXPECT_EQ(unpack(std::string("\xff\xff\xff\xff", 4) + packed.substr(4)), "") << "a size that nobody has";
    std::string smaller = packed;
    --smaller[0];
    EXPECT_EQ(unpack(smaller), "");
}

} // namespace
} // namespace weft::agent
