// SPDX-License-Identifier: Apache-2.0
#include "l7engine/proxy/codec_writer.hpp"

namespace weft::l7 {

void CodecWriter::kick() {
    if (!codec_.pending().empty())
        wanted_.notify_one();
}

Task<void> CodecWriter::run() {
    running_ = true;
    for (;;) {
        if (codec_.pending().empty()) {
            if (stopped_)
                break;
            (void)co_await wanted_.wait();
            continue;
        }
        const Result<size_t> wrote = co_await stream_.write(codec_.pending());
        if (!wrote) {
            owner_.write_failed(wrote.error());
            break;
        }
        codec_.sent(*wrote);
        owner_.written(*wrote);
    }
    running_ = false;
}

void CodecWriter::stop() {
    stopped_ = true;
    wanted_.notify_one();
}

} // namespace weft::l7
