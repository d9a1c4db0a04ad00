// SPDX-License-Identifier: Apache-2.0
// Our reader of heads against another one, llhttp: whatever we take, it must take and read the same.
#include <gtest/gtest.h>
#include <llhttp.h>

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "l7engine/http/h1_message.hpp"
#include "l7engine/http/h1_reader.hpp"

namespace weft::l7::h1 {
namespace {

/// A head in parts, whoever read it.
struct Parts {
    std::string method, target;
    unsigned status = 0, major = 0, minor = 0;
    std::vector<std::pair<std::string, std::string>> fields;
    bool complete = false;
};

Parts& parts_of(llhttp_t* parser) {
    return *static_cast<Parts*>(parser->data);
}

std::optional<Parts> read_by_llhttp(std::string_view text, bool is_request) {
    llhttp_settings_t callbacks{};
    llhttp_settings_init(&callbacks);
    callbacks.on_method = [](llhttp_t* parser, const char* at, size_t size) {
        parts_of(parser).method.append(at, size);
        return 0;
    };
    callbacks.on_url = [](llhttp_t* parser, const char* at, size_t size) {
        parts_of(parser).target.append(at, size);
        return 0;
    };
    callbacks.on_header_field = [](llhttp_t* parser, const char* at, size_t size) {
        std::vector<std::pair<std::string, std::string>>& fields = parts_of(parser).fields;
        if (fields.empty() || !fields.back().first.ends_with(':'))
            fields.emplace_back();
        else
            fields.back().first.pop_back();
        fields.back().first.append(at, size).push_back(':'); // still open
        return 0;
    };
    callbacks.on_header_field_complete = [](llhttp_t* parser) {
        parts_of(parser).fields.back().first.pop_back();
        return 0;
    };
    callbacks.on_header_value = [](llhttp_t* parser, const char* at, size_t size) {
        parts_of(parser).fields.back().second.append(at, size);
        return 0;
    };
    callbacks.on_headers_complete = [](llhttp_t* parser) -> int {
        parts_of(parser).complete = true;
        return HPE_PAUSED;
    };
    Parts parts;
    llhttp_t parser;
    llhttp_init(&parser, is_request ? HTTP_REQUEST : HTTP_RESPONSE, &callbacks);
    parser.data = &parts;
    const llhttp_errno reason = llhttp_execute(&parser, text.data(), text.size());
    if (reason != HPE_PAUSED || !parts.complete || llhttp_get_error_pos(&parser) != text.data() + text.size())
        return std::nullopt;
    parts.major = parser.http_major;
    parts.minor = parser.http_minor;
    parts.status = parser.status_code;
    for (auto& [name, value] : parts.fields)
        value = std::string(trim(value));
    return parts;
}

/// The lines are the scanner's business: what it refuses never comes to parse_head().
bool is_block_of_lines(std::string_view text) {
    LineScanner scanner;
    scanner.start(LineScanner::Until::empty_line, false);
    return scanner.scan(text) == LineScanner::Found::complete && scanner.end() == text.size();
}

/// What came into the headers, and how often each special field came.
void expect_same(const RawHead& ours, const Parts& theirs, const std::string& text) {
    EXPECT_EQ(ours.method, theirs.method) << text;
    EXPECT_EQ(ours.target, theirs.target) << text;
    EXPECT_EQ(ours.status, theirs.status) << text;
    EXPECT_EQ(ours.major, theirs.major) << text;
    EXPECT_EQ(ours.minor, theirs.minor) << text;
    ASSERT_EQ(ours.field_count, theirs.fields.size()) << text;
    size_t plain = 0;
    unsigned hosts = 0;
    unsigned lengths = 0;
    for (const auto& [name, value] : theirs.fields) {
        const Known known = known_field(name);
        hosts += known == Known::host ? 1 : 0;
        lengths += known == Known::content_length ? 1 : 0;
        if (known != Known::other)
            continue;
        ASSERT_LT(plain, ours.headers.size()) << text;
        EXPECT_EQ(ours.headers.name(plain), name) << text;
        EXPECT_EQ(ours.headers.value(plain), value) << text;
        ++plain;
    }
    EXPECT_EQ(plain, ours.headers.size()) << text;
    EXPECT_EQ(hosts, ours.host_count) << text;
    EXPECT_EQ(lengths, ours.content_length_count) << text;
}

struct Tally {
    size_t taken = 0;
    size_t refused = 0;
};

void compare(const std::string& text, bool is_request, Tally& tally) {
    if (!is_block_of_lines(text))
        return;
    const H1Settings settings;
    RawHead ours;
    Message message;
    bool taken = parse_head(text, is_request, settings, ours).has_value();
    if (taken) {
        RawHead again; // interpret_*() takes the headers out
        ASSERT_TRUE(parse_head(text, is_request, settings, again));
        taken = is_request ? interpret_request(again, settings, message).has_value()
                           : interpret_response(again, false, true, message).has_value();
    }
    ++(taken ? tally.taken : tally.refused);
    if (!taken)
        return;
    const std::optional<Parts> theirs = read_by_llhttp(text, is_request);
    ASSERT_TRUE(theirs.has_value()) << "only we take it: " << text;
    expect_same(ours, *theirs, text);
}

const std::vector<std::string> requests = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /a/b?c=d HTTP/1.1\r\nhost: a.b:80\r\ncontent-length: 12\r\nX-A:  b c \t\r\n\r\n",
    "PUT http://a.b/c HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\r\n",
    "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nEmpty:\r\n\r\n",
    "DELETE /%7e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
};
const std::vector<std::string> responses = {
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nServer: x\r\n\r\n",
    "HTTP/1.1 404\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.0 302 Moved away \r\nLocation:/a\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "HTTP/1.1 103 \r\nLink: </a>\r\n\r\n",
};

TEST(H1Parse, whatever_byte_stands_anywhere_llhttp_takes_and_reads_what_we_take) {
    Tally tally;
    for (const bool is_request : {true, false}) {
        for (const std::string& head : is_request ? requests : responses) {
            compare(head, is_request, tally);
            for (size_t at = 0; at < head.size(); ++at) {
                std::string changed = head;
                for (unsigned byte = 0; byte < 256; ++byte) {
                    changed[at] = static_cast<char>(byte);
                    ASSERT_NO_FATAL_FAILURE(compare(changed, is_request, tally));
                    std::string longer = head;
                    longer.insert(at, 1, static_cast<char>(byte));
                    ASSERT_NO_FATAL_FAILURE(compare(longer, is_request, tally));
                }
                std::string shorter = head;
                shorter.erase(at, 1);
                ASSERT_NO_FATAL_FAILURE(compare(shorter, is_request, tally));
            }
        }
    }
    EXPECT_GT(tally.taken, 50'000U);
    EXPECT_GT(tally.refused, 50'000U);
}

TEST(H1Parse, so_it_does_for_heads_put_together_from_parts_of_others) {
    std::mt19937 random(17);
    Tally tally;
    for (int round = 0; round < 30'000; ++round) {
        const bool is_request = round % 2 == 0;
        const std::vector<std::string>& heads = is_request ? requests : responses;
        std::string text;
        for (int part = 0; part < 3; ++part) {
            const std::string& from = heads[random() % heads.size()];
            const size_t line = part == 0 ? 0 : from.find("\r\n", random() % (from.size() - 3)) + 2;
            const size_t end = part == 2 ? from.size() : from.find("\r\n", line);
            if (line < from.size() - 2 && end != std::string::npos)
                text += from.substr(line, end - line) + (part == 2 ? "" : "\r\n");
        }
        if (!text.ends_with("\r\n\r\n"))
            text += text.ends_with("\r\n") ? "\r\n" : "\r\n\r\n";
        if (random() % 4 == 0)
            text[random() % text.size()] = static_cast<char>(random() % 256);
        ASSERT_NO_FATAL_FAILURE(compare(text, is_request, tally));
    }
    EXPECT_GT(tally.taken, 3'000U);
    EXPECT_GT(tally.refused, 3'000U);
}

} // namespace
} // namespace weft::l7::h1
