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
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
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

/// Lines that are passed on as they are leave in one copy: nothing that lies between them may leave with it.
TEST(H1Relay, PassedOnLinesTakeNothingAlong) {
    const struct {
        const char* name;
        std::string_view fields; ///< behind "Host: a"
        void (*change)(Headers&);
        std::string_view sent;
    } cases[] = {
        {"as they came", "A: 1\r\nB: 2\r\n", nullptr, "A: 1\r\nB: 2\r\n"},
        {"a connection field between", "A: 1\r\nKeep-Alive: x\r\nB: 2\r\n", nullptr, "A: 1\r\nB: 2\r\n"},
        {"a nominated one between", "A: 1\r\nX: y\r\nB: 2\r\nConnection: X\r\n", nullptr, "A: 1\r\nB: 2\r\n"},
        {"nominated at the ends", "X: y\r\nA: 1\r\nX: z\r\nConnection: X\r\n", nullptr, "A: 1\r\n"},
        {"other blanks", "A:1\r\nB:  2\r\nC: 3 \r\nD:\t4\r\nE: \r\nF:\r\nG: 7\r\n", nullptr,
         "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: \r\nF: \r\nG: 7\r\n"},
        {"one removed", "A: 1\r\nB: 2\r\nC: 3\r\n", [](Headers& headers) { headers.remove("b"); }, "A: 1\r\nC: 3\r\n"},
        {"one set", "A: 1\r\nB: 2\r\nC: 3\r\n", [](Headers& headers) { headers.set("b", "new"); },
         "A: 1\r\nb: new\r\nC: 3\r\n"},
        {"set to framing", "A: 1\r\nB: 2\r\n", [](Headers& headers) { headers.set("Content-Length", "5"); },
         "A: 1\r\nB: 2\r\n"},
        {"added", "A: 1\r\n",
         [](Headers& headers) {
             headers.add("b", "2");
             headers.add_checked("c", "3");
             headers.set_checked("a", std::string(2000, 'x'));
             headers.set("a", "4");
         },
         "a: 4\r\nb: 2\r\nc: 3\r\n"},
    };
    for (const auto& c : cases) {
        const std::unique_ptr<Codec> server = make_h1_server_codec({});
        Recorder seen;
        const std::string request = "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(c.fields) + "\r\n";
        ASSERT_TRUE(server->receive(Slice::copy_of(request), seen)) << c.name;
        Head head = std::move(seen.heads.at(0));
        if (c.change != nullptr)
            c.change(head.headers);
        const std::unique_ptr<Codec> client = make_h1_client_codec({});
        ASSERT_TRUE(client->send_head(client->open().value(), head, true)) << c.name;
        EXPECT_EQ(take_pending(*client), "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(c.sent) + "\r\n") << c.name;
    }
    const std::unique_ptr<Codec> client = make_h1_client_codec({});
    Head head = request_head("GET", "/");
    head.headers.add_checked("A", "1");
    head.headers.set("A", "1\r\nX: y"); // no longer checked
    EXPECT_FALSE(client->send_head(client->open().value(), head, true));
    EXPECT_EQ(take_pending(*client), "");
}

} // namespace
} // namespace weft::l7::test
