// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "tests/unit/http/trace.hpp"

/// The re-serialisation oracle: what one codec accepted, the other writes as exactly one message that means the same to
/// the next reader.
namespace weft::l7::test {

/// A message as its receiver saw it. Only for inputs of one message.
struct Received {
    Recorder events;
    bool complete = false;
    bool closed = false;

    [[nodiscard]] const Trailers* trailers() const {
        return events.trailers_seen.empty() ? nullptr : &events.trailers_seen[0];
    }
    /// Hop-by-hop matters aside, and trailers where HTTP/1.1 has no place for them: beside a Content-Length, or in a
    /// reply without a body. There they are lost (RFC 9110 6.5.1).
    [[nodiscard]] std::string meaning() const;
};

void receive_request(std::string_view text, Received& out);
void receive_reply(std::string_view text, std::string_view method, bool eof, Received& out);

/// "" if the message, complete at its receiver, keeps its meaning when it is forwarded; else what went wrong.
[[nodiscard]] std::string check_request(const Received& message);
[[nodiscard]] std::string check_reply(const Received& message, std::string_view method);

} // namespace weft::l7::test
