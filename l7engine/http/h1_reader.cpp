// SPDX-License-Identifier: Apache-2.0
#include "l7engine/http/h1_reader.hpp"

#include <algorithm>

namespace weft::l7::h1 {
namespace {

constexpr unsigned blank_lines_max = 4;         ///< before a request line
constexpr size_t request_line_extra_bytes = 32; ///< method, spaces, version and CRLF around the target
constexpr size_t held_bytes_kept = 1024;        ///< a larger buffer is given back between blocks
constexpr std::string_view crlf = "\r\n";

} // namespace

void LineScanner::start(Until until, bool skip_blank_lines) {
    *this = {};
    until_ = until;
    skip_blank_lines_ = skip_blank_lines;
}

LineScanner::Found LineScanner::scan(std::string_view text) {
    while (true) {
        at_ += find_control({text.data() + at_, text.size() - at_});
        if (text.size() - at_ < crlf.size()) // nothing, or a CR whose LF may come
            return at_ == text.size() || text[at_] == '\r' ? Found::more : Found::bad;
        if (text[at_] != '\r' || text[at_ + 1] != '\n')
            return Found::bad;
        if (const Found found = end_line(text); found != Found::more)
            return found;
    }
}

LineScanner::Found LineScanner::end_line(std::string_view text) {
    const std::string_view line(text.data() + line_, at_ - line_);
    const bool first = in_first_line();
    at_ = line_ = at_ + crlf.size();
    if (line.empty() && first && skip_blank_lines_) {
        begin_ = line_;
        return ++blank_lines_ > blank_lines_max ? Found::bad : Found::more;
    }
    if (line.empty())
        return Found::complete;
    if (line.front() == ' ' || line.front() == '\t')
        return Found::bad; // obs-fold, or a field that hides behind the first line
    return until_ == Until::first_line ? Found::complete : Found::more;
}

H1Reader::H1Reader(const H1Settings& settings, bool requests) : settings_(settings), requests_(requests) {
    start_message();
}

void H1Reader::start_message() {
    trailers_.clear();
    expect_block(State::head, LineScanner::Until::empty_line, settings_.head_bytes_max);
}

void H1Reader::begin_body(Framing framing, uint64_t length, std::vector<std::string> not_trailers) {
    not_trailers_ = std::move(not_trailers);
    head_text_ = {};
    left_ = length;
    extension_bytes_ = 0;
    switch (framing) {
    case Framing::none: expect_block(State::done, LineScanner::Until::empty_line, 0); return;
    case Framing::fixed: expect_block(State::fixed, LineScanner::Until::empty_line, 0); return;
    case Framing::until_close: expect_block(State::until_close, LineScanner::Until::empty_line, 0); return;
    case Framing::chunked: return expect_chunk_line();
    }
}

/// Enters a state; the lines that it gathers, if it gathers any, may be that long.
void H1Reader::expect_block(State state, LineScanner::Until until, size_t bytes_max) {
    state_ = state;
    block_bytes_max_ = bytes_max;
    scanner_.start(until, state == State::head && requests_);
    held_.clear();
    if (held_.capacity() > held_bytes_kept)
        std::string().swap(held_);
}

void H1Reader::expect_chunk_line() {
    const size_t extensions_left = settings_.chunk_extension_bytes_max - extension_bytes_;
    expect_block(State::chunk_line, LineScanner::Until::first_line,
                 chunk_size_digits_max + extensions_left + crlf.size());
}

Result<H1Reader::Step> H1Reader::next(std::string_view bytes, size_t& offset) {
    while (offset < bytes.size() && state_ != State::done) {
        Result<Step> result = step(bytes, offset);
        if (!result || result->event != Event::more)
            return result;
    }
    return Step{};
}

Result<H1Reader::Step> H1Reader::step(std::string_view bytes, size_t& offset) {
    switch (state_) {
    case State::head: return read_head(bytes, offset);
    case State::fixed:
    case State::until_close:
    case State::chunk_data: return read_data(bytes, offset);
    case State::chunk_line: return read_chunk_line(bytes, offset);
    case State::chunk_end: {
        // At most the two bytes of a CRLF are gathered: anything else is too long.
        const Result<Block> block = gather(bytes, offset);
        if (!block)
            return std::unexpected(block.error());
        if (*block)
            expect_chunk_line();
        return Step{};
    }
    case State::trailers: return read_trailers(bytes, offset);
    case State::done: break;
    }
    return Step{};
}

/// Limits are applied to the view, not to the arrival of bytes: the verdict is the same at every split.
size_t H1Reader::block_limit() const {
    size_t bytes_max = block_bytes_max_;
    if (state_ == State::head && requests_ && scanner_.in_first_line())
        bytes_max = std::min(bytes_max, settings_.target_bytes_max + request_line_extra_bytes);
    return scanner_.begin() + bytes_max;
}

std::unexpected<Error> H1Reader::too_long() const {
    if (state_ == State::head && requests_ && scanner_.in_first_line())
        return refuse(414, "request line too long");
    if (state_ == State::head)
        return refuse(431, "head too long");
    return state_ == State::trailers ? refuse(431, "trailers too long") : refuse(400, "chunk framing");
}

/// Collects the block of lines that the state expects. The view is in `bytes`, or in held_ if it came in pieces;
/// it is valid until the next expect_block().
Result<H1Reader::Block> H1Reader::gather(std::string_view bytes, size_t& offset) {
    const size_t held = held_.size();
    const size_t hold_max = block_bytes_max_ + (blank_lines_max + 1) * crlf.size();
    if (held > 0)
        held_.append(bytes.substr(offset, hold_max - held));
    const std::string_view text = held > 0 ? std::string_view(held_) : bytes.substr(offset);
    while (true) {
        const size_t limit = block_limit();
        const LineScanner::Found found = scanner_.scan(text.substr(0, limit));
        if (found == LineScanner::Found::bad)
            return refuse(400, "line");
        if (found == LineScanner::Found::complete) {
            offset += scanner_.end() - held;
            return text.substr(scanner_.begin(), scanner_.end() - scanner_.begin());
        }
        if (block_limit() > limit)
            continue; // a line ended within the view and the limit moved on
        if (text.size() >= limit)
            return too_long();
        break;
    }
    if (held == 0)
        held_.assign(text);
    offset = bytes.size();
    return Block{};
}

Result<H1Reader::Step> H1Reader::read_head(std::string_view bytes, size_t& offset) {
    const Result<Block> block = gather(bytes, offset);
    if (!block)
        return std::unexpected(block.error());
    if (!*block)
        return Step{};
    head_text_ = **block;
    return Step{.event = Event::head};
}

H1Reader::Step H1Reader::read_data(std::string_view bytes, size_t& offset) {
    size_t size = bytes.size() - offset;
    if (state_ != State::until_close) {
        size = static_cast<size_t>(std::min<uint64_t>(size, left_));
        left_ -= size;
    }
    const Step step{.event = Event::data, .offset = offset, .size = size, .last = state_ == State::fixed && left_ == 0};
    offset += size;
    if (step.last)
        state_ = State::done;
    else if (state_ == State::chunk_data && left_ == 0)
        expect_block(State::chunk_end, LineScanner::Until::first_line, crlf.size());
    return step;
}

Result<H1Reader::Step> H1Reader::read_chunk_line(std::string_view bytes, size_t& offset) {
    const Result<Block> block = gather(bytes, offset);
    if (!block)
        return std::unexpected(block.error());
    if (!*block)
        return Step{};
    const std::optional<ChunkLine> line = parse_chunk_line((*block)->substr(0, (*block)->size() - crlf.size()));
    if (!line)
        return refuse(400, "chunk size");
    extension_bytes_ += line->extension_bytes;
    if (extension_bytes_ > settings_.chunk_extension_bytes_max)
        return refuse(400, "chunk extensions");
    left_ = line->size;
    if (left_ == 0)
        expect_block(State::trailers, LineScanner::Until::empty_line, settings_.trailer_bytes_max);
    else
        expect_block(State::chunk_data, LineScanner::Until::empty_line, 0);
    return Step{};
}

Result<H1Reader::Step> H1Reader::read_trailers(std::string_view bytes, size_t& offset) {
    const Result<Block> block = gather(bytes, offset);
    if (!block)
        return std::unexpected(block.error());
    if (!*block)
        return Step{};
    if (const Result<void> parsed = parse_trailers(**block); !parsed)
        return std::unexpected(parsed.error());
    expect_block(State::done, LineScanner::Until::empty_line, 0);
    return Step{.event = Event::end};
}

Result<void> H1Reader::parse_trailers(std::string_view text) {
    size_t count = 0;
    while (text != crlf) {
        const size_t end = text.find('\r');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end + crlf.size());
        // ":path: /x" is no field of HTTP/1, but a trailer that is dropped does no harm; ":" alone stays an error.
        const bool pseudo = line.front() == ':';
        if (pseudo)
            line.remove_prefix(1);
        const std::optional<FieldLine> field = parse_field_line(line);
        if (!field)
            return refuse(400, "trailer");
        if (++count > settings_.headers_max)
            return refuse(431, "too many trailers");
        if (!pseudo && may_be_trailer(field->name))
            trailers_.add(field->name, field->value);
    }
    return {};
}

bool H1Reader::may_be_trailer(std::string_view name) const {
    const auto same = [&](const std::string& other) { return equal_ignoring_case(other, name); };
    return !is_forbidden_trailer(name) && std::none_of(not_trailers_.begin(), not_trailers_.end(), same);
}

} // namespace weft::l7::h1
