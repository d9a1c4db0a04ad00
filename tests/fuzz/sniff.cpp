// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/sniff.hpp"

#include "l7engine/tls/client_hello.hpp"
#include "tests/fuzz/input.hpp"

/// What the first bytes of a connection are taken for never changes once it is said.
namespace weft::l7::fuzz {
namespace {

/// With that option, a byte of 0x7f repeats the one before it: lines as long as the sniffer's limit.
std::string stretched(std::string_view bytes) {
    constexpr size_t repeats = 2048, stretches_max = 8;
    std::string text;
    size_t stretches = 0;
    for (const char c : bytes) {
        if (c == 0x7f && !text.empty() && stretches++ < stretches_max)
            text.append(repeats, text.back());
        else
            text += c;
    }
    return text;
}

} // namespace
} // namespace weft::l7::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft;
    using namespace weft::l7;
    const fuzz::Input input(data, size);
    const std::string text = input.option(0) ? fuzz::stretched(input.bytes()) : std::string(input.bytes());
    const size_t step = text.size() / 256 + 1;
    Sniffed said = Sniffed::more;
    for (size_t length = 0; length < text.size() + step; length += step) {
        const Sniffed now = sniff(as_bytes(std::string_view(text).substr(0, length)));
        fuzz::require(said == Sniffed::more || now == said, "an answer does not change with more bytes",
                      "at " + std::to_string(length) + " of\n" + text);
        said = now;
    }
    fuzz::require(said != Sniffed::more || text.size() < sniff_bytes_max + 8, "an answer comes in time", text);
    const bool hello = said != Sniffed::tls && tls::read_client_hello(as_bytes(text)).value_or(std::nullopt);
    fuzz::require(!hello, "a client hello is taken for TLS", text);
    return 0;
}
