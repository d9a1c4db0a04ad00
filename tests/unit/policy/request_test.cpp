// SPDX-License-Identifier: Apache-2.0
#include "l7engine/policy/request.hpp"

#include <gtest/gtest.h>

#include "tests/unit/policy/requests.hpp"

namespace weft::l7 {
namespace {

using test::Request;

TEST(RequestView, splits_the_target) {
    struct Row {
        std::string_view target, path, query;
    };
    constexpr Row rows[] = {
        {"/", "/", ""},
        {"/a/b", "/a/b", ""},
        {"/a?x=1&y=2", "/a", "x=1&y=2"},
        {"/a?", "/a", ""},
        {"/a?x=/b?c", "/a", "x=/b?c"},
        {"/a#frag", "/a", ""},
        {"/a#frag?x=1", "/a", ""},
        {"/a?x=1#frag", "/a", "x=1"},
        {"?x=1", "", "x=1"},
        {"*", "*", ""},
        {"", "", ""},
    };
    for (const auto& row : rows) {
        const Request request(row.target);
        EXPECT_EQ(request.view().path, row.path) << row.target;
        EXPECT_EQ(request.view().query, row.query) << row.target;
        EXPECT_EQ(request.view().target, row.target) << row.target;
    }
}

TEST(RequestView, finds_the_first_parameter_raw) {
    struct Row {
        std::string_view target, name;
        std::optional<std::string_view> value;
    };
    const Row rows[] = {
        {"/?animal=whale", "animal", "whale"},
        {"/?animal=whale&animal=dolphin", "animal", "whale"},
        {"/?color=blue&animal=whale", "animal", "whale"},
        {"/?Animal=whale", "animal", std::nullopt},
        {"/?animal", "animal", ""},
        {"/?animal=", "animal", ""},
        {"/?animal=a=b", "animal", "a=b"},
        {"/?animal=a%20b", "animal", "a%20b"},
        {"/?animal=a+b", "animal", "a+b"},
        {"/?anima%6c=whale", "animal", std::nullopt},
        {"/?xanimal=1", "animal", std::nullopt},
        {"/?&&animal=1&", "animal", "1"},
        {"/?=1", "", "1"},
        {"/", "animal", std::nullopt},
        {"/?", "animal", std::nullopt},
    };
    for (const auto& row : rows)
        EXPECT_EQ(Request(row.target).view().parameter(row.name), row.value) << row.target;
}

TEST(RequestView, gives_back_the_fields_that_the_codec_takes_out) {
    Request request("/p?q=1", "POST", "reviews:9080",
                    {{"X-One", "a"}, {"x-two", "b"}, {"X-Two", "c"}, {"x-empty", ""}});
    std::string scratch;
    struct Row {
        std::string_view name;
        std::optional<std::string_view> value;
    };
    const Row rows[] = {
        {"host", "reviews:9080"},
        {":authority", "reviews:9080"},
        {":method", "POST"},
        {":path", "/p?q=1"},
        {":scheme", "http"},
        {":status", std::nullopt},
        {"x-one", "a"},
        {"x-two", "b,c"},
        {"x-empty", ""},
        {"x-none", std::nullopt},
        {"content-length", std::nullopt},
        {"upgrade", std::nullopt},
    };
    for (const auto& row : rows)
        EXPECT_EQ(request.view().field(row.name, scratch), row.value) << row.name;
    request.head.content_length = 12;
    request.head.upgrade = "websocket";
    request.head.authority.clear();
    EXPECT_EQ(request.view().field("content-length", scratch), "12");
    EXPECT_EQ(request.view().field("upgrade", scratch), "websocket");
    EXPECT_EQ(request.view().field("host", scratch), std::nullopt);
}

} // namespace
} // namespace weft::l7
