// SPDX-License-Identifier: Apache-2.0
#include "l7engine/tls/client_hello.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace weft::l7::tls::test {
namespace {

using namespace std::string_literals;

std::string number(size_t value, size_t bytes) {
    std::string text;
    for (size_t shift = bytes; shift > 0; --shift)
        text += static_cast<char>(value >> (8 * (shift - 1)) & 0xff);
    return text;
}
std::string vector(const std::string& content, size_t length_bytes) {
    return number(content.size(), length_bytes) + content;
}
std::string extension(size_t type, const std::string& content) {
    return number(type, 2) + vector(content, 2);
}
std::string server_name(const std::string& name, char type = 0) {
    return extension(0, vector(type + vector(name, 2), 2));
}
/// The handshake message.
std::string hello(const std::string& extensions, const std::string& ciphers = "\x13\x01"s,
                  const std::string& session = std::string(32, 's')) {
    const std::string body = "\x03\x03"s + std::string(32, 'r') + vector(session, 1) + vector(ciphers, 2) +
                             vector("\x00"s, 1) + vector(extensions, 2);
    return "\x01"s + vector(body, 3);
}
/// In records of at most that many bytes.
std::string records(const std::string& message, size_t piece = 16 * 1024) {
    std::string text;
    for (size_t begin = 0; begin < message.size(); begin += piece)
        text += "\x16\x03\x01"s + vector(message.substr(begin, piece), 2);
    return text;
}

std::string said(const std::string& bytes) {
    const auto read = read_client_hello(as_bytes(bytes));
    if (!read)
        return read.error().code == Code::too_large ? "too large" : "malformed";
    if (!*read)
        return "more";
    return (*read)->server_name;
}

struct Case {
    const char* name;
    std::string bytes;
    const char* expected;
};

const Case cases[] = {
    {"a name between others",
     records(hello(extension(16, "\0\3\2h2"s) + server_name("a.example") + extension(10, "xx"))), "a.example"},
    {"no extensions of interest", records(hello(extension(10, "xx"))), ""},
    {"names are lower-case, without the root's dot", records(hello(server_name("A.Example."))), "a.example"},
    {"bytes behind the hello are not looked at", records(hello(server_name("a"))) + "\xff\xff"s, "a"},
    {"in short records", records(hello(server_name("a.example")), 8), "a.example"},
    {"in more records than anybody needs", records(hello(server_name("a.example")), 1), "too large"},
    {"protocols that nobody reads, however they look",
     records(hello(server_name("a") + extension(16, "x") + extension(16, ""))), "a"},
    {"a name of a kind that nobody knows", records(hello(server_name("x", 7))), ""},
    {"application data", "\x17\x03\x03\x00\x05hello"s, "malformed"},
    {"another handshake message", records("\x02"s + vector("x", 3)), "malformed"},
    {"an empty record", "\x16\x03\x01\x00\x00"s, "malformed"},
    {"a record longer than any may be", "\x16\x03\x01\x40\x01"s, "malformed"},
    {"a message longer than the limit", "\x16\x03\x01\x10\x00\x01\xff\xff\xff"s, "too large"},
    {"a name that is an address in brackets", records(hello(server_name("[::1]"))), "malformed"},
    {"a name with a NUL", records(hello(server_name("a\0b"s))), "malformed"},
    {"an empty name", records(hello(server_name(""))), "malformed"},
    {"a name with empty labels", records(hello(server_name("a..b"))), "malformed"},
    {"a name with two dots at its end", records(hello(server_name("a.."))), "malformed"},
    {"two names", records(hello(extension(0, vector("\0"s + vector("a", 2) + "\0"s + vector("b", 2), 2)))),
     "malformed"},
    {"the extension twice", records(hello(server_name("a") + server_name("b"))), "malformed"},
    {"an odd list of ciphers", records(hello("", "\x13\x01\x02"s)), "malformed"},
    {"a session id too long", records(hello("", "\x13\x01"s, std::string(33, 's'))), "malformed"},
    {"a list that claims more than the extension has", records(hello(extension(0, "\x00\x09\x00"s))), "malformed"},
    {"junk behind a list", records(hello(extension(0, vector("\0"s + vector("a", 2), 2) + "x"))), "malformed"},
};

TEST(ClientHello, Table) {
    for (const Case& c : cases)
        EXPECT_EQ(said(c.bytes), c.expected) << c.name;
}

TEST(ClientHello, EveryPrefixAsksForMore) {
    for (const Case& c : cases) {
        if (c.expected == "malformed"s || c.expected == "too large"s)
            continue;
        bool whole = false;
        for (size_t size = 0; size <= c.bytes.size(); ++size) {
            const std::string now = said(c.bytes.substr(0, size));
            whole = whole || now != "more";
            EXPECT_EQ(now, whole ? c.expected : "more") << c.name << " at " << size;
        }
        EXPECT_TRUE(whole) << c.name;
    }
}

TEST(ClientHello, TruncatedAndChangedBytesNeverHarm) {
    std::mt19937 random(7);
    const std::string good = records(hello(server_name("a.example")), 40);
    for (int round = 0; round < 20000; ++round) {
        std::string bad = good;
        for (int change = 0; change < 3; ++change)
            bad[random() % bad.size()] = static_cast<char>(random());
        bad.resize(random() % (bad.size() + 1));
        const auto read = read_client_hello(as_bytes(bad));
        if (read && *read) {
            EXPECT_EQ((*read)->server_name.find_first_of("\r\n\" /"), std::string::npos);
        }
    }
}

} // namespace
} // namespace weft::l7::tls::test
