// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/reply.hpp"

#include <gtest/gtest.h>

#include "l7engine/http/grpc.hpp"
#include "tests/unit/http/trace.hpp"

namespace weft::l7::test {
namespace {

struct Case {
    const char* name;
    Error error;
    uint16_t status;
    std::string_view flag;
    std::string_view body;
};

TEST(Reply, Table) {
    const std::string start = "upstream connect error or disconnect/reset before headers. reset reason: ";
    const std::string failure = start + "connection failure", too_slow = start + "connection timeout";
    const std::string termination = start + "connection termination", protocol = start + "protocol error";
    const std::string overflow = start + "overflow", local = start + "local reset";
    const std::string remote = start + "remote reset", remote_refused = start + "remote refused stream reset";
    using enum Code;
    const Side down = Side::downstream, up = Side::upstream, self = Side::self;
    const Case cases[] = {
        {"policy", denied_by_policy(), 403, "-", "RBAC: access denied"},
        {"pod unknown", no_configuration(), 503, "NC", "no configuration"},
        {"no route", no_route(), 404, "NR", ""},
        {"invalid backend", invalid_backend(), 500, "-", ""},
        {"no endpoint", no_healthy_upstream(), 503, "UH", "no healthy upstream"},
        {"bad request", {malformed, down, false, false, 400, ""}, 400, "DPE", ""},
        {"too large", {too_large, down, false, false, 431, ""}, 431, "DPE", ""},
        {"version", {invalid, down, false, false, 505, ""}, 505, "DPE", ""},
        {"errno is no status", {malformed, down, false, false, 32, ""}, 400, "DPE", ""},
        {"no status at all", {malformed, down, false, false, 999, ""}, 400, "DPE", ""},
        {"slow client", {timeout, down, false, false, 0, ""}, 408, "SI", "stream timeout"},
        {"client gone", {reset, down, false, false, 104, "read"}, 0, "DC", ""},
        {"client half gone", {eof, down, false, false, 400, "request"}, 0, "DC", ""},
        {"connect refused", {refused, up, true, false, 111, "connect"}, 503, "UF", failure},
        {"connect reset", {reset, up, true, false, 104, "connect"}, 503, "UF", failure},
        {"no route to host", {kernel, up, true, false, 113, "connect"}, 503, "UF", failure},
        {"host unreachable", {unavailable, up, true, false, 113, "connect"}, 503, "UF", failure},
        {"connect timeout", {timeout, up, true, false, 0, "connect"}, 503, "UF", too_slow},
        {"reply timeout", {timeout, up, false, false, 0, "reply"}, 504, "UT", "upstream request timeout"},
        {"silence", {timeout, up, false, false, 0, "silence"}, 504, "SI", "stream timeout"},
        {"stream reset", {reset, up, false, false, 8, "stream"}, 503, "UR", remote},
        {"stream refused", {refused, up, true, false, 7, "stream"}, 503, "UR", remote_refused},
        {"cut", {reset, up, false, false, 104, "read"}, 503, "UC", termination},
        {"closed", {eof, up, true, false, 502, "reply"}, 503, "UC", termination},
        {"garbage", {malformed, up, false, false, 502, "head"}, 502, "UPE", protocol},
        {"garbage of an unknown kind", {invalid, up, false, false, 502, ""}, 502, "UPE", protocol},
        {"too much", {too_large, up, false, false, 502, ""}, 502, "UPE", protocol},
        {"no socket", {unavailable, self, false, false, 24, "socket"}, 503, "UO", overflow},
        {"shutting down", {canceled, self, false, false, 0, ""}, 503, "LR", local},
        {"a fault of ours", {invalid, self, false, false, 0, "header to send"}, 500, "-", ""},
    };
    for (const Case& c : cases) {
        const LocalReply reply = local_reply(c.error);
        EXPECT_EQ(reply.status, c.status) << c.name;
        EXPECT_EQ(reply.flag, c.flag) << c.name;
        EXPECT_EQ(reply.body, c.body) << c.name;
    }
}

TEST(Reply, EveryErrorHasAnAnswerOrNobodyToTell) {
    for (unsigned code = 0; code <= static_cast<unsigned>(Code::kernel); ++code) {
        for (const Side side : {Side::self, Side::downstream, Side::upstream}) {
            const LocalReply reply = local_reply({.code = static_cast<Code>(code), .side = side});
            EXPECT_TRUE(reply.flag == "DC" ? reply.status == 0 : reply.status >= 400 && reply.status < 600);
        }
    }
}

TEST(Reply, EveryAnswerInTheWordsOfGrpc) {
    constexpr std::string_view date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (unsigned code = 0; code <= static_cast<unsigned>(Code::kernel); ++code) {
        for (const Side side : {Side::self, Side::downstream, Side::upstream}) {
            for (const int32_t detail : {0, 400, 404, 408, 413, 414, 417, 426, 431, 500, 501, 503, 505}) {
                const LocalReply reply = local_reply({.code = static_cast<Code>(code), .side = side, .detail = detail});
                if (reply.status == 0)
                    continue;
                const Head http = make_local_reply(reply, false, date);
                EXPECT_EQ(http.status, reply.status);
                EXPECT_EQ(http.content_length, reply.body.size());
                const Head grpc = make_local_reply(reply, true, date);
                const std::string status = std::to_string(grpc_status_of_http(reply.status));
                const std::string message = reply.body.empty() ? "" : ", grpc-message: " + std::string(reply.body);
                EXPECT_EQ(grpc.status, 200);
                EXPECT_EQ(grpc.content_length, std::nullopt);
                EXPECT_EQ(describe(grpc.headers), " {content-type: application/grpc, grpc-status: " + status + message +
                                                      ", date: " + std::string(date) + "}");
            }
        }
    }
    const struct {
        Error error;
        std::string_view status;
    } known[] = {
        {denied_by_policy(), "7"},
        {no_route(), "12"},
        {no_configuration(), "14"},
        {no_healthy_upstream(), "14"},
        {invalid_backend(), "2"},
        {{.code = Code::timeout, .side = Side::upstream, .during = "reply"}, "4"},
        {{.code = Code::timeout, .side = Side::upstream, .during = "connect"}, "14"},
        {{.code = Code::malformed, .side = Side::upstream}, "14"},
        {{.code = Code::malformed, .side = Side::downstream, .detail = 400}, "13"},
    };
    for (const auto& c : known)
        EXPECT_EQ(make_local_reply(local_reply(c.error), true, date).headers.find("grpc-status"), c.status);
    const LocalReply percent{.status = 500, .flag = "-", .body = "100 %"};
    EXPECT_EQ(make_local_reply(percent, true, date).headers.find("grpc-message"), "100 %25");
}

TEST(Reply, OnTheWire) {
    constexpr std::string_view date = "Sun, 06 Nov 1994 08:49:37 GMT";
    const std::unique_ptr<Codec> codec = make_h1_server_codec({});
    Recorder seen;
    ASSERT_TRUE(codec->receive(Slice::copy_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), seen));
    const LocalReply reply = local_reply(denied_by_policy());
    ASSERT_TRUE(codec->send_head(1, make_local_reply(reply.status, reply.body.size(), date), false));
    ASSERT_TRUE(codec->send_data(1, Slice::of_static(reply.body), true));
    EXPECT_EQ(take_pending(*codec),
              "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ndate: Sun, 06 Nov 1994 08:49:37 "
              "GMT\r\nContent-Length: 19\r\n\r\nRBAC: access denied");
    EXPECT_EQ(describe(make_local_reply(404, 0, date).headers), " {date: Sun, 06 Nov 1994 08:49:37 GMT}");
}

} // namespace
} // namespace weft::l7::test
