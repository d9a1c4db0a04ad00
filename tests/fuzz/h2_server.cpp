// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/h2_input.hpp"
#include "tests/unit/http/h1_relay.hpp"

/// A client's frames against the HTTP/2 server codec. What it accepts goes on over HTTP/1 as exactly one request.
namespace weft::l7::fuzz {
namespace {

/// "" if the request, whole at its receiver, arrives as one over HTTP/1 too.
std::string check_downgrade(const Head& head, const std::string& body) {
    const std::unique_ptr<Codec> client = make_h1_client_codec({});
    const StreamId stream = client->open().value();
    const bool last = body.empty() && head.content_length.value_or(0) == 0 && head.upgrade.empty();
    if (!client->send_head(stream, head, last) || (!last && !client->send_data(stream, Slice::copy_of(body), true)))
        return "cannot be forwarded: " + head.method + " " + head.path;
    const std::string text = test::take_pending(*client);
    test::Received again;
    test::receive_request(text, again);
    if (!again.complete || again.closed || again.events.heads.size() != 1)
        return "not one request:\n" + text;
    const Head& seen = again.events.heads[0];
    const bool same = seen.method == head.method && seen.path == head.path && seen.authority == head.authority &&
                      again.events.bodies[0] == body;
    return same ? "" : "changed:\n" + text;
}

/// The recorder says whose body is whose only then.
bool is_one_request(const test::Recorder& recorder) {
    return recorder.heads.size() == 1 && recorder.ended.size() == 1;
}

} // namespace
} // namespace weft::l7::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weft::l7;
    const fuzz::Input input(data, size);
    const std::string frames = fuzz::h2_frames(input, test::get());
    (void)fuzz::same_at_every_cut(
        input, frames,
        [&](const test::Pieces& pieces) {
            const std::unique_ptr<Codec> codec = make_h2_server_codec(fuzz::h2_settings(input));
            fuzz::Owner owner(*codec);
            if (!codec->receive(weft::Slice::copy_of(test::client_preface()), owner))
                fuzz::violated("a preface is taken", "");
            std::string trace = fuzz::feed_h2(*codec, owner, pieces);
            if (fuzz::is_one_request(owner.recorder) &&
                owner.recorder.heads[0].headers.size() <= fuzz::forwarded_fields_max) {
                const std::string fault = fuzz::check_downgrade(owner.recorder.heads[0], owner.recorder.bodies[0]);
                fuzz::require(fault.empty(), "what is accepted is forwarded as one request", fault);
            }
            // Answering what came, or was refused since, must be safe.
            for (const StreamId stream : owner.recorder.ended)
                (void)codec->send_head(stream, test::reply_head(200), true);
            codec->drain();
            (void)test::take_pending(*codec);
            return trace;
        },
        fuzz::alike);
    return 0;
}
