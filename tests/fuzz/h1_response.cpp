// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/input.hpp"
#include "tests/unit/http/h1_relay.hpp"

/// Replies against the HTTP/1 client codec; what it accepts, the server codec forwards as one reply.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft::l7;
    const fuzz::Input input(data, size);
    const bool eof = input.option(0);
    const char* const method = input.option(1) ? "HEAD" : "GET";
    (void)fuzz::same_at_every_cut(input, input.bytes(),
                                  [&](const test::Pieces& pieces) { return test::answer(pieces, method, eof); });
    test::Received message;
    test::receive_reply(input.bytes(), method, eof, message);
    if (message.complete && message.events.heads.back().headers.size() <= fuzz::forwarded_fields_max) {
        const std::string fault = test::check_reply(message, method);
        fuzz::require(fault.empty(), "what is accepted is forwarded as one reply", fault);
    }
    return 0;
}
