// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/h2_input.hpp"
#include "tests/unit/http/h1_relay.hpp"

/// A server's frames against the HTTP/2 client codec, with three requests on their way: one whole, one to HEAD, one
/// whose body is still to come. A reply that it accepts goes on over HTTP/1 as exactly one.
namespace weft::l7::fuzz {
namespace {

void ask(Codec& codec, std::string_view method, bool last) {
    const Result<StreamId> stream = codec.open();
    require(stream && codec.send_head(*stream, test::request_head(method, "/"), last), "a request is sent");
}

/// If the reply to GET came whole and alone; the recorder does not say whose body is whose otherwise.
void check_downgrade(const test::Recorder& recorder) {
    if (recorder.heads.size() != 1 || recorder.ended != std::vector<StreamId>{1} ||
        recorder.heads.front().headers.size() > forwarded_fields_max)
        return;
    const std::string fault = test::check_reply({.events = recorder, .complete = true, .closed = false}, "GET");
    require(fault.empty(), "what is accepted is forwarded as one reply", fault);
}

} // namespace
} // namespace weft::l7::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft::l7;
    const fuzz::Input input(data, size);
    const std::string frames = fuzz::h2_frames(input, {{":status", "200"}});
    (void)fuzz::same_at_every_cut(
        input, frames,
        [&](const test::Pieces& pieces) {
            const std::unique_ptr<Codec> codec = make_h2_client_codec(fuzz::h2_settings(input));
            fuzz::Owner owner(*codec);
            if (!codec->receive(weft::Slice::copy_of(test::server_preface()), owner))
                fuzz::violated("a preface is taken", "");
            fuzz::ask(*codec, "GET", true);
            fuzz::ask(*codec, "HEAD", true);
            fuzz::ask(*codec, "POST", false);
            (void)test::take_pending(*codec);
            std::string trace = fuzz::feed_h2(*codec, owner, pieces);
            fuzz::check_downgrade(owner.recorder);
            if (input.option(2))
                trace += codec->receive_eof(owner) ? "\n" + owner.recorder.trace() : "\neof refused";
            // The rest of a request whose reply has come, or was refused since, must be safe.
            (void)codec->send_data(5, weft::Slice::of_static("body"), true);
            codec->drain();
            (void)test::take_pending(*codec);
            return trace;
        },
        fuzz::alike);
    return 0;
}
