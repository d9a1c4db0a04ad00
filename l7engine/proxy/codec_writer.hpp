// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "l7engine/http/codec.hpp"
#include "l7engine/io/signal.hpp"
#include "l7engine/io/stream.hpp"
#include "l7engine/io/task.hpp"

namespace weft::l7 {

/// The one writer of a connection that many coroutines make a codec speak on (HTTP/2): they queue in the codec and call
/// kick(); what all of them queued in one turn of the loop goes out as one write. One worker's thread.
class CodecWriter {
public:
    class Owner {
    public:
        /// That much of pending() is on its way: the codec may take more now. May call kick().
        virtual void written(size_t bytes) = 0;
        virtual void write_failed(const Error& error) = 0;

    protected:
        ~Owner() = default;
    };

    CodecWriter(Worker& worker, ByteStream& stream, Codec& codec, Owner& owner)
        : stream_(stream), codec_(codec), owner_(owner), wanted_(worker) {}

    /// The codec may have something to write. Writing begins when the coroutines that are ready now have run.
    void kick();
    /// Writes until stop() and nothing is left, or until a write fails. Everything here outlives it.
    [[nodiscard]] Task<void> run();
    /// run() ends once all is written.
    void stop();
    /// The end of run(): wait for it before the stream goes.
    [[nodiscard]] bool running() const { return running_; }

private:
    ByteStream& stream_;
    Codec& codec_;
    Owner& owner_;
    Signal wanted_;
    bool running_ = false;
    bool stopped_ = false;
};

} // namespace weft::l7
