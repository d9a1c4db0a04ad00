// SPDX-License-Identifier: Apache-2.0
#include "config/cni/messages.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/cni/json.hpp"

namespace weft::cni {
namespace {

Request any_request() {
    return {.verb = Verb::add,
            .ns = "default",
            .pod = "a",
            .uid = "u-a",
            .container = "c1",
            .addresses = {"10.0.0.1", "fd00::1"},
            .wait_ms = 10'000};
}

TEST(CniMessages, WhatIsWrittenIsRead) {
    for (const Verb verb : {Verb::add, Verb::check, Verb::del}) {
        Request request = any_request();
        request.verb = verb;
        EXPECT_EQ(decode_request(encode(request)), request);
    }
    for (const Outcome outcome : {Outcome::captured, Outcome::not_enrolled, Outcome::released, Outcome::refused}) {
        const Answer answer{.outcome = outcome, .reason = "why"};
        EXPECT_EQ(decode_answer(encode(answer)), answer);
    }
}

TEST(CniMessages, TextThatIsNoUtf8AndLongReasonsAreMadeToFit) {
    Request request = any_request();
    request.pod = "a\xff";
    EXPECT_TRUE(decode_request(encode(request)));
    const auto answer = decode_answer(encode(Answer{.outcome = Outcome::refused, .reason = std::string(100'000, 'x')}));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->reason.size(), reason_bytes_max);
}

TEST(CniMessages, HostileRequestsAreRefusedWithAReason) {
    const std::string good = encode(any_request());
    const auto with = [&](const std::string& from, const std::string& to) {
        std::string text = good;
        const size_t at = text.find(from);
        EXPECT_NE(at, std::string::npos) << from;
        return text.replace(at, from.size(), to);
    };
    const std::vector<std::pair<std::string, std::string>> rows = {
        {"", "no JSON object"},
        {"[]", "no JSON object"},
        {"{", "no JSON object"},
        {good + "x", "no JSON object"},
        {std::string(1000, '['), "no JSON object"},
        {std::string(message_bytes_max + 1, ' '), "too long"},
        {with("\"contract\":1", "\"contract\":2"), "another version"},
        {with("\"contract\":1", "\"contract\":\"1\""), "another version"},
        {with("\"add\"", "\"ADD\""), "verb"},
        {with("\"default\"", "\"\""), "missing"},
        {with("\"a\"", "7"), "missing"},
        {with("\"c1\"", "\"" + std::string(text_bytes_max + 1, 'c') + "\""), "too long"},
        {with("\"u-a\"", "\"u\\u0000a\""), "zero byte"},
        {with("[\"10.0.0.1\"", "[7"), "addresses"},
        {with("[\"10.0.0.1\",\"fd00::1\"]", "{}"), "addresses"},
        {with("10000", "120001"), "waitMs"},
    };
    for (const auto& [text, reason] : rows) {
        const auto request = decode_request(text);
        ASSERT_FALSE(request) << text.substr(0, 100);
        EXPECT_NE(request.error().find(reason), std::string::npos) << request.error();
    }
}

TEST(CniJson, DepthIsBoundedAndOrderKept) {
    const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    EXPECT_TRUE(parse(nested(depth_max)));
    EXPECT_FALSE(parse(nested(depth_max + 2)));
    EXPECT_FALSE(parse(nested(100'000)));
    EXPECT_FALSE(parse("{\"a\": \"\xff\"}"));
    EXPECT_EQ(parse(R"({"z": 1, "a": [2]})")->dump(), R"({"z":1,"a":[2]})");
    EXPECT_EQ(number_of(*parse(R"({"a": -1})"), "a"), std::nullopt);
    EXPECT_EQ(number_of(*parse(R"({"a": 1.5})"), "a"), std::nullopt);
    EXPECT_EQ(number_of(*parse(R"({"a": 4294967296})"), "a"), std::nullopt);
    EXPECT_EQ(number_of(*parse(R"({"a": 4294967295})"), "a"), UINT32_MAX);
}

} // namespace
} // namespace weft::cni
