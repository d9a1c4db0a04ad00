// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/allocated.hpp"
#include "tests/unit/http/trace.hpp"

/// What both sides write.
namespace weft::l7::test {
namespace {

using namespace std::string_literals;

class H1Server : public testing::Test {
protected:
    std::unique_ptr<Codec> codec = make_h1_server_codec({});
    Recorder seen;

    Result<size_t> give(std::string_view text) { return codec->receive(Slice::copy_of(text), seen); }
    void start(std::string_view request) {
        const Result<size_t> used = give(request);
        ASSERT_TRUE(used);
        ASSERT_EQ(*used, request.size());
    }
    /// The head and, if there is one, a body in two pieces.
    std::string reply(const Head& head, const std::vector<std::string_view>& body, StreamId stream = 1) {
        EXPECT_TRUE(codec->send_head(stream, head, body.empty()));
        for (size_t i = 0; i < body.size(); ++i)
            EXPECT_TRUE(codec->send_data(stream, Slice::copy_of(body[i]), i + 1 == body.size()));
        return take_pending(*codec);
    }
    static Head with_length(uint16_t status, uint64_t length) {
        Head head = reply_head(status);
        head.content_length = length;
        return head;
    }
};

const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string head_request = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_F(H1Server, EmptyReply) {
    start(get);
    EXPECT_EQ(reply(reply_head(200), {}), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    EXPECT_FALSE(codec->finished());
}

TEST_F(H1Server, ReplyWithLength) {
    start(get);
    Head head = with_length(200, 5);
    head.headers.add("X-Case", "v");
    head.headers.add("Set-Cookie", "a");
    head.headers.add("Set-Cookie", "b");
    EXPECT_EQ(reply(head, {"hel", "lo"}),
              "HTTP/1.1 200 OK\r\nX-Case: v\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 5\r\n\r\nhello");
}

TEST_F(H1Server, ReplyInChunks) {
    start(get);
    EXPECT_EQ(reply(reply_head(200), {"hello world, 17 b", "", "x"}),
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\nhello world, 17 b\r\n1\r\nx\r\n0\r\n\r\n");
}

TEST_F(H1Server, EmptyPieceIsNotTheEnd) {
    start(get);
    ASSERT_TRUE(codec->send_head(1, reply_head(200), false));
    take_pending(*codec);
    ASSERT_TRUE(codec->send_data(1, {}, false));
    EXPECT_EQ(take_pending(*codec), "");
    ASSERT_TRUE(codec->send_data(1, {}, true));
    EXPECT_EQ(take_pending(*codec), "0\r\n\r\n");
}

TEST_F(H1Server, Trailers) {
    start(get);
    ASSERT_TRUE(codec->send_head(1, reply_head(200), false));
    ASSERT_TRUE(codec->send_data(1, Slice::of_static("x"), false));
    Trailers trailers;
    trailers.add("Grpc-Status", "0");
    trailers.add("Content-Length", "5");
    ASSERT_TRUE(codec->send_trailers(1, trailers));
    EXPECT_EQ(take_pending(*codec),
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nGrpc-Status: 0\r\n\r\n");
    EXPECT_EQ(give(get), get.size());
    EXPECT_EQ(seen.ended.size(), 2U) << "the reply ended";
}

TEST_F(H1Server, TrailersWithLengthAreDropped) {
    start(get);
    ASSERT_TRUE(codec->send_head(1, with_length(200, 1), false));
    ASSERT_TRUE(codec->send_data(1, Slice::of_static("x"), false));
    Trailers trailers;
    trailers.add("A", "1");
    ASSERT_TRUE(codec->send_trailers(1, trailers));
    EXPECT_EQ(take_pending(*codec), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
}

TEST_F(H1Server, RepliesToHeadHaveNoBody) {
    start(head_request);
    EXPECT_EQ(reply(with_length(200, 5), {"hello"}), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    start(head_request);
    EXPECT_EQ(reply(with_length(200, 5), {}, 2), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    start(head_request);
    EXPECT_EQ(reply(reply_head(200), {"a", "b"}, 3), "HTTP/1.1 200 OK\r\n\r\n");
    start(get);
    EXPECT_EQ(reply(with_length(200, 1), {"x"}, 4), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
}

TEST_F(H1Server, StatusesWithoutABody) {
    start(get);
    EXPECT_EQ(reply(with_length(204, 5), {"hello"}), "HTTP/1.1 204 No Content\r\n\r\n");
    start(get);
    EXPECT_EQ(reply(with_length(304, 5), {}, 2), "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
    start(get);
    EXPECT_EQ(reply(reply_head(304), {"x"}, 3), "HTTP/1.1 304 Not Modified\r\n\r\n");
}

TEST_F(H1Server, InformationalHeadsComeBeforeTheReply) {
    start("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_TRUE(seen.heads.at(0).expect_continue);
    ASSERT_TRUE(codec->send_head(1, reply_head(100), false));
    EXPECT_EQ(take_pending(*codec), "HTTP/1.1 100 Continue\r\n\r\n");
    Head hints = reply_head(103);
    hints.headers.add("Link", "x");
    ASSERT_TRUE(codec->send_head(1, hints, false));
    EXPECT_EQ(take_pending(*codec), "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    start("hi");
    EXPECT_EQ(reply(reply_head(200), {}), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    EXPECT_FALSE(codec->finished());
}

TEST_F(H1Server, ATunnelIsOpenedByA101ThatWasAskedFor) {
    const std::string asks = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    EXPECT_EQ(give(asks + "early"), asks.size()) << "nothing behind it before the answer";
    EXPECT_EQ(give("early"), 0U);
    Head accepts = reply_head(101);
    accepts.headers.add("Sec-WebSocket-Accept", "x");
    ASSERT_TRUE(codec->send_head(1, accepts, false));
    EXPECT_EQ(take_pending(*codec), "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
                                    "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    EXPECT_EQ(give("early"), 5U);
    EXPECT_EQ(seen.bodies.at(0), "early");
    ASSERT_TRUE(codec->send_data(1, Slice::of_static("GET / raw"), false));
    EXPECT_EQ(take_pending(*codec), "GET / raw");
    ASSERT_TRUE(codec->receive_eof(seen));
    EXPECT_FALSE(codec->finished());
    ASSERT_TRUE(codec->send_data(1, Slice::of_static("!"), true));
    EXPECT_EQ(take_pending(*codec), "!");
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Server, ARefusedUpgradeIsAnOrdinaryRequest) {
    start("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    EXPECT_EQ(reply(reply_head(200), {}), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    EXPECT_FALSE(codec->finished());
    start(get);
    EXPECT_EQ(codec->send_head(2, reply_head(101), false).error().code, Code::invalid) << "not asked for";
    EXPECT_EQ(reply(reply_head(200), {}, 2), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

TEST_F(H1Server, PipelinedRequestWaitsForTheReply) {
    const std::string two = get + "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    EXPECT_EQ(give(two), get.size());
    EXPECT_EQ(give(two.substr(get.size())), 0U);
    ASSERT_TRUE(codec->send_head(1, reply_head(200), false));
    EXPECT_EQ(give(two.substr(get.size())), 0U) << "the reply has not ended";
    ASSERT_TRUE(codec->send_data(1, {}, true));
    EXPECT_EQ(give(two.substr(get.size())), two.size() - get.size());
    EXPECT_EQ(seen.trace(), "[1] GET / a .\n[2] GET /2 a .");
    EXPECT_FALSE(codec->send_head(1, reply_head(200), true)) << "stream 1 is over";
}

TEST_F(H1Server, BodyPiecesShareTheReceiveBuffer) {
    const Slice bytes =
        Slice::copy_of("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\n" + std::string(600, 'x'));
    class Keeper final : public Events {
    public:
        void on_head(StreamId, Head&&, bool) override {}
        void on_data(StreamId, Slice&& data, bool) override { kept = std::move(data); }
        void on_trailers(StreamId, Trailers&&) override {}
        void on_reset(StreamId, Error) override {}
        void on_goaway(StreamId) override {}
        Slice kept;
    } keeper;
    ASSERT_TRUE(codec->receive(bytes, keeper));
    EXPECT_EQ(keeper.kept.data(), bytes.data() + bytes.size() - 600);
    ASSERT_TRUE(codec->send_head(1, with_length(200, 600), false));
    const std::byte* data = keeper.kept.data();
    ASSERT_TRUE(codec->send_data(1, std::move(keeper.kept), true));
    ASSERT_EQ(codec->pending().size(), 2U);
    EXPECT_EQ(codec->pending()[1].data(), data) << "written from where it was received";
}

/// D26: a body in chunks of one byte must not cost a slice, an iovec and a retained buffer for each of them.
TEST_F(H1Server, SmallPiecesAreWrittenNextToTheirFraming) {
    constexpr size_t pieces = 10'900; // 64 KiB on the wire
    size_t before = 0;
    for (const StreamId stream : {1U, 2U}) { // the thread keeps the blocks of the first, the connection nothing
        before = allocated_bytes();
        start(get);
        ASSERT_TRUE(codec->send_head(stream, reply_head(200), false));
        take_pending(*codec);
        for (size_t i = 0; i < pieces; ++i)
            ASSERT_TRUE(codec->send_data(stream, Slice::of_static("x"), false));
        EXPECT_LE(codec->pending().size(), 80U) << "slices of about a block's size";
        ASSERT_TRUE(codec->send_data(stream, {}, true));
        EXPECT_EQ(take_pending(*codec).size(), pieces * 6 + 5);
    }
    EXPECT_LE(allocated_bytes(), before + 4096) << "kept by an idle connection";
}

TEST_F(H1Server, SmallBodiesFollowTheirHeadInOnePiece) {
    start(get);
    ASSERT_TRUE(codec->send_head(1, with_length(200, 512), false));
    ASSERT_TRUE(codec->send_data(1, Slice::copy_of(std::string(512, 'y')), true));
    EXPECT_EQ(codec->pending().size(), 1U);
    EXPECT_TRUE(take_pending(*codec).ends_with("\r\n\r\n" + std::string(512, 'y')));
}

TEST_F(H1Server, PendingStaysInPlaceWhileMoreIsSent) {
    start(get);
    ASSERT_TRUE(codec->send_head(1, reply_head(200), false));
    const std::byte* first = codec->pending()[0].data();
    for (int i = 0; i < 1000; ++i)
        ASSERT_TRUE(codec->send_data(1, Slice::of_static("0123456789"), false));
    EXPECT_EQ(codec->pending()[0].data(), first);
    EXPECT_TRUE(codec->pending()[0].text().starts_with("HTTP/1.1 200 OK"));
    codec->sent(3);
    EXPECT_TRUE(codec->pending()[0].text().starts_with("P/1.1 200 OK"));
    ASSERT_TRUE(codec->send_data(1, {}, true));
    const std::string rest = take_pending(*codec);
    EXPECT_TRUE(rest.ends_with("\r\na\r\n0123456789\r\n0\r\n\r\n"));
    EXPECT_EQ(rest.size(), "P/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"s.size() + 1000 * 15 + 5);
    EXPECT_TRUE(codec->pending().empty());
}

TEST_F(H1Server, EarlyReplyCloses) {
    start("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    EXPECT_EQ(reply(reply_head(413), {}),
              "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(codec->finished());
    EXPECT_EQ(give("world" + get), 5 + get.size()) << "taken, not read";
    EXPECT_EQ(seen.trace(), "[1] POST / a cl=10\n[1] 'hello'");
}

TEST_F(H1Server, EarlyReplyToChunksCloses) {
    start("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    EXPECT_TRUE(reply(reply_head(403), {}).ends_with("Connection: close\r\n\r\n"));
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Server, EarlyReplyFromInsideReceiveCloses) {
    seen.when_head = [&](StreamId stream) { EXPECT_TRUE(codec->send_head(stream, reply_head(403), true)); };
    EXPECT_TRUE(give("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"));
    EXPECT_EQ(take_pending(*codec), "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(codec->finished());
    EXPECT_EQ(seen.trace(), "[1] POST / a cl=5");
}

TEST_F(H1Server, ReplyThatStartsEarlyAndEndsLateClosesAfterIt) {
    start("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    ASSERT_TRUE(codec->send_head(1, with_length(200, 2), false));
    EXPECT_TRUE(take_pending(*codec).ends_with("Connection: close\r\n\r\n"));
    start("lo");
    EXPECT_FALSE(codec->finished());
    ASSERT_TRUE(codec->send_data(1, Slice::of_static("ok"), true));
    EXPECT_TRUE(codec->finished());
    EXPECT_EQ(take_pending(*codec), "ok");
}

TEST_F(H1Server, DrainSaysCloseWithTheNextReply) {
    codec->drain();
    EXPECT_FALSE(codec->finished());
    start(get);
    EXPECT_TRUE(reply(reply_head(200), {}).ends_with("Connection: close\r\n\r\n"));
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Server, RefusedHeadIsAnsweredOnTheNextId) {
    start(get);
    reply(reply_head(200), {});
    const Result<size_t> used = give("GET / HTTP/1.1\r\n\r\n");
    ASSERT_FALSE(used);
    EXPECT_EQ(used.error().detail, 400);
    EXPECT_EQ(used.error().side, Side::downstream);
    EXPECT_TRUE(codec->finished());
    EXPECT_FALSE(codec->send_head(1, with_length(400, 3), false));
    EXPECT_EQ(reply(with_length(400, 3), {"bad"}, 2),
              "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad");
    EXPECT_EQ(give(get), get.size()) << "taken, not read";
    EXPECT_EQ(seen.ended.size(), 1U);
}

TEST_F(H1Server, RefusedHeadRequestIsAnsweredWithoutABody) {
    ASSERT_FALSE(give("HEAD / HTTP/1.1\r\n\r\n"));
    EXPECT_EQ(reply(with_length(400, 3), {"bad"}),
              "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
}

TEST_F(H1Server, RefusedBodyIsAnsweredOnItsStream) {
    ASSERT_FALSE(give("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"));
    EXPECT_EQ(reply(reply_head(400), {}), "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

TEST_F(H1Server, ResetFinishes) {
    start(get);
    codec->reset(7, {});
    EXPECT_FALSE(codec->finished());
    codec->reset(1, {});
    EXPECT_TRUE(codec->finished());
    EXPECT_FALSE(codec->send_head(1, reply_head(200), true));
    EXPECT_TRUE(codec->pending().empty());
}

TEST_F(H1Server, ResetOfAFinishedStreamIsNothing) {
    start(get);
    reply(reply_head(200), {});
    codec->reset(1, {});
    EXPECT_FALSE(codec->finished());
}

TEST_F(H1Server, EofWhileIdle) {
    EXPECT_TRUE(codec->receive_eof(seen));
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Server, EofAfterBlankLinesOnly) {
    start("\r\n");
    EXPECT_TRUE(codec->receive_eof(seen));
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Server, EofInAHead) {
    start("GET / HTTP/1.1\r\nHo");
    EXPECT_EQ(codec->receive_eof(seen).error().code, Code::eof);
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Server, EofInABody) {
    start("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    EXPECT_EQ(codec->receive_eof(seen).error().code, Code::eof);
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Server, D25EofAfterTheRequestStillGetsTheReply) {
    start(get);
    EXPECT_TRUE(codec->receive_eof(seen));
    EXPECT_FALSE(codec->finished());
    EXPECT_EQ(reply(reply_head(200), {}), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(codec->finished());
}

TEST_F(H1Server, FramingFieldsOfTheOwnerAreNotWritten) {
    start(get);
    Head head = with_length(200, 1);
    for (const char* name :
         {"Content-Length", "transfer-encoding", "Connection", "Keep-Alive", "Upgrade", "TE", "Host"})
        head.headers.add(name, "7");
    head.headers.add("A", "1");
    EXPECT_EQ(reply(head, {"x"}), "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 1\r\n\r\nx");
}

TEST_F(H1Server, N32InjectionIsRefusedAndAnotherReplyIsPossible) {
    start(get);
    for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"A", "x\r\nB: y"},
                                                                                      {"A", "x\ny"},
                                                                                      {"A", "x\ry"},
                                                                                      {"A", "x\0y"s},
                                                                                      {"A\r\nB", "x"},
                                                                                      {"A: b", "x"},
                                                                                      {"", "x"},
                                                                                      {"A b", "x"},
                                                                                      {":status", "200"}}) {
        Head head = reply_head(200);
        head.headers.add(name, value);
        EXPECT_EQ(codec->send_head(1, head, true).error().code, Code::invalid);
        EXPECT_TRUE(codec->pending().empty());
    }
    EXPECT_EQ(reply(reply_head(500), {}), "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
}

TEST_F(H1Server, BodiesThatBreakTheirLengthCutTheConnection) {
    start(get);
    ASSERT_TRUE(codec->send_head(1, with_length(200, 2), false));
    EXPECT_FALSE(codec->send_data(1, Slice::of_static("abc"), false));
    EXPECT_TRUE(codec->finished());

    codec = make_h1_server_codec({});
    start(get);
    ASSERT_TRUE(codec->send_head(1, with_length(200, 2), false));
    EXPECT_FALSE(codec->send_data(1, Slice::of_static("a"), true));
    EXPECT_TRUE(codec->finished());

    codec = make_h1_server_codec({});
    start(get);
    EXPECT_FALSE(codec->send_head(1, with_length(200, 2), true)) << "announced, but none to come";
    EXPECT_FALSE(codec->finished());
}

TEST_F(H1Server, VerbsOutOfOrderAreRefused) {
    EXPECT_FALSE(codec->send_head(0, reply_head(200), true));
    EXPECT_FALSE(codec->send_head(1, reply_head(200), true));
    EXPECT_FALSE(codec->send_data(1, Slice::of_static("x"), true));
    EXPECT_FALSE(codec->open());
    start(get);
    EXPECT_FALSE(codec->send_data(1, Slice::of_static("x"), true)) << "before the head";
    EXPECT_FALSE(codec->send_trailers(1, {}));
    EXPECT_FALSE(codec->send_head(1, request_head("GET", "/"), true)) << "a request is no reply";
    EXPECT_FALSE(codec->send_head(1, reply_head(1000), true));
    EXPECT_FALSE(codec->send_head(1, reply_head(99), true));
    ASSERT_TRUE(codec->send_head(1, reply_head(200), true));
    EXPECT_FALSE(codec->send_head(1, reply_head(200), true)) << "twice";
    EXPECT_FALSE(codec->send_data(1, Slice::of_static("x"), true)) << "after the end";
}

TEST(H1ServerHttp10, NoChunksAndNoInformationalHeads) {
    const std::unique_ptr<Codec> codec = make_h1_server_codec({.accept_http_10 = true});
    Recorder seen;
    ASSERT_TRUE(codec->receive(Slice::copy_of("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"), seen));
    ASSERT_TRUE(codec->send_head(1, reply_head(103), false));
    EXPECT_EQ(take_pending(*codec), "");
    Head fixed = reply_head(200);
    fixed.content_length = 2;
    ASSERT_TRUE(codec->send_head(1, fixed, false));
    ASSERT_TRUE(codec->send_data(1, Slice::of_static("hi"), true));
    EXPECT_EQ(take_pending(*codec), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi");
    EXPECT_FALSE(codec->finished());
    ASSERT_TRUE(codec->receive(Slice::copy_of("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"), seen));
    ASSERT_TRUE(codec->send_head(2, reply_head(200), false));
    ASSERT_TRUE(codec->send_data(2, Slice::of_static("hi"), true));
    EXPECT_EQ(take_pending(*codec), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi");
    EXPECT_TRUE(codec->finished());
}

/// One request on a fresh client connection, as text.
std::string request(const Head& head, const std::vector<std::string_view>& body = {}) {
    const std::unique_ptr<Codec> codec = make_h1_client_codec({});
    const Result<StreamId> stream = codec->open();
    if (!codec->send_head(*stream, head, body.empty()))
        return "refused";
    for (size_t i = 0; i < body.size(); ++i) {
        if (!codec->send_data(*stream, Slice::copy_of(body[i]), i + 1 == body.size()))
            return "body refused";
    }
    return take_pending(*codec);
}

TEST(H1ClientSend, Requests) {
    EXPECT_EQ(request(request_head("GET", "/p?q")), "GET /p?q HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(request(request_head("OPTIONS", "*")), "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(request(request_head("POST", "/")), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(request(request_head("POST", "/"), {"ab", "c"}),
              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    Head head = request_head("PUT", "/");
    head.content_length = 3;
    head.expect_continue = true;
    head.headers.add("A", "1");
    EXPECT_EQ(request(head, {"abc"}),
              "PUT / HTTP/1.1\r\nHost: a\r\nA: 1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc");
    EXPECT_EQ(request(head, {"ab"}), "body refused");
    EXPECT_EQ(request(head, {"abcd"}), "body refused");
    EXPECT_EQ(request(head), "refused") << "length, but no body";
}

TEST(H1ClientSend, HopByHopFieldsAreTheCodecs) {
    Head head = request_head("GET", "/");
    head.upgrade = "websocket";
    for (const char* name : {"Connection", "Upgrade", "Host", "Content-Length", "Transfer-Encoding", "Expect",
                             "Keep-Alive", "Proxy-Connection"})
        head.headers.add(name, "5");
    head.headers.add("te", "trailers");
    head.headers.add("TE", "gzip");
    EXPECT_EQ(request(head), "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
}

TEST(H1ClientSend, NothingThatCouldBeTwoRequests) {
    const std::string evil = " HTTP/1.1\r\nHost: b\r\n\r\nGET /admin";
    for (const std::string& path : {evil, "/ HTTP/1.1"s, "/a b"s, ""s, "a"s, "*"s, "/#"s, "/\r\nX: y"s, "/\n"s, "/\0"s,
                                    "/\x7f"s, "/\xc3\xa9"s, "http://a/"s})
        EXPECT_EQ(request(request_head("GET", path)), "refused") << path;
    for (const std::string& method : {""s, "GET /"s, "G\r\nET"s, "GET\0"s, "CONNECT"s, "a,b"s})
        EXPECT_EQ(request(request_head(method, "/")), "refused") << method;
    for (const std::string& authority : {""s, "a\r\nX: y"s, "a b"s, "a/b"s, "u@a"s, "a\0"s}) {
        Head head = request_head("GET", "/");
        head.authority = authority;
        EXPECT_EQ(request(head), "refused") << authority;
    }
    Head head = request_head("GET", "/");
    head.headers.add("A", "x\r\nTransfer-Encoding: chunked");
    EXPECT_EQ(request(head), "refused");
}

} // namespace
} // namespace weft::l7::test
