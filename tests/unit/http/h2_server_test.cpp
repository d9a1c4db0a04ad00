// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/http/h2_frames.hpp"

/// Requests as the HTTP/2 server side reads them, each at every split. Names: the row of hostile-input.md, then what is
/// tried. After "->": the frames that it writes.
namespace weft::l7::test {
namespace {

using namespace std::string_literals;

struct Case {
    const char* name;
    std::string input;
    std::string expected;
};

void expect_all(const std::vector<Case>& cases, const H2Settings& settings = {}) {
    for (const Case& c : cases)
        EXPECT_EQ(h2_serve_all_ways(c.input, settings), c.expected) << c.name;
}

const std::string ok = "\n-> HEADERS 1 {:status: 200} .";

std::string malformed(const std::string& during) {
    return "[1] reset malformed 1 (" + during + ")\n-> RST_STREAM 1 PROTOCOL_ERROR";
}
std::string answered(int status, const std::string& code, const std::string& during) {
    return "[1] reset " + code + " " + std::to_string(status) + " (" + during +
           ")\n-> HEADERS 1 {:status: " + std::to_string(status) + ", content-length: 0} .";
}
/// GET with one pseudo-header replaced.
FieldLines with(const std::string& name, const std::string& value) {
    FieldLines fields = get();
    for (auto& [field, old] : fields)
        old = field == name ? value : old;
    return fields;
}
FieldLines without(const std::string& name) {
    FieldLines fields = get();
    std::erase_if(fields, [&](const auto& field) { return field.first == name; });
    return fields;
}
std::string closed(int code, const std::string& during, const std::string& events = "") {
    return events + "!" + std::to_string(code) + " " + during + "\nclosed";
}

TEST(H2Server, AcceptedMessages) {
    expect_all({
        {"plain", headers(1, get()), "[1] GET / a ." + ok},
        {"fields keep order and doubles", headers(1, get({{"b", "2"}, {"a", "1"}, {"b", "3"}, {"e", ""}})),
         "[1] GET / a {b: 2, a: 1, b: 3, e: } ." + ok},
        {"H16 te: trailers", headers(1, get({{"te", "trailers"}})), "[1] GET / a {te: trailers} ." + ok},
        {"H22 cookie crumbs", headers(1, get({{"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}, {"cookie", "c=3"}})),
         "[1] GET / a {x: y, cookie: a=1; b=2; c=3} ." + ok},
        {"N20 host as :authority", headers(1, get({{"host", "A"}})), "[1] GET / a ." + ok},
        {"host alone", headers(1, {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "b:80"}}),
         "[1] GET / b:80 ." + ok},
        {"N35 scheme in capitals", headers(1, with(":scheme", "HTTPS")), "[1] GET / a scheme=https ." + ok},
        {"OPTIONS *", headers(1, {{":method", "OPTIONS"}, {":scheme", "http"}, {":authority", "a"}, {":path", "*"}}),
         "[1] OPTIONS * a ." + ok},
        {"body", headers(1, get({{"content-length", "5"}}, "POST"), 0) + data(1, "he") + data(1, "llo", end_stream),
         "[1] POST / a cl=5\n[1] 'hello' ." + ok},
        {"padded body",
         headers(1, get({}, "POST"), 0) + data(1, "\x03he\0\0\0"s, padded) + data(1, "\x02\0\0"s, padded | end_stream),
         "[1] POST / a\n[1] 'he' ." + ok},
        {"body ended by an empty frame", headers(1, get({}, "POST"), 0) + data(1, "he") + data(1, "", end_stream),
         "[1] POST / a\n[1] 'he' ." + ok},
        {"trailers", headers(1, get({}, "POST"), 0) + data(1, "x") + headers(1, {{"a", "b"}, {"authorization", "c"}}),
         "[1] POST / a\n[1] 'x'\n[1] trailers {a: b}" + ok},
        {"only forbidden trailers", headers(1, get({}, "POST"), 0) + headers(1, {{"cookie", "c"}}),
         "[1] POST / a\n[1] '' ." + ok},
        {"expect", headers(1, get({{"expect", "100-Continue"}}, "POST"), 0) + data(1, "x", end_stream),
         "[1] POST / a expect\n[1] 'x' ." + ok},
        {"expect without a body", headers(1, get({{"expect", "100-continue"}})), "[1] GET / a ." + ok},
        {"block in three frames",
         frame(NGHTTP2_HEADERS, end_stream, 1, literals(get()).substr(0, 20)) +
             frame(NGHTTP2_CONTINUATION, 0, 1, literals(get()).substr(20, 9)) +
             frame(NGHTTP2_CONTINUATION, end_headers, 1, literals(get()).substr(29)),
         "[1] GET / a ." + ok},
        {"two streams", headers(1, get(), 0) + headers(3, get()) + data(1, "x", end_stream),
         "[1] GET / a\n[3] GET / a .\n[1] 'x' .\n-> HEADERS 3 {:status: 200} .\nHEADERS 1 {:status: 200} ."},
        {"unknown frame and PRIORITY are passed over",
         frame(0x77, 0xff, 5, "xyz") + frame(NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0\x10"s) + headers(1, get()),
         "[1] GET / a ." + ok},
        {"reset by the client", headers(1, get(), 0) + reset_frame(1, NGHTTP2_CANCEL),
         "[1] GET / a\n[1] reset reset 8 (CANCEL)"},
        {"the client leaves", goaway(0, 0), "goaway 0\nclosed"},
    });
}

TEST(H2Server, MalformedHeads) {
    expect_all({
        {"H01 CR", headers(1, get({{"a", "x\ry"}})), malformed("header field")},
        {"H01 LF", headers(1, get({{"a", "x\ny"}})), malformed("header field")},
        {"H01 NUL", headers(1, get({{"a", "x\0y"s}})), malformed("header field")},
        {"DEL", headers(1, get({{"a", "x\x7fy"}})), malformed("header field")},
        {"H02 CRLF in a name", headers(1, get({{"a\r\nb: c", "x"}})), malformed("header field")},
        {"empty name", headers(1, get({{"", "x"}})), malformed("header field")},
        {"colon in a name", headers(1, get({{"a:b", "x"}})), malformed("header field")},
        {"H04 leading SP", headers(1, get({{"a", " x"}})), malformed("header field")},
        {"H04 trailing HTAB", headers(1, get({{"a", "x\t"}})), malformed("header field")},
        {"H05 request line in :method", headers(1, with(":method", "GET / HTTP/1.1\r\nX: y")),
         malformed("header field")},
        {"N25 list of methods", headers(1, with(":method", "GET,POST")), malformed("header field")},
        {"N25 NUL in a method", headers(1, with(":method", "G\0ET"s)), malformed("header field")},
        {"N25 empty method", headers(1, with(":method", "")), malformed("header field")},
        {"H07 space", headers(1, with(":path", "/a b")), malformed("header field")},
        {"H07 fragment", headers(1, with(":path", "/a#b")), malformed(":path")},
        {"P20 %00", headers(1, with(":path", "/a%00b")), malformed(":path")},
        {"H08 empty path", headers(1, with(":path", "")), malformed("header field")},
        {"H08 no slash", headers(1, with(":path", "a")), malformed("message")},
        {"absolute form", headers(1, with(":path", "http://a/")), malformed("message")},
        {"S74 * of GET", headers(1, with(":path", "*")), malformed("message")},
        {"H10 CRLF", headers(1, with(":authority", "a\r\nb: c")), malformed("header field")},
        {"H10 space", headers(1, with(":authority", "a b")), malformed("header field")},
        {"H10 slash", headers(1, with(":authority", "a/b")), malformed("header field")},
        {"N16 list", headers(1, with(":authority", "a,b")), malformed(":authority")},
        {"N16 half an address", headers(1, with(":authority", "[::1")), malformed(":authority")},
        {"N22 user", headers(1, with(":authority", "user@a")), malformed("header field")},
        {"empty authority", headers(1, with(":authority", "")), malformed("header field")},
        {"no authority at all", headers(1, without(":authority")), malformed("message")},
        {"N20 host differs", headers(1, get({{"host", "b"}})), malformed("host differs from :authority")},
        {"host twice", headers(1, get({{"host", "a"}, {"host", "a"}})), malformed("header field")},
        {"N35 scheme", headers(1, with(":scheme", "javascript")), malformed(":scheme")},
        {"no scheme", headers(1, without(":scheme")), malformed("message")},
        {"no method", headers(1, without(":method")), malformed("message")},
        {"no path", headers(1, without(":path")), malformed("message")},
        {"H11 transfer-encoding", headers(1, get({{"transfer-encoding", "chunked"}})), malformed("header field")},
        {"connection", headers(1, get({{"connection", "close"}})), malformed("header field")},
        {"keep-alive", headers(1, get({{"keep-alive", "1"}})), malformed("header field")},
        {"proxy-connection", headers(1, get({{"proxy-connection", "1"}})), malformed("header field")},
        {"upgrade", headers(1, get({{"upgrade", "h2c"}})), malformed("header field")},
        {"H14 two content-lengths", headers(1, get({{"content-length", "1"}, {"content-length", "2"}}, "POST"), 0),
         malformed("header field")},
        {"S44 two equal ones", headers(1, get({{"content-length", "1"}, {"content-length", "1"}}, "POST"), 0),
         malformed("header field")},
        {"S50 content-length of 2^64", headers(1, get({{"content-length", "18446744073709551621"}}, "POST"), 0),
         malformed("header field")},
        {"content-length of 2^62", headers(1, get({{"content-length", "4611686018427387904"}}, "POST"), 0),
         malformed("content-length")},
        {"S46 content-length list", headers(1, get({{"content-length", "5, 5"}}, "POST"), 0),
         malformed("header field")},
        {"H16 te: gzip", headers(1, get({{"te", "gzip"}})), malformed("header field")},
        {"H17 :path twice", headers(1, get({{":path", "/"}})), malformed("header field")},
        {"H17 :authority twice", headers(1, get({{":authority", "a"}})), malformed("header field")},
        {"H17 :scheme twice", headers(1, get({{":scheme", "http"}})), malformed("header field")},
        {"unknown pseudo-header", headers(1, get({{":x", "y"}})), malformed("header field")},
        {":status in a request", headers(1, get({{":status", "200"}})), malformed("header field")},
        {"pseudo-header after a field",
         headers(1, {{":method", "GET"}, {":scheme", "http"}, {"a", "b"}, {":path", "/"}}), malformed("header field")},
        {"H20 CONNECT with :path", headers(1, with(":method", "CONNECT"), 0), malformed("message")},
        {"H25 capitals", headers(1, get({{"Abc", "x"}})), malformed("header field")},
        {"two methods would differ", headers(1, get({{":method", "POST"}})), malformed("header field")},
    });
}

TEST(H2Server, RefusedAndAnswered) {
    const std::string more = "\nRST_STREAM 1 NO_ERROR";
    H2Settings small;
    small.headers_max = 3;
    small.head_bytes_max = 400;
    small.path_bytes_max = 20;
    expect_all(
        {
            {"N26 method", headers(1, get({}, "FOO")), answered(400, "malformed", ":method")},
            {"methods have case", headers(1, get({}, "get")), answered(400, "malformed", ":method")},
            {"with a body to come", headers(1, get({}, "FOO"), 0), answered(400, "malformed", ":method") + more},
            {"the body is ignored", headers(1, get({}, "FOO"), 0) + data(1, "x", end_stream),
             answered(400, "malformed", ":method") + more},
            {"N29 CONNECT", headers(1, {{":method", "CONNECT"}, {":authority", "a:80"}}, 0),
             answered(404, "invalid", "connect") + more},
            {"S77 expect", headers(1, get({{"expect", "x"}})), answered(417, "invalid", "expect")},
            {"TRACE with a body", headers(1, get({}, "TRACE"), 0),
             answered(400, "malformed", "trace with a body") + more},
            {"S79 four fields", headers(1, get({{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}})),
             answered(431, "too_large", "header count")},
            {"crumbs are one field", headers(1, get({{"cookie", "a"}, {"cookie", "b"}, {"c", ""}, {"d", ""}})),
             "[1] GET / a {c: , d: , cookie: a; b} ." + ok},
            {"D16 but have a size", headers(1, get(FieldLines(20, {"cookie", "a"}))),
             answered(431, "too_large", "header size")},
            {"N31 size", headers(1, get({{"a", std::string(300, 'x')}})), answered(431, "too_large", "header size")},
            {"long path", headers(1, with(":path", "/" + std::string(20, 'x'))), answered(414, "too_large", ":path")},
        },
        small);
}

TEST(H2Server, ExtendedConnect) {
    const FieldLines websocket = {{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"},
                                  {":authority", "a"},    {":path", "/ws"},           {"sec-websocket-version", "13"}};
    FieldLines other = websocket;
    other[1].second = "connect-udp";
    FieldLines of_get = websocket;
    of_get[0].second = "GET";
    FieldLines with_length = websocket;
    with_length.emplace_back("content-length", "3");
    expect_all({
        {"RFC 8441", headers(1, websocket, 0) + data(1, "frame"),
         "[1] GET /ws a {sec-websocket-version: 13} upgrade=websocket scheme=https\n[1] 'frame'"},
        {"another protocol", headers(1, other, 0), answered(501, "invalid", ":protocol") + "\nRST_STREAM 1 NO_ERROR"},
        {":protocol of GET", headers(1, of_get, 0), malformed("message")},
        {"a tunnel has no length", headers(1, with_length, 0), malformed("connect")},
        {"a tunnel that ends at once", headers(1, websocket, end_stream), malformed("connect that ends at once")},
    });
}

TEST(H2Server, MalformedBodies) {
    const std::string post = headers(1, get({{"content-length", "3"}}, "POST"), 0);
    const std::string head = "[1] POST / a cl=3\n";
    expect_all({
        {"H13 too little", post + data(1, "hi", end_stream), head + "[1] 'hi'\n" + malformed("content-length")},
        {"H13 too much in the second frame", post + data(1, "hel") + data(1, "lo"),
         head + "[1] 'hel'\n" + malformed("content-length")},
        {"H13 nothing at all", headers(1, get({{"content-length", "3"}}, "POST")), malformed("message")},
        {"H13 trailers instead", post + headers(1, {{"a", "b"}}), head + malformed("message")},
        {"and the next stream is served", post + data(1, "hi", end_stream) + headers(3, get()),
         head + "[1] 'hi'\n[1] reset malformed 1 (content-length)\n[3] GET / a .\n-> RST_STREAM 1 PROTOCOL_ERROR\n"
                "HEADERS 3 {:status: 200} ."},
        {"H19 pseudo-header in trailers", headers(1, get({}, "POST"), 0) + headers(1, {{":path", "/"}}),
         "[1] POST / a\n" + malformed("header field")},
        {"trailers that do not end", headers(1, get({}, "POST"), 0) + headers(1, {{"a", "b"}}, 0),
         "[1] POST / a\n" + malformed("message")},
        {"S43 framing in trailers", headers(1, get({}, "POST"), 0) + headers(1, {{"transfer-encoding", "chunked"}}),
         "[1] POST / a\n" + malformed("header field")},
    });
    // What exceeds is not delivered; what came before it in the same frame only if it came in an earlier piece.
    std::string written;
    EXPECT_EQ(h2_serve({post + data(1, "hello", end_stream)}, {}, &written),
              head + "[1] reset malformed 1 (content-length)");
    EXPECT_EQ(messages(written), "RST_STREAM 1 PROTOCOL_ERROR");
    H2Settings small;
    small.trailer_bytes_max = 60;
    EXPECT_EQ(h2_serve_all_ways(headers(1, get({}, "POST"), 0) + headers(1, {{"a", std::string(60, 'b')}}), small),
              "[1] POST / a\n[1] reset too_large 11 (trailer size)\n-> RST_STREAM 1 ENHANCE_YOUR_CALM");
}

TEST(H2Server, ConnectionErrors) {
    const auto gone = [](int code, const std::string& during, const std::string& events = "", int last = 0) {
        return closed(code, during, events) + "\n-> GOAWAY " + std::to_string(last) + " " +
               (code == 1   ? "PROTOCOL_ERROR"
                : code == 3 ? "FLOW_CONTROL_ERROR"
                : code == 5 ? "STREAM_CLOSED"
                : code == 6 ? "FRAME_SIZE_ERROR"
                            : "COMPRESSION_ERROR");
    };
    const std::string one = "[1] GET / a\n";
    expect_all({
        {"H31 PUSH_PROMISE",
         headers(1, get(), 0) + frame(NGHTTP2_PUSH_PROMISE, end_headers, 1, number(2) + literals(get())),
         gone(1, "push", one, 1)},
        {"DATA of stream 0", data(0, "x"), gone(1, "PROTOCOL_ERROR")},
        {"DATA of an idle stream", data(1, "x"), gone(1, "PROTOCOL_ERROR")},
        {"RST_STREAM of an idle stream", reset_frame(1, 8), gone(1, "PROTOCOL_ERROR")},
        {"WINDOW_UPDATE of an idle stream", window_update(1, 1), gone(1, "PROTOCOL_ERROR")},
        {"even stream", headers(2, get()), gone(1, "PROTOCOL_ERROR")},
        {"frame too large", frame(NGHTTP2_DATA, 0, 1, std::string(16385, 'x')).substr(0, 100),
         gone(6, "FRAME_SIZE_ERROR")},
        {"PRIORITY of stream 0", frame(NGHTTP2_PRIORITY, 0, 0, "\0\0\0\0\x10"s), gone(1, "PRIORITY of stream 0")},
        {"D02 PRIORITY of another length", frame(NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0"s), gone(6, "FRAME_SIZE_ERROR")},
        {"CONTINUATION without HEADERS", frame(NGHTTP2_CONTINUATION, end_headers, 1, ""), gone(1, "PROTOCOL_ERROR")},
        {"another frame within a block", frame(NGHTTP2_HEADERS, 0, 1, literals(get())) + ping(),
         gone(1, "PROTOCOL_ERROR", "", 1)},
        {"D17 table larger than allowed", frame(NGHTTP2_HEADERS, end_headers | end_stream, 1, "\x3f\xff\xff\x03"s),
         gone(9, "COMPRESSION_ERROR", "", 1)},
        {"index that no table has", frame(NGHTTP2_HEADERS, end_headers | end_stream, 1, "\xff\xff\x03"s),
         gone(9, "COMPRESSION_ERROR", "", 1)},
        {"WINDOW_UPDATE of 0", window_update(0, 0), gone(1, "PROTOCOL_ERROR")},
        {"connection window above 2^31-1", window_update(0, 0x7fffffff), gone(3, "FLOW_CONTROL_ERROR")},
        {"initial window above 2^31-1", settings_frame({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x80000000}}),
         gone(3, "FLOW_CONTROL_ERROR")},
        {"SETTINGS of 5 bytes", frame(NGHTTP2_SETTINGS, 0, 0, "12345"), gone(6, "FRAME_SIZE_ERROR")},
        {"acknowledgement that nobody waits for", frame(NGHTTP2_SETTINGS, ack, 0), gone(1, "PROTOCOL_ERROR")},
        {"PING of 7 bytes", ping("1234567"), gone(6, "FRAME_SIZE_ERROR")},
    });
}

TEST(H2Server, FramesOfAStreamThatIsOver) {
    std::string written;
    const std::string request = headers(1, get(), 0) + data(1, "", end_stream);
    EXPECT_EQ(h2_serve({request + data(1, "x")}, {}, &written), "[1] GET / a\n[1] '' .\n!5 STREAM_CLOSED\nclosed")
        << "not answered yet: half closed";
    EXPECT_EQ(messages(written), "GOAWAY 1 STREAM_CLOSED");
    EXPECT_EQ(h2_serve({request + headers(1, {{"a", "b"}})}, {}), "[1] GET / a\n[1] '' .\n!5 STREAM_CLOSED\nclosed");
}

TEST(H2Server, FramesOfAStreamThatHasEnded) {
    const std::string canceled = headers(1, get(), 0) + reset_frame(1, NGHTTP2_CANCEL);
    const std::string canceled_trace = "[1] GET / a\n[1] reset reset 8 (CANCEL)";
    const std::string fault = "\n!5 head on a closed stream\nclosed";
    struct Sequence {
        const char* name;
        Pieces input;
        std::string events;
    };
    for (const Sequence& c : std::initializer_list<Sequence>{
             {"head after a reset", {canceled, headers(1, get())}, canceled_trace + fault},
             {"head after both ends", {headers(1, get()), headers(1, get())}, "[1] GET / a ." + fault},
             {"head on a number passed over", {headers(5, get()), headers(3, get())}, "[5] GET / a ." + fault},
             {"data after a reset", {canceled, data(1, "x")}, canceled_trace},
             {"data after both ends", {headers(1, get()), data(1, "x")}, "[1] GET / a ."},
             {"all that is on its way at our reset",
              {headers(1, get({{"te", "gzip"}}), 0), data(1, "x") + headers(1, {{"a", "b"}}), headers(3, get())},
              "[1] reset malformed 1 (header field)\n[3] GET / a ."},
         })
        EXPECT_EQ(h2_serve(c.input, {}), c.events) << c.name;
}

TEST(H2Server, Preface) {
    for (const std::string& first : {"GET / HTTP/1.1\r\nHost: a\r\n\r\n"s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"s}) {
        const std::unique_ptr<Codec> codec = make_h2_server_codec({});
        Recorder recorder;
        const Result<size_t> used = codec->receive(Slice::copy_of(first), recorder);
        ASSERT_FALSE(used) << "H32";
        EXPECT_STREQ(used.error().during, "preface");
        EXPECT_EQ(used.error().side, Side::downstream);
        EXPECT_TRUE(codec->finished());
        EXPECT_EQ(messages(take_pending(*codec)), "GOAWAY 0 PROTOCOL_ERROR");
        EXPECT_EQ(recorder.trace(), "");
        EXPECT_EQ(codec->receive(Slice::copy_of("more"), recorder).value(), 4U);
    }
}

TEST(H2Server, CapitalsThroughTheTable) {
    // H25: an entry with indexing, then its index.
    const std::string indexed = literals(get()) + "\x40"s + literals({{"Abc", "x"}}).substr(1);
    EXPECT_EQ(h2_serve_all_ways(frame(NGHTTP2_HEADERS, end_headers | end_stream, 1, indexed) +
                                frame(NGHTTP2_HEADERS, end_headers | end_stream, 3, literals(get()) + "\xbe"s)),
              "[1] reset malformed 1 (header field)\n[3] reset malformed 1 (header field)\n"
              "-> RST_STREAM 1 PROTOCOL_ERROR\nRST_STREAM 3 PROTOCOL_ERROR");
}

TEST(H2Server, CompressionStaysInStepAfterARefusal) {
    // H26, D14: one entry of 4 KiB, used again and again; what follows on another stream is read right.
    const std::string entry = "\x40"s + literals({{"big", std::string(3000, 'x')}}).substr(1);
    const std::string bomb = literals(get()) + entry + std::string(10000, '\xbe');
    const std::string after = literals(get()) + "\xbe"s;
    const std::string trace = h2_serve_all_ways(frame(NGHTTP2_HEADERS, end_headers | end_stream, 1, bomb) +
                                                frame(NGHTTP2_HEADERS, end_headers | end_stream, 3, after));
    EXPECT_EQ(trace, "[1] reset too_large 431 (header size)\n[3] GET / a {big: " + std::string(3000, 'x') +
                         "} .\n-> HEADERS 1 {:status: 431, content-length: 0} .\nHEADERS 3 {:status: 200} .");
}

TEST(H2Server, AnnouncesItsLimits) {
    H2Settings settings;
    settings.streams_max = 7;
    settings.stream_window_bytes = 70000;
    const std::unique_ptr<Codec> codec = make_h2_server_codec(settings);
    const std::string expected = frame(NGHTTP2_SETTINGS, 0, 0,
                                       number(3, 2) + number(7) + number(4, 2) + number(70000) + number(6, 2) +
                                           number(60 * 1024) + number(9, 2) + number(1) + number(8, 2) + number(1)) +
                                 window_update(0, 1024 * 1024 - 65535);
    EXPECT_EQ(take_pending(*codec), expected);
}

TEST(H2Server, StreamsAboveTheLimitAreRefused) {
    // D19
    H2Settings settings;
    settings.streams_max = 2;
    EXPECT_EQ(h2_serve_all_ways(headers(1, get(), 0) + headers(3, get(), 0) + headers(5, get(), 0) +
                                    data(5, "ignored", end_stream) + data(1, "x", end_stream),
                                settings),
              "[1] GET / a\n[3] GET / a\n[1] 'x' .\n-> RST_STREAM 5 REFUSED_STREAM\nHEADERS 1 {:status: 200} .");
}

TEST(H2Server, TheLastStreamNumber) {
    // D20
    EXPECT_EQ(h2_serve_all_ways(headers(0x7fffffff, get())),
              "[2147483647] GET / a .\nclosed\n-> GOAWAY 2147483647 NO_ERROR\nHEADERS 2147483647 {:status: 200} .");
}

TEST(H2Server, WindowOverflow) {
    // D13: by SETTINGS, for each stream; by WINDOW_UPDATE.
    EXPECT_EQ(h2_serve_all_ways(headers(1, get(), 0) + window_update(1, 0x7fffffff)),
              "[1] GET / a\n[1] reset malformed 3 (window overflow)\n-> RST_STREAM 1 FLOW_CONTROL_ERROR");
    EXPECT_EQ(h2_serve_all_ways(headers(1, get(), 0) + window_update(1, 0x70000000) +
                                settings_frame({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}})),
              "[1] GET / a\n[1] reset malformed 3 (FLOW_CONTROL_ERROR)\n-> RST_STREAM 1 FLOW_CONTROL_ERROR");
}

} // namespace
} // namespace weft::l7::test
