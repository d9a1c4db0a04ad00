// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "tests/unit/http/h2_frames.hpp"

/// Flow control: a client and a server codec that talk through memory, windows used up and opened again, memory that
/// stays bounded when somebody does not read; and how a connection ends.
namespace weft::l7::test {
namespace {

/// Counts the bytes that slices hold.
class Counter final : public BufferOwner {
public:
    Slice make(size_t bytes) {
        auto* block = new Block{.references = 1, .bytes = std::string(bytes, 'x')};
        held += bytes;
        return {this, block, as_bytes(block->bytes)};
    }
    void retain(void* token) noexcept override { ++static_cast<Block*>(token)->references; }
    void release(void* token) noexcept override {
        auto* block = static_cast<Block*>(token);
        if (--block->references > 0)
            return;
        held -= block->bytes.size();
        delete block;
    }
    size_t held = 0;

private:
    struct Block {
        size_t references;
        std::string bytes;
    };
};

size_t pending_bytes(const Codec& codec) {
    size_t sum = 0;
    for (const Slice& slice : codec.pending())
        sum += slice.size();
    return sum;
}

struct Pair {
    explicit Pair(const H2Settings& settings = {})
        : client(make_h2_client_codec(settings)), server(make_h2_server_codec(settings)) {
        talk();
    }
    /// Moves bytes both ways until nobody has any.
    void talk() {
        while (!client->pending().empty() || !server->pending().empty()) {
            carry(*client, *server, at_server);
            carry(*server, *client, at_client);
        }
    }
    static void carry(Codec& from, Codec& to, Recorder& events) {
        const std::string bytes = take_pending(from);
        if (!bytes.empty())
            EXPECT_EQ(to.receive(Slice::copy_of(bytes), events).value_or(0), bytes.size());
    }
    StreamId post(std::string_view path = "/") {
        const StreamId stream = client->open().value();
        EXPECT_TRUE(client->send_head(stream, request_head("POST", path), false));
        talk();
        return stream;
    }

    std::unique_ptr<Codec> client, server;
    Recorder at_client, at_server;
};

H2Settings windows(uint32_t stream, uint32_t connection) {
    H2Settings settings;
    settings.stream_window_bytes = stream;
    settings.connection_window_bytes = connection;
    return settings;
}

TEST(H2Flow, StreamWindow) {
    Pair pair(windows(1000, 100000));
    const StreamId stream = pair.post();
    EXPECT_EQ(pair.client->send_data(stream, Slice::copy_of(std::string(700, 'a')), false).value(), 700U);
    EXPECT_EQ(pair.client->send_data(stream, Slice::copy_of(std::string(700, 'b')), false).value(), 300U);
    EXPECT_EQ(pair.client->send_data(stream, Slice::copy_of("c"), true).value(), 0U);
    pair.talk();
    EXPECT_EQ(pair.at_server.bodies[0].size(), 1000U);
    EXPECT_EQ(pair.client->next_writable(), std::nullopt);
    pair.server->consumed(stream, 400);
    pair.talk();
    EXPECT_EQ(pair.client->next_writable(), std::nullopt) << "less than half a window is not worth a frame";
    pair.server->consumed(stream, 200);
    pair.talk();
    EXPECT_EQ(pair.client->next_writable(), stream);
    EXPECT_EQ(pair.client->next_writable(), std::nullopt) << "told once";
    EXPECT_EQ(pair.client->send_data(stream, Slice::copy_of(std::string(700, 'd')), false).value(), 600U);
    pair.talk();
    pair.server->consumed(stream, 1000);
    pair.talk();
    EXPECT_EQ(pair.client->next_writable(), stream);
    EXPECT_EQ(pair.client->send_data(stream, Slice::copy_of("e"), true).value(), 1U);
    pair.talk();
    EXPECT_EQ(pair.at_server.ended, std::vector<StreamId>{stream});
    EXPECT_EQ(pair.at_server.bodies[0].size(), 1601U);
}

TEST(H2Flow, ConnectionWindowIsShared) {
    Pair pair(windows(60000, 65535));
    const StreamId first = pair.post();
    const StreamId second = pair.post();
    EXPECT_EQ(pair.client->send_data(first, Slice::copy_of(std::string(60000, 'a')), false).value(), 60000U);
    EXPECT_EQ(pair.client->send_data(second, Slice::copy_of(std::string(60000, 'b')), false).value(), 5535U);
    pair.talk();
    EXPECT_EQ(pair.client->send_data(first, Slice::copy_of("c"), false).value(), 0U);
    pair.server->consumed(first, 60000);
    pair.talk();
    EXPECT_EQ(pair.client->next_writable(), second);
    EXPECT_EQ(pair.client->next_writable(), first);
    EXPECT_EQ(pair.client->send_data(second, Slice::copy_of(std::string(54465, 'b')), true).value(), 54465U);
    pair.talk();
    EXPECT_EQ(pair.at_server.ended, std::vector<StreamId>{second});
}

TEST(H2Flow, WhoLeavesAReplyUnreadOpensTheWindowForTheOthers) {
    Pair pair(windows(65535, 65535));
    const StreamId first = pair.post();
    const StreamId second = pair.post();
    Head answer;
    answer.status = 200;
    for (const StreamId stream : {first, second}) {
        EXPECT_EQ(pair.client->send_data(stream, {}, true).value(), 0U);
        pair.talk();
        EXPECT_TRUE(pair.server->send_head(stream, answer, false));
    }
    EXPECT_EQ(pair.server->send_data(first, Slice::copy_of(std::string(65535, 'a')), true).value(), 65535U);
    pair.talk();
    EXPECT_EQ(pair.at_client.ended, std::vector<StreamId>{first});
    EXPECT_EQ(pair.server->send_data(second, Slice::copy_of("b"), true).value(), 0U);
    pair.client->reset(first, {.code = Code::canceled, .during = "client gone"});
    pair.talk();
    EXPECT_EQ(pair.server->next_writable(), second);
    EXPECT_EQ(pair.server->send_data(second, Slice::copy_of("b"), true).value(), 1U);
}

TEST(H2Flow, WindowOpenedBySettings) {
    const std::unique_ptr<Codec> client = make_h2_client_codec({});
    Recorder events;
    ASSERT_TRUE(client->receive(Slice::copy_of(settings_frame({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}})), events));
    const StreamId stream = client->open().value();
    ASSERT_TRUE(client->send_head(stream, request_head("POST", "/"), false));
    EXPECT_EQ(client->send_data(stream, Slice::copy_of("hello"), true).value(), 0U) << "D11";
    EXPECT_EQ(client->next_writable(), std::nullopt);
    ASSERT_TRUE(client->receive(Slice::copy_of(settings_frame({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 5}})), events));
    EXPECT_EQ(client->next_writable(), stream);
    EXPECT_EQ(client->send_data(stream, Slice::copy_of("hello"), true).value(), 5U);
    EXPECT_EQ(messages(take_pending(*client)),
              "HEADERS 1 {:method: POST, :scheme: http, :authority: a, :path: /}\nDATA 1 'hello' .");
}

TEST(H2Flow, TheEndNeedsNoWindow) {
    Pair pair(windows(10, 65535));
    const StreamId stream = pair.post();
    EXPECT_EQ(pair.client->send_data(stream, Slice::copy_of("0123456789"), false).value(), 10U);
    EXPECT_EQ(pair.client->send_data(stream, {}, true).value(), 0U);
    pair.talk();
    EXPECT_EQ(pair.at_server.trace(), "[1] POST / a\n[1] '0123456789' .");
    // Nor do trailers, nor does another stream's end when the connection is full.
    const StreamId second = pair.post();
    EXPECT_EQ(pair.client->send_data(second, Slice::copy_of("0123456789"), false).value(), 10U);
    Trailers trailers;
    trailers.add("a", "b");
    EXPECT_TRUE(pair.client->send_trailers(second, trailers));
    pair.talk();
    EXPECT_TRUE(pair.at_server.trace().ends_with("[3] '0123456789'\n[3] trailers {a: b}"));
    Pair full(windows(65535, 65535));
    const StreamId filler = full.post();
    const StreamId other = full.post();
    EXPECT_EQ(full.client->send_data(filler, Slice::copy_of(std::string(65535, 'x')), false).value(), 65535U);
    full.talk();
    EXPECT_EQ(full.client->send_data(other, {}, true).value(), 0U);
    full.talk();
    EXPECT_EQ(full.at_server.ended, std::vector<StreamId>{other});
}

TEST(H2Flow, PendingIsBoundedAndShared) {
    // D23: the peer's windows are wide open, but nobody writes.
    H2Settings settings = windows(1U << 30, 1U << 30);
    settings.pending_bytes_max = 50000;
    Pair pair(settings);
    const StreamId streams[] = {pair.post(), pair.post(), pair.post()};
    Counter counter;
    const auto send = [&](StreamId stream) {
        return pair.client->send_data(stream, counter.make(30000), false).value();
    };
    EXPECT_EQ(send(streams[0]), 30000U);
    EXPECT_LE(send(streams[1]), 20000U);
    EXPECT_EQ(send(streams[2]), 0U);
    EXPECT_EQ(send(streams[0]), 0U);
    EXPECT_LE(pending_bytes(*pair.client), 50000U + 200U);
    EXPECT_LE(counter.held, 60000U);
    EXPECT_EQ(pair.client->next_writable(), std::nullopt);
    pair.talk();
    EXPECT_EQ(counter.held, 0U);
    EXPECT_EQ(pair.client->next_writable(), streams[1]) << "in the order refused";
    EXPECT_EQ(pair.client->next_writable(), streams[2]);
    EXPECT_EQ(pair.client->next_writable(), streams[0]);
}

TEST(H2Flow, PayloadIsNotCopied) {
    Pair pair;
    const StreamId stream = pair.post();
    Counter counter;
    Slice body = counter.make(40000);
    const std::byte* begin = body.data();
    ASSERT_EQ(pair.client->send_data(stream, std::move(body), true).value(), 40000U);
    size_t found = 0;
    for (const Slice& slice : pair.client->pending()) {
        if (slice.data() >= begin && slice.data() < begin + 40000)
            found += slice.size();
    }
    EXPECT_EQ(found, 40000U);
    // And what comes is a piece of the buffer that it came in.
    class Keeper final : public Events {
    public:
        void on_head(StreamId, Head&&, bool) override {}
        void on_data(StreamId, Slice&& data, bool) override { slices.push_back(std::move(data)); }
        void on_trailers(StreamId, Trailers&&) override {}
        void on_reset(StreamId, Error) override {}
        void on_goaway(StreamId) override {}
        std::vector<Slice> slices;
    } keeper;
    {
        const std::string bytes = take_pending(*pair.client);
        const Slice buffer = Slice::copy_of(bytes);
        ASSERT_TRUE(pair.server->receive(buffer, keeper));
        for (const Slice& slice : keeper.slices)
            EXPECT_TRUE(slice.data() >= buffer.data() && slice.data() < buffer.data() + buffer.size());
    }
    EXPECT_EQ(keeper.slices.size(), 3U);
    size_t sum = 0;
    for (const Slice& slice : keeper.slices)
        sum += slice.size();
    EXPECT_EQ(sum, 40000U) << "readable after the buffer's first owner is gone";
}

TEST(H2Flow, OwnerThatDoesNotConsume) {
    Pair pair(windows(20000, 65535));
    uint64_t taken = 0;
    for (int i = 0; i < 50; ++i) {
        const StreamId stream = pair.post();
        taken += pair.client->send_data(stream, Slice::copy_of(std::string(40000, 'x')), false).value();
        pair.talk();
    }
    EXPECT_EQ(taken, 65535U);
    EXPECT_TRUE(pair.client->pending().empty());
}

TEST(H2Flow, DebtOfAStreamThatEndedWell) {
    // All of it came and both sides ended, but the owner still holds the bytes: the connection's window stays charged.
    Pair pair(windows(65535, 65535));
    const StreamId first = pair.post();
    ASSERT_EQ(pair.client->send_data(first, Slice::copy_of(std::string(65535, 'x')), true).value(), 65535U);
    pair.talk();
    ASSERT_TRUE(pair.server->send_head(first, reply_head(200), true));
    pair.talk();
    const StreamId second = pair.post();
    EXPECT_EQ(pair.client->send_data(second, Slice::copy_of("y"), true).value(), 0U);
    pair.server->consumed(first, 65535);
    pair.talk();
    EXPECT_EQ(pair.client->next_writable(), second);
    EXPECT_EQ(pair.client->send_data(second, Slice::copy_of("y"), true).value(), 1U);
}

TEST(H2Flow, DebtOfAStreamThatIsReset) {
    for (const bool by_owner : {true, false}) {
        Pair pair(windows(65535, 65535));
        const StreamId first = pair.post();
        ASSERT_EQ(pair.client->send_data(first, Slice::copy_of(std::string(65535, 'x')), false).value(), 65535U);
        pair.talk();
        (by_owner ? pair.server : pair.client)->reset(first, {.code = Code::canceled});
        pair.talk();
        pair.server->consumed(first, 65535); // too late: it is no stream's any more
        pair.talk();
        const StreamId second = pair.post();
        EXPECT_EQ(pair.client->send_data(second, Slice::copy_of(std::string(70000, 'y')), true).value(), 65535U);
        pair.talk();
    }
}

TEST(H2Flow, VerbsInsideEvents) {
    Pair pair;
    pair.at_server.when_head = [&](StreamId stream) {
        EXPECT_TRUE(pair.server->send_head(stream, reply_head(200), false));
        EXPECT_EQ(pair.server->send_data(stream, Slice::copy_of("hello"), false).value(), 5U);
        EXPECT_EQ(pair.server->send_data(stream, Slice::copy_of(" world"), false).value(), 6U);
        Trailers trailers;
        trailers.add("a", "b");
        EXPECT_TRUE(pair.server->send_trailers(stream, trailers));
        EXPECT_TRUE(pair.server->pending().empty()) << "written behind the frame";
    };
    bool again = true;
    pair.at_client.when_head = [&](StreamId) {
        if (!std::exchange(again, false))
            return;
        const StreamId stream = pair.client->open().value();
        EXPECT_TRUE(pair.client->send_head(stream, request_head("POST", "/2"), false));
        EXPECT_EQ(pair.client->send_data(stream, Slice::copy_of("x"), false).value(), 1U);
        Trailers trailers;
        trailers.add("c", "d");
        EXPECT_TRUE(pair.client->send_trailers(stream, trailers));
        const StreamId given_up = pair.client->open().value();
        EXPECT_TRUE(pair.client->send_head(given_up, request_head("GET", "/3"), true));
        pair.client->reset(given_up, {.code = Code::canceled});
    };
    const StreamId stream = pair.client->open().value();
    ASSERT_TRUE(pair.client->send_head(stream, request_head("GET", "/1"), true));
    pair.talk();
    // The second reply ended before its request, though the rest of it came in the same piece.
    EXPECT_EQ(pair.at_server.trace(), "[1] GET /1 a .\n[3] POST /2 a");
    EXPECT_EQ(pair.at_client.trace(), "[1] 200\n[1] 'hello world'\n[1] trailers {a: b}\n"
                                      "[3] 200\n[3] 'hello world'\n[3] trailers {a: b}");
}

TEST(H2Flow, ResetInsideEvents) {
    Pair pair;
    pair.at_server.when_head = [&](StreamId stream) { pair.server->reset(stream, {.code = Code::timeout}); };
    const StreamId stream = pair.client->open().value();
    ASSERT_TRUE(pair.client->send_head(stream, request_head("POST", "/"), false));
    ASSERT_TRUE(pair.client->send_data(stream, Slice::copy_of("dropped"), true));
    pair.talk();
    EXPECT_EQ(pair.at_server.trace(), "[1] POST / a");
    EXPECT_EQ(pair.at_client.trace(), "[1] reset reset 8 (CANCEL)");
}

TEST(H2Flow, EarlyReplyEndsTheRequest) {
    Pair pair;
    const StreamId stream = pair.post();
    ASSERT_TRUE(pair.server->send_head(stream, reply_head(413), true));
    pair.talk();
    EXPECT_EQ(pair.at_client.trace(), "[1] 413 .");
    EXPECT_EQ(pair.client->send_data(stream, Slice::copy_of("x"), true).error().code, Code::canceled);
    EXPECT_EQ(pair.at_server.trace(), "[1] POST / a");
}

TEST(H2Flow, RepliesWithoutABody) {
    for (const bool to_head : {true, false}) {
        Pair pair;
        const StreamId stream = pair.client->open().value();
        ASSERT_TRUE(pair.client->send_head(stream, request_head(to_head ? "HEAD" : "GET", "/"), true));
        pair.talk();
        Head reply = reply_head(to_head ? 200 : 304);
        reply.content_length = 5;
        ASSERT_TRUE(pair.server->send_head(stream, reply, false));
        EXPECT_EQ(pair.server->send_data(stream, Slice::copy_of("hello"), true).value(), 5U) << "dropped";
        pair.talk();
        EXPECT_EQ(pair.at_client.trace(), std::string("[1] ") + (to_head ? "200" : "304") + " cl=5\n[1] '' .");
    }
}

TEST(H2Flow, InformationalHeads) {
    Pair pair;
    const StreamId stream = pair.post();
    EXPECT_TRUE(pair.server->send_head(stream, reply_head(100), false));
    EXPECT_TRUE(pair.server->send_head(stream, reply_head(103), false));
    EXPECT_FALSE(pair.server->send_head(stream, reply_head(103), true)) << "ends nothing";
    EXPECT_FALSE(pair.server->send_head(stream, reply_head(101), false)) << "nobody asked";
    ASSERT_TRUE(pair.client->send_data(stream, {}, true));
    pair.talk();
    EXPECT_TRUE(pair.server->send_head(stream, reply_head(200), true));
    EXPECT_FALSE(pair.server->send_head(stream, reply_head(100), false));
    pair.talk();
    EXPECT_EQ(pair.at_client.trace(), "[1] 100\n[1] 103\n[1] 200 .");
}

TEST(H2Flow, Tunnel) {
    Pair pair;
    Head request = request_head("GET", "/ws");
    request.upgrade = "websocket";
    const StreamId stream = pair.client->open().value();
    ASSERT_TRUE(pair.client->send_head(stream, request, false));
    pair.talk();
    ASSERT_TRUE(pair.server->send_head(stream, reply_head(101), false));
    ASSERT_TRUE(pair.server->send_data(stream, Slice::copy_of("from server"), false));
    ASSERT_TRUE(pair.client->send_data(stream, Slice::copy_of("from client"), true));
    pair.talk();
    ASSERT_TRUE(pair.server->send_data(stream, {}, true));
    pair.talk();
    EXPECT_EQ(pair.at_server.trace(), "[1] GET /ws a upgrade=websocket\n[1] 'from client' .");
    EXPECT_EQ(pair.at_client.trace(), "[1] 101\n[1] 'from server' .");
}

TEST(H2Flow, DrainOfAServer) {
    Pair pair;
    const StreamId first = pair.post();
    pair.server->drain();
    EXPECT_FALSE(pair.server->finished());
    // A request that was on its way is still served.
    const StreamId second = pair.client->open().value();
    ASSERT_TRUE(pair.client->send_head(second, request_head("GET", "/2"), true));
    pair.talk();
    EXPECT_EQ(pair.at_client.trace(), "goaway 2147483647\ngoaway 3");
    EXPECT_EQ(pair.client->open().error().code, Code::unavailable);
    ASSERT_TRUE(pair.server->send_head(second, reply_head(200), true));
    ASSERT_TRUE(pair.client->send_data(first, {}, true));
    pair.talk();
    EXPECT_FALSE(pair.server->finished());
    ASSERT_TRUE(pair.server->send_head(first, reply_head(200), true));
    pair.talk();
    EXPECT_TRUE(pair.server->finished());
    EXPECT_TRUE(pair.client->finished());
}

TEST(H2Flow, DrainAtOnce) {
    const std::unique_ptr<Codec> server = make_h2_server_codec({});
    Recorder events;
    ASSERT_TRUE(server->receive(Slice::copy_of(client_preface() + headers(1, get(), 0)), events));
    take_pending(*server);
    server->drain();
    server->drain(); // no acknowledgement came in time
    EXPECT_EQ(messages(take_pending(*server)), "GOAWAY 2147483647 NO_ERROR\nGOAWAY 1 NO_ERROR");
    ASSERT_TRUE(server->receive(Slice::copy_of(headers(3, get()) + data(1, "", end_stream)), events));
    EXPECT_EQ(events.trace(), "[1] GET / a\n[1] '' .") << "above the last";
    ASSERT_TRUE(server->send_head(1, reply_head(200), true));
    EXPECT_TRUE(server->finished());
}

TEST(H2Flow, ClientThatClosesItsSide) {
    Pair pair;
    const StreamId cut = pair.post();
    const StreamId whole = pair.client->open().value();
    ASSERT_TRUE(pair.client->send_head(whole, request_head("GET", "/"), true));
    pair.talk();
    EXPECT_TRUE(pair.server->receive_eof(pair.at_server));
    EXPECT_FALSE(pair.server->finished()) << "D25: one may still be answered";
    EXPECT_TRUE(pair.at_server.trace().ends_with("[1] reset eof 0 (connection)")) << cut;
    ASSERT_TRUE(pair.server->send_head(whole, reply_head(200), true));
    EXPECT_TRUE(pair.server->finished());
}

/// Random bodies both ways on many streams through small windows: all arrives whole and in order.
TEST(H2Flow, ManyStreamsThroughSmallWindows) {
    H2Settings settings = windows(3000, 65535);
    settings.pending_bytes_max = 5000;
    Pair pair(settings);
    constexpr size_t body_bytes = 20000;
    std::map<StreamId, size_t> left;
    for (int i = 0; i < 40; ++i)
        left[pair.post()] = body_bytes;
    std::map<StreamId, size_t> seen;
    std::vector<StreamId> turn;
    for (const auto& [stream, bytes] : left)
        turn.push_back(stream);
    size_t rounds = 0;
    while (!left.empty() && ++rounds < 10000) {
        for (const StreamId stream : turn) {
            size_t& bytes = left[stream];
            const size_t taken = pair.client->send_data(stream, Slice::copy_of(std::string(bytes, 'x')), true).value();
            bytes -= taken;
            if (bytes == 0)
                left.erase(stream);
            EXPECT_LE(pending_bytes(*pair.client), 5000U + 2000U);
        }
        pair.talk();
        for (const auto& [stream, unused] : std::map(left))
            pair.server->consumed(stream, 3000);
        pair.talk();
        turn.clear();
        while (const std::optional<StreamId> stream = pair.client->next_writable())
            turn.push_back(*stream);
    }
    EXPECT_TRUE(left.empty()) << left.size() << " streams stalled";
    EXPECT_EQ(pair.at_server.ended.size(), 40U);
}

} // namespace
} // namespace weft::l7::test
