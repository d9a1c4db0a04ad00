// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/input.hpp"
#include "tests/unit/http/h1_relay.hpp"

/// Requests, pipelined too, against the HTTP/1 server codec; what it accepts, the client codec forwards as one request.
namespace weft::l7::fuzz {
namespace {

H1Settings settings(const Input& input) {
    H1Settings chosen{.accept_http_10 = input.option(0)};
    if (input.option(1)) {
        chosen.head_bytes_max = 256;
        chosen.headers_max = 4;
        chosen.target_bytes_max = 32;
        chosen.trailer_bytes_max = 48;
        chosen.chunk_extension_bytes_max = 16;
    }
    return chosen;
}

} // namespace
} // namespace weft::l7::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft::l7;
    const fuzz::Input input(data, size);
    (void)fuzz::same_at_every_cut(input, input.bytes(), [&](const test::Pieces& pieces) {
        std::string written;
        std::string trace = test::serve(pieces, fuzz::settings(input), &written);
        return std::move(trace) + "\n-> " + written;
    });
    test::Received message;
    test::receive_request(input.bytes(), message);
    if (message.complete && message.events.heads.back().headers.size() <= fuzz::forwarded_fields_max) {
        const std::string fault = test::check_request(message);
        fuzz::require(fault.empty(), "what is accepted is forwarded as one request", fault);
    }
    return 0;
}
