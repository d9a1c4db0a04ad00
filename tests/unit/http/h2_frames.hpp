// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "l7engine/http/h2_codec.hpp"
#include "tests/unit/http/trace.hpp"

/// Raw HTTP/2 frames, made and read without our codec.
namespace weft::l7::test {

inline constexpr uint8_t end_stream = NGHTTP2_FLAG_END_STREAM;
inline constexpr uint8_t end_headers = NGHTTP2_FLAG_END_HEADERS;
inline constexpr uint8_t padded = NGHTTP2_FLAG_PADDED;
inline constexpr uint8_t ack = NGHTTP2_FLAG_ACK;

using FieldLines = std::vector<std::pair<std::string, std::string>>;

[[nodiscard]] std::string number(uint32_t value, int bytes = 4);
[[nodiscard]] std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload = {});
/// A header block of literals that touch no table.
[[nodiscard]] std::string literals(const FieldLines& fields);
/// HEADERS in one frame, END_HEADERS added.
[[nodiscard]] std::string headers(uint32_t stream, const FieldLines& fields, uint8_t flags = end_stream);
[[nodiscard]] std::string data(uint32_t stream, std::string_view bytes, uint8_t flags = 0);
[[nodiscard]] std::string reset_frame(uint32_t stream, uint32_t code);
[[nodiscard]] std::string window_update(uint32_t stream, uint32_t bytes);
[[nodiscard]] std::string goaway(uint32_t last, uint32_t code);
struct Setting {
    uint16_t id;
    uint32_t value;
};
[[nodiscard]] std::string settings_frame(const std::vector<Setting>& settings);
[[nodiscard]] std::string ping(std::string_view opaque = "12345678", uint8_t flags = 0);
/// What a client says first: magic, SETTINGS, and the acknowledgement of ours.
[[nodiscard]] std::string client_preface();
[[nodiscard]] std::string server_preface();
/// GET / of authority "a", with other fields after the pseudo-headers.
[[nodiscard]] FieldLines get(const FieldLines& more = {}, std::string_view method = "GET");

/// Reads what a codec wrote: "HEADERS 1 {:status: 200} ." "DATA 1 'x'" "RST_STREAM 1 CANCEL" "GOAWAY 1 NO_ERROR"
/// "WINDOW_UPDATE 0 +5" "PING ack" "SETTINGS ack". One per direction: it holds the compression's state.
class FrameReader {
public:
    FrameReader();
    [[nodiscard]] std::vector<std::string> read(std::string_view bytes);
    /// Of all bytes that came: how many are payload of DATA.
    uint64_t data_bytes = 0;

private:
    struct Deleter {
        void operator()(nghttp2_hd_inflater* inflater) const { nghttp2_hd_inflate_del(inflater); }
    };
    std::string describe(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload);
    std::string inflate(std::string_view block);

    std::unique_ptr<nghttp2_hd_inflater, Deleter> inflater_;
    std::string rest_;
};

/// Those frames of `bytes` that are not SETTINGS, WINDOW_UPDATE or PING, one line each.
[[nodiscard]] std::string messages(const std::string& bytes);
[[nodiscard]] std::string join(const std::vector<std::string>& lines);

/// Feeds a fresh server (after a client's preface, its own output dropped): events, then "!detail during" for an error,
/// "closed" if finished. `written` gets what it wrote. Each complete request is answered by an empty 200.
[[nodiscard]] std::string h2_serve(const Pieces& input, const H2Settings& settings, std::string* written = nullptr);
/// The trace and the frames written, " -> " between; the trace is the same for every way to cut `input`.
[[nodiscard]] std::string h2_serve_all_ways(std::string_view input, const H2Settings& settings = {});
/// The same for a client that has sent `method` / on stream 1 (bodyless), fed by a server's frames.
[[nodiscard]] std::string h2_answer_all_ways(std::string_view input, const Head& request, bool last = true);

} // namespace weft::l7::test
