// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/base/error.hpp"
#include "l7engine/http/h1_codec.hpp"
#include "l7engine/http/h1_message.hpp"

namespace weft::l7::h1 {

/// Finds where a block of lines ends, and refuses at once what no line may hold: a lone CR or LF, any other control
/// character, a folded line. Looks at each byte once, however the bytes arrive.
class LineScanner {
public:
    enum class Until : uint8_t { empty_line, first_line };
    enum class Found : uint8_t { more, complete, bad };

    void start(Until until, bool skip_blank_lines);
    /// `text`: all bytes of the block so far, longer at each call.
    Found scan(std::string_view text);

    [[nodiscard]] size_t begin() const { return begin_; } ///< first byte after skipped lines
    [[nodiscard]] size_t end() const { return line_; }    ///< one past the block, once complete
    [[nodiscard]] bool in_first_line() const { return line_ == begin_; }

private:
    Found end_line(std::string_view text);

    size_t begin_ = 0, line_ = 0, at_ = 0;
    unsigned blank_lines_ = 0;
    Until until_ = Until::empty_line;
    bool skip_blank_lines_ = false;
};

/// The receiving half of an HTTP/1 connection: cuts the stream into heads, pieces of body and ends. Owned by a codec.
///
///   head -> fixed | until_close | chunk_line -> chunk_data -> chunk_end -> chunk_line ... -> trailers -> done -> head
class H1Reader {
public:
    enum class Event : uint8_t { more, head, data, end };
    struct Step {
        Event event = Event::more;
        size_t offset = 0, size = 0; ///< data: where in the bytes
        bool last = false;           ///< data: nothing follows
    };

    /// The settings are the codec's.
    H1Reader(const H1Settings& settings, bool requests);

    /// Reads on from bytes[offset], which it advances. After `head` the owner calls begin_body().
    [[nodiscard]] Result<Step> next(std::string_view bytes, size_t& offset);
    /// After `head`: its bytes, valid until begin_body().
    [[nodiscard]] std::string_view head_text() const { return head_text_; }
    /// After `end`.
    [[nodiscard]] Trailers&& take_trailers() { return std::move(trailers_); }
    /// Framing::none: the message is done. `not_trailers`: names that are dropped from its trailers.
    void begin_body(Framing framing, uint64_t length, std::vector<std::string> not_trailers = {});
    /// A head follows.
    void start_message();

    [[nodiscard]] bool done() const { return state_ == State::done; }
    [[nodiscard]] bool in_body() const { return state_ != State::head && state_ != State::done; }
    [[nodiscard]] bool ends_at_close() const { return state_ == State::until_close; }
    /// Nothing of the next head has come.
    [[nodiscard]] bool at_start() const { return state_ == State::head && held_.size() == scanner_.begin(); }

private:
    enum class State : uint8_t { head, fixed, until_close, chunk_line, chunk_data, chunk_end, trailers, done };
    using Block = std::optional<std::string_view>;

    void expect_block(State state, LineScanner::Until until, size_t bytes_max);
    void expect_chunk_line();
    Result<Block> gather(std::string_view bytes, size_t& offset);
    [[nodiscard]] size_t block_limit() const;
    [[nodiscard]] std::unexpected<Error> too_long() const;

    Result<Step> step(std::string_view bytes, size_t& offset);
    Result<Step> read_head(std::string_view bytes, size_t& offset);
    Step read_data(std::string_view bytes, size_t& offset);
    Result<Step> read_chunk_line(std::string_view bytes, size_t& offset);
    Result<Step> read_trailers(std::string_view bytes, size_t& offset);
    Result<void> parse_trailers(std::string_view text);
    [[nodiscard]] bool may_be_trailer(std::string_view name) const;

    const H1Settings& settings_;
    const bool requests_;
    State state_ = State::head;
    LineScanner scanner_;
    size_t block_bytes_max_ = 0;
    std::string held_; ///< a block that came in several pieces
    std::string_view head_text_;
    uint64_t left_ = 0;
    size_t extension_bytes_ = 0;            ///< of this message
    std::vector<std::string> not_trailers_; ///< of this message
    Trailers trailers_;
};

} // namespace weft::l7::h1
