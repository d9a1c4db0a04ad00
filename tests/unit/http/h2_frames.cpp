// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/http/h2_frames.hpp"

#include "l7engine/http/h2_error.hpp"

namespace weft::l7::test {
namespace {

constexpr size_t frame_header_bytes = 9;

uint32_t read_number(std::string_view bytes) {
    uint32_t value = 0;
    for (const char c : bytes)
        value = value << 8 | static_cast<uint8_t>(c);
    return value;
}

/// RFC 7541 5.1 with a prefix of 7 bits, then the plain text.
std::string hpack_string(std::string_view text) {
    std::string out;
    size_t left = text.size();
    if (left < 127) {
        out.push_back(static_cast<char>(left));
    } else {
        out.push_back(127);
        for (left -= 127; left >= 128; left >>= 7)
            out.push_back(static_cast<char>(0x80 | (left & 0x7f)));
        out.push_back(static_cast<char>(left));
    }
    return out.append(text);
}

std::string error_line(const Error& error) {
    return "!" + std::to_string(error.detail) + " " + error.during;
}

} // namespace

std::string number(uint32_t value, int bytes) {
    std::string out;
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        out.push_back(static_cast<char>(value >> shift));
    return out;
}

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
    std::string out = number(static_cast<uint32_t>(payload.size()), 3);
    out.push_back(static_cast<char>(type));
    out.push_back(static_cast<char>(flags));
    return out.append(number(stream)).append(payload);
}

std::string literals(const FieldLines& fields) {
    std::string block;
    for (const auto& [name, value] : fields)
        block.append(1, '\0').append(hpack_string(name)).append(hpack_string(value));
    return block;
}

std::string headers(uint32_t stream, const FieldLines& fields, uint8_t flags) {
    return frame(NGHTTP2_HEADERS, flags | end_headers, stream, literals(fields));
}
std::string data(uint32_t stream, std::string_view bytes, uint8_t flags) {
    return frame(NGHTTP2_DATA, flags, stream, bytes);
}
std::string reset_frame(uint32_t stream, uint32_t code) {
    return frame(NGHTTP2_RST_STREAM, 0, stream, number(code));
}
std::string window_update(uint32_t stream, uint32_t bytes) {
    return frame(NGHTTP2_WINDOW_UPDATE, 0, stream, number(bytes));
}
std::string goaway(uint32_t last, uint32_t code) {
    return frame(NGHTTP2_GOAWAY, 0, 0, number(last) + number(code));
}
std::string settings_frame(const std::vector<Setting>& settings) {
    std::string payload;
    for (const Setting& setting : settings)
        payload.append(number(setting.id, 2)).append(number(setting.value));
    return frame(NGHTTP2_SETTINGS, 0, 0, payload);
}
std::string ping(std::string_view opaque, uint8_t flags) {
    return frame(NGHTTP2_PING, flags, 0, opaque);
}
std::string client_preface() {
    return NGHTTP2_CLIENT_MAGIC + settings_frame({}) + frame(NGHTTP2_SETTINGS, ack, 0);
}
std::string server_preface() {
    return settings_frame({}) + frame(NGHTTP2_SETTINGS, ack, 0);
}
FieldLines get(const FieldLines& more, std::string_view method) {
    FieldLines fields = {{":method", std::string(method)}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}};
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
}

FrameReader::FrameReader() {
    nghttp2_hd_inflater* raw = nullptr;
    nghttp2_hd_inflate_new(&raw);
    inflater_.reset(raw);
}

std::vector<std::string> FrameReader::read(std::string_view bytes) {
    rest_.append(bytes);
    std::vector<std::string> lines;
    if (rest_.starts_with(NGHTTP2_CLIENT_MAGIC)) {
        rest_.erase(0, NGHTTP2_CLIENT_MAGIC_LEN);
        lines.emplace_back("magic");
    }
    while (rest_.size() >= frame_header_bytes) {
        const std::string_view view = rest_;
        const size_t size = read_number(view.substr(0, 3));
        if (view.size() < frame_header_bytes + size)
            break;
        lines.push_back(describe(static_cast<uint8_t>(view[3]), static_cast<uint8_t>(view[4]),
                                 read_number(view.substr(5, 4)), view.substr(frame_header_bytes, size)));
        rest_.erase(0, frame_header_bytes + size);
    }
    return lines;
}

std::string FrameReader::describe(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
    const std::string id = " " + std::to_string(stream);
    const std::string last = (flags & end_stream) != 0 ? " ." : "";
    const std::string acknowledges = (flags & ack) != 0 ? " ack" : "";
    switch (type) {
    case NGHTTP2_DATA: data_bytes += payload.size(); return "DATA" + id + " '" + std::string(payload) + "'" + last;
    case NGHTTP2_HEADERS: return "HEADERS" + id + inflate(payload) + last;
    case NGHTTP2_RST_STREAM: return "RST_STREAM" + id + " " + h2::code_name(read_number(payload));
    case NGHTTP2_SETTINGS: return "SETTINGS" + acknowledges;
    case NGHTTP2_PING: return "PING" + acknowledges;
    case NGHTTP2_GOAWAY:
        return "GOAWAY " + std::to_string(read_number(payload.substr(0, 4))) + " " +
               h2::code_name(read_number(payload.substr(4, 4)));
    case NGHTTP2_WINDOW_UPDATE: return "WINDOW_UPDATE" + id + " +" + std::to_string(read_number(payload));
    default: return "frame " + std::to_string(type) + id;
    }
}

std::string FrameReader::inflate(std::string_view block) {
    std::string text;
    const auto* at = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    while (true) {
        nghttp2_nv field;
        int flags = 0;
        const nghttp2_ssize used = nghttp2_hd_inflate_hd3(inflater_.get(), &field, &flags, at, left, 1);
        if (used < 0)
            return " UNREADABLE";
        at += used;
        left -= static_cast<size_t>(used);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            text.append(text.empty() ? " {" : ", ")
                .append(reinterpret_cast<const char*>(field.name), field.namelen)
                .append(": ")
                .append(reinterpret_cast<const char*>(field.value), field.valuelen);
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0)
            break;
    }
    nghttp2_hd_inflate_end_headers(inflater_.get());
    return text.empty() ? text : text + "}";
}

std::string join(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines)
        text.append(text.empty() ? "" : "\n").append(line);
    return text;
}

std::string messages(const std::string& bytes) {
    FrameReader reader;
    std::vector<std::string> lines = reader.read(bytes);
    std::erase_if(lines, [](const std::string& line) {
        return line.starts_with("SETTINGS") || line.starts_with("WINDOW_UPDATE") || line.starts_with("PING") ||
               line == "magic";
    });
    return join(lines);
}

std::string h2_serve(const Pieces& input, const H2Settings& settings, std::string* written) {
    const std::unique_ptr<Codec> codec = make_h2_server_codec(settings);
    Recorder recorder;
    std::string out;
    size_t answered = 0;
    if (!codec->receive(Slice::copy_of(client_preface()), recorder))
        return "preface refused";
    for (const std::string_view piece : input) {
        const Result<size_t> used = codec->receive(Slice::copy_of(piece), recorder);
        if (!used) {
            recorder.note(error_line(used.error()));
            break;
        }
        for (; answered < recorder.ended.size(); ++answered) {
            // A refusal is legitimate: the stream may have been reset since.
            (void)codec->send_head(recorder.ended[answered], reply_head(200), true);
        }
        out += take_pending(*codec);
    }
    out += take_pending(*codec);
    if (codec->finished())
        recorder.note("closed");
    if (written != nullptr)
        *written = out;
    return recorder.trace();
}

namespace {

template <class Feed>
std::string all_ways(std::string_view input, const Feed& feed) {
    std::string written;
    const std::string whole = feed(Pieces{input}, &written);
    for (const Pieces& pieces : ways_to_cut(input, 200)) {
        const std::string other = feed(pieces, nullptr);
        if (other != whole)
            return "DIFFERENT at split " + std::to_string(pieces.front().size()) + " of " +
                   std::to_string(pieces.size()) + "\nwhole:\n" + whole + "\nsplit:\n" + other;
    }
    const std::string frames = messages(written);
    return frames.empty() ? whole : whole + "\n-> " + frames;
}

std::string h2_answer(const Pieces& input, const Head& request, bool last, std::string* written) {
    const std::unique_ptr<Codec> codec = make_h2_client_codec({});
    Recorder recorder;
    if (!codec->receive(
            Slice::copy_of(server_preface() + settings_frame({{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}})),
            recorder))
        return "preface refused";
    const Result<StreamId> stream = codec->open();
    if (!stream || !codec->send_head(*stream, request, last))
        return "could not send";
    take_pending(*codec);
    std::string out;
    for (const std::string_view piece : input) {
        const Result<size_t> used = codec->receive(Slice::copy_of(piece), recorder);
        out += take_pending(*codec);
        if (!used) {
            recorder.note(error_line(used.error()));
            break;
        }
    }
    if (codec->finished())
        recorder.note("closed");
    if (written != nullptr)
        *written = out;
    return recorder.trace();
}

} // namespace

std::string h2_serve_all_ways(std::string_view input, const H2Settings& settings) {
    return all_ways(input,
                    [&](const Pieces& pieces, std::string* written) { return h2_serve(pieces, settings, written); });
}

std::string h2_answer_all_ways(std::string_view input, const Head& request, bool last) {
    return all_ways(
        input, [&](const Pieces& pieces, std::string* written) { return h2_answer(pieces, request, last, written); });
}

} // namespace weft::l7::test
