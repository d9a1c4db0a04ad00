// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/unit/http/h2_frames.hpp"

/// The D rows of hostile-input.md against a server codec: each flood ends the connection, and costs little until then.
namespace weft::l7::test {
namespace {

using namespace std::string_literals;

/// A server after the client's preface, and what it says to frames given to it.
struct Server {
    explicit Server(const H2Settings& settings = {}) : codec(make_h2_server_codec(settings)) {
        EXPECT_TRUE(give(client_preface()));
        take_pending(*codec);
    }

    bool give(const std::string& bytes) {
        const Result<size_t> used = codec->receive(Slice::copy_of(bytes), events);
        if (!used)
            error = used.error();
        return used.has_value();
    }
    /// Gives `piece(i)` until the connection ends; returns how many were taken.
    size_t flood(const std::function<std::string(uint32_t)>& piece, bool reads = true, size_t limit = 20000) {
        size_t taken = 0;
        while (taken < limit && give(piece(static_cast<uint32_t>(taken)))) {
            ++taken;
            if (reads)
                written += take_pending(*codec);
        }
        last_written = take_pending(*codec);
        return taken;
    }
    [[nodiscard]] bool calmed() const { return messages(last_written).ends_with(" ENHANCE_YOUR_CALM"); }

    std::unique_ptr<Codec> codec;
    Recorder events;
    Error error;
    std::string written, last_written;
};

uint32_t stream_number(uint32_t i) {
    return 2 * i + 1;
}

TEST(H2Flood, RapidReset) {
    // D01
    Server server;
    const size_t taken = server.flood(
        [](uint32_t i) { return headers(stream_number(i), get()) + reset_frame(stream_number(i), NGHTTP2_CANCEL); });
    EXPECT_EQ(taken, 500U);
    EXPECT_STREQ(server.error.during, "rapid reset");
    EXPECT_TRUE(server.calmed()) << server.last_written;
    EXPECT_TRUE(server.codec->finished());
    EXPECT_EQ(server.events.heads.size(), 501U);
}

TEST(H2Flood, RapidResetInOnePiece) {
    Server server;
    std::string all;
    for (uint32_t i = 0; i < 10000; ++i)
        all += headers(stream_number(i), get()) + reset_frame(stream_number(i), NGHTTP2_CANCEL);
    EXPECT_FALSE(server.give(all));
    EXPECT_EQ(server.events.heads.size(), 501U);
}

TEST(H2Flood, ResetsOfAnsweredStreamsAreFree) {
    Server server;
    for (uint32_t i = 0; i < 2000; ++i) {
        ASSERT_TRUE(server.give(headers(stream_number(i), get())));
        ASSERT_TRUE(server.codec->send_head(stream_number(i), reply_head(200), false));
        ASSERT_TRUE(server.give(reset_frame(stream_number(i), NGHTTP2_CANCEL)));
        take_pending(*server.codec);
    }
}

TEST(H2Flood, ProvokedResets) {
    // D02: each request makes us reset it.
    const std::function<std::string(uint32_t)> ways[] = {
        [](uint32_t i) { return headers(stream_number(i), get(), 0) + window_update(stream_number(i), 0x7fffffff); },
        [](uint32_t i) { return headers(stream_number(i), get({{"A", "b"}})); },
        [](uint32_t i) {
            return headers(stream_number(i), get({{"content-length", "5"}}), 0) +
                   data(stream_number(i), "x", end_stream);
        },
    };
    for (const auto& way : ways) {
        Server server;
        EXPECT_EQ(server.flood(way), 500U);
        EXPECT_TRUE(server.calmed());
    }
}

TEST(H2Flood, StreamsAboveTheLimit) {
    H2Settings settings;
    settings.streams_max = 1;
    Server server(settings);
    EXPECT_EQ(server.flood([](uint32_t i) { return headers(stream_number(i), get(), 0); }), 501U) << "refusals count";
    EXPECT_TRUE(server.calmed());
    EXPECT_EQ(server.events.heads.size(), 1U);
}

TEST(H2Flood, StreamsBeforeTheClientKnowsTheLimit) {
    const std::unique_ptr<Codec> codec = make_h2_server_codec({});
    Recorder events;
    std::string all = NGHTTP2_CLIENT_MAGIC + settings_frame({});
    for (uint32_t i = 0; i < 1000; ++i)
        all += headers(stream_number(i), get(), 0);
    EXPECT_TRUE(codec->receive(Slice::copy_of(all), events));
    EXPECT_EQ(events.heads.size(), 100U);
}

TEST(H2Flood, Continuation) {
    // D04, and those with a field each; also of a block that belongs to nothing any more.
    for (const std::string& payload : {""s, literals({{"a", ""}})}) {
        Server server;
        ASSERT_TRUE(server.give(frame(NGHTTP2_HEADERS, 0, 1, literals(get()))));
        EXPECT_EQ(server.flood([&](uint32_t) { return frame(NGHTTP2_CONTINUATION, 0, 1, payload); }), 8U);
        EXPECT_STREQ(server.error.during, "continuation flood");
        EXPECT_TRUE(server.calmed());
    }
    Server server;
    ASSERT_TRUE(server.give(headers(1, get({{"te", "gzip"}}), 0))); // reset by us
    ASSERT_TRUE(server.give(frame(NGHTTP2_HEADERS, 0, 1, "")));
    EXPECT_LE(server.flood([](uint32_t) { return frame(NGHTTP2_CONTINUATION, 0, 1); }), 80U);
    EXPECT_TRUE(server.calmed());
}

TEST(H2Flood, UnreadAcknowledgements) {
    // D05
    for (const std::string& asking : {settings_frame({}), ping()}) {
        Server server;
        const size_t taken = server.flood([&](uint32_t) { return asking; }, false);
        EXPECT_EQ(taken, 1000U);
        EXPECT_STREQ(server.error.during, "control frame flood");
        EXPECT_TRUE(server.calmed());
        Server reading;
        EXPECT_EQ(reading.flood([&](uint32_t) { return asking; }, true, 5000), 5000U);
        std::string all;
        for (int i = 0; i < 1001; ++i)
            all += asking;
        Server at_once;
        EXPECT_FALSE(at_once.give(all));
    }
}

TEST(H2Flood, UnreadResets) {
    // D07: resets that answer nothing, and our own that nobody reads.
    Server server;
    ASSERT_TRUE(server.give(headers(1, get(), 0) + reset_frame(1, NGHTTP2_CANCEL)));
    EXPECT_EQ(server.flood([](uint32_t) { return reset_frame(1, NGHTTP2_CANCEL); }), 200U);
    EXPECT_STREQ(server.error.during, "idle frame flood");
    EXPECT_TRUE(server.calmed());
}

TEST(H2Flood, EmptyData) {
    // D08, also of nothing but padding.
    for (const std::string& empty : {data(1, ""), data(1, "\x02\0\0"s, padded)}) {
        Server server;
        ASSERT_TRUE(server.give(headers(1, get({}, "POST"), 0)));
        EXPECT_EQ(server.flood([&](uint32_t) { return empty; }), 1U);
        EXPECT_STREQ(server.error.during, "empty data flood");
        EXPECT_TRUE(server.calmed());
    }
}

TEST(H2Flood, WindowUpdates) {
    // D10
    Server server;
    ASSERT_TRUE(server.give(headers(1, get(), 0)));
    EXPECT_EQ(server.flood([](uint32_t i) { return window_update(i % 2, 1); }), 7U);
    EXPECT_STREQ(server.error.during, "window update flood");
    EXPECT_TRUE(server.calmed());
}

TEST(H2Flood, Priority) {
    Server server;
    EXPECT_EQ(server.flood([](uint32_t i) { return frame(NGHTTP2_PRIORITY, 0, stream_number(i), "\0\0\0\0\x10"s); }),
              100U);
    EXPECT_STREQ(server.error.during, "idle frame flood");
    EXPECT_TRUE(server.calmed());
}

TEST(H2Flood, SettingsEntries) {
    Server server;
    EXPECT_TRUE(server.give(settings_frame(std::vector<Setting>(32, {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384}))));
    EXPECT_FALSE(server.give(settings_frame(std::vector<Setting>(33, {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384}))));
    EXPECT_STREQ(server.error.during, "ENHANCE_YOUR_CALM");
}

TEST(H2Flood, TableSizeUpdates) {
    // D17: many within what is allowed cost nothing.
    const std::string updates(5000, '\x20');
    EXPECT_EQ(h2_serve({frame(NGHTTP2_HEADERS, end_headers | end_stream, 1, updates + literals(get()))}, {}),
              "[1] GET / a .");
}

TEST(H2Flood, RepliesThatNobodyReads) {
    // Heads do not obey flow control: the codec takes no more requests until they are written.
    H2Settings settings;
    settings.backlog_bytes_max = 10000;
    Server server(settings);
    bool taken = true;
    for (uint32_t i = 0; i < 10000 && taken; ++i) {
        const Result<size_t> used =
            server.codec->receive(Slice::copy_of(headers(stream_number(i), get())), server.events);
        ASSERT_TRUE(used);
        taken = *used > 0;
        if (taken)
            ASSERT_TRUE(server.codec->send_head(stream_number(i), reply_head(200), true));
    }
    EXPECT_FALSE(taken);
    const std::string backlog = take_pending(*server.codec);
    EXPECT_LE(backlog.size(), settings.backlog_bytes_max + 100);
    EXPECT_TRUE(server.give(headers(stream_number(20000), get()))) << "written: it goes on";
}

} // namespace
} // namespace weft::l7::test
