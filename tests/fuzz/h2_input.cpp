// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/h2_input.hpp"

#include <algorithm>
#include <array>
#include <ranges>

namespace weft::l7::fuzz {
namespace {

/// So many frames cannot exhaust the budget of control frames while nothing is written.
constexpr size_t frames_max = 200;

/// Fields that codecs have opinions about.
const std::array<std::pair<const char*, const char*>, 16> field_table = {{
    {"content-length", "5"},
    {"content-length", "0"},
    {"cookie", "a=1"},
    {"cookie", "b"},
    {"te", "trailers"},
    {"te", "gzip"},
    {"host", "a"},
    {"host", "b"},
    {"expect", "100-continue"},
    {"transfer-encoding", "chunked"},
    {"connection", "close"},
    {":path", "/x"},
    {":protocol", "websocket"},
    {"x-a", ""},
    {"x-a", "b\r\nc: d"},
    {"X-A", " b"},
}};

/// Takes values off the bytes; zero and empty behind their end.
class Bytes {
public:
    explicit Bytes(std::string_view text) : text_(text) {}

    uint8_t byte() { return text_.empty() ? uint8_t{0} : static_cast<uint8_t>(take(1)[0]); }
    uint32_t number() { return static_cast<uint32_t>(byte()) << 24 | static_cast<uint32_t>(byte()) << 16 | byte(); }
    std::string_view take(size_t size) {
        const std::string_view front = text_.substr(0, size);
        text_.remove_prefix(front.size());
        return front;
    }
    [[nodiscard]] bool empty() const { return text_.empty(); }

private:
    std::string_view text_;
};

constexpr std::string_view closed = "closed";

/// With every failure of the connection as if it had closed well.
std::string as_closed(const std::string& trace) {
    std::string out;
    for (const auto line : std::views::split(trace, '\n')) {
        const std::string_view text(line);
        out.append(text.starts_with('!') ? closed : text).append("\n");
    }
    return out;
}

bool has_closed(const std::string& trace) {
    return std::ranges::any_of(std::views::split(trace, '\n'),
                               [](const auto& line) { return std::string_view(line) == closed; });
}

/// Replaced, added or unknown fields, as the bytes say.
test::FieldLines some_fields(Bytes& bytes, test::FieldLines fields) {
    for (size_t count = bytes.byte() % 4; count > 0; --count) {
        const uint8_t choice = bytes.byte();
        if (choice < 128) {
            const auto& [name, value] = field_table[choice % field_table.size()];
            fields.emplace_back(name, value);
        } else if (choice < 192 && !fields.empty()) {
            fields[choice % fields.size()].second = bytes.take(bytes.byte() % 16);
        } else if (choice < 224) {
            const std::string name(bytes.take(bytes.byte() % 8));
            fields.emplace_back(name, bytes.take(bytes.byte() % 16));
        } else if (!fields.empty()) {
            fields.erase(fields.begin() + choice % static_cast<int>(fields.size()));
        }
    }
    return fields;
}

std::string some_frame(Bytes& bytes, const test::FieldLines& head) {
    const uint8_t kind = bytes.byte();
    const uint8_t flags = kind >> 4 & (test::end_stream | test::padded);
    const uint32_t stream = bytes.byte() % 16;
    switch (kind % 12) {
    case 0:
    case 1: return test::headers(stream, some_fields(bytes, head), kind >> 4 & test::end_stream);
    case 2: return test::headers(stream, some_fields(bytes, {}), test::end_stream);
    case 3:
    case 4: return test::data(stream, bytes.take(bytes.byte() % 64), flags);
    case 5: return test::reset_frame(stream, bytes.byte());
    case 6: return test::window_update(bytes.byte() % 2 == 0 ? 0 : stream, bytes.number());
    case 7: return test::settings_frame({{static_cast<uint16_t>(bytes.byte() % 10), bytes.number()}});
    case 8: return test::frame(NGHTTP2_HEADERS, flags | test::end_headers, stream, bytes.take(bytes.byte()));
    case 9: {
        const std::string block = test::literals(some_fields(bytes, head));
        const size_t cut = bytes.byte() % (block.size() + 1);
        return test::frame(NGHTTP2_HEADERS, flags & test::end_stream, stream, block.substr(0, cut)) +
               test::frame(NGHTTP2_CONTINUATION, test::end_headers, stream, block.substr(cut));
    }
    case 10: return test::ping("12345678", kind >> 4 & test::ack);
    default: {
        const uint8_t type = bytes.byte() % 16;
        const uint8_t wild_flags = bytes.byte();
        return test::frame(type, wild_flags, stream, bytes.take(bytes.byte() % 64));
    }
    }
}

} // namespace

std::string h2_frames(const Input& input, const test::FieldLines& head) {
    if (input.option(0))
        return std::string(input.bytes());
    Bytes bytes(input.bytes());
    std::string frames;
    for (size_t count = 0; count < frames_max && !bytes.empty(); ++count)
        frames += some_frame(bytes, head);
    return frames;
}

bool alike(const std::string& whole, const std::string& cut) {
    if (whole.contains("FLOW_CONTROL_ERROR"))
        return true;
    // It closes only when no stream is left, and how each ended is a line before.
    return has_closed(whole) != has_closed(cut) && as_closed(whole) == as_closed(cut);
}

H2Settings h2_settings(const Input& input) {
    H2Settings settings;
    if (input.option(1)) {
        settings.streams_max = 3;
        settings.stream_window_bytes = 64;
        settings.head_bytes_max = 400;
        settings.headers_max = 6;
        settings.path_bytes_max = 8;
        settings.trailer_bytes_max = 64;
        settings.informational_heads_max = 1;
    }
    return settings;
}

void Owner::on_head(StreamId stream, Head&& head, bool last) {
    require(!over_.contains(stream) && !bodies_.contains(stream), "one head, and first");
    if (!head.is_informational())
        bodies_.emplace(stream, "");
    recorder.on_head(stream, std::move(head), last);
    if (last)
        end(stream);
}

void Owner::on_data(StreamId stream, Slice&& data, bool last) {
    require_head(stream);
    bodies_[stream].append(data.text());
    codec_.consumed(stream, data.size());
    if (!last)
        return;
    recorder.on_data(stream, Slice::copy_of(bodies_[stream]), true);
    end(stream);
}

void Owner::on_trailers(StreamId stream, Trailers&& trailers) {
    require_head(stream);
    recorder.on_data(stream, Slice::copy_of(bodies_[stream]), false);
    recorder.on_trailers(stream, std::move(trailers));
    end(stream);
}

void Owner::on_reset(StreamId stream, Error error) {
    recorder.on_reset(stream, error);
    end(stream);
}

void Owner::record_open_bodies() {
    for (const auto& [stream, body] : bodies_)
        recorder.on_data(stream, Slice::copy_of(body), false);
}

void Owner::require_head(StreamId stream) const {
    require(bodies_.contains(stream), "a body comes between its head and its end", recorder.trace());
}

void Owner::end(StreamId stream) {
    bodies_.erase(stream);
    over_.insert(stream);
}

std::string feed_h2(Codec& codec, Owner& owner, const test::Pieces& pieces) {
    constexpr size_t greeting_bytes = 256; // SETTINGS, the connection's window, a GOAWAY
    size_t given = 0;
    size_t written = 0;
    for (const std::string_view piece : pieces) {
        given += piece.size();
        const Result<size_t> used = codec.receive(Slice::copy_of(piece), owner);
        written += test::take_pending(codec).size();
        require(written <= greeting_bytes + 8 * given, "little goes out for what came in",
                std::to_string(written) + " bytes for " + std::to_string(given));
        if (!used) {
            owner.recorder.note("!" + std::to_string(used.error().detail) + " " + used.error().during);
            return owner.recorder.trace();
        }
        require(*used == piece.size(), "all is taken while all is written");
    }
    owner.record_open_bodies();
    if (codec.finished())
        owner.recorder.note(std::string(closed));
    return owner.recorder.trace();
}

} // namespace weft::l7::fuzz
