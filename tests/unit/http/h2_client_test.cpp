// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/http/h2_frames.hpp"

/// Replies as the HTTP/2 client side reads them, each at every split, and what it lets its owner do.
namespace weft::l7::test {
namespace {

using namespace std::string_literals;

struct Case {
    const char* name;
    std::string input;
    std::string expected;
};

void expect_all(const std::vector<Case>& cases, const Head& request = request_head("GET", "/"), bool last = true) {
    for (const Case& c : cases)
        EXPECT_EQ(h2_answer_all_ways(c.input, request, last), c.expected) << c.name;
}

FieldLines status(const std::string& code, const FieldLines& more = {}) {
    FieldLines fields = {{":status", code}};
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
}
std::string malformed(const std::string& during) {
    return "[1] reset malformed 1 (" + during + ")\n-> RST_STREAM 1 PROTOCOL_ERROR";
}

TEST(H2Client, Replies) {
    expect_all({
        {"plain", headers(1, status("200", {{"a", "b"}})), "[1] 200 {a: b} ."},
        {"body", headers(1, status("200", {{"content-length", "5"}}), 0) + data(1, "hello", end_stream),
         "[1] 200 cl=5\n[1] 'hello' ."},
        {"trailers", headers(1, status("200"), 0) + data(1, "x") + headers(1, {{"grpc-status", "0"}}),
         "[1] 200\n[1] 'x'\n[1] trailers {grpc-status: 0}"},
        {"informational",
         headers(1, status("103", {{"link", "x"}}), 0) + headers(1, status("100"), 0) + headers(1, status("404")),
         "[1] 103 {link: x}\n[1] 100\n[1] 404 ."},
        {"304", headers(1, status("304", {{"content-length", "7"}})), "[1] 304 cl=7 ."},
        {"204 with a length of 0", headers(1, status("204", {{"content-length", "0"}})), "[1] 204 ."},
        {"reset by the server", headers(1, status("200"), 0) + reset_frame(1, NGHTTP2_INTERNAL_ERROR),
         "[1] 200\n[1] reset reset 2 (INTERNAL_ERROR)"},
        {"refused", reset_frame(1, NGHTTP2_REFUSED_STREAM), "[1] reset refused 7 (REFUSED_STREAM) retryable"},
        {"D31 GOAWAY below the stream", goaway(0, NGHTTP2_NO_ERROR),
         "goaway 0\n[1] reset refused 7 (REFUSED_STREAM) retryable\nclosed"},
        {"GOAWAY above it", goaway(1, NGHTTP2_NO_ERROR) + headers(1, status("200")), "goaway 1\n[1] 200 .\nclosed"},
        {"graceful GOAWAY", goaway(0x7fffffff, 0) + goaway(1, 0) + headers(1, status("200")),
         "goaway 2147483647\ngoaway 1\n[1] 200 .\nclosed"},
    });
    expect_all({{"to HEAD", headers(1, status("200", {{"content-length", "5"}})), "[1] 200 cl=5 ."}},
               request_head("HEAD", "/"));
}

TEST(H2Client, MalformedReplies) {
    expect_all({
        {"H28 CRLF in a value", headers(1, status("200", {{"a", "b\r\nc: d"}})), malformed("header field")},
        {"H29 101", headers(1, status("101")), malformed("header field")},
        {"no status", headers(1, {{"a", "b"}}), malformed("message")},
        {"status of letters", headers(1, status("2x0")), malformed("header field")},
        {"status below 100", headers(1, status("042")), malformed(":status")},
        {"connection", headers(1, status("200", {{"connection", "close"}})), malformed("header field")},
        {"capitals", headers(1, status("200", {{"A", "b"}})), malformed("header field")},
        {"informational that ends", headers(1, status("103")), malformed("message")},
        {"informational with a length", headers(1, status("103", {{"content-length", "0"}}), 0),
         malformed("header field")},
        {"body too short", headers(1, status("200", {{"content-length", "5"}}), 0) + data(1, "x", end_stream),
         "[1] 200 cl=5\n[1] 'x'\n" + malformed("content-length")},
        {"S82 body of 204", headers(1, status("204"), 0) + data(1, "x", end_stream),
         "[1] 204\n" + malformed("content-length")},
        {"too many informational heads",
         [] {
             std::string many;
             for (int i = 0; i < 9; ++i)
                 many += headers(1, status("100"), 0);
             return many;
         }(),
         "[1] 100\n[1] 100\n[1] 100\n[1] 100\n[1] 100\n[1] 100\n[1] 100\n[1] 100\n"
         "[1] reset too_large 11 (informational replies)\n-> RST_STREAM 1 ENHANCE_YOUR_CALM"},
        {"head too large", headers(1, status("200", FieldLines(101, {"a", "b"}))),
         "[1] reset too_large 11 (header count)\n-> RST_STREAM 1 ENHANCE_YOUR_CALM"},
        {"H31 push", frame(NGHTTP2_PUSH_PROMISE, end_headers, 1, number(2) + literals(status("200"))),
         "!1 push\nclosed\n-> GOAWAY 0 PROTOCOL_ERROR"},
        {"DATA before the head", data(1, "x"), "!1 PROTOCOL_ERROR\nclosed\n-> GOAWAY 0 PROTOCOL_ERROR"},
        {"HTTP/1", "HTTP/1.1 200 OK\r\n\r\n", "!6 FRAME_SIZE_ERROR\nclosed\n-> GOAWAY 0 FRAME_SIZE_ERROR"},
        {"a request", headers(2, {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}}),
         "!1 PROTOCOL_ERROR\nclosed\n-> GOAWAY 0 PROTOCOL_ERROR"},
    });
    expect_all({{"H83 body to HEAD", headers(1, status("200", {{"content-length", "1"}}), 0) + data(1, "x", end_stream),
                 "[1] 200 cl=1\n" + malformed("content-length")}},
               request_head("HEAD", "/"));
}

TEST(H2Client, Websocket) {
    Head request = request_head("GET", "/ws");
    request.upgrade = "websocket";
    expect_all({{"accepted", headers(1, status("200"), 0) + data(1, "frame"), "[1] 101\n[1] 'frame'"},
                {"refused", headers(1, status("403", {{"content-length", "0"}})), "[1] 403 cl=0 ."}},
               request, false);
}

/// A client and what the server's frames do to it.
struct Client {
    explicit Client(const H2Settings& settings = {}, const std::string& first = server_preface())
        : codec(make_h2_client_codec(settings)) {
        give(first);
        frames();
    }
    void give(const std::string& bytes) {
        EXPECT_EQ(codec->receive(Slice::copy_of(bytes), events).value_or(0), bytes.size());
    }
    std::string frames() { return join(reader.read(take_pending(*codec))); }
    StreamId ask(bool last = true) {
        const StreamId stream = codec->open().value();
        EXPECT_TRUE(codec->send_head(stream, request_head(last ? "GET" : "POST", "/"), last));
        return stream;
    }

    std::unique_ptr<Codec> codec;
    Recorder events;
    FrameReader reader;
};

const std::string get_1 = "HEADERS 1 {:method: GET, :scheme: http, :authority: a, :path: /} .";

TEST(H2Client, Opening) {
    const std::unique_ptr<Codec> codec = make_h2_client_codec({});
    FrameReader reader;
    EXPECT_EQ(join(reader.read(take_pending(*codec))), "magic\nSETTINGS\nWINDOW_UPDATE 0 +983041");
    const StreamId stream = codec->open().value();
    EXPECT_EQ(stream, 1U);
    EXPECT_TRUE(codec->send_head(stream, request_head("GET", "/"), true)) << "without waiting for the server";
    EXPECT_EQ(join(reader.read(take_pending(*codec))), get_1);
    EXPECT_EQ(codec->send_data(99, Slice::of_static("x"), true).error().code, Code::invalid);
    EXPECT_EQ(codec->send_data(1, Slice::of_static("x"), true).error().code, Code::invalid);
}

TEST(H2Client, StreamsOfThePeer) {
    Client client({}, settings_frame({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}}));
    client.ask();
    const StreamId reserved = client.codec->open().value();
    EXPECT_EQ(client.codec->open().error().code, Code::unavailable);
    EXPECT_TRUE(client.codec->open().error().retryable);
    client.give(settings_frame({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1}}));
    EXPECT_EQ(client.codec->send_head(reserved, request_head("GET", "/"), true).error().code, Code::unavailable);
    client.give(headers(1, status("200")));
    EXPECT_EQ(client.ask(), 5U);
}

TEST(H2Client, StreamsOfOurOwn) {
    H2Settings settings;
    settings.streams_max = 1;
    Client client(settings);
    client.ask();
    EXPECT_EQ(client.codec->open().error().code, Code::unavailable) << "the peer allows any number";
}

TEST(H2Client, HeadsInAnyOrder) {
    Client client;
    const StreamId first = client.codec->open().value();
    const StreamId second = client.codec->open().value();
    ASSERT_TRUE(client.codec->send_head(second, request_head("GET", "/2"), true));
    ASSERT_TRUE(client.codec->send_head(first, request_head("GET", "/1"), true));
    EXPECT_EQ(client.frames(), "HEADERS 1 {:method: GET, :scheme: http, :authority: a, :path: /2} .\n"
                               "HEADERS 3 {:method: GET, :scheme: http, :authority: a, :path: /1} .");
    client.give(headers(1, status("200")) + headers(3, status("201")));
    EXPECT_EQ(client.events.trace(), "[3] 200 .\n[1] 201 .");
}

TEST(H2Client, TheEndOfStreamNumbers) {
    H2Settings settings;
    settings.streams_per_connection_max = 2;
    Client client(settings);
    client.ask();
    client.ask();
    client.give(headers(1, status("200")) + headers(3, status("200")));
    EXPECT_EQ(client.codec->open().error().code, Code::unavailable) << "D20";
    EXPECT_EQ(H2Settings{}.streams_per_connection_max, (1U << 30)) << "2^31-1 is the last odd number";
}

TEST(H2Client, AfterGoaway) {
    Client client;
    client.ask();
    const StreamId reserved = client.codec->open().value();
    client.give(goaway(1, 0));
    EXPECT_EQ(client.codec->open().error().code, Code::unavailable);
    EXPECT_EQ(client.codec->send_head(reserved, request_head("GET", "/"), true).error().code, Code::unavailable);
    EXPECT_FALSE(client.codec->finished());
    client.give(headers(1, status("200")));
    EXPECT_TRUE(client.codec->finished());
}

TEST(H2Client, WebsocketOnlyIfAnnounced) {
    Client client;
    Head request = request_head("GET", "/");
    request.upgrade = "websocket";
    EXPECT_EQ(client.codec->send_head(client.codec->open().value(), request, false).error().code, Code::refused);
    client.give(settings_frame({{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}}));
    const StreamId stream = client.codec->open().value();
    EXPECT_TRUE(client.codec->send_head(stream, request, false));
    EXPECT_EQ(client.frames(), "SETTINGS ack\nHEADERS 1 {:method: CONNECT, :protocol: websocket, :scheme: http, "
                               ":authority: a, :path: /}");
}

TEST(H2Client, EarlyReply) {
    Client client;
    const StreamId stream = client.ask(false);
    client.give(headers(1, status("413")) + reset_frame(1, NGHTTP2_NO_ERROR));
    EXPECT_EQ(client.events.trace(), "[1] 413 .") << "RFC 9113 8.1: complete, and no failure";
    EXPECT_EQ(client.codec->send_data(stream, Slice::of_static("x"), true).error().code, Code::canceled);
}

TEST(H2Client, ContentLengthOfWhatIsSent) {
    for (const std::string& body : {"too much"s, "x"s}) {
        Client client;
        const StreamId stream = client.codec->open().value();
        Head request = request_head("POST", "/");
        request.content_length = 3;
        ASSERT_TRUE(client.codec->send_head(stream, request, false));
        client.frames();
        EXPECT_EQ(client.codec->send_data(stream, Slice::copy_of(body), true).error().code, Code::invalid);
        EXPECT_TRUE(client.frames().ends_with("RST_STREAM 1 INTERNAL_ERROR")) << body;
        EXPECT_EQ(client.codec->send_data(stream, Slice::of_static("x"), true).error().code, Code::canceled);
    }
}

TEST(H2Client, ConnectionEnds) {
    Client client;
    client.ask();
    client.give(headers(1, status("200"), 0));
    client.ask();
    EXPECT_TRUE(client.codec->receive_eof(client.events));
    EXPECT_EQ(client.events.trace(), "[1] 200\n[1] reset eof 0 (connection)\n[3] reset eof 0 (connection) unanswered")
        << "nothing came since the second request";
    EXPECT_TRUE(client.codec->finished());
}

TEST(H2Client, Reset) {
    Client client;
    const StreamId stream = client.ask();
    client.codec->reset(stream, {.code = Code::canceled});
    EXPECT_EQ(client.frames(), get_1 + "\nRST_STREAM 1 CANCEL");
    client.give(headers(1, status("200"), 0) + data(1, "late", end_stream));
    EXPECT_EQ(client.events.trace(), "");
    client.codec->drain();
    EXPECT_EQ(client.frames(), "GOAWAY 0 NO_ERROR");
    EXPECT_TRUE(client.codec->finished());
}

} // namespace
} // namespace weft::l7::test
