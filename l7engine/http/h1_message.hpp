// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/error.hpp"
#include "l7engine/http/h1_codec.hpp"
#include "l7engine/http/h1_rules.hpp"
#include "l7engine/http/head.hpp"

/// From the bytes of one complete head to a Head and the framing of what follows.
namespace weft::l7::h1 {

/// How the end of a body is known.
enum class Framing : uint8_t { none, fixed, chunked, until_close };

/// One head as the tokenizer sees it. The views point into the bytes that were parsed.
struct RawHead {
    std::string_view text;
    uint8_t major = 0, minor = 0;
    uint16_t status = 0;
    std::string_view method, target;
    size_t field_count = 0;
    Headers headers; ///< the fields that are neither framing nor hop-by-hop; nominated ones still in it

    std::string_view host, content_length, upgrade;
    unsigned host_count = 0, content_length_count = 0, upgrade_count = 0;
    TransferCodings codings;
    ConnectionOptions connection;
    bool te_trailers = false;
    bool expect_continue = false, expect_other = false;
};

/// `text` is a head up to and with its empty line, each line known to end in CRLF and to hold no control character.
[[nodiscard]] Result<void> parse_head(std::string_view text, bool is_request, const H1Settings& settings,
                                      RawHead& head);

struct Message {
    Head head;
    Framing framing = Framing::none;
    uint64_t length = 0;    ///< Framing::fixed
    bool keep_alive = true; ///< the sender's wish and our trust in the connection
    bool http_10 = false;
    std::vector<std::string> nominated; ///< Framing::chunked: by Connection, so no trailers either
};

/// Both take the headers out of `raw` and fill a fresh message.
[[nodiscard]] Result<void> interpret_request(RawHead& raw, const H1Settings& settings, Message& message);
/// `to_head`: the reply to a HEAD request; `upgrade_asked`: to one for a WebSocket.
[[nodiscard]] Result<void> interpret_response(RawHead& raw, bool to_head, bool upgrade_asked, Message& message);

} // namespace weft::l7::h1
