// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/http/trace.hpp"

namespace weft::l7::test {

void Recorder::note(const std::string& text) {
    entries_.push_back(text);
    data_open_ = false;
}

std::string Recorder::trace() const {
    std::string text;
    for (const std::string& entry : entries_)
        text.append(text.empty() ? "" : "\n").append(entry);
    return text;
}

void Recorder::on_head(StreamId stream, Head&& head, bool last) {
    std::string text = "[" + std::to_string(stream) + "] ";
    if (head.is_request())
        text += head.method + " " + head.path + " " + head.authority;
    else
        text += std::to_string(head.status);
    text += describe(head.headers);
    if (head.content_length)
        text += " cl=" + std::to_string(*head.content_length);
    text += head.expect_continue ? " expect" : "";
    text += head.upgrade.empty() ? "" : " upgrade=" + head.upgrade;
    text += head.scheme == "http" ? "" : " scheme=" + head.scheme;
    note(text + (last ? " ." : ""));
    if (!head.is_informational() || head.status == 101) {
        heads.push_back(std::move(head));
        bodies.emplace_back();
    }
    if (last)
        ended.push_back(stream);
    if (when_head)
        when_head(stream);
}

void Recorder::on_data(StreamId stream, Slice&& data, bool last) {
    const std::string prefix = "[" + std::to_string(stream) + "] '";
    if (!data_open_)
        entries_.push_back(prefix + "'");
    entries_.back().insert(entries_.back().size() - 1, data.text());
    data_open_ = !last;
    if (!bodies.empty())
        bodies.back().append(data.text());
    if (last) {
        entries_.back() += " .";
        ended.push_back(stream);
    }
}

void Recorder::on_trailers(StreamId stream, Trailers&& trailers) {
    note("[" + std::to_string(stream) + "] trailers" + describe(trailers));
    ended.push_back(stream);
    trailers_seen.push_back(std::move(trailers));
}

void Recorder::on_reset(StreamId stream, Error error) {
    note("[" + std::to_string(stream) + "] reset " + name(error.code) + " " + std::to_string(error.detail) + " (" +
         error.during + ")" + (error.retryable ? " retryable" : "") + (error.unanswered ? " unanswered" : ""));
}

void Recorder::on_goaway(StreamId last) {
    note("goaway " + std::to_string(last));
}

std::string describe(const Headers& headers) {
    std::string text;
    for (size_t i = 0; i < headers.size(); ++i)
        text.append(i == 0 ? " {" : ", ").append(headers.name(i)).append(": ").append(headers.value(i));
    return text.empty() ? text : text + "}";
}

std::string take_pending(Codec& codec) {
    std::string text;
    for (const Slice& slice : codec.pending())
        text.append(slice.text());
    codec.sent(text.size());
    return text;
}

Head reply_head(uint16_t status) {
    Head head;
    head.status = status;
    return head;
}

Head request_head(std::string_view method, std::string_view path) {
    Head head;
    head.method = method;
    head.path = path;
    head.authority = "a";
    return head;
}

std::vector<Pieces> ways_to_cut(std::string_view input, size_t splits_max) {
    std::vector<Pieces> ways{{input}};
    Pieces bytes;
    for (size_t i = 0; i < input.size(); ++i)
        bytes.push_back(input.substr(i, 1));
    ways.push_back(std::move(bytes));
    const size_t step = input.size() / splits_max + 1;
    for (size_t i = 1; i < input.size(); i += step)
        ways.push_back({input.substr(0, i), input.substr(i)});
    return ways;
}

namespace {

std::string describe(const Error& error) {
    return "!" + std::to_string(error.detail) + (error.retryable ? " retryable" : "") +
           (error.unanswered ? " unanswered" : "");
}

/// Gives all of `rest` that the codec takes; answers requests as they end. False: an error, noted.
bool feed(Codec& codec, Recorder& recorder, std::string& rest, size_t& answered, std::string& written) {
    while (true) {
        const Result<size_t> used = codec.receive(Slice::copy_of(rest), recorder);
        if (!used) {
            recorder.note(describe(used.error()));
            return false;
        }
        rest.erase(0, *used);
        if (answered == recorder.ended.size())
            return true;
        const Result<void> sent = codec.send_head(recorder.ended[answered], reply_head(200), true);
        if (!sent)
            recorder.note(std::string("reply refused: ") + sent.error().during);
        ++answered;
        written += take_pending(codec);
        if (rest.empty() || codec.finished())
            return true;
    }
}

std::string different(std::string_view whole, std::string_view other, const Pieces& pieces) {
    return "DIFFERENT at split " + std::to_string(pieces.front().size()) + " of " + std::to_string(pieces.size()) +
           "\nwhole:\n" + std::string(whole) + "\nsplit:\n" + std::string(other);
}

} // namespace

std::string serve(const Pieces& input, const H1Settings& settings, std::string* written) {
    const std::unique_ptr<Codec> codec = make_h1_server_codec(settings);
    Recorder recorder;
    std::string rest, out;
    size_t answered = 0;
    for (const std::string_view piece : input) {
        rest.append(piece);
        if (!feed(*codec, recorder, rest, answered, out))
            break;
    }
    if (codec->finished())
        recorder.note("closed");
    if (written != nullptr)
        *written = out;
    return recorder.trace();
}

std::string serve_all_ways(std::string_view input, const H1Settings& settings) {
    const std::string whole = serve({input}, settings);
    for (const Pieces& pieces : ways_to_cut(input)) {
        const std::string other = serve(pieces, settings);
        if (other != whole)
            return different(whole, other, pieces);
    }
    return whole;
}

std::string answer(const Pieces& input, std::string_view method, bool eof) {
    const std::unique_ptr<Codec> codec = make_h1_client_codec({});
    Recorder recorder;
    const Result<StreamId> stream = codec->open();
    if (!stream || !codec->send_head(*stream, request_head(method, "/"), true))
        return "could not send";
    take_pending(*codec);
    bool failed = false;
    for (const std::string_view piece : input) {
        const Result<size_t> used = codec->receive(Slice::copy_of(piece), recorder);
        if (used && *used == piece.size())
            continue;
        failed = true;
        recorder.note(used ? "not all taken" : describe(used.error()));
        break;
    }
    if (eof && !failed) {
        if (const Result<void> ended = codec->receive_eof(recorder); !ended)
            recorder.note(describe(ended.error()));
    }
    if (codec->finished())
        recorder.note("closed");
    return recorder.trace();
}

std::string answer_all_ways(std::string_view input, std::string_view method, bool eof) {
    const std::string whole = answer({input}, method, eof);
    for (const Pieces& pieces : ways_to_cut(input)) {
        const std::string other = answer(pieces, method, eof);
        if (other != whole)
            return different(whole, other, pieces);
    }
    return whole;
}

} // namespace weft::l7::test
