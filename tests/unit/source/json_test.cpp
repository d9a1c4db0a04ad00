// SPDX-License-Identifier: Apache-2.0
#include "agent/source/json.hpp"

#include <gtest/gtest.h>

#include <chrono>

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

/// An API server writes a float that has no fraction without one, up to 1e21: one tenant's number must not be the end
/// of a whole list.
TEST(Json, a_number_of_any_size_is_one) {
    const auto root = parse_json(R"({"n":[18446744073709551616,-9223372036854775809,100000000000000000000,1e+300,)"
                                 R"(9223372036854775807,-9223372036854775808,12345678901234567890123e2],)"
                                 R"("12345678901234567890123":"\\\"9999999999999999999999","m":5})");
    ASSERT_TRUE(root) << root.error().message;
    const Value& list = *root->find("n");
    ASSERT_EQ(list.items.size(), 7U);
    for (const size_t real : {0U, 1U, 2U, 3U, 6U})
        EXPECT_EQ(list.items[real].type, Value::Type::real) << real;
    EXPECT_EQ(list.items[2].text, "1e+20");
    EXPECT_EQ(list.items[4].integer, INT64_MAX);
    EXPECT_EQ(list.items[5].integer, INT64_MIN);
    EXPECT_EQ(root->find("12345678901234567890123")->text, "\\\"9999999999999999999999");
    EXPECT_EQ(root->find("m")->integer, 5);
    for (const char* text : {"[1e]", "[01]", "[-]", "[1.]", "[+1]", "[.5]", "[99999999999999999999x]",
                             "[09999999999999999999]", "[1e999]", "[99999999999999999999", "[\"99999999999999999999]"})
        EXPECT_FALSE(parse_json(text)) << text;
    const auto again = parse_json(json_text(*root));
    ASSERT_TRUE(again);
    EXPECT_EQ(json_text(*again), json_text(*root));
    const auto unsigned_one = parse_json("[12345678901234567890,123456789012345678901]");
    ASSERT_TRUE(unsigned_one);
    EXPECT_EQ(unsigned_one->items[0].text, "12345678901234567890");
    for (const char* real : {"[1.0]", "[1e2]", "[-0.0]", "[1.5e300]"}) {
        const auto read = parse_json(real);
        ASSERT_TRUE(read) << real;
        EXPECT_EQ(parse_json(json_text(*read))->items[0].type, Value::Type::real) << json_text(*read);
    }
}

TEST(Json, leaves_managed_fields_out) {
    for (const char* value : {"[{\"a\":{\"b\":[1,2]}}]", "{}", "1", "null", "[]"}) {
        const auto root = parse_json(std::string(R"({"metadata":{"managedFields":)") + value + R"(,"name":"x"}})");
        ASSERT_TRUE(root) << value;
        const Value& meta = *root->find("metadata");
        EXPECT_EQ(meta.find("managedFields"), nullptr) << value;
        EXPECT_EQ(meta.find("name")->text, "x") << value;
    }
    std::string many;
    for (int i = 0; i < 40; ++i)
        many += ",\"k" + std::to_string(i) + "\":1";
    for (const std::string& more : {std::string(), many})
        EXPECT_TRUE(parse_json(R"({"managedFields":1,"managedFields":2)" + more + "}")) << "read over, however often";
}

std::string nested_maps(size_t depth) {
    std::string out;
    for (size_t i = 0; i < depth; ++i)
        out += "{\"a\":";
    return out + "1" + std::string(depth, '}');
}

TEST(Json, refuses_what_is_none_or_too_much) {
    EXPECT_TRUE(parse_json(nested_maps(limits::depth_max)));
    std::string deep;
    for (size_t i = 0; i <= limits::depth_max; ++i)
        deep += '[';
    deep += std::string(limits::depth_max + 1, ']');
    for (const std::string& text :
         {std::string(), std::string("{"), std::string("{\"a\":1,}"), std::string("{} {}"),
          std::string(R"({"a":1,"a":2})"), std::string("\"\xff\""), deep, nested_maps(limits::depth_max + 1)})
        EXPECT_FALSE(parse_json(text)) << text;
    std::string wide = "[1";
    for (size_t i = 0; i < limits::nodes_per_file_max; ++i)
        wide += ",1";
    EXPECT_FALSE(parse_json(wide + "]"));
}

/// What parse_json_objects() takes: names, "!" before one that was kept out.
struct Taken {
    explicit Taken(const std::string& text)
        : rest(parse_json_objects(text, [this](Value&& object, const std::string& kept_out) {
              names += (kept_out.empty() ? "" : "!") + text_member(object.find("metadata"), "name") + ",";
              why += kept_out;
              last = std::move(object);
          })) {}
    std::string names;
    std::string why;
    Value last;
    std::expected<Value, Fault> rest;
};

std::string numbers(size_t count) {
    std::string out = "[1";
    for (size_t i = 1; i < count; ++i)
        out += ",1";
    return out + "]";
}

TEST(JsonObjects, are_given_out_one_by_one_and_not_kept) {
    const Taken list(R"({"kind":"L","items":[{"metadata":{"name":"a"},"items":[{"metadata":{"name":"no"}}]},)"
                     R"({"metadata":{"name":"b"},"object":{"metadata":{"name":"no"}}}],"metadata":{"name":"l"}})");
    ASSERT_TRUE(list.rest) << list.rest.error().message;
    EXPECT_EQ(list.names, "a,b,");
    EXPECT_EQ(list.last.find("object")->find("metadata")->find("name")->text, "no");
    EXPECT_TRUE(list.rest->find("items")->items.empty());
    EXPECT_EQ(text_member(list.rest->find("metadata"), "name"), "l");
    const Taken event(R"({"object":{"metadata":{"name":"a","managedFields":[{}]},"spec":[1]},"type":"ADDED"})");
    ASSERT_TRUE(event.rest);
    EXPECT_EQ(event.names, "a,");
    EXPECT_EQ(event.last.find("spec")->items.size(), 1U);
    EXPECT_EQ(text_member(&*event.rest, "type"), "ADDED");
    const Taken none(R"({"items":[1,[2],null],"metadata":{}})");
    ASSERT_TRUE(none.rest);
    EXPECT_EQ(none.names, ",,,");
    EXPECT_NE(none.rest->find("metadata"), nullptr);
    EXPECT_FALSE(Taken(R"({"items":[{"metadata":{"name":"a"}})").rest);
    EXPECT_FALSE(Taken(R"({"object":{},"object":{}})").rest);
}

TEST(JsonObjects, one_beyond_the_limits_keeps_out_only_itself) {
    std::string deep;
    for (size_t i = 0; i <= limits::depth_max; ++i)
        deep += "[";
    deep += std::string(limits::depth_max + 1, ']');
    const std::string names =
        R"("metadata":{"name":"b","namespace":"n","uid":"u","resourceVersion":"7","x":{"name":"y"}})";
    for (const std::string& beyond :
         {numbers(limits::nodes_per_object_max + 1), deep, std::string(R"({"k":1,"k":2})")}) {
        for (const std::string& object :
             {"{" + names + R"(,"spec":)" + beyond + R"(,"status":{"metadata":{"name":"z"}}})",
              R"({"annotations":)" + beyond + "," + names + "}"}) {
            const Taken taken(R"({"items":[{"metadata":{"name":"a"}},)" + object +
                              R"(,{"metadata":{"name":"c"},"spec":[1,{"x":1}]}],"metadata":{"continue":"d"}})");
            ASSERT_TRUE(taken.rest) << taken.rest.error().message;
            EXPECT_EQ(taken.names, "a,!b,c,");
            EXPECT_EQ(text_member(taken.rest->find("metadata"), "continue"), "d");
            const Taken event(R"({"type":"ADDED","object":)" + object + "}");
            ASSERT_TRUE(event.rest);
            EXPECT_NE(event.why, "");
            EXPECT_EQ(event.last.keys, std::vector<std::string>{"metadata"});
            const Value* meta = event.last.find("metadata");
            for (const auto& [key, value] :
                 {std::pair{"name", "b"}, {"namespace", "n"}, {"uid", "u"}, {"resourceVersion", "7"}})
                EXPECT_EQ(text_member(meta, key), value);
            EXPECT_EQ(meta->keys.size(), 4U);
        }
    }
    // As deep as an API server takes it: its neighbours are taken, and what is left out may be so.
    const std::string abyss = nested_maps(9'990);
    const Taken spec(R"({"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"},"spec":)" + abyss +
                     R"(},{"metadata":{"name":"c","managedFields":[)" + abyss + "]}}]}");
    ASSERT_TRUE(spec.rest) << spec.rest.error().message;
    EXPECT_EQ(spec.names, "a,!b,c,");
    std::string page = R"({"items":[)"; // many large ones are no page too large
    for (int i = 0; i < 8; ++i)
        page += (i == 0 ? "" : ",") +
                (R"({"metadata":{"name":"a"},"spec":)" + numbers(limits::nodes_per_object_max - 10)) + "}";
    EXPECT_EQ(Taken(page + "]}").names, "a,a,a,a,a,a,a,a,");
}

TEST(Json, many_keys_of_one_map_are_compared_in_little_time) {
    const auto map = [](size_t count, const std::string& last) {
        std::string out = "{";
        for (size_t i = 0; i < count; ++i)
            out += "\"key" + std::to_string(i * 7919 % count) + "\":\"\",";
        return out + "\"" + last + "\":1}";
    };
    const auto begin = std::chrono::steady_clock::now();
    const auto root = parse_json(map(100'000, "other"));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << "each with each is minutes";
    ASSERT_TRUE(root) << root.error().message;
    EXPECT_EQ(root->keys.size(), 100'001U);
    for (const size_t count : {1U, 2U, 31U, 32U, 33U, 34U, 100'000U})
        for (const size_t twice : {size_t{0}, size_t{count / 2}, size_t{count - 1}})
            EXPECT_FALSE(parse_json(map(count, "key" + std::to_string(twice)))) << count << " " << twice;
}

} // namespace
} // namespace weft::agent
