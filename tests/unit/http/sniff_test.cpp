// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/sniff.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weft::l7::test {
namespace {

using namespace std::string_literals;

struct Case {
    const char* name;
    std::string bytes;
    Sniffed expected;
};

const Case cases[] = {
    {"nothing yet", "", Sniffed::more},
    {"a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", Sniffed::http1},
    {"an old version is still HTTP", "GET / HTTP/1.0\r\n\r\n", Sniffed::http1},
    {"an unknown version is HTTP's to refuse", "GET / HTTP/1.9\r\n", Sniffed::http1},
    {"a bare LF is HTTP's to refuse", "GET / HTTP/1.1\n\n", Sniffed::http1},
    {"an extension method", "M-SEARCH * HTTP/1.1\r\n", Sniffed::http1},
    {"blank lines before a request", "\r\n\r\nPOST /x HTTP/1.1\r\n", Sniffed::http1},
    {"more blank lines than a codec skips", "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", Sniffed::tcp},
    {"half a method", "GE", Sniffed::more},
    {"half a request line", "GET /index", Sniffed::more},
    {"half a version", "GET / HTTP/1.", Sniffed::more},
    {"an endless request line", "GET /" + std::string(sniff_bytes_max, 'a'), Sniffed::http1},
    {"the same, and it ends after all", "GET /" + std::string(sniff_bytes_max, 'a') + "\n", Sniffed::http1},
    {"redis, inline, upper case", "GET key\r\n", Sniffed::tcp},
    {"redis", "*1\r\n$4\r\nPING\r\n", Sniffed::tcp},
    {"memcached", "get key\r\n", Sniffed::tcp},
    {"smtp client", "EHLO example.com\r\n", Sniffed::tcp},
    {"a word without a space", "ABCDEFGHIJKLMNOPQRSTUVWXYZABC", Sniffed::tcp},
    {"binary", "\x00\x01\x02"s, Sniffed::tcp},
    {"postgres start-up", "\x00\x00\x00\x08\x04\xd2\x16\x2f"s, Sniffed::tcp},
    {"preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Sniffed::http2},
    {"preface and frames", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04"s, Sniffed::http2},
    {"half a preface", "PRI * HTTP/2.0\r\n", Sniffed::more},
    {"P may become POST or PRI", "P", Sniffed::more},
    {"no preface after all", "PRI * HTTP/2.0\r\n\r\nXX", Sniffed::http1},
    {"client hello", "\x16\x03\x01\x02\x00\x01\x00"s, Sniffed::tls},
    {"half a record head", "\x16\x03\x01"s, Sniffed::more},
    {"another handshake message", "\x16\x03\x01\x02\x00\x02"s, Sniffed::tcp},
    {"another major version", "\x16\x02"s, Sniffed::tcp},
    {"a message in several records", "\x16\x03\x01\x00\x01\x01"s, Sniffed::tls},
    {"an empty record", "\x16\x03\x01\x00\x00\x01"s, Sniffed::tcp},
    {"ssh", "SSH-2.0-OpenSSH_9.2\r\n", Sniffed::tcp},
};

TEST(Sniff, Table) {
    for (const Case& c : cases)
        EXPECT_EQ(sniff(as_bytes(c.bytes)), c.expected) << c.name;
}

/// Whatever the pieces: what was once decided stays.
TEST(Sniff, NeverContradictsItselfAsBytesCome) {
    for (const Case& c : cases) {
        Sniffed decided = Sniffed::more;
        for (size_t size = 0; size <= c.bytes.size(); ++size) {
            const Sniffed now = sniff(as_bytes(std::string_view(c.bytes).substr(0, size)));
            if (decided != Sniffed::more) {
                EXPECT_EQ(now, decided) << c.name << " at " << size;
            }
            decided = now;
        }
        EXPECT_EQ(decided, c.expected) << c.name;
    }
}

} // namespace
} // namespace weft::l7::test
