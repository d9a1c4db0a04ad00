// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h2_rules.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "l7engine/http/h2_budget.hpp"
#include "l7engine/http/h2_error.hpp"
#include "l7engine/http/h2_fields.hpp"
#include "tests/unit/http/h2_frames.hpp"

/// The pure parts: our own rules without nghttp2's before them, the budgets, the error codes.
namespace weft::l7::h2 {
namespace {

using Kind = BlockReader::Kind;
using test::describe;
using test::FieldLines;
using test::get;

struct Case {
    const char* name;
    FieldLines fields;
    const char* expected;
};

std::string fault(const Error& error) {
    return "!" + std::to_string(error.detail) + " " + error.during;
}

std::string read(Kind kind, const FieldLines& fields, bool last = true, bool tunnel = false) {
    BlockReader reader({});
    reader.start(kind);
    for (const auto& [name, value] : fields)
        reader.add(name, value);
    if (kind == Kind::trailers) {
        const Result<Trailers> trailers = reader.finish_trailers();
        return trailers ? describe(*trailers) : fault(trailers.error());
    }
    const Result<Head> head = kind == Kind::request ? reader.finish_request(last) : reader.finish_response(tunnel);
    if (!head)
        return fault(head.error());
    std::string text = head->is_request() ? head->method + " " + head->path + " " + head->authority + " " + head->scheme
                                          : std::to_string(head->status);
    text += describe(head->headers);
    return head->content_length ? text + " cl=" + std::to_string(*head->content_length) : text;
}

TEST(H2Rules, Requests) {
    const Case cases[] = {
        {"plain", get(), "GET / a http"},
        {"capitals", get({{"A", "b"}}), "!1 header name"},
        {"empty name", get({{"", "b"}}), "!1 header name"},
        {"space at the end", get({{"a", "b "}}), "!1 header value"},
        {"tab at the start", get({{"a", "\tb"}}), "!1 header value"},
        {"line feed", get({{"a", "b\nc"}}), "!1 header value"},
        {"obs-text and inner blanks", get({{"a", "b \t\xc3\xa9 c"}}), "GET / a http {a: b \t\xc3\xa9 c}"},
        {"pseudo-header late", get({{"a", "b"}, {":path", "/"}}), "!1 pseudo-header after a field"},
        {"pseudo-header twice", get({{":path", "/"}}), "!1 :path twice"},
        {"unknown pseudo-header", get({{":x", "/"}}), "!1 pseudo-header"},
        {"connection", get({{"connection", "x"}}), "!1 connection-specific field"},
        {"upgrade", get({{"upgrade", "x"}}), "!1 connection-specific field"},
        {"transfer-encoding", get({{"transfer-encoding", "chunked"}}), "!1 connection-specific field"},
        {"te", get({{"te", "gzip"}}), "!1 te"},
        {"te list", get({{"te", "trailers, gzip"}}), "!1 te"},
        {"te kept", get({{"te", "Trailers"}}), "GET / a http {te: trailers}"},
        {"host twice", get({{"host", "a"}, {"host", "a"}}), "!1 host twice"},
        {"host differs", get({{"host", "a:80"}}), "!1 host differs from :authority"},
        {"content-length twice", get({{"content-length", "0"}, {"content-length", "0"}}), "!1 content-length"},
        {"content-length of letters", get({{"content-length", "0x5"}}), "!1 content-length"},
        {"content-length and no body", get({{"content-length", "5"}}), "!1 content-length"},
        {"content-length 0", get({{"content-length", "0"}}), "GET / a http cl=0"},
        {"nothing", {}, "!1 :method"},
        {"method with a space", get({}, "G T"), "!1 :method"},
        {"no path", {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}}, "!1 pseudo-header missing"},
        {"no host", {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}, "!1 no :authority"},
        {"CONNECT", {{":method", "CONNECT"}, {":authority", "a:1"}}, "!404 connect"},
        {"CONNECT with a path", get({}, "CONNECT"), "!1 connect"},
        {"tunnel", get({{":protocol", "WebSocket"}}, "CONNECT"), "GET / a http"},
        {"tunnel of another protocol", get({{":protocol", "x"}}, "CONNECT"), "!501 :protocol"},
        {"expectations", get({{"expect", "100-continue"}, {"expect", "y"}}), "!417 expect"},
        {"name of 4097", get({{std::string(4097, 'a'), "b"}}), "!431 header size"},
        {"N31 value of 60 KiB", get({{"a", std::string(60 * 1024, 'b')}}), "!431 header size"},
    };
    for (const Case& c : cases) {
        const bool tunnel = std::ranges::any_of(c.fields, [](const auto& field) { return field.first == ":protocol"; });
        EXPECT_EQ(read(Kind::request, c.fields, !tunnel), c.expected) << c.name;
    }
    EXPECT_EQ(read(Kind::request, get(FieldLines(100, {"a", "b"}))).substr(0, 16), "GET / a http {a:");
    EXPECT_EQ(read(Kind::request, get(FieldLines(101, {"a", "b"}))), "!431 header count") << "S79";
    EXPECT_EQ(read(Kind::request, get(FieldLines(1000, {"cookie", "b"}))).size(),
              std::string_view("GET / a http {cookie: }").size() + 1000 + 2 * 999);
    EXPECT_EQ(read(Kind::request, get(FieldLines(10000, {"cookie", "b"}))), "!431 header size") << "D16";
}

TEST(H2Rules, Responses) {
    const Case cases[] = {
        {"plain", {{":status", "200"}, {"a", "b"}}, "200 {a: b}"},
        {"no status", {{"a", "b"}}, "!1 :status"},
        {"two digits", {{":status", "20"}}, "!1 :status"},
        {"sign", {{":status", "+20"}}, "!1 :status"},
        {"below 100", {{":status", "099"}}, "!1 :status"},
        {"H29", {{":status", "101"}}, "!1 :status"},
        {"status twice", {{":status", "200"}, {":status", "200"}}, "!1 :status twice"},
        {"request's pseudo-header", {{":status", "200"}, {":path", "/"}}, "!1 pseudo-header"},
        {"H28", {{":status", "200"}, {"a", "b\r\nc: d"}}, "!1 header value"},
        {"connection", {{":status", "200"}, {"connection", "close"}}, "!1 connection-specific field"},
        {"length", {{":status", "200"}, {"content-length", "5"}}, "200 cl=5"},
        {"length of 304", {{":status", "304"}, {"content-length", "5"}}, "304 cl=5"},
        {"length of 204", {{":status", "204"}, {"content-length", "5"}}, "!1 content-length of a reply without a body"},
        {"length 0 of 204", {{":status", "204"}, {"content-length", "0"}}, "204"},
        {"length of 100", {{":status", "100"}, {"content-length", "0"}}, "!1 content-length of an informational reply"},
        {"request's fields are dropped",
         {{":status", "200"}, {"host", "x"}, {"expect", "y"}, {"te", "trailers"}},
         "200"},
        {"cookies are not joined",
         {{":status", "200"}, {"set-cookie", "x"}, {"set-cookie", "y"}},
         "200 {set-cookie: x, set-cookie: y}"},
    };
    for (const Case& c : cases)
        EXPECT_EQ(read(Kind::response, c.fields), c.expected) << c.name;
    EXPECT_EQ(read(Kind::response, {{":status", "200"}, {"content-length", "5"}}, false, true), "101");
    EXPECT_EQ(read(Kind::response, {{":status", "403"}, {"content-length", "5"}}, false, true), "403 cl=5");
}

TEST(H2Rules, Trailers) {
    const Case cases[] = {
        {"kept", {{"grpc-status", "0"}, {"a", "b"}}, " {grpc-status: 0, a: b}"},
        {"forbidden",
         {{"a", "b"}, {"authorization", "x"}, {"content-length", "5"}, {"host", "c"}, {"te", "trailers"}},
         " {a: b}"},
        {"framing", {{"transfer-encoding", "chunked"}}, "!1 connection-specific field"},
        {"H19", {{":path", "/"}}, "!1 pseudo-header after a field"},
        {"size", {{"a", std::string(8192, 'b')}}, "!431 trailer size"},
    };
    for (const Case& c : cases)
        EXPECT_EQ(read(Kind::trailers, c.fields), c.expected) << c.name;
}

std::string fields_of(const FieldList& list) {
    std::string text;
    for (size_t i = 0; i < list.size(); ++i) {
        const nghttp2_nv& field = list.data()[i];
        text.append(text.empty() ? "" : ", ")
            .append(reinterpret_cast<const char*>(field.name), field.namelen)
            .append(field.flags == NGHTTP2_NV_FLAG_NO_INDEX ? "! " : ": ")
            .append(reinterpret_cast<const char*>(field.value), field.valuelen);
    }
    return text;
}

TEST(H2Rules, HeadsToSend) {
    Head request = test::request_head("POST", "/p?q");
    request.content_length = 5;
    request.expect_continue = true;
    for (const auto& [name, value] : FieldLines{{"A", " b "},
                                                {"Connection", "x"},
                                                {"Host", "evil"},
                                                {"TE", "trailers"},
                                                {"te", "gzip"},
                                                {"Content-Length", "9"},
                                                {"Authorization", "s"},
                                                {"cookie", "short"},
                                                {"cookie", std::string(20, 'x')}})
        request.headers.add(name, value);
    FieldList list;
    ASSERT_TRUE(list.set_request(request, false, false));
    EXPECT_EQ(fields_of(list),
              ":method: POST, :scheme: http, :authority: a, :path: /p?q, content-length: 5, expect: 100-continue, "
              "A: b, Authorization! s, cookie! short, cookie: xxxxxxxxxxxxxxxxxxxx, te: trailers");

    Head reply = test::reply_head(204);
    reply.content_length = 0;
    reply.headers.add("te", "trailers");
    ASSERT_TRUE(list.set_response(reply, false));
    EXPECT_EQ(fields_of(list), ":status: 204");
    EXPECT_FALSE(list.set_response(test::reply_head(101), false)) << "nobody asked";
    ASSERT_TRUE(list.set_response(test::reply_head(101), true));
    EXPECT_EQ(fields_of(list), ":status: 200");

    const auto refused = [&](auto change) {
        Head head = test::request_head("GET", "/");
        change(head);
        return !list.set_request(head, false, true);
    };
    EXPECT_FALSE(refused([](Head&) {}));
    EXPECT_TRUE(refused([](Head& head) { head.headers.add("a", "b\r\nc: d"); })) << "N32";
    EXPECT_TRUE(refused([](Head& head) { head.headers.add("a b", "c"); }));
    EXPECT_TRUE(refused([](Head& head) { head.headers.add(":path", "/x"); }));
    EXPECT_TRUE(refused([](Head& head) { head.path = "/a b"; }));
    EXPECT_TRUE(refused([](Head& head) { head.path = "a"; }));
    EXPECT_TRUE(refused([](Head& head) { head.method = "CONNECT"; }));
    EXPECT_TRUE(refused([](Head& head) { head.authority = "u@a"; }));
    EXPECT_TRUE(refused([](Head& head) { head.scheme = "ftp"; }));
    EXPECT_TRUE(refused([](Head& head) { head.headers.add("a", std::string(sent_head_bytes_max, 'x')); }));
}

TEST(H2Budget, RapidReset) {
    Budget quiet({});
    for (int i = 0; i < 2000; ++i) {
        quiet.on_stream();
        if (i % 2 == 1)
            EXPECT_EQ(quiet.on_premature_reset(), nullptr) << i << ": half of all";
    }
    Budget budget({});
    for (int i = 0; i < 500; ++i) {
        budget.on_stream();
        EXPECT_EQ(budget.on_premature_reset(), nullptr);
    }
    budget.on_stream();
    EXPECT_STREQ(budget.on_premature_reset(), "rapid reset");
}

TEST(H2Budget, Floods) {
    Budget budget({});
    EXPECT_EQ(budget.on_data_frame(true, false), nullptr);
    EXPECT_EQ(budget.on_data_frame(false, false), nullptr);
    EXPECT_EQ(budget.on_data_frame(true, false), nullptr);
    EXPECT_EQ(budget.on_data_frame(true, true), nullptr) << "END_STREAM is worth a frame";
    EXPECT_EQ(budget.on_data_frame(true, false), nullptr);
    EXPECT_STREQ(budget.on_data_frame(true, false), "empty data flood");

    budget.on_stream();
    budget.on_data_frame_sent();
    for (int i = 0; i < 5 + 2 + 10; ++i)
        EXPECT_EQ(budget.on_window_update(), nullptr) << i;
    EXPECT_STREQ(budget.on_window_update(), "window update flood");

    for (int i = 0; i < 200; ++i)
        EXPECT_EQ(budget.on_idle_frame(), nullptr) << i;
    EXPECT_STREQ(budget.on_idle_frame(), "idle frame flood");

    for (int i = 0; i < 8; ++i)
        EXPECT_EQ(budget.on_continuation(), nullptr);
    EXPECT_STREQ(budget.on_continuation(), "continuation flood");
    budget.on_block();
    EXPECT_EQ(budget.on_continuation(), nullptr);

    EXPECT_EQ(budget.on_control_frames(1000), nullptr);
    EXPECT_STREQ(budget.on_control_frames(1001), "control frame flood");
}

TEST(H2Error, Codes) {
    const struct {
        Error error;
        uint32_t code;
    } cases[] = {
        {{.code = Code::canceled}, NGHTTP2_CANCEL},
        {{.code = Code::timeout, .side = Side::upstream}, NGHTTP2_CANCEL},
        {{.code = Code::reset, .side = Side::upstream}, NGHTTP2_INTERNAL_ERROR},
        {{.code = Code::malformed, .side = Side::upstream}, NGHTTP2_PROTOCOL_ERROR},
        {{.code = Code::malformed, .side = Side::self}, NGHTTP2_INTERNAL_ERROR},
        {{.code = Code::unavailable, .retryable = true}, NGHTTP2_REFUSED_STREAM},
        {{.code = Code::unavailable}, NGHTTP2_INTERNAL_ERROR},
        {{.code = Code::too_large, .side = Side::downstream}, NGHTTP2_ENHANCE_YOUR_CALM},
    };
    for (const auto& c : cases)
        EXPECT_EQ(code_for(c.error), c.code) << to_string(c.error);
    EXPECT_STREQ(code_name(NGHTTP2_HTTP_1_1_REQUIRED), "HTTP_1_1_REQUIRED");
    EXPECT_STREQ(code_name(14), "unknown HTTP/2 error");
    EXPECT_TRUE(peer_reset(NGHTTP2_REFUSED_STREAM, Side::upstream).retryable);
    EXPECT_FALSE(peer_reset(NGHTTP2_REFUSED_STREAM, Side::downstream).retryable);
    EXPECT_FALSE(peer_reset(NGHTTP2_CANCEL, Side::upstream).retryable);
}

} // namespace
} // namespace weft::l7::h2
