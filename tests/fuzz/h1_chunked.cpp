// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>

#include "tests/fuzz/input.hpp"
#include "tests/unit/http/h1_relay.hpp"

/// Chunked bodies, as a request's and as a reply's, against a reader that is written for nothing but being right.
namespace weft::l7::fuzz {
namespace {

using namespace std::string_view_literals;

/// RFC 9112 7.1 word for word, except that it does not look into extensions and trailers: it accepts all that the
/// codec accepts, and more. nullopt: not a whole body.
class SlowReader {
public:
    explicit SlowReader(std::string_view text) : text_(text) {}

    std::optional<std::string> body() {
        std::string body;
        while (true) {
            const std::optional<std::string_view> line = take_line();
            const std::optional<size_t> size = line ? chunk_size(*line) : std::nullopt;
            if (!size)
                return std::nullopt;
            if (*size == 0)
                return take_trailers() ? std::optional(body) : std::nullopt;
            if (*size > text_.size() || !text_.substr(*size).starts_with("\r\n"))
                return std::nullopt;
            body += text_.substr(0, *size);
            text_.remove_prefix(*size + 2);
        }
    }
    /// False: there were extensions or trailers, which this reader accepts unread.
    [[nodiscard]] bool judged() const { return judged_; }

private:
    std::optional<std::string_view> take_line() {
        const size_t end = text_.find("\r\n");
        if (end == std::string_view::npos)
            return std::nullopt;
        const std::string_view line = text_.substr(0, end);
        text_.remove_prefix(end + 2);
        return line;
    }
    std::optional<size_t> chunk_size(std::string_view line) {
        const size_t digits = std::min(line.find_first_not_of("0123456789abcdefABCDEF"), line.size());
        if (digits == 0 || digits > 16 || (digits < line.size() && line.find_first_of(";\t "sv) != digits))
            return std::nullopt;
        judged_ = judged_ && digits == line.size();
        return std::stoull(std::string(line.substr(0, digits)), nullptr, 16);
    }
    bool take_trailers() {
        while (const std::optional<std::string_view> line = take_line()) {
            if (line->empty())
                return true;
            judged_ = false;
        }
        return false;
    }

    std::string_view text_;
    bool judged_ = true;
};

void compare(const test::Received& received, std::string_view chunks) {
    SlowReader reader(chunks);
    const std::optional<std::string> body = reader.body();
    if (received.complete)
        require(body == received.events.bodies[0], "the body is what RFC 9112 7.1 says", received.events.trace());
    else
        require(!body || !reader.judged(), "a well-formed body is accepted", body.value_or(""));
}

} // namespace
} // namespace weft::l7::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft::l7;
    const fuzz::Input input(data, size);
    const std::string request =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(input.bytes());
    const std::string reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(input.bytes());
    (void)fuzz::same_at_every_cut(input, request, [](const test::Pieces& pieces) { return test::serve(pieces); });
    (void)fuzz::same_at_every_cut(input, reply,
                                  [](const test::Pieces& pieces) { return test::answer(pieces, "GET", false); });
    test::Received at_server, at_client;
    test::receive_request(request, at_server);
    fuzz::compare(at_server, input.bytes());
    test::receive_reply(reply, "GET", false, at_client);
    fuzz::compare(at_client, input.bytes());
    const std::string fault = at_server.complete ? test::check_request(at_server) : "";
    fuzz::require(fault.empty(), "what is accepted is forwarded as one request", fault);
    return 0;
}
