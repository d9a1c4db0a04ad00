// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/grpc.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

namespace weft::l7::test {
namespace {

using namespace std::string_literals;

TEST(Grpc, ContentTypes) {
    const struct {
        std::string_view type;
        bool grpc;
    } cases[] = {
        {"application/grpc", true},
        {"application/grpc+proto", true},
        {"application/grpc+json", true},
        {"application/grpc+", true},
        {"Application/GRPC+Proto", true},
        {"application/grpc-web", false},
        {"application/grpc-web+proto", false},
        {"application/grpc-web-text", false},
        {"application/grpc; charset=utf-8", false}, // as Envoy
        {"application/grp", false},
        {"application/grpcx", false},
        {" application/grpc", false},
        {"text/plain", false},
        {"", false},
    };
    for (const auto& c : cases) {
        EXPECT_EQ(is_grpc(c.type), c.grpc) << c.type;
        Headers headers;
        headers.add("Content-Type", c.type);
        EXPECT_EQ(is_grpc(headers), c.grpc) << c.type;
    }
    EXPECT_FALSE(is_grpc(Headers()));
}

TEST(Grpc, StatusOfHttp) {
    const struct {
        uint16_t http;
        uint32_t grpc;
    } cases[] = {
        {400, 13}, {401, 16}, {403, 7}, {404, 12}, {408, 4}, {429, 14}, {502, 14}, {503, 14}, {504, 4}, {0, 2},
        {200, 2},  {302, 2},  {413, 2}, {414, 2},  {417, 2}, {426, 2},  {431, 2},  {500, 2},  {501, 2}, {505, 2},
    };
    for (const auto& c : cases)
        EXPECT_EQ(grpc_status_of_http(c.http), c.grpc) << c.http;
}

TEST(Grpc, ReadsStatus) {
    const struct {
        std::string_view text;
        uint32_t status;
    } cases[] = {
        {"0", 0}, {"7", 7},  {"16", 16}, {"04", 4}, {"17", 2},  {"99999999", 2}, {"4294967296", 2},
        {"", 2},  {"-1", 2}, {"+1", 2},  {"1 ", 2}, {"1,1", 2}, {"OK", 2},       {"0x1", 2},
    };
    for (const auto& c : cases) {
        Headers headers;
        headers.add("Grpc-Status", c.text);
        EXPECT_EQ(read_grpc_status(headers), c.status) << "'" << c.text << "'";
    }
    EXPECT_EQ(read_grpc_status(Headers()), std::nullopt);
}

TEST(Grpc, Timeouts) {
    const struct {
        std::string_view text;
        std::optional<uint64_t> ms;
    } cases[] = {
        {"1H", 3'600'000},
        {"2M", 120'000},
        {"3S", 3'000},
        {"4m", 4},
        {"5000u", 5},
        {"6000000n", 6},
        {"1n", 1}, // a part of a millisecond is no deadline that has passed
        {"1u", 1},
        {"1001u", 2},
        {"1000001n", 2},
        {"0S", 0},
        {"0n", 0},
        {"00000001S", 1'000},
        {"99999999H", 359'999'996'400'000},
        {"99999999n", 100},
        {"100000000n", std::nullopt}, // nine digits
        {"000000001S", std::nullopt},
        {"", std::nullopt},
        {"S", std::nullopt},
        {"1", std::nullopt},
        {"1s", std::nullopt},
        {"1h", std::nullopt},
        {"1ms", std::nullopt},
        {"-1S", std::nullopt},
        {"+1S", std::nullopt},
        {" 1S", std::nullopt},
        {"1 S", std::nullopt},
        {"1S ", std::nullopt},
        {"1.5S", std::nullopt},
        {"0x1S", std::nullopt},
        {"1S,1S", std::nullopt},
    };
    for (const auto& c : cases)
        EXPECT_EQ(parse_grpc_timeout(c.text), c.ms) << "'" << c.text << "'";
}

TEST(Grpc, EncodesMessages) {
    const struct {
        std::string_view text, encoded;
    } cases[] = {
        {"", ""},
        {"RBAC: access denied", "RBAC: access denied"},
        {"100%", "100%25"},
        {"a\r\nb\t", "a%0D%0Ab%09"},
        {"\x7f~ ", "%7F~ "},
        {"\xc3\xa9", "%C3%A9"},
        {std::string_view("\0", 1), "%00"},
    };
    for (const auto& c : cases)
        EXPECT_EQ(encode_grpc_message(c.text), c.encoded);
}

std::string message(std::string_view payload, char flag = 0) {
    const auto size = static_cast<uint32_t>(payload.size());
    std::string text(1, flag);
    for (const unsigned shift : {24U, 16U, 8U, 0U})
        text += static_cast<char>(size >> shift & 0xffU);
    return text.append(payload);
}

std::string counts(const GrpcMessages& messages) {
    return std::to_string(messages.begun()) + "/" + std::to_string(messages.complete()) +
           (messages.between_messages() ? "." : "") + (messages.malformed() ? "!" : "");
}

TEST(GrpcMessages, CountsTheSameHoweverTheBodyIsCut) {
    const struct {
        const char* name;
        std::string body;
        std::string_view counts; ///< begun / complete; "." where a body may end, "!" malformed
    } cases[] = {
        {"nothing", "", "0/0."},
        {"one", message("hello"), "1/1."},
        {"one empty", message(""), "1/1."},
        {"compressed", message("hello", 1), "1/1."},
        {"three", message("hello") + message("") + message(std::string(300, 'x')), "3/3."},
        {"a flag only", "\0"s, "1/0"},
        {"a prefix only", message("hello").substr(0, 5), "1/0"},
        {"cut short", message("hello").substr(0, 9), "1/0"},
        {"second cut short", message("hello") + message("x").substr(0, 3), "2/1"},
        {"payload like prefixes", message(message("") + message("a")), "1/1."},
        {"the largest length", "\0\xff\xff\xff\xff"s + std::string(1000, '\0'), "1/0"},
        {"no gRPC", "GET / HTTP/1.1\r\n\r\n", "0/0!"},
        {"garbage behind a message", message("hello") + "garbage", "1/1!"},
        {"unknown flag", message("hello", 2) + message(""), "0/0!"},
        {"trailers of grpc-web", message("hello") + message("grpc-status: 0", static_cast<char>(0x80)), "1/1!"},
    };
    for (const auto& c : cases) {
        GrpcMessages whole, bytes;
        whole.pass(as_bytes(c.body));
        EXPECT_EQ(counts(whole), c.counts) << c.name;
        for (const char& byte : c.body)
            bytes.pass(as_bytes({&byte, 1}));
        EXPECT_EQ(counts(bytes), c.counts) << c.name << ", byte by byte";
        for (size_t split = 0; split <= c.body.size(); ++split) {
            GrpcMessages parts;
            parts.pass(as_bytes(std::string_view(c.body).substr(0, split)));
            parts.pass({});
            parts.pass(as_bytes(std::string_view(c.body).substr(split)));
            ASSERT_EQ(counts(parts), c.counts) << c.name << ", split at " << split;
        }
    }
}

TEST(GrpcMessages, NoBytesConfuseIt) {
    std::mt19937 random(1); // NOLINT: the same each time
    for (int round = 0; round < 2000; ++round) {
        GrpcMessages messages;
        std::string body;
        for (size_t i = random() % 64; i > 0; --i)
            body += static_cast<char>(random() % 4 == 0 ? random() % 256 : random() % 2);
        messages.pass(as_bytes(body));
        ASSERT_LE(messages.complete(), messages.begun());
        ASSERT_LE(messages.begun(), messages.complete() + 1);
        ASSERT_LE(messages.complete(), body.size() / 5);
    }
}

} // namespace
} // namespace weft::l7::test
