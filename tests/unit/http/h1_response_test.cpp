// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/http/trace.hpp"

/// Replies as the client side reads them, each at every split. A refused reply is "!502".
namespace weft::l7::test {
namespace {

using namespace std::string_literals;

struct Case {
    const char* name;
    std::string input;
    std::string expected;
    const char* method = "GET";
    bool eof = false;
};

void expect_all(const std::vector<Case>& cases) {
    for (const Case& c : cases)
        EXPECT_EQ(answer_all_ways(c.input, c.method, c.eof), c.expected) << c.name;
}

const std::string refused = "!502\nclosed";
const std::string more = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

std::string ok(const std::string& fields, const std::string& body = "") {
    return "HTTP/1.1 200 OK\r\n" + fields + "\r\n" + body;
}
std::string with_status(const std::string& status, const std::string& fields, const std::string& body = "") {
    return "HTTP/1.1 " + status + "\r\n" + fields + "\r\n" + body;
}

TEST(H1Response, Bodies) {
    expect_all({
        {"length", ok("Content-Length: 2\r\n", "hi"), "[1] 200 cl=2\n[1] 'hi' ."},
        {"length 0", ok("Content-Length: 0\r\n"), "[1] 200 cl=0 ."},
        {"chunked", ok("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n"), "[1] 200\n[1] 'hi' ."},
        {"trailers", ok("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\nGrpc-Status: 0\r\nHost: x\r\n\r\n"),
         "[1] 200\n[1] 'hi'\n[1] trailers {Grpc-Status: 0}"},
        {"nominated trailers",
         ok("Transfer-Encoding: chunked\r\nConnection: X-Hop\r\n", "0\r\nA: 1\r\nX-HOP: 2\r\n\r\n"),
         "[1] 200\n[1] trailers {A: 1}"},
        {"until close", ok("A: 1\r\n", "hi"), "[1] 200 {A: 1}\n[1] 'hi' .\nclosed", "GET", true},
        {"until close, still open", ok("", "hi"), "[1] 200\n[1] 'hi'"},
        {"until close, nothing", ok(""), "[1] 200\n[1] '' .\nclosed", "GET", true},
        {"HEAD with length", ok("Content-Length: 5\r\n"), "[1] 200 cl=5 .", "HEAD"},
        {"HEAD chunked", ok("Transfer-Encoding: chunked\r\n"), "[1] 200 .", "HEAD"},
        {"HEAD without framing", ok(""), "[1] 200 .", "HEAD"},
        {"204", with_status("204 No Content", "A: 1\r\n"), "[1] 204 {A: 1} ."},
        {"S82 304 that announces chunks", with_status("304 Not Modified", "Transfer-Encoding: chunked\r\n"),
         "[1] 304 .\nclosed"},
        {"304 with length", with_status("304 Not Modified", "Content-Length: 9\r\n"), "[1] 304 cl=9 ."},
        {"without a reason", with_status("200", "Content-Length: 0\r\n"), "[1] 200 cl=0 ."},
        {"with an empty reason", with_status("200 ", "Content-Length: 0\r\n"), "[1] 200 cl=0 ."},
        {"odd status", with_status("799 x", "Content-Length: 0\r\n"), "[1] 799 cl=0 ."},
        {"reason in UTF-8", with_status("200 \xc3\xa9", "Content-Length: 0\r\n"), "[1] 200 cl=0 ."},
    });
}

TEST(H1Response, Connection) {
    expect_all({
        {"close", ok("Connection: close\r\nContent-Length: 0\r\n"), "[1] 200 cl=0 .\nclosed"},
        {"1.0 closes", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "[1] 200 cl=0 .\nclosed"},
        {"1.0 keeps if it says so", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
         "[1] 200 cl=0 ."},
        {"nominated and hop-by-hop",
         ok("Connection: X-A\r\nX-A: 1\r\nKeep-Alive: 1\r\nUpgrade: h2c\r\nTE: x\r\nContent-Length: 0\r\n"),
         "[1] 200 cl=0 ."},
        {"several cookies stay apart", ok("Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n"),
         "[1] 200 {Set-Cookie: a, Set-Cookie: b} cl=0 ."},
        {"framing nominated", ok("Connection: Content-Length\r\nContent-Length: 0\r\n"), refused},
        {"extra bytes", ok("Content-Length: 2\r\n", "hi!"), "[1] 200 cl=2\n[1] 'hi' .\nclosed"},
        {"an extra reply", ok("Content-Length: 2\r\n", "hi" + more), "[1] 200 cl=2\n[1] 'hi' .\nclosed"},
        {"an extra reply after chunks", ok("Transfer-Encoding: chunked\r\n", "0\r\n\r\n" + more),
         "[1] 200\n[1] '' .\nclosed"},
        {"extra blank line", ok("Content-Length: 0\r\n", "\r\n"), "[1] 200 cl=0 .\nclosed"},
        {"S82 204 with a body", with_status("204 x", "Content-Length: 2\r\n", "hi"), "[1] 204 .\nclosed"},
        {"S82 204 that announces a body", with_status("204 x", "Content-Length: 2\r\n"), "[1] 204 .\nclosed"},
        {"S82 204 chunked", with_status("204 x", "Transfer-Encoding: chunked\r\n"), "[1] 204 .\nclosed"},
        {"S82 204 and bytes", with_status("204 x", "", "hi"), "[1] 204 .\nclosed"},
        {"S82 304 and bytes", with_status("304 x", "Content-Length: 2\r\n", "hi"), "[1] 304 cl=2 .\nclosed"},
        {"S83 HEAD and bytes", ok("Content-Length: 2\r\n", "hi"), "[1] 200 cl=2 .\nclosed", "HEAD"},
    });
}

TEST(H1Response, FramingInDoubt) {
    expect_all({
        {"S80 length and coding", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), refused},
        {"S80 reversed", ok("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), refused},
        {"also to HEAD", ok("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), refused, "HEAD"},
        {"two lengths", ok("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), refused},
        {"list of lengths", ok("Content-Length: 5, 5\r\n", "hello"), refused},
        {"bad length", ok("Content-Length: x\r\n"), refused},
        {"length overflow", ok("Content-Length: 18446744073709551621\r\n"), refused},
        {"coding unknown", ok("Transfer-Encoding: gzip\r\n"), refused},
        {"gzip, chunked", ok("Transfer-Encoding: gzip, chunked\r\n"), refused},
        {"coding with a parameter", ok("Transfer-Encoding: chunked;q=1\r\n"), refused},
        {"coding in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused},
        {"bad chunk", ok("Transfer-Encoding: chunked\r\n", "x\r\n"), "[1] 200\n" + refused},
        {"S85 101", with_status("101 Switching Protocols", "Connection: upgrade\r\nUpgrade: websocket\r\n"), refused},
        {"S89 fold", ok("A: 1\r\n 2\r\n"), refused},
        {"fold of the length", ok("Content-Length:\r\n 5\r\n", "hello"), refused},
        {"bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", refused},
        {"lone CR", ok("A: 1\rB: 2\r\n"), refused},
        {"NUL", ok("A: \0\r\n"s), refused},
        {"NUL in the reason", with_status("200 \0"s, ""), refused},
        {"name with a space", ok("A b: 1\r\n"), refused},
        {"space before the colon", ok("Content-Length : 0\r\n"), refused},
        {"blank line before", "\r\n" + more, refused},
        {"HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n", refused},
        {"HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", refused},
        {"HTTP/0.9", "HTTP/0.9 200 OK\r\n\r\n", refused},
        {"099", with_status("099 x", ""), refused},
        {"four digits", with_status("2000 x", ""), refused},
        {"two digits", with_status("20 x", ""), refused},
        {"two spaces", "HTTP/1.1  200 OK\r\n\r\n", refused},
        {"no status", "HTTP/1.1 \r\n\r\n", refused},
        {"other protocol", "RTSP/1.1 200 OK\r\n\r\n", refused},
        {"a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", refused},
        {"head too long", ok("A: " + std::string(61 * 1024, 'x') + "\r\n"), refused},
    });
    std::string many;
    for (int i = 0; i < 101; ++i)
        many += "A: 1\r\n";
    EXPECT_EQ(answer_all_ways(ok(many)), refused);
}

TEST(H1Response, Informational) {
    const std::string early = with_status("103 Early Hints", "Link: x\r\n");
    std::string nine, nine_seen;
    for (int i = 0; i < 9; ++i) {
        nine += with_status("100 Continue", "");
        nine_seen += i < 8 ? "[1] 100\n" : "";
    }
    expect_all({
        {"two, then the reply", with_status("100 Continue", "") + early + more,
         "[1] 100\n[1] 103 {Link: x}\n[1] 200 cl=0 ."},
        {"with a length", with_status("103 x", "Content-Length: 0\r\n") + more, refused},
        {"with a coding", with_status("103 x", "Transfer-Encoding: chunked\r\n") + more, refused},
        {"too many", nine + more, nine_seen + refused},
        {"to HEAD", early + ok("Content-Length: 3\r\n"), "[1] 103 {Link: x}\n[1] 200 cl=3 .", "HEAD"},
        {"then nothing", early, "[1] 103 {Link: x}\n!502\nclosed", "GET", true},
    });
}

TEST(H1Response, EndOfStream) {
    expect_all({
        {"nothing came", "", "!502 unanswered\nclosed", "GET", true},
        {"in the head", "HTTP/1.1 200", refused, "GET", true},
        {"in the body", ok("Content-Length: 5\r\n", "hi"), "[1] 200 cl=5\n[1] 'hi'\n!502\nclosed", "GET", true},
        {"in the chunks", ok("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n"), "[1] 200\n[1] 'hi'\n!502\nclosed", "GET",
         true},
        {"before the last line", ok("Transfer-Encoding: chunked\r\n", "0\r\n"), "[1] 200\n!502\nclosed", "GET", true},
        {"after the reply", more, "[1] 200 cl=0 .\nclosed", "GET", true},
    });
}

class H1Client : public testing::Test {
protected:
    std::unique_ptr<Codec> codec = make_h1_client_codec({});
    Recorder seen;

    StreamId send(const Head& head, bool last) {
        const Result<StreamId> stream = codec->open();
        EXPECT_TRUE(stream && codec->send_head(*stream, head, last));
        return stream.value_or(0);
    }
    Result<size_t> give(std::string_view text) { return codec->receive(Slice::copy_of(text), seen); }
};

TEST_F(H1Client, ReusesTheConnection) {
    for (StreamId expected = 1; expected <= 3; ++expected) {
        EXPECT_EQ(send(request_head("GET", "/"), true), expected);
        EXPECT_EQ(codec->open().error().code, Code::unavailable) << "one at a time";
        EXPECT_EQ(give(more), more.size());
        EXPECT_FALSE(codec->finished());
    }
    EXPECT_EQ(seen.ended, (std::vector<StreamId>{1, 2, 3}));
}

TEST_F(H1Client, ATunnelOpensWithThe101ThatItAskedFor) {
    Head asks = request_head("GET", "/");
    asks.upgrade = "websocket";
    const StreamId stream = send(asks, false);
    EXPECT_NE(take_pending(*codec).find("Connection: upgrade\r\nUpgrade: websocket\r\n"), std::string::npos);
    EXPECT_FALSE(codec->send_data(stream, Slice::of_static("x"), false)) << "not before the answer";
    const std::string accepts = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    EXPECT_EQ(give(accepts + "raw"), accepts.size() + 3);
    EXPECT_EQ(seen.trace(), "[1] 101\n[1] 'raw'");
    ASSERT_TRUE(codec->send_data(stream, Slice::of_static("HTTP/1.1 200"), true));
    EXPECT_EQ(take_pending(*codec), "HTTP/1.1 200");
    EXPECT_FALSE(codec->finished());
    ASSERT_TRUE(codec->receive_eof(seen));
    EXPECT_TRUE(codec->finished()) << "it serves nothing else";
}

TEST_F(H1Client, ATunnelThatIsRefusedLeavesAnOrdinaryConnection) {
    Head asks = request_head("GET", "/");
    asks.upgrade = "websocket";
    send(asks, false);
    EXPECT_EQ(give("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), 45U);
    EXPECT_FALSE(codec->finished());
    EXPECT_EQ(send(request_head("GET", "/"), true), 2U);
}

TEST_F(H1Client, A101ForAnotherProtocolIsRefused) {
    for (const std::string_view fields :
         {"Connection: upgrade\r\nUpgrade: h2c\r\n", "Upgrade: websocket\r\n", "Connection: upgrade\r\n"}) {
        codec = make_h1_client_codec({});
        Head asks = request_head("GET", "/");
        asks.upgrade = "websocket";
        send(asks, false);
        EXPECT_FALSE(give("HTTP/1.1 101 Switching Protocols\r\n" + std::string(fields) + "\r\n")) << fields;
    }
}

TEST_F(H1Client, UnsolicitedBytesFinishAnIdleConnection) {
    EXPECT_EQ(give(more), more.size());
    EXPECT_TRUE(codec->finished());
    EXPECT_EQ(seen.trace(), "");
    EXPECT_EQ(codec->open().error().code, Code::unavailable);
}

TEST_F(H1Client, ReplyBeforeTheRequestIsAnError) {
    ASSERT_TRUE(codec->open());
    const Result<size_t> used = give(more);
    ASSERT_FALSE(used);
    EXPECT_EQ(used.error().side, Side::upstream);
    EXPECT_TRUE(used.error().unanswered);
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Client, BytesAfterAReplyAreNotTheNextReplyEvenIfOpenedFromInside) {
    send(request_head("GET", "/"), true);
    Result<StreamId> second = fail(Code::invalid, "");
    seen.when_head = [&](StreamId) { second = codec->open(); };
    EXPECT_TRUE(give(more + more));
    EXPECT_EQ(seen.trace(), "[1] 200 cl=0 .");
    EXPECT_FALSE(second) << "the connection was already in doubt";
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Client, S88EarlyReplyIsUsableThenTheConnectionIsNot) {
    Head head = request_head("POST", "/");
    head.content_length = 10;
    const StreamId stream = send(head, false);
    ASSERT_TRUE(codec->send_data(stream, Slice::of_static("hello"), false));
    EXPECT_TRUE(give("HTTP/1.1 413 x\r\nContent-Length: 2\r\n\r\nno"));
    EXPECT_EQ(seen.trace(), "[1] 413 cl=2\n[1] 'no' .");
    EXPECT_TRUE(codec->finished());
    EXPECT_EQ(codec->send_data(stream, Slice::of_static("world"), true).error().code, Code::canceled);
    EXPECT_EQ(codec->send_trailers(stream, {}).error().code, Code::canceled);
}

TEST_F(H1Client, EarlyHeadWhoseRequestIsFinishedLaterIsNotReusedEither) {
    const StreamId stream = send(request_head("POST", "/"), false);
    EXPECT_TRUE(give("HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nh"));
    EXPECT_FALSE(codec->finished());
    EXPECT_TRUE(codec->send_data(stream, Slice::of_static("x"), true));
    EXPECT_TRUE(give("i"));
    EXPECT_EQ(seen.trace(), "[1] 200 cl=2\n[1] 'hi' .");
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Client, ReplyBeforeTheBodyWasWrittenOutIsEarly) {
    const StreamId stream = send(request_head("POST", "/"), false);
    EXPECT_TRUE(codec->send_data(stream, Slice::of_static("x"), true));
    EXPECT_TRUE(give(more)); // pending() was never written
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Client, DrainFinishesWhenIdle) {
    const StreamId stream = send(request_head("GET", "/"), true);
    codec->drain();
    EXPECT_FALSE(codec->finished());
    EXPECT_TRUE(give(more));
    EXPECT_TRUE(codec->finished());
    EXPECT_EQ(codec->open().error().code, Code::unavailable);
    EXPECT_EQ(stream, 1U);
}

TEST_F(H1Client, DrainBeforeTheHeadSaysClose) {
    const Result<StreamId> stream = codec->open();
    codec->drain();
    ASSERT_TRUE(codec->send_head(*stream, request_head("GET", "/"), true));
    EXPECT_EQ(take_pending(*codec), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
}

TEST_F(H1Client, ResetFinishes) {
    const StreamId stream = send(request_head("GET", "/"), true);
    codec->reset(stream + 1, {});
    EXPECT_FALSE(codec->finished());
    codec->reset(stream, {});
    EXPECT_TRUE(codec->finished());
    EXPECT_EQ(give(more), more.size());
    EXPECT_EQ(seen.trace(), "");
    EXPECT_FALSE(codec->send_data(stream, Slice::of_static("x"), true));
}

TEST_F(H1Client, ResetFromInsideAnEventStopsReading) {
    const StreamId stream = send(request_head("GET", "/"), true);
    seen.when_head = [&](StreamId id) { codec->reset(id, {}); };
    EXPECT_TRUE(give(ok("Content-Length: 2\r\n", "hi")));
    EXPECT_EQ(seen.trace(), "[1] 200 cl=2");
    EXPECT_TRUE(codec->finished());
    EXPECT_EQ(stream, 1U);
}

TEST_F(H1Client, EofOfAnIdleConnectionIsNoError) {
    EXPECT_TRUE(codec->receive_eof(seen));
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Client, RetryOnlyIfNoByteCame) {
    send(request_head("GET", "/"), true);
    EXPECT_TRUE(give("H"));
    const Result<void> ended = codec->receive_eof(seen);
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().code, Code::eof);
    EXPECT_FALSE(ended.error().unanswered);
}

} // namespace
} // namespace weft::l7::test
