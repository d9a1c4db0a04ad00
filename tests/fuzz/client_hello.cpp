// SPDX-License-Identifier: Apache-2.0
#include "l7engine/tls/client_hello.hpp"

#include <algorithm>
#include <optional>

#include "tests/fuzz/input.hpp"

/// The first bytes of a TLS connection: an answer stays the same whatever follows, however the message lies in records.
namespace weft::l7::fuzz {
namespace {

std::string describe(const Result<std::optional<tls::ClientHello>>& read) {
    if (!read)
        return std::string("error ") + name(read.error().code);
    if (!*read)
        return "more";
    return "hello " + (*read)->server_name;
}

/// A handshake message in records of at most that many bytes.
std::string in_records(std::string_view message, size_t bytes) {
    std::string text;
    for (size_t begin = 0; begin < message.size(); begin += bytes) {
        const std::string_view piece = message.substr(begin, bytes);
        text.append("\x16\x03\x01", 3).push_back(static_cast<char>(piece.size() >> 8));
        text.append(1, static_cast<char>(piece.size())).append(piece);
    }
    return text;
}

void check_name(const tls::ClientHello& hello) {
    const auto is_host = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    };
    require(hello.server_name.size() <= 253 && std::ranges::all_of(hello.server_name, is_host) &&
                !hello.server_name.starts_with('.') && !hello.server_name.ends_with('.'),
            "a server name is a host name without a dot at its end", hello.server_name);
}

} // namespace
} // namespace weft::l7::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft;
    using namespace weft::l7;
    const fuzz::Input input(data, size);
    const bool wrapped = input.option(0);
    const std::string text = wrapped ? fuzz::in_records(input.bytes(), 16 * 1024) : std::string(input.bytes());
    const auto whole = tls::read_client_hello(as_bytes(text));
    if (whole && *whole)
        fuzz::check_name(**whole);
    size_t begin = 0;
    for (const std::string_view piece : input.cut(text)) {
        begin += piece.size();
        const auto early = tls::read_client_hello(as_bytes(std::string_view(text).substr(0, begin)));
        if (!early || *early)
            fuzz::require(fuzz::describe(early) == fuzz::describe(whole), "more bytes do not change an answer",
                          fuzz::describe(early) + "\nthen\n" + fuzz::describe(whole));
    }
    if (wrapped) {
        const size_t least = (input.bytes().size() + tls::client_hello_records_max - 1) / tls::client_hello_records_max;
        const std::string small = fuzz::in_records(input.bytes(), std::max<size_t>(least, input.option(1) ? 1 : 17));
        const auto again = tls::read_client_hello(as_bytes(small));
        fuzz::require(fuzz::describe(again) == fuzz::describe(whole), "records do not change a message",
                      fuzz::describe(again) + "\nnot\n" + fuzz::describe(whole));
    }
    return 0;
}
