// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/http/h1_relay.hpp"

/// Server codec to client codec and back: what is forwarded is one message that means the same to the next reader.
/// Then the same for random bytes near to valid messages.
namespace weft::l7::test {
namespace {

using namespace std::string_literals;

const std::vector<std::string> requests = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://b:8080/x?y=%2f HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nCookie: a\r\nCookie: b\r\nTE: trailers\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 11\r\nX-A:  b \r\n\r\nhello world",
    "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n6\r\n world\r\n0\r\nA: "
    "b\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close, X-B\r\nX-B: "
    "1\r\n\r\nhi",
    "HEAD /h HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "DELETE /d HTTP/1.1\r\nHost: a\r\nEmpty:\r\nContent-Length: 1\r\n\r\n0",
};

const std::vector<std::string> replies = {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nGrpc-Status: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 7\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nA: b\r\n\r\nuntil the end",
};

TEST(H1Relay, RequestsKeepTheirMeaning) {
    for (const std::string& text : requests) {
        Received message;
        receive_request(text, message);
        ASSERT_TRUE(message.complete) << text;
        EXPECT_EQ(check_request(message), "") << text;
    }
}

TEST(H1Relay, RepliesKeepTheirMeaning) {
    for (const std::string& text : replies) {
        Received message;
        receive_reply(text, "GET", true, message);
        ASSERT_TRUE(message.complete) << text;
        EXPECT_EQ(check_reply(message, "GET"), "") << text;
    }
    Received to_head;
    receive_reply("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", false, to_head);
    ASSERT_TRUE(to_head.complete);
    EXPECT_EQ(check_reply(to_head, "HEAD"), "");
}

/// Bytes and words that parsers disagree about.
const std::vector<std::string> words = {
    "\r\n",
    "\n",
    "\r",
    "\0"s,
    " ",
    "\t",
    "\v",
    ":",
    ",",
    ";",
    "\"",
    "0",
    "5",
    "a",
    "\x7f",
    "\x80",
    "\xa0",
    "\xff",
    "/",
    "?",
    "#",
    "%00",
    "0\r\n\r\n",
    "\r\n\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "chunked",
    "Connection: close\r\n",
    "Connection: Content-Length\r\n",
    "Host: b\r\n",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.0",
    "HTTP/1.1 200 OK\r\n\r\n",
    "Upgrade: x\r\n",
    "Expect: 100-continue\r\n",
    "ffffffffffffffff",
    "TE: trailers\r\n",
    "CONNECT",
};

class Mutator {
public:
    explicit Mutator(uint64_t seed) : random_(seed) {}

    std::string next(const std::vector<std::string>& seeds) {
        std::string text = seeds[below(seeds.size())];
        if (below(8) == 0)
            text += seeds[below(seeds.size())];
        for (size_t changes = below(4); changes > 0; --changes)
            change(text);
        return text;
    }
    size_t below(size_t limit) { return static_cast<size_t>(random_() % limit); }

private:
    void change(std::string& text) {
        const size_t at = below(text.size() + 1);
        const size_t size = below(std::min<size_t>(text.size() - at + 1, 12));
        switch (below(5)) {
        case 0: text.insert(at, words[below(words.size())]); break;
        case 1: text.replace(at, size, words[below(words.size())]); break;
        case 2: text.erase(at, size); break;
        case 3: text.insert(at, text.substr(at, size)); break;
        default:
            if (at < text.size())
                text[at] = static_cast<char>(below(256));
        }
    }

    std::mt19937_64 random_;
};

constexpr uint64_t first_seed = 20240607;
constexpr uint64_t rounds = 6000;

/// Whole, bytes, and one random cut.
std::array<Pieces, 3> cuts(std::string_view text, Mutator& mutator) {
    Pieces bytes;
    for (size_t i = 0; i < text.size(); ++i)
        bytes.push_back(text.substr(i, 1));
    const size_t cut = mutator.below(text.size() + 1);
    return {Pieces{text}, bytes, Pieces{text.substr(0, cut), text.substr(cut)}};
}

TEST(H1Relay, RandomRequests) {
    size_t accepted = 0;
    for (uint64_t seed = first_seed; seed < first_seed + rounds; ++seed) {
        Mutator mutator(seed);
        const std::string text = mutator.next(requests);
        const auto [whole, bytes, two] = cuts(text, mutator);
        const std::string trace = serve(whole);
        ASSERT_EQ(serve(bytes), trace) << "seed " << seed << "\n" << text;
        ASSERT_EQ(serve(two), trace) << "seed " << seed << "\n" << text;
        Received message;
        receive_request(text, message);
        if (!message.complete)
            continue;
        ++accepted;
        ASSERT_EQ(check_request(message), "") << "seed " << seed << "\n" << text;
    }
    EXPECT_GT(accepted, rounds / 10) << "the generator is too wild to test what is accepted";
    EXPECT_LT(accepted, rounds * 9 / 10) << "the generator is too tame";
}

TEST(H1Relay, RandomReplies) {
    size_t accepted = 0;
    for (uint64_t seed = first_seed; seed < first_seed + rounds; ++seed) {
        Mutator mutator(seed);
        const std::string text = mutator.next(replies);
        const auto [whole, bytes, two] = cuts(text, mutator);
        const std::string trace = answer(whole, "GET", true);
        ASSERT_EQ(answer(bytes, "GET", true), trace) << "seed " << seed << "\n" << text;
        ASSERT_EQ(answer(two, "GET", true), trace) << "seed " << seed << "\n" << text;
        Received message;
        receive_reply(text, "GET", true, message);
        if (!message.complete)
            continue;
        ++accepted;
        ASSERT_EQ(check_reply(message, "GET"), "") << "seed " << seed << "\n" << text;
    }
    EXPECT_GT(accepted, rounds / 10);
    EXPECT_LT(accepted, rounds * 9 / 10);
}

} // namespace
} // namespace weft::l7::test
