// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/allocator_interface.h>
#define WEFT_COUNTS_MEMORY
#endif
#endif

#include "tests/unit/http/h2_frames.hpp"

/// Conformance by construction: one table of messages through HTTP/1 and HTTP/2 in both orders means the same at the
/// end. Then random frames: no crash, no event after the last, bounded memory.
namespace weft::l7::test {
namespace {

using namespace std::string_literals;

/// What a message means, whatever version brought it.
struct Meaning {
    Head head;
    std::string body;
    Trailers trailers;

    [[nodiscard]] std::string text() const {
        std::string text = head.is_request() ? head.method + " " + head.path + " " + head.authority + " " + head.upgrade
                                             : std::to_string(head.status);
        text += head.content_length ? " cl=" + std::to_string(*head.content_length) : "";
        text += head.expect_continue ? " expect" : "";
        // HTTP/2 has one case of names, one field of cookies, and them and te after the others.
        std::vector<std::string> lines;
        std::string cookies, te;
        for (size_t i = 0; i < head.headers.size(); ++i) {
            std::string name(head.headers.name(i));
            for (char& c : name)
                c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            if (name == "cookie")
                cookies.append(cookies.empty() ? "" : "; ").append(head.headers.value(i));
            else if (name == "te")
                te = head.headers.value(i);
            else
                lines.push_back(name + ": " + std::string(head.headers.value(i)));
        }
        return text + "\n" + join(lines) + "\ncookies " + cookies + ", te " + te + "\n" + body + "\n" +
               describe(trailers);
    }
};

enum class Version { h1, h2 };

std::unique_ptr<Codec> make_client(Version version) {
    return version == Version::h1 ? make_h1_client_codec({}) : make_h2_client_codec({});
}
std::unique_ptr<Codec> make_server(Version version) {
    return version == Version::h1 ? make_h1_server_codec({}) : make_h2_server_codec({});
}

bool carry(Codec& from, Codec& to, Recorder& events) {
    const std::string bytes = take_pending(from);
    return bytes.empty() || to.receive(Slice::copy_of(bytes), events).value_or(0) == bytes.size();
}

bool send(Codec& codec, StreamId stream, const Meaning& message) {
    const bool bare = message.body.empty() && message.trailers.empty();
    const bool tunnel = !message.head.upgrade.empty() || message.head.status == 101;
    const bool last = bare && message.head.content_length.value_or(0) == 0 && !tunnel;
    if (!codec.send_head(stream, message.head, last))
        return false;
    if (bare)
        return true;
    const size_t half = message.body.size() / 2;
    const bool end = message.trailers.empty();
    return codec.send_data(stream, Slice::copy_of(message.body.substr(0, half)), false) == half &&
           codec.send_data(stream, Slice::copy_of(message.body.substr(half)), end) == message.body.size() - half &&
           (end || codec.send_trailers(stream, message.trailers));
}

Meaning received(Recorder& events) {
    if (events.heads.empty())
        return {};
    Meaning message{.head = std::move(events.heads[0]), .body = events.bodies[0], .trailers = {}};
    if (!events.trailers_seen.empty())
        message.trailers = std::move(events.trailers_seen[0]);
    return message;
}

/// One exchange over one connection: the request as the server saw it, the reply as the client did.
void exchange(Version version, Meaning& request, Meaning& reply) {
    const std::unique_ptr<Codec> client = make_client(version);
    const std::unique_ptr<Codec> server = make_server(version);
    Recorder at_client, at_server;
    // HTTP/2: the client hears of extended CONNECT first.
    ASSERT_TRUE(carry(*client, *server, at_server));
    ASSERT_TRUE(carry(*server, *client, at_client));
    const StreamId stream = client->open().value();
    ASSERT_TRUE(send(*client, stream, request));
    ASSERT_TRUE(carry(*client, *server, at_server));
    ASSERT_TRUE(send(*server, stream, reply));
    ASSERT_TRUE(carry(*server, *client, at_client));
    request = received(at_server);
    reply = received(at_client);
}

Headers fields(const FieldLines& lines) {
    Headers list;
    for (const auto& [name, value] : lines)
        list.add(name, value);
    return list;
}

Meaning request(std::string_view method, std::string_view path, const FieldLines& lines = {},
                const std::string& body = "", std::optional<uint64_t> length = {}, const FieldLines& trailers = {}) {
    Meaning message{.head = request_head(method, path), .body = body, .trailers = fields(trailers)};
    message.head.headers = fields(lines);
    message.head.content_length = length;
    return message;
}
Meaning reply(uint16_t status, const FieldLines& lines = {}, const std::string& body = "",
              std::optional<uint64_t> length = {}, const FieldLines& trailers = {}) {
    Meaning message{.head = reply_head(status), .body = body, .trailers = fields(trailers)};
    message.head.headers = fields(lines);
    message.head.content_length = length;
    return message;
}

TEST(H2Relay, MessagesMeanTheSameThroughBothVersions) {
    const std::pair<Meaning, Meaning> table[] = {
        {request("GET", "/"), reply(200, {}, "", 0)},
        {request("GET", "/x?y=%2f", {{"Accept", "*/*"}, {"Cookie", "a=1; b=2"}, {"cookie", "c=3"}, {"TE", "trailers"}}),
         reply(200, {{"Set-Cookie", "a"}, {"Set-Cookie", "b"}}, "hello", 5)},
        {request("POST", "/p", {{"x-a", "b  c"}, {"X-A", "d"}, {"empty", ""}}, "hello world", 11),
         reply(201, {{"location", "/x"}}, "", 0)},
        {request("POST", "/grpc", {{"te", "trailers"}, {"content-type", "application/grpc"}}, "message", {},
                 {{"t", "u"}}),
         reply(200, {{"content-type", "application/grpc"}}, "message", {},
               {{"grpc-status", "0"}, {"grpc-message", ""}})},
        {request("PUT", "/", {}, "hi", 2), reply(204, {{"date", "x"}})},
        {request("DELETE", "/d", {}, "0", 1), reply(304, {{"etag", "x"}})},
        {request("OPTIONS", "*"), reply(404, {}, "gone", 4)},
        {request("PATCH", "/", {}, std::string(60000, 'x'), {}), reply(500, {}, std::string(50000, 'y'), {})},
    };
    for (const auto& [asked, answered] : table) {
        for (const auto& path :
             {std::vector{Version::h1, Version::h2, Version::h1}, std::vector{Version::h2, Version::h1, Version::h2}}) {
            Meaning first = asked.head.is_request() ? Meaning{asked.head, asked.body, asked.trailers} : Meaning{};
            Meaning back{answered.head, answered.body, answered.trailers};
            for (const Version version : path)
                exchange(version, first, back);
            EXPECT_EQ(first.text(), asked.text());
            EXPECT_EQ(back.text(), answered.text()) << asked.text();
        }
    }
}

TEST(H2Relay, Http1RequestThroughHttp2) {
    // What HTTP/1 says of its connection does not reach HTTP/2, and the upgrade takes the same form in both.
    const std::unique_ptr<Codec> server = make_h1_server_codec({});
    Recorder events;
    const std::string text =
        "GET /ws HTTP/1.1\r\nHost: a:80\r\nConnection: Upgrade, X-B\r\nUpgrade: websocket\r\nX-B: 1\r\n"
        "Keep-Alive: 5\r\nSec-WebSocket-Version: 13\r\n\r\n";
    ASSERT_TRUE(server->receive(Slice::copy_of(text), events));
    Meaning asked = received(events);
    Meaning accepted = reply(101);
    const std::string before = asked.text();
    exchange(Version::h2, asked, accepted);
    EXPECT_EQ(asked.text(), before);
    EXPECT_EQ(asked.head.upgrade, "websocket");
    EXPECT_EQ(accepted.head.status, 101);
}

/// Frames near to valid ones.
class Mutator {
public:
    explicit Mutator(uint64_t seed) : random_(seed) {}

    size_t below(size_t limit) { return static_cast<size_t>(random_() % limit); }

    /// `streams`: how many the other side has opened (to a client).
    std::string next(bool to_server, size_t streams) {
        streams_ = to_server ? streams_ : streams;
        std::string text;
        for (size_t frames = 1 + below(6); frames > 0; --frames)
            text += below(60) == 0 ? wild_piece() : piece(to_server);
        if (below(30) == 0 && !text.empty())
            change(text);
        return text;
    }

private:
    uint32_t any_stream() { return static_cast<uint32_t>(2 * below(std::max<size_t>(streams_, 1)) + 1); }
    /// One whose sender has not ended it, but for a few.
    uint32_t live_stream() {
        uint32_t stream = any_stream();
        for (int tries = 0; tries < 50 && ended_.contains(stream) && below(50) > 0; ++tries)
            stream = any_stream();
        return stream;
    }
    uint32_t ending(uint32_t stream, uint8_t last) {
        if (last != 0)
            ended_.insert(stream);
        return stream;
    }

    FieldLines some_head(bool to_server) {
        FieldLines more = {{"content-length", std::to_string(below(6))}};
        if (below(2) == 0)
            more = {{"cookie", "a"}, {"cookie", "b"}};
        if (to_server)
            return get(more, below(3) == 0 ? "POST" : "GET");
        FieldLines head = {{":status", std::to_string(100 + 100 * below(5) + below(3))}};
        head.insert(head.end(), more.begin(), more.end());
        return head;
    }
    std::string piece(bool to_server) {
        const uint8_t last = below(2) == 0 ? end_stream : 0;
        if (to_server && (streams_ == 0 || below(3) == 0)) {
            ++streams_;
            return headers(ending(static_cast<uint32_t>(2 * streams_ - 1), last), some_head(true), last);
        }
        const bool all_ended = ended_.size() >= streams_ && below(20) > 0;
        if (streams_ == 0 || all_ended)
            return ping();
        switch (below(9)) {
        case 0:
        case 1:
            return headers(ending(live_stream(), last), to_server ? FieldLines{{"a", "b"}} : some_head(false), last);
        case 2:
        case 3:
            return below(2) == 0 || to_server ? data(ending(live_stream(), last), std::string(1 + below(9), 'x'), last)
                                              : ping();
        case 4: return headers(ending(live_stream(), end_stream), {{"a", "b"}}, end_stream);
        case 5: return reset_frame(ending(any_stream(), end_stream), static_cast<uint32_t>(below(14)));
        case 6: return window_update(below(2) == 0 ? 0 : any_stream(), static_cast<uint32_t>(1 + below(100000)));
        case 7: return settings_frame({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<uint32_t>(below(90000))}});
        default: return ping("12345678", below(2) == 0 ? ack : 0);
        }
    }
    std::string wild_piece() {
        switch (below(5)) {
        case 0: return frame(NGHTTP2_CONTINUATION, end_headers, any_stream(), literals({{"a", "b"}}));
        case 1: return frame(NGHTTP2_HEADERS, 0, any_stream(), literals(get()).substr(0, below(40)));
        case 2: return goaway(static_cast<uint32_t>(below(4)), 0);
        case 3: return window_update(any_stream(), 0x7fffffff);
        default:
            return frame(static_cast<uint8_t>(below(16)), static_cast<uint8_t>(below(256)), any_stream(),
                         std::string(below(20), static_cast<char>(below(256))));
        }
    }
    void change(std::string& text) {
        const size_t at = below(text.size());
        switch (below(4)) {
        case 0: text[at] = static_cast<char>(below(256)); break;
        case 1: text.erase(at, below(10)); break;
        case 2: text.insert(at, text.substr(at, below(30))); break;
        default: text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        }
    }

    std::mt19937_64 random_;
    size_t streams_ = 0;
    std::set<uint32_t> ended_;
};

/// Fails on an event of a stream that is over, or without a head.
class Strict final : public Events {
public:
    void on_head(StreamId stream, Head&& head, bool last) override {
        EXPECT_FALSE(over_.contains(stream));
        EXPECT_TRUE(!open_.contains(stream)) << "a second head";
        if (!head.is_informational())
            open_.insert(stream);
        if (last)
            end(stream);
    }
    void on_data(StreamId stream, Slice&& data, bool last) override {
        EXPECT_TRUE(open_.contains(stream));
        EXPECT_TRUE(last || !data.empty());
        unconsumed[stream] += data.size();
        if (last)
            end(stream);
    }
    void on_trailers(StreamId stream, Trailers&&) override {
        EXPECT_TRUE(open_.contains(stream));
        end(stream);
    }
    void on_reset(StreamId stream, Error error) override {
        EXPECT_FALSE(reset_.contains(stream));
        EXPECT_STRNE(error.during, "");
        reset_.insert(stream);
        over_.insert(stream);
        open_.erase(stream);
    }
    void on_goaway(StreamId) override {}

    std::set<StreamId> ended;
    std::map<StreamId, size_t> unconsumed;
    size_t events = 0;

private:
    void end(StreamId stream) {
        ended.insert(stream);
        over_.insert(stream);
        open_.erase(stream);
    }
    std::set<StreamId> open_, over_, reset_;
};

/// What an owner may do, at random.
void act(Codec& codec, Strict& events, Mutator& random, bool server, size_t& opened) {
    if (!server && random.below(2) == 0) {
        const Result<StreamId> stream = codec.open();
        opened += stream && codec.send_head(*stream, request_head("POST", "/"), random.below(2) == 0) ? 1 : 0;
        return;
    }
    const auto stream = static_cast<StreamId>(2 * random.below(6) + 1);
    switch (random.below(9)) {
    case 0:
    case 1:
        (void)codec.send_head(stream, server ? reply_head(200) : request_head("POST", "/"), random.below(3) == 0);
        break;
    case 2:
        (void)codec.send_data(stream, Slice::copy_of(std::string(random.below(70000), 'x')), random.below(3) == 0);
        break;
    case 3: codec.reset(stream, {.code = Code::canceled}); break;
    case 4: codec.consumed(stream, std::exchange(events.unconsumed[stream], 0)); break;
    case 5: (void)codec.send_trailers(stream, fields({{"a", "b"}})); break;
    case 6: (void)codec.open(); break;
    case 7: (void)codec.next_writable(); break;
    default:
        if (random.below(40) == 0)
            codec.drain();
    }
}

void run_random(uint64_t seed, bool server, size_t& survivors) {
    Mutator random(seed);
    H2Settings settings;
    settings.pending_bytes_max = 20000;
    const std::unique_ptr<Codec> codec = server ? make_h2_server_codec(settings) : make_h2_client_codec(settings);
    Strict events;
    std::string input = server ? client_preface() : server_preface();
    bool alive = true;
    size_t opened = 0;
    FrameReader written;
    for (size_t step = 0; step < 12 && alive; ++step) {
        for (size_t acts = random.below(4); acts > 0; --acts)
            act(*codec, events, random, server, opened);
        input += random.next(server, opened);
        const size_t cut = random.below(3) == 0 ? random.below(input.size() + 1) : input.size();
        const Result<size_t> used = codec->receive(Slice::copy_of(input.substr(0, cut)), events);
        alive = used.has_value();
        ASSERT_TRUE(!used || *used == cut);
        ASSERT_TRUE(alive || codec->finished());
        input.erase(0, cut);
        size_t waiting = 0;
        for (const Slice& slice : codec->pending())
            waiting += slice.size();
        ASSERT_LT(waiting, 40000U) << "seed " << seed;
        if (random.below(2) == 0 || !alive) {
            const std::vector<std::string> frames = written.read(take_pending(*codec));
            for (const std::string& line : frames)
                ASSERT_EQ(line.find("UNREADABLE"), std::string::npos) << "seed " << seed;
            ASSERT_TRUE(alive || frames.back().starts_with("GOAWAY")) << "seed " << seed << "\n" << join(frames);
        }
    }
    if (alive && random.below(2) == 0)
        EXPECT_TRUE(codec->receive_eof(events));
    survivors += alive ? 1 : 0;
}

constexpr uint64_t first_seed = 20251105;
constexpr uint64_t rounds = 4000;

TEST(H2Relay, RandomFrames) {
    for (const bool server : {true, false}) {
        size_t survivors = 0;
#ifdef WEFT_COUNTS_MEMORY
        const size_t before = __sanitizer_get_current_allocated_bytes();
#endif
        for (uint64_t seed = first_seed; seed < first_seed + rounds && !::testing::Test::HasFailure(); ++seed) {
            run_random(seed, server, survivors);
            if (::testing::Test::HasFailure())
                ADD_FAILURE() << "seed " << seed << (server ? " server" : " client");
        }
#ifdef WEFT_COUNTS_MEMORY
        EXPECT_LT(__sanitizer_get_current_allocated_bytes(), before + 1000000) << "left behind";
#endif
        EXPECT_GT(survivors, rounds / 20) << "too wild to test what comes after a few frames";
        EXPECT_LT(survivors, rounds * 19 / 20) << "too tame";
    }
}

#ifdef WEFT_COUNTS_MEMORY
TEST(H2Relay, MemoryOfAConnectionIsBounded) {
    // As many streams as allowed, each with as much as the windows allow, heads as large as allowed, nothing consumed.
    const std::unique_ptr<Codec> codec = make_h2_server_codec({});
    Strict events;
    ASSERT_TRUE(codec->receive(Slice::copy_of(client_preface()), events));
    const size_t before = __sanitizer_get_current_allocated_bytes();
    for (uint32_t i = 0; i < 3000; ++i) {
        (void)codec->receive(Slice::copy_of(headers(2 * i + 1, get({{"a", std::string(10000, 'x')}}, "POST"), 0) +
                                            data(2 * i + 1, std::string(1000, 'y'))),
                             events);
        if (codec->finished())
            break;
    }
    EXPECT_LT(__sanitizer_get_current_allocated_bytes() - before, 500000U);
}
#endif

} // namespace
} // namespace weft::l7::test
