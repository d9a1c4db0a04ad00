// SPDX-License-Identifier: Apache-2.0
#include "agent/source/json.hpp"

#include <gtest/gtest.h>

#include "agent/source/limits.hpp"

namespace weft::agent {
namespace {

TEST(Json, gives_every_kind_of_value) {
    const auto root = parse_json(R"({"a":[1,-2,1.5,18446744073709551615,"t\u00e9",true,null,{}],"b":{"c":{}}})");
    ASSERT_TRUE(root) << root.error().message;
    const Value& list = *root->find("a");
    ASSERT_EQ(list.items.size(), 8U);
    EXPECT_EQ(list.items[0].integer, 1);
    EXPECT_EQ(list.items[1].integer, -2);
    EXPECT_EQ(list.items[2].type, Value::Type::real);
    EXPECT_EQ(list.items[3].type, Value::Type::real) << "no 64-bit integer";
    EXPECT_EQ(list.items[4].text, "té");
    EXPECT_TRUE(list.items[5].boolean);
    EXPECT_EQ(list.items[6].type, Value::Type::null);
    EXPECT_EQ(list.items[7].type, Value::Type::map);
    EXPECT_NE(root->find("b")->find("c"), nullptr);
}

TEST(Json, leaves_managed_fields_out) {
    for (const char* value : {"[{\"a\":{\"b\":[1,2]}}]", "{}", "1", "null", "[]"}) {
        const auto root = parse_json(std::string(R"({"metadata":{"managedFields":)") + value + R"(,"name":"x"}})");
        ASSERT_TRUE(root) << value;
        const Value& meta = *root->find("metadata");
        EXPECT_EQ(meta.find("managedFields"), nullptr) << value;
        EXPECT_EQ(meta.find("name")->text, "x") << value;
    }
}

TEST(Json, refuses_what_is_none_or_too_much) {
    std::string deep;
    for (size_t i = 0; i <= limits::depth_max; ++i)
        deep += '[';
    for (const std::string& text : {std::string(), std::string("{"), std::string("{\"a\":1,}"), std::string("{} {}"),
                                    std::string(R"({"a":1,"a":2})"), std::string("\"\xff\""), deep})
        EXPECT_FALSE(parse_json(text)) << text;
    std::string wide = "[1";
    for (size_t i = 0; i < limits::nodes_per_file_max; ++i)
        wide += ",1";
    EXPECT_FALSE(parse_json(wide + "]"));
}

} // namespace
} // namespace weft::agent
