// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "l7engine/http/h1_codec.hpp"

namespace weft::l7::test {

/// Writes events as text. Adjacent data of a stream is one entry, so that the trace does not depend on how bytes came.
///   [1] POST /p host {name: value} cl=5 expect upgrade=x .     (a dot: last)
///   [1] 'hello' .
///   [1] trailers {name: value}
///   [1] reset malformed 1 (content-length) retryable     (code, detail, during)
class Recorder final : public Events {
public:
    void on_head(StreamId stream, Head&& head, bool last) override;
    void on_data(StreamId stream, Slice&& data, bool last) override;
    void on_trailers(StreamId stream, Trailers&& trailers) override;
    void on_reset(StreamId stream, Error error) override;
    void on_goaway(StreamId last) override;

    void note(const std::string& text);
    [[nodiscard]] std::string trace() const;

    /// Streams whose last event came, in order; heads and bodies as received.
    std::vector<StreamId> ended;
    std::vector<Head> heads;
    std::vector<std::string> bodies;
    std::vector<Trailers> trailers_seen;
    std::function<void(StreamId)> when_head; ///< called from inside the event

private:
    std::vector<std::string> entries_;
    bool data_open_ = false;
};

[[nodiscard]] std::string describe(const Headers& headers);
/// pending() as text; marks it as sent.
std::string take_pending(Codec& codec);
[[nodiscard]] Head reply_head(uint16_t status);
[[nodiscard]] Head request_head(std::string_view method, std::string_view path);

using Pieces = std::vector<std::string_view>;
/// The ways to cut an input: whole, byte by byte, and in two at each place (or at `splits_max` places if it is long).
[[nodiscard]] std::vector<Pieces> ways_to_cut(std::string_view input, size_t splits_max = 400);

/// Feeds a fresh server codec, answers each complete request with an empty 200, returns the trace: events, then
/// "!status" for an error, "closed" if finished. `written` gets the replies.
[[nodiscard]] std::string serve(const Pieces& input, const H1Settings& settings = {}, std::string* written = nullptr);
/// The trace of `input`, the same for every way to cut it (else a text that says which differs).
[[nodiscard]] std::string serve_all_ways(std::string_view input, const H1Settings& settings = {});

/// Opens a stream on a fresh client codec, sends a whole request, feeds `input` (then the FIN if `eof`).
[[nodiscard]] std::string answer(const Pieces& input, std::string_view method, bool eof);
[[nodiscard]] std::string answer_all_ways(std::string_view input, std::string_view method = "GET", bool eof = false);

} // namespace weft::l7::test
